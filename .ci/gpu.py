"""Hold the four families on a card against the processor, and a run on the card against a second.

    python .ci/gpu.py [--device cuda]

A row each family and dtype: the largest difference of outputs and gradients, relative to the
largest number of that tensor, beside its bound; and whether two runs on the card gave the same bits
with deterministic algorithms on. The bound is the dtype's eps times the lengths of all sums on the
way (the inputs of every matrix and norm, twice for the way back): rounding adds up no faster.
"""

import argparse
import os
import sys

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # before the card is first used

import torch

from zoo.models import BERT, CLIP, GPT2, BERTConfig, CLIPConfig, GPT2Config, ViT, ViTConfig

SMALL = {"width": 32, "depth": 2, "heads": 4}


def families():
    """Give name -> (how to build it, how to call it)."""
    ids = 1 + torch.arange(2 * 7).reshape(2, 7)  # without 0, which is padding
    pixels = torch.linspace(-1, 1, 2 * 3 * 16 * 16).reshape(2, 3, 16, 16)
    sides = {"image_width": 32, "image_depth": 2, "image_heads": 4, "image_hidden": 64}
    texts = {"text_width": 32, "text_depth": 2, "text_heads": 4, "text_hidden": 64}
    clip = CLIPConfig(
        embed=16, image=(16, 16), patch=(8, 8), vocab=30, context=7, end=29, **sides, **texts
    )
    ended = torch.cat([ids[:, :-1], torch.full((2, 1), 29)], 1)
    return {
        "GPT-2": (lambda: GPT2(GPT2Config(vocab=23, context=16, **SMALL)), [ids]),
        "BERT": (lambda: BERT(BERTConfig(vocab=23, context=16, hidden=64, **SMALL)), [ids]),
        "ViT": (
            lambda: ViT(ViTConfig(image=(16, 16), patch=(8, 8), classes=5, hidden=64, **SMALL)),
            [pixels],
        ),
        "CLIP": (lambda: CLIP(clip), [ended, pixels]),
    }


def tensors(value):
    """Give the tensors in an output, in order."""
    if isinstance(value, torch.Tensor):
        return [value]
    if hasattr(value, "__dict__") and not isinstance(value, list | tuple | dict):
        value = vars(value)
    if isinstance(value, dict):
        value = list(value.values())
    parts = value if isinstance(value, list | tuple) else ()
    return [tensor for part in parts for tensor in tensors(part)]


def numbers(build, inputs, dtype, device):
    """Run forward and backward; give outputs and gradients, on the processor in float64."""
    torch.manual_seed(0)
    model = build().eval().to(device, dtype)
    given = [x.to(device, dtype if x.is_floating_point() else None) for x in inputs]
    out = [t for t in tensors(model(*given)) if t.is_floating_point()]
    sum((t * t).mean() for t in out).backward()
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    terms = 2 * sum(p.shape[-1] for p in model.parameters() if p.dim())
    return [t.detach().cpu().double() for t in (*out, *grads)], terms


def largest(ours, theirs):
    """Give the largest difference, each tensor by its own scale."""
    scale = max(float(t.abs().max()) for t in theirs)
    return max(
        float((a - b).abs().max()) / max(float(b.abs().max()), 1e-3 * scale)
        for a, b in zip(ours, theirs, strict=True)
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    device = torch.device(parser.parse_args().device)
    if device.type == "cuda" and not torch.cuda.is_available():
        print("torch sees no card here; this script is for a machine with one", file=sys.stderr)
        return 2
    torch.use_deterministic_algorithms(True)
    torch.backends.cuda.matmul.allow_tf32 = False
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
    print(f"### {name}, torch {torch.__version__}\n")
    print("| family | dtype | difference | bound | twice the same bits |\n|---|---|---:|---:|---|")
    wrong = 0
    for family, (build, inputs) in families().items():
        for dtype in (torch.float64, torch.float32):
            there, terms = numbers(build, inputs, dtype, device)
            again, _ = numbers(build, inputs, dtype, device)
            here, _ = numbers(build, inputs, dtype, "cpu")
            same = all(torch.equal(a, b) for a, b in zip(there, again, strict=True))
            far, bound = largest(there, here), torch.finfo(dtype).eps * terms
            wrong += not same or not far <= bound
            kind = str(dtype).removeprefix("torch.")
            print(f"| {family} | {kind} | {far:.1e} | {bound:.1e} | {'yes' if same else 'NO'} |")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

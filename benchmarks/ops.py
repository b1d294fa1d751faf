"""How fast each op is beside torch's own, at the sizes of GPT-2 small, ViT and CLIP.

    OMP_NUM_THREADS=1 python benchmarks/ops.py [--op NAME] [--pairs 15] [--dtype float32]

One process, one thread, CPU time, pairs of runs one after the other in turns; the figure is the
median of torch's time over ours, so above 1 we are faster.  One JSON line for each case.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo import ops

B, T, D, H, V = 2, 512, 768, 12, 50257


@dataclass(frozen=True)
class Case:
    """The same work twice: by us and by torch, on tensors of which some want a gradient."""

    name: str
    ours: Callable[..., Tensor]
    torchs: Callable[..., Tensor]
    floats: tuple[Tensor, ...]


def cases() -> Iterator[Case]:
    x = torch.randn(B, T, D)
    wide = torch.randn(B, T, 4 * D)
    up, up_bias = torch.randn(4 * D, D) / 28, torch.randn(4 * D)
    w, b = torch.randn(D), torch.randn(D)
    yield Case("linear", ops.linear, F.linear, (x, up, up_bias))
    yield Case("linear-one-row", ops.linear, F.linear, (x[0, 0], up, up_bias))
    yield Case("layer_norm", ops.layer_norm, lambda x, w, b: F.layer_norm(x, (D,), w, b), (x, w, b))
    yield Case(
        "layer_norm-one-row",
        ops.layer_norm,
        lambda x, w, b: F.layer_norm(x, (D,), w, b),
        (x[0, 0], w, b),
    )
    yield Case("gelu-erf", ops.gelu, F.gelu, (wide,))
    yield Case(
        "gelu-tanh",
        lambda x: ops.gelu(x, "tanh"),
        lambda x: F.gelu(x, approximate="tanh"),
        (wide,),
    )
    yield Case(
        "gelu-quick",
        lambda x: ops.gelu(x, "quick"),
        lambda x: x * torch.sigmoid(1.702 * x),
        (wide,),
    )
    yield Case("softmax", ops.softmax, lambda x: F.softmax(x, -1), (torch.randn(H, T, T),))
    yield Case("dropout", lambda x: ops.dropout(x, 0.1, 1), lambda x: F.dropout(x, 0.1), (x,))
    ids = torch.randint(V, (B, T))
    yield Case(
        "embedding",
        lambda table: ops.embedding(ids, table),
        lambda table: F.embedding(ids, table),
        (torch.randn(V, D),),
    )
    yield from fused_cases(x, ids)


def fused_cases(x: Tensor, ids: Tensor) -> Iterator[Case]:
    """The cases of attention and of the losses, where those ops are there."""
    if "attention" in ops.__all__:
        q, k, v = (torch.randn(B, H, T, D // H) for _ in range(3))
        yield Case(
            "attention-causal",
            lambda q, k, v: ops.attention(q, k, v, causal=True),
            lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
            (q, k, v),
        )
        yield Case(
            "attention-dropout",
            lambda q, k, v: ops.attention(q, k, v, causal=True, rate=0.1, seed=1),
            lambda q, k, v: F.scaled_dot_product_attention(q, k, v, None, 0.1, is_causal=True),
            (q, k, v),
        )
    if "cross_entropy" in ops.__all__:
        labels = ids.flatten()[: T // 2]
        yield Case(
            "cross_entropy",
            lambda z: ops.cross_entropy(z, labels),
            lambda z: F.cross_entropy(z, labels),
            (torch.randn(T // 2, V),),
        )
    if "linear_cross_entropy" in ops.__all__:
        labels = ids.flatten()[: T // 2]
        yield Case(
            "linear_cross_entropy",
            lambda x, w: ops.linear_cross_entropy(x, w, labels),
            lambda x, w: F.cross_entropy(F.linear(x, w), labels),
            (x.flatten(0, 1)[: T // 2], torch.randn(V, D) / 28),
        )
    yield from vision_cases(x)


def vision_cases(x: Tensor) -> Iterator[Case]:
    """What images bring along, at the sizes of ViT-B/16 and of CLIP."""
    images, patch = torch.randn(8, 3, 224, 224), (16, 16)
    yield Case(
        "patches",
        lambda x: ops.patches(x, patch),
        lambda x: F.unfold(x, patch, stride=patch).mT,
        (images,),
    )
    yield Case("normalize", ops.normalize, lambda x: F.normalize(x, dim=-1), (x,))
    yield Case(
        "drop_path",
        lambda x: ops.drop_path(x, 0.1, 1),
        lambda x: x * (torch.rand(len(x), 1, 1) >= 0.1).to(x.dtype) / 0.9,
        (torch.randn(8, 197, D),),
    )
    for n in (64, 512, 4096):
        pairs = [F.normalize(torch.randn(n, 512)) for _ in range(2)]
        scale, bias = torch.tensor(20.0), torch.tensor(-10.0)
        yield Case(f"contrastive-{n}", ops.contrastive, torch_contrastive, (*pairs, scale))
        yield Case(
            f"pairwise_sigmoid-{n}",
            ops.pairwise_sigmoid,
            torch_pairwise_sigmoid,
            (*pairs, scale, bias),
        )


def torch_contrastive(x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
    logits, own = scale * x @ y.T, torch.arange(len(x))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def torch_pairwise_sigmoid(x: Tensor, y: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    logits = scale * x @ y.T + bias
    return -F.logsigmoid((2 * torch.eye(len(x)) - 1).to(x.dtype) * logits).sum() / len(x)


def forward(case: Case, op: Callable[..., Tensor]) -> Callable[[], Any]:
    def call() -> Any:
        with torch.no_grad():
            return op(*case.floats)

    return call


def training(case: Case, op: Callable[..., Tensor]) -> Callable[[], Any]:
    leaves = [x.detach().requires_grad_() for x in case.floats]
    dy = torch.randn_like(op(*leaves))
    return lambda: torch.autograd.grad(op(*leaves), leaves, dy)


def repeats(call: Callable[[], Any], least: float = 0.01) -> int:
    """Tell how often to call so that the clock's grain does not matter (seconds)."""
    return max(1, round(least / max(seconds(call, 1), 1e-7)))


def seconds(call: Callable[[], Any], times: int) -> float:
    start = time.process_time()
    for _ in range(times):
        call()
    return (time.process_time() - start) / times


def ratio(ours: Callable[[], Any], torchs: Callable[[], Any], pairs: int) -> dict[str, float]:
    """Time pairs in turns, each starting with the other one; the medians."""
    for call in (ours, torchs, ours, torchs):
        call()
    times = repeats(torchs)
    rows = []
    for pair in range(pairs):
        if pair % 2:
            a = seconds(ours, times)
            b = seconds(torchs, times)
        else:
            b = seconds(torchs, times)
            a = seconds(ours, times)
        rows.append((a, b))
    return {
        "ratio": round(statistics.median(b / a for a, b in rows), 3),
        "ours_us": round(statistics.median(a for a, _ in rows) * 1e6, 1),
        "torch_us": round(statistics.median(b for _, b in rows) * 1e6, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--op", default="", help="only cases whose name begins so")
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    dtype = getattr(torch, args.dtype)
    for case in cases():
        if case.name.startswith(args.op):
            cast = Case(case.name, case.ours, case.torchs, tuple(x.to(dtype) for x in case.floats))
            for kind, made in (("forward", forward), ("training", training)):
                found = ratio(made(cast, cast.ours), made(cast, cast.torchs), args.pairs)
                print(json.dumps({"op": case.name, "kind": kind, **found}), flush=True)


if __name__ == "__main__":
    main()

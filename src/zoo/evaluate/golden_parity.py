"""Parity sets: numbers of another implementation that ours must give.

A model is compared submodule by submodule, so that a mismatch names the first block that is wrong.
"""

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from zoo import keymap
from zoo.evaluate.golden import GoldenSet, Report
from zoo.generate import Sampling, generate
from zoo.models import convert, load
from zoo.models.layouts import openai_clip, timm
from zoo.objectives import OBJECTIVES, inputs_of
from zoo.testing.trace import difference, first_divergence, trace
from zoo.tokenizers import Tokenizer


def compare_model(golden: GoldenSet, subject: Any, report: Report) -> None:
    """Compare every batch's submodule outputs, loss, gradients, and greedy text."""
    model = load(golden.folder, dtype=torch.float64) if subject is None else subject
    bounds = golden.manifest["compare"]
    inputs, expected = (
        unflatten(load_file(golden.folder / f"{name}.safetensors"))
        for name in ("inputs", "expected")
    )
    for batch_name, batch in inputs.items():
        wanted = expected[batch_name]
        compare_outputs(model, batch, wanted, bounds, f"{golden.name}/{batch_name}", report)
        compare_gradients(model, batch, wanted, bounds, f"{golden.name}/{batch_name}", report)
    if report.faults:
        return  # what a wrong model writes says nothing more
    texts = golden.folder / "generation.jsonl"
    for line in texts.read_text().splitlines() if texts.exists() else ():
        row = json.loads(line)
        options = Sampling(max_new_tokens=len(row["tokens"]), stop_tokens=())
        (found,) = generate(model, [row["prompt"]], options)
        report.compared += 1
        if found.ids != row["tokens"]:
            report.faults.append(f"{row['prompt']} goes on {found.ids}, not {row['tokens']}")


def compare_outputs(
    model: Any,
    batch: dict[str, Tensor],
    wanted: dict[str, Tensor],
    bounds: Mapping[str, Any],
    where: str,
    report: Report,
) -> None:
    with torch.no_grad():
        found = trace(model, **inputs_of(batch))
    found["logits"] = found.pop("")
    outputs = {name: t for name, t in wanted.items() if not name.startswith(("loss", "gradient:"))}
    unknown = outputs.keys() - found.keys()
    if unknown:
        report.faults.append(f"{where}: the model has no {sorted(unknown)}")
    mask = batch.get("attention_mask")
    kept = None if mask is None else mask.bool()
    worst = first_divergence(found, outputs, rtol=bounds["rtol"], atol=bounds["atol"], kept=kept)
    report.compared += len(outputs)
    if worst is not None:
        report.faults.append(f"{where} {worst}")


def compare_gradients(
    model: Any,
    batch: dict[str, Tensor],
    wanted: dict[str, Tensor],
    bounds: Mapping[str, Any],
    where: str,
    report: Report,
) -> None:
    """Compare the loss, and the norm of each published tensor's gradient."""
    model.zero_grad()
    loss = OBJECTIVES[model.head_name](model, batch)
    loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    keys = model.spec.keys(model.config)
    theirs = keymap.to_theirs(keys, model.head_name, gradients)
    found = {f"gradient:{name}": gradient.norm() for name, gradient in theirs.items()}
    found["loss"] = loss.detach()
    for name in sorted(n for n in wanted if n.startswith(("loss", "gradient:"))):
        report.compared += 1
        size, bound = difference(
            found[name], wanted[name], rtol=bounds["rtol"], atol=bounds["atol"]
        )
        if size > bound:
            report.faults.append(f"{where}: {name} differs by {size:.3g} (allowed: {bound:.3g})")
            return


def unflatten(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Group `batch/name` tensors by batch."""
    result: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        batch, _, rest = name.partition("/")
        result.setdefault(batch, {})[rest] = tensor
    return result


def compare_tokenizer(golden: GoldenSet, subject: Any, report: Report) -> None:
    """Compare ids of texts, and texts of ids."""
    tokenizer = Tokenizer.from_folder(golden.folder) if subject is None else subject
    for line in (golden.folder / "cases.jsonl").read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        ids = tokenizer.encode(case["text"])
        report.compared += 1
        if ids != case["ids"]:
            report.faults.append(f"{case['text']!r} gives {ids}, not {case['ids']}")
        elif tokenizer.decode(ids) != case["decoded"]:
            report.faults.append(f"{ids} reads {tokenizer.decode(ids)!r}, not {case['decoded']!r}")


def compare_layout(golden: GoldenSet, subject: Any, report: Report) -> None:
    """Read each case as the library that wrote it would; compare outputs and all gradients."""
    bounds = golden.manifest["compare"]
    for case in golden.manifest["cases"]:
        model = read_case(golden, case).double() if subject is None else subject
        held = {
            part: load_file(golden.folder / f"{case}.{part}.safetensors") for part in ("in", "out")
        }
        found = outputs_of(model, held["in"])
        (found["output"] * direction(found["output"])).sum().backward()
        gradients = {
            n: torch.zeros_like(p) if p.grad is None else p.grad
            for n, p in model.named_parameters()
        }
        keys = KEYS[golden.manifest["layout"]](model.config)
        theirs = keymap.to_theirs(keys, model.head_name, gradients)
        found |= {f"gradient:{name}": gradient for name, gradient in theirs.items()}
        if found.keys() != held["out"].keys():
            names = sorted(found.keys() ^ held["out"].keys())
            report.faults.append(f"{golden.name}/{case}: {names} are not in both")
            continue
        for name, wanted in held["out"].items():
            report.compared += 1
            size, bound = difference(
                found[name].detach(), wanted, rtol=bounds["rtol"], atol=bounds["atol"]
            )
            if size > bound:
                report.faults.append(
                    f"{golden.name}/{case}: {name} differs by {size:.3g} (allowed: {bound:.3g})"
                )


def read_case(golden: GoldenSet, case: str) -> Any:
    """Lay a case's files out as its library does, and read them as `zoo convert` would."""
    config, weights = FILES[golden.manifest["layout"]]
    with tempfile.TemporaryDirectory() as place:
        shutil.copyfile(golden.folder / f"{case}.json", Path(place, config))
        shutil.copyfile(golden.folder / f"{case}.weights.safetensors", Path(place, weights))
        return convert.read(place, unpickle=False)


def outputs_of(model: Any, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give a ViT's hidden states or a CLIP's vectors, and the output."""
    if "input_ids" in inputs:
        images = model.encode_image(inputs["pixel_values"])
        texts = model.encode_text(inputs["input_ids"])
        return {"images": images, "texts": texts, "output": model(**inputs)}
    hidden = model.encode(**inputs, interpolate=True)
    output = model.pool(hidden)
    return {"hidden": hidden, "output": model.head(output)}


def direction(output: Tensor) -> Tensor:
    """Weigh every element of an output differently, without drawing."""
    return torch.arange(output.numel(), dtype=output.dtype).cos().reshape(output.shape)


# a layout -> its key table of a config, and how it calls config and weights
KEYS: dict[str, Any] = {"timm": timm.keys_of, "open_clip": openai_clip.keys_of}
FILES = {
    "timm": ("config.json", "model.safetensors"),
    "open_clip": (openai_clip.ABOUT, openai_clip.WEIGHTS),
}

"""Run a module once, in float64, with weights that hide nothing; keep what each op read."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from zoo.testing.family.layers import Layer
from zoo.testing.family.steps import Step
from zoo.testing.family.uses import Noise, Use, uses_of
from zoo.testing.guard import DefaultDtype, seed_all
from zoo.testing.stress import put_weights
from zoo.testing.subject import SpecError, Subject
from zoo.testing.trees import changed, tensors

ROWS = (2, 3, 5)  # of the batch: the first number that no axis of positions is as long as
KINDS = ("strong", "mild", "as built")


@dataclass
class Ran:
    """What one run showed."""

    module: nn.Module
    rows: int
    inputs: dict[str, Any]
    outputs: dict[str, Tensor]
    uses: list[Use]
    noise: list[Noise]
    weights: dict[str, Tensor]
    keeps: list[Tensor]


def run_spec(subject: Subject) -> Ran:
    """Run a subject's module. Raises SpecError where it does not run."""
    last: Exception | None = None
    made: Ran | None = None
    for kind in KINDS:
        try:
            made = first_clear(subject, kind)
        except Exception as error:
            last = last or error
            continue
        if all(bool(x.isfinite().all()) for x in made.outputs.values() if x.is_floating_point()):
            return made
    if made is None:
        text = (str(last).splitlines() or [""])[0][:300]
        raise SpecError(f"{subject.title} does not run in float64: {type(last).__name__}: {text}")
    return made


def first_clear(subject: Subject, kind: str) -> Ran:
    """Run with a number of rows that is not the number of positions."""
    made = run(subject, kind, ROWS[0])
    for rows in ROWS[1:]:
        square = any(
            x.output.dim() > 2 and x.output.shape[0] == x.output.shape[1] for x in made.uses
        )
        if not square:
            break
        try:
            made = run(subject, kind, rows)
        except Exception:
            break
    return made


def run(subject: Subject, kind: str, rows: int) -> Ran:
    """Run a fresh module in eval mode."""
    module = subject.fresh(train=False).double()
    if kind != "as built":
        put_weights(module, strong=kind == "strong")
    batch = {name: changed(x, widened) for name, x in subject.batch(rows).items()}
    keep_all(subject, batch)
    given = subject.arguments(batch)
    inputs = {name: changed(x, Tensor.clone) for name, x in given.items()}
    seed_all(0)
    with DefaultDtype(torch.float64):
        uses, output, noise = uses_of(module, lambda: subject.call(module, batch))
    weights = {n: p.detach() for n, p in module.named_parameters()}
    outputs = {"main": subject.main(output)} | tensors(output)
    sizes = Counter(x.shape[0] for x in inputs.values() if isinstance(x, Tensor) and x.dim())
    seen = rows if rows in sizes or not sizes else rows_of(inputs, rows)
    return Ran(module, seen, inputs, outputs, uses, noise, weights, keeps_of(inputs, seen))


def rows_of(inputs: dict[str, Any], rows: int) -> int:
    """Give the number of rows of a batch that does not follow the size asked for."""
    every = [x.shape for x in inputs.values() if isinstance(x, Tensor) and x.dim()]
    return rows if any(rows in shape[:2] for shape in every) else every[0][0]


def widened(x: Tensor) -> Tensor:
    """Give real numbers in float64."""
    return x.double() if x.is_floating_point() else x


def keep_all(subject: Subject, batch: dict[str, Any]) -> None:
    """Let a padding mask keep every position, and leave no padding among the ids."""
    facts = subject.facts
    mask = facts.padding_mask
    if mask is not None and isinstance(batch.get(mask), Tensor) and batch[mask].dim() == 2:
        batch[mask] = batch[mask].new_full(batch[mask].shape, subject.facts.mask_keeps)
    pad = subject.spec.pad_id
    for name in facts.tokens if pad is not None else ():
        x = batch.get(name)
        if not isinstance(x, Tensor) or mask is None or pad is None:
            continue
        padded = x.eq(pad)
        if not bool(padded.all()):
            batch[name] = x.masked_fill(padded, int(x[~padded][0]))


def keeps_of(inputs: dict[str, Any], rows: int) -> list[Tensor]:
    """Give what may say which positions are real: masks, and ids that are not padding."""
    found: list[Tensor] = []
    for x in inputs.values():
        if not isinstance(x, Tensor) or x.dim() != 2 or len(x) != rows:
            continue
        if x.dtype is torch.bool or (not x.is_floating_point() and bool((x <= 1).all())):
            found += [x.bool(), ~x.bool()]
        elif not x.is_floating_point():
            found += [x != value for value in {0, 1, int(x[0, -1]), int(x[-1, -1])}]
    return [x for x in found if bool(x.any(1).all()) and not bool(x.all())]


def said_of(layers: Sequence[Layer]) -> str:
    """Say of which layers a module is made."""
    names = {"map": "linear map", "conv": "convolution", "other": "other op with parameters"}
    counts = Counter(names.get(x.kind, x.kind) for x in layers)
    told = [f"{n} {name}{'s' if n > 1 else ''}" for name, n in counts.items()]
    text = ", ".join(told) or "no op that reads a parameter"
    gated = any(
        x.kind == y.kind == "map"
        and x.x is not None
        and y.x is not None
        and x.y.shape == y.y.shape != x.x.shape
        and x.x.shape == y.x.shape
        and x.y.shape[-1] > x.x.shape[-1]
        and torch.equal(x.x, y.x)
        for x, y in pairwise(layers)
    )
    return text + ("; its MLPs are gated (two maps up read the same), as Llama's" if gated else "")


def foreign_norms(layers: Sequence[Layer]) -> Step | None:
    """Tell of a module all of whose norms are RMS norms: no family here has them."""
    norms = [x for x in layers if x.kind == "norm" and x.value is not None]
    if len(norms) < 2 or any(x.shift is not None for x in norms):
        return None
    for norm in norms:
        assert norm.value is not None
        plain = norm.y / norm.value
        size, mean = plain.square().mean(-1), plain.mean(-1).abs()
        if not bool(((size - 1).abs() < 1e-2).all()) or float(mean.mean()) < 1e-3:
            return None
    first = norms[0]
    said = "every norm is an RMS norm, without mean and shift (Llama, T5): it is of another family"
    fix = "use torch.nn.LayerNorm, or leave family out of the spec"
    return Step("norms", False, str(first), first.line, said, fix)

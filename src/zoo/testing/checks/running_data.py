"""Whether the data that a model is given can be meant."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from zoo.testing.finding import Finding
from zoo.testing.spec import Input
from zoo.testing.subject import Subject
from zoo.testing.trees import tensors

ROWS_ASKED = 8


def batch_findings(subject: Subject) -> Iterator[Finding]:
    """Look at two batches of the author's."""
    try:
        batches = [subject.batch(ROWS_ASKED, seed) for seed in (0, 1)]
    except Exception:
        batches = [subject.batch(3, seed) for seed in (0, 1)]
    for name, known in subject.facts.inputs.items():
        both = [b[name] for b in batches if isinstance(b.get(name), Tensor)]
        found = next(
            (said for said in (wrong_input(subject, name, known, x) for x in both) if said), None
        )
        if found is not None:
            yield found
    yield from labels(subject, batches)
    yield from alike(subject, batches)


def finding(name: str, evidence: str, severity: Any = "fail") -> Finding:
    """Make the finding of data that cannot be meant."""
    return Finding(
        kind="bad-input-data",
        severity=severity,
        where=name,
        evidence=evidence,
        explanation="the model is given something else than was said: it reads rows that mean "
        "something else, or trains on noise",
        fix="correct the data pipeline (or the declared range)",
    )


def wrong_input(subject: Subject, name: str, known: Input, x: Tensor) -> Finding | None:
    """Say what is wrong with one input."""
    if x.layout is not torch.strided or not x.numel() or x.is_complex():
        return None
    if x.is_floating_point() and bool(x.isnan().any()):
        return finding(name, f"{int(x.isnan().sum())} of {x.numel()} numbers of {name} are NaN")
    low, high = float(x.min()), float(x.max())
    if known.kind in ("tokens", "targets") and subject.spec.vocab_size is not None:
        size = known.vocab_size or subject.spec.vocab_size
        if low < 0 or high >= size:
            return finding(name, f"{name} holds ids from {low:g} to {high:g}; vocab_size={size}")
    if known.low is not None and low < known.low:
        return finding(name, f"{name} goes down to {low:g}; low={known.low:g} was declared")
    if known.high is not None and high > known.high:
        return finding(name, f"{name} goes up to {high:g}; high={known.high:g} was declared")
    axis = known.sequence_axis
    if axis is not None and known.max_length is not None and x.shape[axis] > known.max_length:
        said = f"{name} has {x.shape[axis]} positions; max_length={known.max_length} was declared"
        return finding(name, said)
    return wrong_mask(subject, name, known, x)


def wrong_mask(subject: Subject, name: str, known: Input, x: Tensor) -> Finding | None:
    """Say what is wrong with a mask: numbers that are not 0 and 1."""
    if name != subject.spec.padding_mask and known.kind != "mask":
        return None
    values = x.unique()
    additive = x.is_floating_point() and bool((values <= 0).all())
    if additive or bool(((values == 0) | (values == 1)).all()):
        return None
    shown = ", ".join(f"{float(v):g}" for v in values[:5])
    return finding(name, f"the mask {name} holds {shown}; a mask holds 0 and 1, or bool")


def labels(subject: Subject, batches: list[dict[str, Any]]) -> Iterator[Finding]:
    """Find labels outside the classes, and labels that are all the same."""
    spec, name = subject.spec, subject.facts.labels
    given = [b[name] for b in batches if name in b and isinstance(b[name], Tensor)]
    if name is None or not given or given[0].is_floating_point() or given[0].dtype is torch.bool:
        return
    every = torch.cat([x.flatten() for x in given])
    ignore = spec.ignore_index if spec.ignore_index is not None else -100
    counted = every[every != ignore]
    classes = spec.num_classes
    if not counted.numel():
        yield finding(name, f"every label of two batches is ignore_index={ignore}")
        return
    low, high = int(counted.min()), int(counted.max())
    if classes is not None and spec.task != "regression" and (low < 0 or high >= classes):
        yield finding(
            name,
            f"labels go from {low} to {high}; num_classes={classes} allows 0 to {classes - 1}",
        )
    elif classes is not None and classes > 1 and low == high and counted.numel() >= 16:
        yield finding(name, f"all {counted.numel()} labels of two batches are {low}", "warn")


def alike(subject: Subject, batches: list[dict[str, Any]]) -> Iterator[Finding]:
    """Find a batch whose rows are all the same, or that is another each time it is made."""
    first, again = batches[0], subject.batch(rows_of(subject, batches[0]), 0)
    for name, x in tensors(first).items():
        other = tensors(again).get(name)
        if other is not None and x.layout is torch.strided and not equal(x, other):
            yield finding(
                name,
                f"batch(size) under the same seed gives another {name} each time: it draws from a "
                "generator that no global seed reaches",
                "warn",
            )
            return
    inputs = {n: first[n] for n in subject.facts.inputs if isinstance(first.get(n), Tensor)}
    rows = {n: x for n, x in inputs.items() if along(subject, n, x)}
    if rows and all(same_rows(x, subject.facts.inputs[n].batch_axis or 0) for n, x in rows.items()):
        yield finding(next(iter(rows)), "all rows of a batch are the same", "warn")


def rows_of(subject: Subject, batch: Mapping[str, Any]) -> int:
    """Give how many rows a batch has."""
    for name, known in subject.facts.inputs.items():
        if known.batch_axis is not None and isinstance(batch.get(name), Tensor):
            return int(batch[name].shape[known.batch_axis])
    return ROWS_ASKED


def along(subject: Subject, name: str, x: Tensor) -> bool:
    """Say whether an input has rows that could differ."""
    axis = subject.facts.inputs[name].batch_axis
    return axis is not None and x.layout is torch.strided and x.shape[axis] > 1


def same_rows(x: Tensor, axis: int) -> bool:
    """Say whether all rows are the same."""
    return bool((x == x.narrow(axis, 0, 1)).all())


def equal(one: Tensor, other: Tensor) -> bool:
    """Say whether two tensors hold the same; NaN equals NaN."""
    if one.shape != other.shape or one.layout is not other.layout:
        return False
    return bool(((one == other) | ((one != one) & (other != other))).all())

"""What counts in a loss: which labels, and by how much."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from zoo.testing.checks.losses_read import Reading, read
from zoo.testing.checks.losses_view import (
    IGNORED,
    View,
    drawn,
    fitting,
    shift_of,
    shifted,
)
from zoo.testing.finding import Finding


def read_labels(view: View) -> tuple[str, Tensor, Reading, int] | None:
    """Give the labels, the reading and the shift of a classifier whose loss is understood."""
    reading = view.reading()
    if reading is None or reading.form not in ("cross entropy", "linear", "logarithm"):
        return None
    labels = fitting(view, tuple(reading.weight.shape))
    if labels is None:
        return None
    name, wanted = labels
    shift = shift_of(reading.classes(), reading.counted(), wanted, wanted >= 0)
    return None if shift is None else (name, wanted, reading, shift)


def ignored(view: View) -> Iterator[Finding]:
    """Check that labels which must not count do not, and that all the others do."""
    known = read_labels(view)
    if known is None:
        yield from holes_in_any(view)
        return
    name, wanted, reading, shift = known
    for part in (holes_count, padding_counts, class_lost, declared_index):
        found = part(view, name, wanted, reading, shift)
        if found is not None:
            yield found
            return


def holes_in_any(view: View) -> Iterator[Finding]:
    """Find positions with the declared ignore_index that have a gradient, whatever the loss is."""
    spec, free = view.subject.spec, view.free
    if spec.ignore_index is None or spec.label_shift:
        return
    for path in free.live:
        x = free.base(path)
        for axis in range(1, x.dim()):
            labels = fitting(view, tuple(n for a, n in enumerate(x.shape) if a != axis))
            if labels is None or spec.task == "next_token":
                continue
            holes = labels[1] == spec.ignore_index
            gradient = free.gradient(drawn(x, 0), path=path).movedim(axis, -1).abs().amax(-1)
            counted = holes & (gradient > 1e-9 * gradient.max())
            if not bool(counted.any()) or not bool((~holes).any()):
                continue
            if only_by_rows(view, path, axis, labels, holes):
                yield over_rows(view, labels[0], int(counted.sum()))
                return
            yield view.finding(
                "loss-ignored",
                "fail",
                f"{int(counted.sum())} of {int(holes.sum())} positions whose label in "
                f"{labels[0]!r} is {spec.ignore_index}, the declared ignore_index, have a gradient",
                f"{spec.ignore_index} says that a position has no target, so no part of the loss "
                "may depend on what stands there",
                "multiply every term of the loss with a mask of the labels that count",
            )
            return


def only_by_rows(
    view: View, path: str, axis: int, labels: tuple[str, Tensor], holes: Tensor
) -> bool:
    """Say whether ignored positions count only by what stands there in other rows."""
    index = view.subject.spec.ignore_index
    assert index is not None
    other = changed_label(view, labels[0], labels[1].masked_fill(holes.any(0), index))
    gradient = view.free.gradient(drawn(view.free.base(path), 0), other, path)
    size = gradient.movedim(axis, -1).abs().amax(-1)
    return bool(size.any()) and not bool((size[holes] > 1e-9 * size.max()).any())


def over_rows(view: View, name: str, count: int) -> Finding:
    """Make the finding of a softmax over the rows of the batch, seen at ignored positions."""
    return view.finding(
        "loss-input",
        "fail",
        f"{count} positions that {name!r} says to ignore have a gradient, and none of them when "
        "the same positions of the other rows are ignored too",
        "something is normalised along the batch, so that rows compete with each other",
        "take softmax along the class axis: dim=1 of (batch, class, ...), or dim=-1",
    )


def holes_count(
    view: View, name: str, wanted: Tensor, reading: Reading, shift: int
) -> Finding | None:
    """Find labels that say "do not count" and count."""
    said = view.subject.spec.ignore_index
    index = IGNORED if said is None else said
    holes = shifted(wanted, shift, 0) == index
    counted = reading.counted() & holes
    if (index >= 0 and said is None) or not bool(counted.any()):
        return None
    return view.finding(
        "loss-ignored",
        "fail",
        f"{int(counted.sum())} of {int(holes.sum())} positions whose label in {name!r} is {index} "
        f"have a gradient; they are trained to emit class "
        f"{sorted(set(reading.classes()[counted].tolist()))[:5]}",
        f"{index} says that a position has no target",
        f"leave these positions out: ignore_index={index}, or a mask on the loss",
    )


def padding_counts(
    view: View, name: str, wanted: Tensor, reading: Reading, shift: int
) -> Finding | None:
    """Find padded positions that are trained to emit something."""
    subject = view.subject
    mask = view.free.batch.get(subject.facts.padding_mask or "")
    if not isinstance(mask, Tensor) or mask.shape != wanted.shape or wanted.dim() < 2:
        return None
    keep = mask.bool() if subject.facts.mask_keeps else ~mask.bool()
    real = shifted(keep, shift, True)
    counted = reading.counted() & ~real
    if not bool(counted.any()) or not bool(keep.any()):
        return None
    own = subject.spec.loss is not None and subject.spec.padding_mask is not None
    first = counted & keep
    return view.finding(
        "loss-ignored",
        "fail" if own else "warn",
        f"{int(counted.sum())} of the {int(reading.counted().sum())} labels that count stand at "
        f"positions which {subject.facts.padding_mask!r} calls padding"
        + (f"; {int(first.sum())} real positions are trained to emit padding" if shift else ""),
        "padding is no target: the model spends its effort on it, and the loss depends on how far "
        "a batch was padded",
        f"give padded positions the label {IGNORED} in {name!r}, or leave them out by the mask",
    )


def class_lost(
    view: View, name: str, wanted: Tensor, reading: Reading, shift: int
) -> Finding | None:
    """Find a real class that never counts: an ignore_index that is also a class."""
    spec, free = view.subject.spec, view.free
    classes = free.base().shape[reading.axis]
    if free.slow():
        return None
    if wanted.dim() > 1 or classes > 64:
        return swallowed(view, name, wanted, reading, shift)
    lost = []
    for start in range(0, classes, len(wanted)):
        tried = (torch.arange(len(wanted)) + start) % classes
        other = changed_label(view, name, tried)
        again = read(free, batch=other)
        if again is None or again.weight.shape != tried.shape:
            return None
        lost += tried[~again.counted()].tolist()
    lost = sorted(set(lost) - {spec.ignore_index})
    if not lost or len(lost) == classes:
        return None
    return view.finding(
        "loss-ignored",
        "fail" if len(lost) == 1 else "warn",
        f"a row whose label in {name!r} is {lost[0]} has a gradient of exactly 0; all the other "
        f"{classes - len(lost)} classes count",
        "the class is never learnt: an ignore_index (or a weight of 0) swallows it",
        f"use an ignore_index that is no class, such as {IGNORED}",
    )


def changed_label(view: View, name: str, labels: Tensor) -> dict[str, Any]:
    """Copy the batch with other labels."""
    old = view.free.batch[name]
    return dict(view.free.batch) | {name: labels.reshape(old.shape).to(old.dtype)}


def swallowed(
    view: View, name: str, wanted: Tensor, reading: Reading, shift: int
) -> Finding | None:
    """Find one class of many that never counts at real positions."""
    spec, subject = view.subject.spec, view.subject
    counted = reading.counted()
    label = shifted(wanted, shift, IGNORED)
    out = ~counted & (label >= 0) & (label != (spec.ignore_index if spec.ignore_index else -1))
    mask = view.free.batch.get(subject.facts.padding_mask or "")
    sure = isinstance(mask, Tensor) and mask.shape == wanted.shape
    if sure:
        keep = mask.bool() if subject.facts.mask_keeps else ~mask.bool()  # type: ignore[union-attr]
        out = out & keep & shifted(keep, shift, False)
    values = set(label[out].tolist())
    if len(values) != 1 or spec.ignore_index in values or spec.pad_id in values:
        return None
    value = values.pop()
    if bool((counted & (label == value)).any()) or int((label == value).sum()) < 2:
        return None
    return view.finding(
        "loss-ignored",
        "fail" if sure or spec.ignore_index is not None or wanted.dim() != 2 else "warn",
        f"all {int(out.sum())} real positions whose label in {name!r} is {value} have a gradient "
        "of exactly 0, and positions with other labels count",
        f"class {value} is never learnt: an ignore_index of {value} swallows it",
        f"use an ignore_index that is no class, such as {IGNORED}, and set padded labels to it",
    )


def declared_index(
    view: View, name: str, wanted: Tensor, reading: Reading, shift: int
) -> Finding | None:
    """Give a counted position the ignore_index that was declared: it must not count any more."""
    index = view.subject.spec.ignore_index
    if index is None or int(reading.counted().sum()) < 2:
        return None
    place = (shifted(wanted, shift, index) != index) & reading.counted()
    if not bool(place.any()):
        return None
    at = place.nonzero()[0].tolist()
    spot = tuple(at) if wanted.dim() < 2 else (at[0], at[1] + shift, *at[2:])
    labels = wanted.clone()
    labels[spot] = index
    other = changed_label(view, name, labels)
    try:
        gradient = view.free.gradient(drawn(view.free.base(), 0), other)
        lost = not bool(gradient.movedim(reading.axis, -1)[tuple(at)].any())
        said = "still has a gradient"
    except Exception as error:
        lost, said = False, f"makes the loss raise {type(error).__name__}: {error!s:.120}"
    if lost:
        return None
    return view.finding(
        "loss-ignored",
        "fail",
        f"a label of {index}, the declared ignore_index, at {spot} of {name!r} {said}",
        "labels with the ignore_index must have no part in the loss",
        f"give the loss ignore_index={index}",
    )

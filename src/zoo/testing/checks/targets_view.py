"""What a loss trains every position to emit: exactly for known forms, by trial for others."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from zoo.testing.checks.losses_read import read
from zoo.testing.checks.losses_view import IGNORED, View, drawn, fitting

PICKING = ("cross entropy", "linear", "logarithm")
SHIFTS = (0, 1, 2, -1, -2)


@dataclass(frozen=True)
class Trained:
    """The class that each position is trained to emit, and which positions are trained."""

    path: str
    classes: Tensor
    counted: Tensor


def trained(view: View, path: str, batch: Mapping[str, Any] | None = None) -> Trained | None:
    """Give what positions are trained to emit, for known losses exactly, for others by trial."""
    reading = view.readings.get(path)
    if reading is not None and batch is not None:
        reading = read(view.free, path, batch)
    if reading is not None:
        if reading.form not in PICKING or bool((reading.weight < 0).any()):
            return None
        return Trained(path, reading.classes(), reading.counted())
    return by_trial(view, path, batch)


def by_trial(view: View, path: str, batch: Mapping[str, Any] | None) -> Trained | None:
    """Find the class that is pushed up most at every position, for three random outputs."""
    x = view.free.base(path)
    spec = view.subject.spec
    axes = [spec.class_axis % x.dim()] if spec.class_axis is not None else [x.dim() - 1, 1]
    for axis in axes:
        if x.dim() < 2 or axis < 1 or x.shape[axis] < 2:
            continue
        shape = tuple(n for a, n in enumerate(x.shape) if a != axis)
        if fitting(view, shape) is None:
            continue
        rows = slopes(view, path, axis, batch)
        if rows is None:
            continue
        classes = [row.argmin(-1) for row in rows]
        same = (classes[0] == classes[1]) & (classes[0] == classes[2])
        counted = rows[0].any(-1)
        if bool((same | ~counted).all()) and bool(counted.any()):
            return Trained(path, classes[0], counted)
    return None


def slopes(
    view: View, path: str, axis: int, batch: Mapping[str, Any] | None
) -> list[Tensor] | None:
    """Give the loss's gradient at three outputs: random, or distributions where it takes no other.

    The axis is moved to the end. None where the loss can be taken of neither.
    """
    like = view.free.base(path)
    makers: tuple[Callable[[Tensor], Tensor], ...] = (
        lambda x: x,
        lambda x: x.softmax(axis),
        lambda x: x.log_softmax(axis),
    )
    for make in makers:
        try:
            found = [view.free.gradient(make(drawn(like, k)), batch, path) for k in range(3)]
        except Exception:
            continue
        if all(bool(one.isfinite().all()) for one in found):
            return [one.movedim(axis, -1) for one in found]
    return None


def some(one: Trained, wanted: Tensor) -> str:
    """Show the first row: what is trained, beside something to compare with."""
    row = [
        str(int(c)) if bool(k) else "-"
        for c, k in zip(one.classes[0].flatten(), one.counted[0].flatten(), strict=True)
    ]
    return f"row 0 is trained on [{' '.join(row[:12])}], {list_of(wanted[0])}"


def list_of(x: Tensor) -> str:
    """Write the first numbers of a row."""
    return f"[{' '.join(str(int(v)) for v in x.flatten()[:12])}]"


def labels_of(view: View, one: Trained) -> tuple[str, Tensor, Tensor] | None:
    """Give the labels of a tensor of the output, by name, and which of them are targets."""
    found = fitting(view, tuple(one.classes.shape))
    if found is None:
        return None
    ignore = view.subject.spec.ignore_index
    valid = (found[1] >= 0) & (found[1] != (IGNORED if ignore is None else ignore))
    return found[0], found[1], valid

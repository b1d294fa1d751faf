"""Who mixes what should be apart: two runs of one model, recorded and compared along one axis."""

from collections.abc import Callable

from torch import Tensor, nn

from zoo.testing.blame import Place, Recording, first_wrong, record
from zoo.testing.checks.influence_tools import Batch, Rig, rows_in, scale_of


def blame_rows(rig: Rig, one: Batch, other: Batch) -> Place | None:
    """Find where two batches that differ in one row first differ in more; rows may be sorted."""
    size = rows_in(rig, one)

    def wrong(a: Tensor, b: Tensor) -> bool:
        if a.shape != b.shape or not a.is_floating_point():
            return False
        fits = [axis for axis in range(min(a.dim(), 2)) if a.shape[axis] == size]
        if not fits and a.dim() == 2 and a.shape[0] % size == 0:  # rows and positions in one axis
            a, b, fits = (*(x.reshape(size, -1) for x in (a, b)), [0])
        if len(fits) != 1:
            return False
        scale = scale_of(a)
        pairs = zip(a.unbind(fits[0]), b.unbind(fits[0]), strict=True)
        return sum(rig.differ(x, y, scale) for x, y in pairs) > 1

    return blame(rig, one, other, wrong)


def blame_positions(
    rig: Rig, one: Batch, other: Batch, length: int, keep: Callable[[Tensor, int], Tensor]
) -> Place | None:
    """Find where positions that must agree first part; `keep(x, axis)` cuts them out."""
    size = rows_in(rig, one)

    def wrong(a: Tensor, b: Tensor) -> bool:
        if a.shape != b.shape or not a.is_floating_point():
            return False
        one, other = placed(a, length, size), placed(b, length, size)
        if one is None or other is None:
            return False
        return rig.differ(keep(one[0], one[1]), keep(other[0], other[1]))

    return blame(rig, one, other, wrong)


def placed(x: Tensor, length: int, size: int) -> tuple[Tensor, int] | None:
    """Find the axis of positions of what passes inside a model; scores (t, t) have two.

    Rows and positions in one axis, (b t, d), are taken apart.
    """
    if x.dim() == 2 and x.shape[0] == size * length and size > 1:
        return x.reshape(size, length, -1), 1
    axes = [axis for axis in range(x.dim()) if x.shape[axis] == length]
    if len(axes) != 1 or not 2 <= x.dim() <= 4:
        return None
    (axis,) = axes
    if x.dim() == 4:
        return (x, axis) if axis in (1, 2) and x.shape[0] == size else None
    return (x, axis) if axis == 1 or (axis == 0 and x.shape[1] == size) else None


def blame(
    rig: Rig, one: Batch, other: Batch, wrong: Callable[[Tensor, Tensor], bool]
) -> Place | None:
    """Record two runs and find the first step that is wrong; None where recording fails."""
    try:
        return first_wrong(recorded(rig, one), recorded(rig, other), wrong)
    except Exception:
        return None


def owner(rig: Rig, place: Place | None) -> str:
    """Give the module whose code is wrong: of torch's attention and RNNs the one that built it."""
    if place is None:
        return ""
    part = dict(rig.bench.module.named_modules()).get(place.where)
    if isinstance(part, nn.MultiheadAttention | nn.RNNBase):
        return place.where.rpartition(".")[0]
    return place.where


def recorded(rig: Rig, batch: Batch) -> Recording:
    """Record a run of a fresh bench."""
    bench = rig.subject.bench(train=rig.train)
    return record(bench.module, lambda: bench.run(batch))


def vanished(rig: Rig, one: Batch, other: Batch) -> Place | None:
    """Find the step after the last one at which two runs differ: where a difference is lost."""
    try:
        pairs = list(zip(recorded(rig, one).steps, recorded(rig, other).steps, strict=True))
    except Exception:
        return None
    last = -1
    for number, (a, b) in enumerate(pairs):
        if any(rig.differ(x, y) for x, y in zip(a.tensors, b.tensors, strict=False)):
            last = number
    for a, _ in pairs[last + 1 :]:
        if a.kind == "op":
            return Place(a.module, a.line, a.name)
    return None

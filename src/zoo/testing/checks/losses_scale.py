"""How a loss grows with the batch, and over what its mean is taken."""

from collections.abc import Iterator

import torch
from torch import Tensor

from zoo.testing.checks.losses_count import read_labels
from zoo.testing.checks.losses_free import rebuilt
from zoo.testing.checks.losses_view import View, drawn
from zoo.testing.finding import Finding
from zoo.testing.trees import changed


def doubled(view: View, path: str, x: Tensor) -> float | None:
    """Give how much a row's gradient grows when the batch is repeated, times two: 1 for a mean."""
    free = view.free

    def twice(one: Tensor) -> Tensor:
        axes = [a for a, n in enumerate(one.shape) if n == free.size]
        return torch.cat([one, one], axes[0]) if axes else one

    batch = {name: changed(item, twice) for name, item in free.batch.items()}
    before = free.gradient(x, path=path)
    leaf = twice(x).requires_grad_()
    try:
        if free.at >= 0:
            value = free.evaluate({path: leaf}, batch)
        else:
            output = rebuilt(free.output, lambda p, one: leaf if p == path else twice(one))
            value = view.subject.loss(output, batch)
        after = torch.autograd.grad(value.sum(), leaf, allow_unused=True)[0]
    except Exception:
        return None
    if after is None or after.shape[0] != 2 * x.shape[0] or not bool(before.any()):
        return None
    after = after[: x.shape[0]]
    ratio = 2 * float((after * before).sum() / (before * before).sum())
    if view.subject.spec.reduction == "mean" and not 0.8 < ratio < 1.2:
        return ratio
    alike = (2 * after - ratio * before).abs().max() <= 1e-3 * (ratio * before).abs().max()
    return ratio if bool(alike) else None


def scale(view: View) -> Iterator[Finding]:
    """Check how the loss grows with the batch: a mean stays, a sum doubles."""
    if view.coupled() or view.subject.spec.reduction == "none" or view.free.slow():
        return
    for path in view.free.live:
        found = list(growth(view, path)) if view.free.base(path).dim() else []
        yield from found
        if found:
            return
    yield from denominator(view)


def growth(view: View, path: str) -> Iterator[Finding]:
    """Check how the part of one tensor of the output grows with the batch."""
    spec, free = view.subject.spec, view.free
    x = free.base(path)
    ratio = doubled(view, path, drawn(x, 2) if view.readings.get(path) else x)
    if ratio is None:
        return
    rounded = min((0.5, 1.0, 2.0, 4.0), key=lambda r: abs(r - ratio))
    said = spec.reduction
    if abs(rounded - ratio) > 1e-3 * rounded:
        if said == "mean" and ratio > 1.2:
            yield mixed(view, path, ratio)
        return
    what = f"a batch repeated once gives {rounded:g} times the loss, gradient by gradient"
    what += f", of its part with output {path!r}" if path and len(free.live) > 1 else ""
    if rounded == 2 and said != "sum":
        yield view.finding(
            "loss-scale",
            "fail" if said == "mean" else "warn",
            what + (", and a mean was declared" if said == "mean" else ""),
            "the loss is a sum over the rows: the step's size follows the size of the batch",
            "take the mean over what counts (reduction='mean'), or declare reduction='sum'",
        )
    elif rounded == 1 and said == "sum":
        yield view.finding(
            "loss-scale",
            "fail",
            "a batch repeated once gives the same loss, and a sum was declared",
            "the loss is a mean over the rows",
            "sum the rows' losses (reduction='sum'), or declare reduction='mean'",
        )
    elif rounded == 0.5 or (rounded == 4 and said is not None):
        yield view.finding(
            "loss-scale",
            "fail",
            what,
            "the loss of a larger batch shrinks: it is divided by the number of rows twice"
            if rounded == 0.5
            else "the loss grows with the square of the batch",
            "divide by the number of rows once",
        )


def mixed(view: View, path: str, ratio: float) -> Finding:
    """Make the finding of a loss that adds a mean and a sum."""
    at = f"output {path!r}" if path else "the output"
    return view.finding(
        "loss-scale",
        "fail",
        f"a batch repeated once gives {ratio:.4g} times the gradient with respect to {at}, and a "
        "mean was declared; a mean gives 1, a sum 2",
        "one term of the loss is a sum over the rows, so its weight follows the size of the batch",
        "take the mean over the rows in every term",
    )


def denominator(view: View) -> Iterator[Finding]:
    """Check that a mean over positions is taken over the positions that count."""
    known = read_labels(view)
    if known is None or view.subject.spec.reduction not in (None, "mean"):
        return
    _, _, reading, _ = known
    counted = reading.counted()
    weights = reading.weight[counted]
    total, count, every = float(weights.sum()), int(counted.sum()), counted.numel()
    even = float(weights.max() - weights.min()) <= 1e-4 * float(weights.max())
    if not even or count == every or abs(total - count / every) > 1e-4 * total:
        return
    declared = view.subject.spec.reduction == "mean"
    holes = view.subject.spec.ignore_index is not None or declared
    yield view.finding(
        "loss-scale",
        "fail" if declared and holes else "warn",
        f"{count} of {every} positions count, and each has the weight 1/{every}",
        "the mean is taken over the padded and ignored positions too: the loss is "
        f"{every / count:.3g} times too small, and depends on how far a batch was padded",
        "divide the sum of the losses by the number of labels that count",
    )

"""What numbers an output is trained to be: where the loss has its minimum, beside the labels."""

from collections.abc import Iterator

import torch
from torch import Tensor

from zoo.testing.checks.losses_view import View, ending
from zoo.testing.finding import Finding

POSITIVE = ("softplus", "exp", "relu", "sigmoid", "softmax", "square", "abs")


def real_targets(view: View) -> Iterator[Finding]:
    """Look at every tensor of the output that has labels of real numbers."""
    for path in view.free.live:
        for name, labels in view.labels.items():
            if labels.is_floating_point() and labels.numel() == view.free.base(path).numel():
                found = minimum(view, path, name, labels)
                if found is not None:
                    yield found
                    return
    yield from identity(view)


def has_numbers(view: View) -> bool:
    """Say whether a tensor of the output has labels of real numbers."""
    sizes = {view.free.base(path).numel() for path in view.free.live}
    return any(x.is_floating_point() and x.numel() in sizes for x in view.labels.values())


def flat_at(view: View, path: str, goal: Tensor) -> bool:
    """Say whether the loss has its minimum where the output is this: not so one step away."""
    free = view.free
    x = goal.to(free.base(path).dtype).reshape(free.base(path).shape)
    step = 0.5 * (1 + x.abs())
    try:
        here, up, down = (free.gradient(x + a * step, path=path).double() for a in (0, 1, -1))
    except Exception:
        return False
    if not all(bool(g.isfinite().all()) for g in (here, up)):
        return False
    scale = float(up.abs().max())
    turned = (up > 0).double().mean() > 0.9 and not bool((down[down.isfinite()] > 0).any())
    return scale > 0 and float(here.abs().max()) <= 1e-4 * scale and bool(turned)


def minimum(view: View, path: str, name: str, labels: Tensor) -> Finding | None:
    """Compare the place of the minimum with the labels."""
    if flat_at(view, path, labels):
        return None
    at = f"output {path!r}" if path else "the output"
    if bool(labels.any()) and flat_at(view, path, -labels):
        return view.finding(
            "loss-targets",
            "fail",
            f"the loss is least where {at} is -{name}, the labels with the other sign",
            "the model learns the opposite of what it should give",
            f"compare with {name} itself: a difference, not a sum",
        )
    for k in range(1, len(labels)) if labels.dim() else ():
        other = labels.roll(k, 0)
        if not torch.equal(other, labels) and flat_at(view, path, other):
            return view.finding(
                "loss-targets",
                "fail",
                f"the loss is least where row i of {at} is {name}[i - {k}], another row's label",
                "every row is trained on the label of another",
                "keep outputs and labels in one order",
            )
    if bool((labels > 0).any()) and bool((labels >= 0).all()):
        return logarithms(view, path, name, labels)
    return None


def logarithms(view: View, path: str, name: str, labels: Tensor) -> Finding | None:
    """Find a loss that takes for a logarithm what is none."""
    real = labels.clamp_min(1e-3)
    if not least_at_log(view, path, real, name):
        return None
    place = ending(view, path, POSITIVE)
    bounds = view.subject.spec.output_range
    if place is None and (bounds is None or bounds[0] < 0):
        return None
    at = f"output {path!r}" if path else "the output"
    why = f"it is what {place.name} gives" if place else f"its declared range is {bounds}"
    return view.finding(
        "loss-input",
        "fail",
        f"the loss is least where {at} is log({name}), and {at} is never negative: {why}",
        "the loss takes the output for a logarithm (as poisson_nll_loss does by default), and the "
        "model gives the number itself",
        "tell the loss that it gets the number itself (log_input=False), or let the model give "
        "the logarithm, without the last activation",
    )


def least_at_log(view: View, path: str, labels: Tensor, name: str) -> bool:
    """Say whether the loss is least at the logarithm of labels that are all positive."""
    free = view.free
    batch = dict(free.batch) | {name: labels}
    x = labels.log().to(free.base(path).dtype).reshape(free.base(path).shape)
    at = (x, x + 1, labels.to(x.dtype).reshape(x.shape))
    try:
        here, up, own = (free.gradient(one, batch, path).double() for one in at)
    except Exception:
        return False  # a loss of numbers in (0, 1), say
    scale = float(up.abs().max())
    return scale > 0 and float(here.abs().max()) <= 1e-4 * scale < 1e-2 * float(own.abs().max())


def identity(view: View) -> Iterator[Finding]:
    """Find a denoiser that is trained to give its own noisy input back."""
    reading, free = view.reading(), view.free
    if view.subject.spec.task != "denoising" or reading is None or reading.form != "squared":
        return
    given = view.subject.arguments(free.batch).items()
    alike = [(n, x) for n, x in given if isinstance(x, Tensor) and x.shape == free.base().shape]
    for name, x in alike if len(alike) == 1 else ():  # with two, forward itself adds the noise
        if bool((reading.target - x).abs().max() <= 1e-4 * x.abs().max()):
            yield view.finding(
                "loss-targets",
                "fail",
                f"the loss is least where the output is {name!r}, which the model is given",
                "a denoiser that gives back its noisy input has learnt nothing",
                "compare the output with the noise, or with the clean data",
            )
            return

"""What a loss wants, read off its gradient at points where it must show.

    cross entropy   g = w (softmax(x) - q)       along one axis, w one number a position
    binary          g = w (sigmoid(x) - y)       element by element
    squared         g = w (x - y)                element by element
    linear          g is the same everywhere     nll_loss
    logarithm       g = -w / x, only where the target is

Two points give w and the target, a third one proves them. All in float64.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from zoo.testing.checks.losses_free import Free

Form = Literal[
    "cross entropy",
    "binary",
    "squared",
    "linear",
    "logarithm",
    "cross entropy of a softmax",
    "binary of a sigmoid",
]


@dataclass(frozen=True)
class Reading:
    """A loss that is understood. Tensors have the class axis last, where there is one."""

    form: Form
    axis: int  # the class axis of the output, or -1
    weight: Tensor  # how much every position (or element) counts
    target: Tensor  # the distribution wanted at every position, or the wanted number

    def classes(self) -> Tensor:
        """Give the class that every position is trained to emit."""
        return self.target.argmax(-1)

    def counted(self) -> Tensor:
        """Say which positions (or elements) count at all."""
        return self.weight.abs() > 1e-9 * float(self.weight.abs().max())


def points(x: Tensor, draw: Callable[[int], Tensor]) -> list[Tensor]:
    """Draw three tensors like x."""
    return [draw(k).to(x.dtype) for k in range(3)]


def normal(x: Tensor) -> Callable[[int], Tensor]:
    """Make a source of standard normal tensors of x's shape."""
    return lambda k: torch.randn(
        x.shape, generator=torch.Generator().manual_seed(11 + k), dtype=torch.float64
    )


def positive(x: Tensor) -> Callable[[int], Tensor]:
    """Make a source of tensors of x's shape whose last axis is a distribution."""
    inner = normal(x)
    if not x.dim() or x.shape[-1] < 2:
        return lambda k: inner(k).sigmoid()
    return lambda k: inner(k).softmax(-1)


def read(free: Free, path: str | None = None, batch: Mapping[str, Any] | None = None) -> Any:
    """Read a loss; None where it is none of the known forms."""
    x = free.base(path)
    if not x.numel() or x.is_complex():
        return None
    for source in (normal(x), positive(x)):
        at = points(x, source)
        try:
            gradients = [free.gradient(one, batch, path).double() for one in at]
        except Exception:
            continue
        if all(bool(g.isfinite().all()) for g in gradients) and any(
            bool(g.any()) for g in gradients
        ):
            found = understand([one.double() for one in at], gradients, slack(free))
            if found is not None:
                return found
    return None


def slack(free: Free) -> float:
    """Give the relative error of a gradient that a precision explains."""
    narrow = free.bench.dtype is torch.float32 or free.bench.bound > 1e-6
    return 2e-4 if narrow else 1e-7  # logits are often taken to float32 by the loss itself


def understand(x: list[Tensor], g: list[Tensor], room: float) -> Reading | None:
    """Find the form whose weights and targets explain the gradients at three points."""
    for allowed in (room, 2e-4):  # a loss that computes in float32 by itself
        for reader in (linear, *softmaxes(x[0]), binary, squared, logarithm, *twice(x[0])):
            found = reader(x, g, allowed)
            if found is not None:
                return found
    return None


Reader = Callable[[list[Tensor], list[Tensor], float], Reading | None]


def softmaxes(x: Tensor) -> list[Reader]:
    """Make a reader for every axis that classes can lie on: the last first, the batch's last."""
    axes = [a for a in (*range(x.dim() - 1, 0, -1), 0) if x.dim() and x.shape[a] > 1]
    return [lambda x, g, room, a=a: cross_entropy(x, g, room, a) for a in axes]  # type: ignore[misc]


def twice(x: Tensor) -> list[Reader]:
    """Make readers of losses that take the softmax, or the sigmoid, of one already taken."""
    axes = [a for a in range(x.dim() - 1, 0, -1) if x.shape[a] > 1]
    return [lambda x, g, room, a=a: softmax_twice(x, g, room, a) for a in axes] + [sigmoid_twice]


def softmax_twice(x: list[Tensor], g: list[Tensor], room: float, axis: int) -> Reading | None:
    """Read a cross entropy over what a softmax gave: its Jacobian is taken off the gradient."""
    s = [one.movedim(axis, -1).softmax(-1) for one in x]
    v = [grad.movedim(axis, -1) / one for one, grad in zip(s, g, strict=True)]
    found = cross_entropy(s, [one - one.mean(-1, keepdim=True) for one in v], room, s[0].dim() - 1)
    if found is None:
        return None
    return replace(found, form="cross entropy of a softmax", axis=axis)


def sigmoid_twice(x: list[Tensor], g: list[Tensor], room: float) -> Reading | None:
    """Read a binary cross entropy over what a sigmoid gave."""
    s = [one.sigmoid() for one in x]
    v = [grad / (one * (1 - one)) for one, grad in zip(s, g, strict=True)]
    found = binary(s, v, room)
    return None if found is None else replace(found, form="binary of a sigmoid")


def close(one: Tensor, other: Tensor, room: float) -> bool:
    """Say whether two tensors agree, relative to the larger one's largest number."""
    scale = max(float(one.abs().max()), float(other.abs().max()))
    return bool((one - other).abs().max() <= room * scale)


def cross_entropy(x: list[Tensor], g: list[Tensor], room: float, axis: int) -> Reading | None:
    """Read a cross entropy over logits, with hard, smoothed or soft targets."""
    p = [one.movedim(axis, -1).softmax(-1) for one in x]
    h = [one.movedim(axis, -1) for one in g]
    dp = p[0] - p[1]
    weight = ((h[0] - h[1]) * dp).sum(-1, keepdim=True) / (dp * dp).sum(-1, keepdim=True)
    if not close(h[0] - h[1], weight * dp, room) or not float(weight.abs().max()):
        return None
    if not close(h[2] - h[0], weight * (p[2] - p[0]), room):
        return None
    live = weight.abs() > 10 * room * weight.abs().max()
    target = torch.where(live, p[0] - h[0] / torch.where(live, weight, 1.0), 0.0)
    if not close(
        target.sum(-1) * 0 + 1, torch.where(live, target, 1 / x[0].shape[axis]).sum(-1), 1e-2
    ):
        return None
    weight = torch.where(live, weight, 0.0)[..., 0]
    return Reading("cross entropy", axis, weight, target)


def elementwise(u: list[Tensor], g: list[Tensor], room: float, form: Form) -> Reading | None:
    """Read g = w (u - y) for each element by itself."""
    du = u[0] - u[1]
    weight = (g[0] - g[1]) / du
    if not float(weight.abs().max()) or not close(g[2] - g[0], weight * (u[2] - u[0]), 10 * room):
        return None
    live = weight.abs() > 10 * room * weight.abs().max()
    target = torch.where(live, u[0] - g[0] / torch.where(live, weight, 1.0), 0.0)
    return Reading(form, -1, torch.where(live, weight, 0.0), target)


def binary(x: list[Tensor], g: list[Tensor], room: float) -> Reading | None:
    """Read a binary cross entropy over logits."""
    return elementwise([one.sigmoid() for one in x], g, room, "binary")


def squared(x: list[Tensor], g: list[Tensor], room: float) -> Reading | None:
    """Read a squared error."""
    return elementwise(x, g, room, "squared")


def linear(x: list[Tensor], g: list[Tensor], room: float) -> Reading | None:
    """Read a loss that picks numbers out: its gradient is one constant at the targets."""
    if not (close(g[0], g[1], 1e-9) and close(g[0], g[2], 1e-9)):
        return None
    return picked(g[0], x[0].dim(), "linear")


def logarithm(x: list[Tensor], g: list[Tensor], room: float) -> Reading | None:
    """Read the logarithm of a probability that was picked out."""
    h = [one * grad for one, grad in zip(x, g, strict=True)]
    if not (close(h[0], h[1], room) and close(h[0], h[2], room)):
        return None
    return picked(h[0], x[0].dim(), "logarithm")


def picked(h: Tensor, dims: int, form: Form) -> Reading | None:
    """Make a reading of a gradient that has at most one number a position along some axis."""
    for axis in range(dims - 1, 0, -1):
        rows = h.movedim(axis, -1)
        if rows.shape[-1] > 1 and int((rows != 0).sum(-1).max()) == 1:
            return Reading(form, axis, -rows.sum(-1), (rows != 0).double())
    return None

"""The second derivative of something differentiable, two ways."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from zoo.testing.checks.slopes_numeric import Slope, backward, directions, measured


def second_derivative(call: Callable[[], list[Tensor]], at: Sequence[Tensor]) -> Slope | None:
    """Compare autograd's second derivative with the difference of two first ones.

    None where they agree, or where autograd refuses to give one: that is honest.
    """

    def once() -> Tensor | None:
        outputs = call()
        incoming = [drawn(x, seed=3).requires_grad_() for x in outputs]
        first = torch.autograd.grad(outputs, at, incoming, create_graph=True, allow_unused=True)
        parts = [(g * drawn(g, seed=4)).sum() for g in first if g is not None]
        return torch.stack(parts).sum() if parts else None

    def number() -> Tensor:
        with torch.enable_grad():
            made = once()
        assert made is not None
        return made.detach()

    try:
        value = once()
        if value is None:
            return None
        given: Sequence[Tensor | None] = [None] * len(at)
        if value.requires_grad:  # a whole backward pass: one that is to be honest raises in it
            given = backward(value, at)
        along = directions(at, [None] * len(at))
        slope = measured(number, at, given, along, torch.float64)
    except Exception:
        return None
    return slope if slope.wrong() else None


def drawn(like: Tensor, seed: int) -> Tensor:
    """Draw weights for a tensor."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(like.shape, generator=generator, dtype=torch.float64)
    return weights.to(like.device, like.dtype)

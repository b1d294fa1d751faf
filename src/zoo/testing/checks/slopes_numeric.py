"""The slope of a number along a direction, by differences, beside the one autograd gives.

    n(h) = (f(h) - f(-h)) / 2h                    D(h) = f(h) - 2 f(0) + f(-h)

Where f is smooth, n(h) and n(h/2) agree and D(h) = 4 D(h/2). At a kink in 0 (a ReLU's, a tie of two
maxima) D(h) = 2 D(h/2), and D / h is the jump of the slope: as much as autograd may rightly be off.
Both differences together bound what the numeric slope may be wrong by.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zoo.testing.trees import tensors

STEP = {torch.float64: 1e-6, torch.float32: 3e-3}  # relative to a parameter's size
SHARE = {torch.float64: 1e-6, torch.float32: 2e-2}  # of the slope: what a sound model never shows
DOUBT = 20.0  # times the error that the two steps show


@dataclass(frozen=True)
class Slope:
    """Both slopes along one direction, and how far they may be apart."""

    analytic: float
    numeric: float
    error: float  # what the numeric one may be off by
    scale: float  # the size of the gradient's part in this direction
    still: bool  # the number did not move at all
    share: float

    def gap(self) -> float:
        """Give how far the two slopes are apart."""
        return abs(self.analytic - self.numeric)

    def bound(self) -> float:
        """Give how far they may be apart."""
        return self.share * (self.scale + abs(self.numeric)) + DOUBT * self.error

    def wrong(self) -> bool:
        """Say whether they are apart for certain. What is not a number says nothing."""
        return self.gap() > self.bound()

    def doubtful(self) -> bool:
        """Say whether they are apart, but a kink may explain it."""
        return not self.wrong() and not self.gap() <= self.share * (self.scale + abs(self.numeric))

    def stepped(self) -> bool:
        """Say whether the number is flat here while autograd gives it a slope."""
        return self.still and abs(self.analytic) > 0

    def cut(self) -> bool:
        """Say whether autograd gives nothing at all where the number moves."""
        return self.analytic == 0 and not self.still

    def __str__(self) -> str:
        return f"autograd says {self.analytic:.6g}, the difference of two runs {self.numeric:.6g}"


Scalar = Callable[[], Tensor]  # runs forward and gives one number


def directions(
    at: Sequence[Tensor], blocked: Sequence[Tensor | None], seed: int = 11
) -> list[Tensor]:
    """Draw a direction for each tensor, as large as the tensor is; blocked elements stay."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for x, stays in zip(at, blocked, strict=True):
        noise = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        size = float(x.detach().abs().double().mean()) if x.numel() else 0.0
        step = noise.to(x.device, x.dtype) * (size or 1.0)
        found.append(step if stays is None else step.masked_fill(stays, 0.0))
    return found


def measured(
    run: Scalar,
    at: Sequence[Tensor],
    gradients: Sequence[Tensor | None],
    along: Sequence[Tensor],
    dtype: torch.dtype,
) -> Slope:
    """Compare autograd's slope with the numeric one; the tensors come back as they were."""
    h = STEP[dtype]
    parts = [
        float((g * d.conj()).real.double().sum()) if g is not None else 0.0
        for g, d in zip(gradients, along, strict=True)
    ]
    kept = [x.detach().clone() for x in at]
    values = {}
    for step in (0.0, h, -h, h / 2, -h / 2):
        move(at, kept, along, step)
        values[step] = run()
    move(at, kept, along, 0.0)
    f = {step: float(x) for step, x in values.items()}
    middle = f[0.0]
    wide, close = (f[h] - f[-h]) / (2 * h), (f[h / 2] - f[-h / 2]) / h
    bend = (f[h] - 2 * middle + f[-h]) / 4 - (f[h / 2] - 2 * middle + f[-h / 2])
    rounding = torch.finfo(dtype).eps * 8 * (1 + abs(middle)) / h
    return Slope(
        analytic=sum(parts),
        numeric=close,
        error=abs(wide - close) + abs(bend) / h + rounding,
        scale=sum(p * p for p in parts) ** 0.5,
        still=all(value == middle for value in f.values()),
        share=SHARE[dtype],
    )


def move(
    at: Sequence[Tensor], kept: Sequence[Tensor], along: Sequence[Tensor], step: float
) -> None:
    """Set every tensor a step away from where it was."""
    with torch.no_grad():
        for x, old, d in zip(at, kept, along, strict=True):
            x.copy_(old if step == 0 else old + step * d)


def projected(output: Any, paths: Sequence[str] | None = None, seed: int = 5) -> Tensor | None:
    """Make one number of all real tensors of an output: every element has a weight of its own.

    What is not finite (a masked score) has none. None where no tensor is real.
    """
    total: Tensor | None = None
    for path, x in tensors(output).items():
        if (paths is not None and path not in paths) or not x.numel():
            continue
        if not (x.is_floating_point() or x.is_complex()):
            continue
        flat = torch.view_as_real(x) if x.is_complex() else x
        if flat.layout is not torch.strided:
            continue
        generator = torch.Generator().manual_seed(seed)
        weights = torch.randn(flat.shape, generator=generator, dtype=torch.float64)
        shown = torch.where(flat.isfinite(), flat, 0.0).double()
        part = (shown * weights.to(flat.device)).sum() / flat.numel() ** 0.5
        total = part if total is None else total + part
    return total


def with_gradient(output: Any) -> list[str]:
    """Give the paths of the tensors that a gradient can go through."""
    return [path for path, x in tensors(output).items() if x.requires_grad]


def backward(value: Tensor, at: Sequence[Tensor], *, again: bool = False) -> list[Tensor | None]:
    """Give the gradients of a number, dense; `.grad` is left empty. `again` keeps the graph."""
    for x in at:
        x.grad = None
    if value.requires_grad:
        value.backward(retain_graph=again)
    found = []
    for x in at:
        g = x.grad
        found.append(g.to_dense() if g is not None and g.layout is not torch.strided else g)
        x.grad = None
    return found

"""One row of a table of ops: what an op is compared with, on what, and what it refuses.

Samples are float64 masters; a test casts them to the dtype that it is about.  Nothing here knows
zoo: a row can describe any function of tensors.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sample:
    """Arguments of one call; floating tensors among them are what is differentiated."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    #: how many times larger the inputs are than what is left of them after the op's subtractions
    cancels: int = 1

    def to(self, dtype: torch.dtype, *, grad: bool = False) -> "Sample":
        """Copy the sample with its floating tensors in `dtype`, as leaves that may ask for grad.

        Strides are kept, so that a transposed or expanded master stays one.
        """

        def copy(x: Any) -> Any:
            if not isinstance(x, Tensor):
                return x
            if not x.is_floating_point():
                return x.clone()
            return restrided(x.detach(), dtype).requires_grad_(grad)

        return replace(
            self,
            args=tuple(copy(x) for x in self.args),
            kwargs={name: copy(x) for name, x in self.kwargs.items()},
        )

    def tensors(self) -> list[Tensor]:
        """Give all tensors, in the order of the call."""
        return [x for x in (*self.args, *self.kwargs.values()) if isinstance(x, Tensor)]

    def floats(self) -> tuple[Tensor, ...]:
        """Give the floating tensors, in the order of the call."""
        return tuple(x for x in self.tensors() if x.is_floating_point())

    def call(self, op: Callable[..., Any], *floats: Tensor) -> Any:
        """Call `op` with `floats` in the place of the sample's own floating tensors."""
        left = iter(floats or self.floats())

        def place(x: Any) -> Any:
            return next(left) if isinstance(x, Tensor) and x.is_floating_point() else x

        args = [place(x) for x in self.args]
        return op(*args, **{name: place(x) for name, x in self.kwargs.items()})


@dataclass(frozen=True)
class Refusal:
    """A call that must raise `error` with a message in which `match` is found."""

    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    error: type[Exception]
    match: str


@dataclass(frozen=True, kw_only=True)
class OpInfo:
    """One op: what it is called, what it equals, where it is tried, what it refuses."""

    name: str
    op: Callable[..., Any]
    reference: Callable[..., Any]
    samples: Callable[[], Iterable[Sample]]
    errors: Callable[[], Iterable[Refusal]] = tuple
    #: roundings in a chain, forward and backward, that a low dtype may show
    roundings: int = 4
    #: what autocast computes in (and, but for a loss, gives): "low", "float32", or "input"
    autocast: str = "input"
    #: the output is a loss: in float32 at least, whatever comes in
    loss: bool = False


def restrided(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Copy `x` to `dtype` with the same strides, a repeated axis (stride 0) included."""
    seen = tuple(slice(0, 1) if step == 0 else slice(None) for step in x.stride())
    core = x[seen]
    copy = torch.empty_strided(core.shape, core.stride(), dtype=dtype, device=x.device)
    return copy.copy_(core).expand(x.shape) if x.numel() else copy.expand(x.shape)


def randn(*shape: int, seed: int = 0) -> Tensor:
    """Draw a float64 tensor from its own generator; two of one shape need two seeds."""
    generator = torch.Generator().manual_seed(seed + 1000 * len(shape) + sum(shape))
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def randint(high: int, *shape: int, seed: int = 0) -> Tensor:
    """Draw an int64 tensor below `high` from its own generator."""
    generator = torch.Generator().manual_seed(seed + 1000 * len(shape) + sum(shape))
    return torch.randint(high, shape, generator=generator)


def f64(values: Any) -> Tensor:
    """Write a float64 tensor by hand."""
    return torch.tensor(values, dtype=torch.float64)

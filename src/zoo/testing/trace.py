"""What every submodule gave in one forward pass, and the first place where two passes differ.

Submodules are in the order in which they finish, so an inner one comes before the one it is in:
the first difference is the innermost cause.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Divergence:
    """Where two traces differ first, and by how much."""

    name: str
    difference: float  # largest absolute; infinite for another shape, or for one NaN
    bound: float

    def __str__(self) -> str:
        return f"first differs at {self.name} by {self.difference:.3g} (allowed: {self.bound:.3g})"


def trace(module: nn.Module, *args: Any, **kwargs: Any) -> dict[str, Tensor]:
    """Run a forward pass; give each submodule's output by its name, the module's own as ''.

    A submodule that runs more than once keeps its last output; one that gives a tuple, its first
    tensor. Hooks are removed again, whatever happens.
    """
    found: dict[str, Tensor] = {}
    handles = [m.register_forward_hook(keep(found, name)) for name, m in module.named_modules()]
    try:
        module(*args, **kwargs)
    finally:
        for handle in handles:
            handle.remove()
    return found


def keep(found: dict[str, Tensor], name: str) -> Callable[..., None]:
    """Make a hook that stores what a submodule gives."""

    def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
        while isinstance(output, tuple | list) and output:
            output = output[0]
        if isinstance(output, Tensor):
            found.pop(name, None)  # a second run moves to the end
            found[name] = output.detach().clone()

    return hook


def first_divergence(
    actual: Mapping[str, Tensor],
    expected: Mapping[str, Tensor],
    *,
    rtol: float,
    atol: float,
    kept: Tensor | None = None,
) -> Divergence | None:
    """Find the first name, in the order of `actual`, whose outputs differ; None when none does.

    A number may differ by `atol + rtol |expected|`. `kept` is a boolean mask over the leading axes
    of the outputs that have them: what it leaves out (padding) is not compared.
    """
    for name, mine in actual.items():
        if name not in expected:
            continue
        theirs = expected[name]
        if (
            kept is not None
            and mine.shape[: kept.dim()] == kept.shape == theirs.shape[: kept.dim()]
        ):
            mine, theirs = mine[kept], theirs[kept]
        size, bound = difference(mine, theirs, rtol=rtol, atol=atol)
        if size > bound:
            return Divergence(name, size, bound)
    return None


def difference(mine: Tensor, theirs: Tensor, *, rtol: float, atol: float) -> tuple[float, float]:
    """Give the difference that exceeds its bound the most, and that bound."""
    if mine.shape != theirs.shape:
        return float("inf"), 0.0
    if not mine.numel():
        return 0.0, atol
    a, b = mine.double().flatten(), theirs.double().flatten()
    apart = torch.where(a == b, 0.0, (a - b).abs()).nan_to_num(nan=torch.inf, posinf=torch.inf)
    apart = torch.where(a.isnan() & b.isnan(), 0.0, apart)
    bound = (atol + rtol * b.abs()).nan_to_num(nan=atol, posinf=atol)
    worst = int((apart - bound).argmax())
    return float(apart[worst]), float(bound[worst])

"""What checks share: the error, a module left as it was, and weights that hide nothing."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

Inputs = Mapping[str, Tensor]

# float64 rounds at 1e-16; a path of a thousand operations stays far below this
NOISE = 1e-9


class CheckFailed(AssertionError):
    """A property that a module was said to have and has not."""


def stressed(module: nn.Module, seed: int = 0) -> nn.Module:
    """Copy a module in float64 with large random weights, in eval mode.

    Weights of deviation 0.02 make a leak so small that a tolerance swallows it.
    """
    copy = deepcopy(module).double().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in copy.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(noise.to(parameter.device) * 0.3)
    return copy


def output_of(module: nn.Module, inputs: Inputs) -> Tensor:
    """Run a module and give the tensor that it gives; of a tuple or a table, the first."""
    output: Any = module(**inputs)
    while not isinstance(output, Tensor):
        if isinstance(output, Mapping):
            output = list(output.values())
        if not isinstance(output, tuple | list) or not output:
            raise CheckFailed(f"the module gives {type(output).__name__}; expected a tensor")
        output = output[0]
    return output


def largest(difference: Tensor) -> float:
    """Give the largest absolute value; a NaN counts as infinite, nothing as 0."""
    if not difference.numel():
        return 0.0
    return float(difference.abs().nan_to_num(nan=torch.inf, posinf=torch.inf).max())


def _kept_generator() -> Iterator[None]:
    state = torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_rng_state(state)


kept_generator = contextmanager(_kept_generator)


def another(tensor: Tensor, where: tuple[Any, ...]) -> Tensor:
    """Copy ids or floats with other values at `where`: ids trade places with ones that exist."""
    changed = tensor.clone()
    if tensor.is_floating_point():
        changed[where] = changed[where] + 1.0
        return changed
    low, high = int(tensor.min()), int(tensor.max())
    if low == high:
        raise CheckFailed("all ids are equal; give inputs with at least two different ids")
    changed[where] = torch.where(changed[where] == high, low, changed[where] + 1)
    return changed

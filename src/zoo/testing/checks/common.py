"""What checks share: the error, a copy whose weights hide nothing, and how far two outputs lie."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
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
            parameter.copy_(noise * 0.3)
            parameter.grad = None
    return copy


def doubled(inputs: Inputs) -> dict[str, Tensor]:
    """Give the inputs with floating ones in float64, as a stressed module wants them."""
    return {name: x.double() if x.is_floating_point() else x for name, x in inputs.items()}


def kept_generator(module: nn.Module) -> AbstractContextManager[None]:
    """Make a block after which torch's generators stand where they stood."""
    devices = sorted({p.device.index for p in module.parameters() if p.is_cuda})
    return torch.random.fork_rng(devices=devices)


def output_of(module: nn.Module, inputs: Inputs) -> Tensor:
    """Run a module and give the tensor that it gives; of a tuple or a table, the first."""
    output: Any = module(**inputs)
    while not isinstance(output, Tensor):
        if isinstance(output, Mapping):
            output = list(output.values())
        if not isinstance(output, tuple | list) or not output:
            raise CheckFailed(f"the module gives {type(output).__name__}; expected a tensor")
        output = output[0]
    if output.isnan().any():
        raise CheckFailed("the output holds NaN before anything was changed or compared")
    return output


def distance(one: Tensor, other: Tensor) -> float:
    """Give the largest absolute difference; two equal infinities are 0 apart."""
    if not one.numel():
        return 0.0
    return float(torch.where(one == other, 0.0, (one - other).abs()).max())


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

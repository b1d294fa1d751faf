"""Blocks one after the other."""

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from zoo.nn.fused import apart


def twice(block: nn.Module, *args: Any) -> Any:
    """Run a block, keep nothing, and run it again in the backward pass.

    A hook may be gone by then; both runs call each layer by itself, so that they keep the same.
    """
    if torch.compiler.is_compiling():
        return checkpoint(block, *args, use_reentrant=False)
    return checkpoint(block, *args, use_reentrant=False, context_fn=lambda: (apart(), apart()))


def through(
    blocks: Iterable[nn.Module], x: Float[Tensor, "b t d"], *shared: Any, recompute: bool
) -> Float[Tensor, "b t d"]:
    """Lead x through the blocks; `recompute` keeps no activations and runs them again backward."""
    for block in blocks:
        if recompute and torch.is_grad_enabled():
            x = twice(block, x, *shared)
        else:
            x = block(x, *shared)
    return x

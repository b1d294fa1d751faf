"""Blocks one after the other."""

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def through(
    blocks: Iterable[nn.Module], x: Float[Tensor, "b t d"], *shared: Any, recompute: bool
) -> Float[Tensor, "b t d"]:
    """Lead x through the blocks; `recompute` keeps no activations and runs them again backward."""
    for block in blocks:
        if recompute and torch.is_grad_enabled():
            x = checkpoint(block, x, *shared, use_reentrant=False)
        else:
            x = block(x, *shared)
    return x

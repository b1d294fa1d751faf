"""When a fused op must leave its kernels for elementary operations, and may not look at values."""

import torch
from torch import Tensor

from zoo.ops._function import differentiable


def mapped() -> bool:
    """Tell whether a vmap or batched gradients are at work: no kernel can take part in them."""
    if torch.compiler.is_compiling():
        return False
    return torch._C._functorch.peek_interpreter_stack() is not None


def elementary(dy: Tensor) -> bool:
    """Tell whether the backward of `dy` must be made of elementary operations."""
    if torch.compiler.is_compiling():
        return False
    # batched gradients of plain autograd come by an older vmap that leaves no other trace
    return differentiable() or mapped() or torch._C._functorch.is_legacy_batchedtensor(dy)


def readable(x: Tensor) -> bool:
    """Tell whether a tensor's values can be looked at now: not if traced, mapped over or absent.

    A tensor that is differentiated inside of a vmap does not show that it is mapped, so any
    transform counts.
    """
    return not torch.compiler.is_compiling() and not x.is_meta and not mapped()

"""Rows of a table, chosen by integer ids.

    y_t = W[id_t]        dW[r] = sum over t with id_t = r of dy_t

The sum is taken in at least float32, in the order of t: the same bits every time.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd import Function

from zoo.ops._function import check_float, differentiable, run, wide
from zoo.ops.linear import rows


def embedding_forward(weight: Tensor, ids: Tensor) -> Tensor:
    """Give the rows; on the CPU the kernel itself looks for ids outside the table, at no cost."""
    try:
        return torch.embedding(weight, ids)
    except IndexError:
        low, high, size = int(ids.min()), int(ids.max()), weight.shape[0]
        raise IndexError(
            f"embedding: ids go from {low} to {high}; give ids from 0 to {size - 1}, "
            f"or a table of more than {size} rows"
        ) from None


def embedding_backward(dy: Tensor, ids: Tensor, size: int) -> Tensor:
    """Add the rows of dy up where their ids say.

    The kernel's own derivatives fail where there are no ids, so index_add serves for those.
    """
    dyw = wide(dy)
    if differentiable():
        table = torch.zeros(size, dy.shape[-1], dtype=dyw.dtype, device=dy.device)
        dw = table.index_add(0, ids.reshape(-1), rows(dyw))
    else:
        dw = torch.ops.aten.embedding_dense_backward(dyw, ids, size, -1, False)
    return dw.to(dy.dtype)


class Embedding(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(weight: Tensor, ids: Tensor) -> Tensor:
        return embedding_forward(weight, ids)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        weight, ids = inputs
        ctx.size = weight.shape[0]
        ctx.save_for_backward(ids)
        ctx.save_for_forward(ids)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (ids,) = ctx.saved_tensors
        return embedding_backward(dy, ids, ctx.size), None

    @staticmethod
    def tangent(ctx: Any, t: Tensor, _: None) -> Any:
        (ids,) = ctx.saved_tensors
        return embedding_forward(t, ids)


def embedding(ids: Int[Tensor, "*b"], weight: Float[Tensor, "v d"]) -> Float[Tensor, "*b d"]:
    """Look up row `ids` of the table `weight`.

    On the CPU an id outside the table is an IndexError; on a GPU and under torch.compile it is what
    torch makes of it, since looking costs a wait for the device.
    """
    check_float("embedding", weight=weight)
    if weight.ndim != 2:
        shape = tuple(weight.shape)
        raise ValueError(f"embedding: weight {shape} is not a table; give (rows, width)")
    if ids.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"embedding: ids are {ids.dtype}; give integers, ids.long()")
    return run(Embedding, weight, ids)

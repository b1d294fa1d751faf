"""Softmax over the last axis.

y_i = exp(x_i - max x) / sum_j exp(x_j - max x)
dx  = y (dy - sum_j dy_j y_j)
J t = y (t - sum_j y_j t_j),  the same map: the Jacobian is symmetric
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function

from zoo.ops._function import check_float, no_autocast, raised, run


def softmax_forward(x: Tensor) -> Tensor:
    """Give the softmax of each row; the kernel sums in float32 and rounds once."""
    return torch.softmax(x, -1)


def softmax_backward(dy: Tensor, y: Tensor) -> Tensor:
    """Apply the Jacobian: gradients and tangents take the same way.

    The kernel looks at y, which is an output and carries its graph, and has derivatives itself.
    """
    return torch.ops.aten._softmax_backward_data(dy, y, -1, y.dtype)


class Softmax(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return softmax_forward(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(output)
        ctx.save_for_forward(output)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (y,) = ctx.saved_tensors
        with no_autocast(dy):
            return softmax_backward(dy, y)

    @staticmethod
    def tangent(ctx: Any, t: Tensor) -> Any:
        (y,) = ctx.saved_tensors
        return softmax_backward(t, y)


def softmax(x: Float[Tensor, "*b s"]) -> Float[Tensor, "*b s"]:
    """Turn each row of the last axis into weights that sum to one.

    The dtype of `x` is kept; under autocast the result is float32, as torch's is.
    """
    check_float("softmax", x=x)
    if x.ndim == 0:
        raise ValueError("softmax: x has no axis to normalise; give at least one, x[None]")
    return run(Softmax, raised(x))

"""The affine map of the last axis.

    y = x W^T + b        W is (o, i), as torch keeps it
    dx = dy W            dW = dy^T x over all rows            db = 1^T dy

Every line is a product, so the backward is differentiable as it stands.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from zoo.ops._function import check_float, lowered, no_autocast, run
from zoo.ops._product import check_fits, masters, multiplies_in, rounded, rounded_bias

Grads = tuple[Tensor | None, Tensor | None, Tensor | None]


def rows(x: Tensor) -> Tensor:
    """View x as rows of its last axis; a vector is one row."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def linear_forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Give x W^T + b in the dtype of x, to which wider weights are rounded."""
    by = multiplies_in(x, math.prod(x.shape[:-1]))
    if by == x.dtype == weight.dtype:
        return F.linear(x, weight, bias)
    weight, bias = rounded(weight, x.dtype, by), rounded_bias(bias, x.dtype, by)
    return F.linear(x.to(by), weight, bias).to(x.dtype)


def linear_backward(dy: Tensor, x: Tensor, weight: Tensor, needs: tuple[bool, bool, bool]) -> Grads:
    """Give dx, dW and db, each where it is needed, else None; dW and db in the weight's dtype."""
    dx = dw = db = None
    flat = rows(dy)
    by = multiplies_in(flat, flat.shape[0])
    wider = flat.to(by)
    if needs[0]:
        dx = (wider @ rounded(weight, dy.dtype, by)).to(dy.dtype).view(x.shape)
    if needs[1]:
        dw = (wider.mT @ rows(x).to(by)).to(weight.dtype)
    if needs[2]:
        # a product with ones is faster than flat.sum(0), and sums in float32 at least
        db = torch.ones(flat.shape[0], dtype=by, device=flat.device) @ wider
        db = db.to(weight.dtype)
    return dx, dw, db


def linear_jvp(
    x: Tensor, weight: Tensor, tx: Tensor, tweight: Tensor, tbias: Tensor | None
) -> Tensor:
    """Give the tangent of the output, by the product rule."""
    tbias = None if tbias is None else tbias.to(x.dtype)
    return F.linear(tx, weight.to(x.dtype)) + F.linear(x, tweight.to(x.dtype), tbias)


class Linear(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return linear_forward(x, weight, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        x, weight, _ = inputs
        ctx.save_for_backward(x, weight)
        ctx.save_for_forward(x, weight)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        with no_autocast(dy):
            return linear_backward(dy, x, weight, ctx.needs_input_grad)

    @staticmethod
    def tangent(ctx: Any, tx: Tensor, tweight: Tensor, tbias: Tensor | None) -> Any:
        x, weight = ctx.saved_tensors
        return linear_jvp(x, weight, tx, tweight, tbias)


def check_shapes(
    x: Tensor, weight: Tensor, bias: Tensor | None, *, op: str = "linear", name: str = "x"
) -> None:
    """Refuse tensors that do not fit together."""
    if weight.ndim != 2:
        raise ValueError(f"{op}: weight {tuple(weight.shape)} is not a matrix; give (out, in)")
    out, inner = weight.shape
    if x.ndim == 0 or x.shape[-1] != inner:
        shapes = f"{name} {tuple(x.shape)} and weight {tuple(weight.shape)}"
        raise ValueError(f"{op}: {shapes} do not fit; the last axis of {name} must be {inner}")
    if bias is not None and bias.shape != (out,):
        raise ValueError(f"{op}: bias {tuple(bias.shape)} does not fit; give ({out},)")


def linear(
    x: Float[Tensor, "*b i"], weight: Float[Tensor, "o i"], bias: Float[Tensor, " o"] | None = None
) -> Float[Tensor, "*b o"]:
    """Map the last axis of x from i to o numbers.

    All must have one dtype; under autocast they are cast to its.
    """
    check_float("linear", x=x, weight=weight, bias=bias)
    check_shapes(x, weight, bias)
    (x,) = lowered(x)
    weight, bias = masters(x, weight, bias)
    check_fits("linear", x=x, weight=weight, bias=bias)
    return run(Linear, x, weight, bias)

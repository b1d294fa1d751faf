"""Layer normalisation, then the affine map of the last axis; what lies between is not kept.

    n = layer_norm(x; w, b)     y = n W^T + c
    dn = dy W      dW = dy^T n      dc = 1^T dy      dx, dw, db from dn as in `layer_norm`

The unfused pair keeps n beside x.  Here backward makes it again, with its mean and deviation, in a
pass over x that costs little beside the products.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function

from zoo.ops._function import (
    check_float,
    differentiable,
    no_autocast,
    raised,
    run,
    wide,
)
from zoo.ops._product import cast, check_fits, masters
from zoo.ops.layer_norm import (
    check_eps,
    layer_norm_backward,
    layer_norm_forward,
    layer_norm_jvp,
    standardised,
)
from zoo.ops.layer_norm import check_shapes as check_norm
from zoo.ops.linear import check_shapes as check_linear
from zoo.ops.linear import linear_backward, linear_forward, linear_jvp

Norm = tuple[Tensor, Tensor, float]  # scale, shift, eps


def normed(x: Tensor, norm: Norm) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Give n, and mean and r for its backward."""
    scale, shift, eps = norm
    if differentiable():
        # the second derivatives of torch's own layer norm are wrong (2.13)
        xhat, r = standardised(wide(x), eps)
        return (xhat * scale + shift).to(x.dtype), (r, r)
    n, mean, r = layer_norm_forward(x, scale, shift, eps)
    return n, (mean, r)


def layer_norm_linear_forward(
    x: Tensor, norm: Norm, weight: Tensor, bias: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """Give layer_norm(x) W^T + c, in products of `dtype`."""
    n = layer_norm_forward(x, *norm)[0]
    return linear_forward(n.to(dtype), weight, bias)


def layer_norm_linear_backward(
    dy: Tensor, x: Tensor, norm: Norm, weight: Tensor, needs: tuple[bool, ...]
) -> tuple[Tensor | None, ...]:
    """Give dx, dw, db, dW and dc, each where it is needed, else None."""
    n, statistics = normed(x, norm)
    below = needs[0] or needs[1] or needs[2]
    dn, dweight, dbias = linear_backward(dy, n.to(dy.dtype), weight, (below, needs[3], needs[4]))
    del n
    if dn is None:
        return None, None, None, dweight, dbias
    scale, shift, eps = norm
    first = layer_norm_backward(
        dn.to(x.dtype), (x, scale, shift), statistics, eps, (needs[0], needs[1], needs[2])
    )
    return *first, dweight, dbias


class LayerNormLinear(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor,
        scale: Tensor,
        shift: Tensor,
        eps: float,
        weight: Tensor,
        bias: Tensor | None,
        dtype: torch.dtype,
    ) -> Tensor:
        return layer_norm_linear_forward(x, (scale, shift, eps), weight, bias, dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        x, scale, shift, ctx.eps, weight, _, ctx.dtype = inputs
        ctx.save_for_backward(x, scale, shift, weight)
        ctx.save_for_forward(x, scale, shift, weight)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, scale, shift, weight = ctx.saved_tensors
        needs = (*ctx.needs_input_grad[:3], *ctx.needs_input_grad[4:6])
        with no_autocast(dy):
            grads = layer_norm_linear_backward(dy, x, (scale, shift, ctx.eps), weight, needs)
        return *grads[:3], None, *grads[3:], None

    @staticmethod
    def tangent(
        ctx: Any, t: Tensor, tscale: Tensor, tshift: Tensor, _: Any, tweight: Tensor, *rest: Any
    ) -> Any:
        x, scale, shift, weight = ctx.saved_tensors
        tn = layer_norm_jvp(x, scale, ctx.eps, t, tscale, tshift).to(ctx.dtype)
        xhat = standardised(wide(x), ctx.eps)[0]
        n = (xhat * scale + shift).to(x.dtype).to(ctx.dtype)
        return linear_jvp(n, weight, tn, tweight, rest[0])


def layer_norm_linear(
    x: Float[Tensor, "*b d"],
    scale: Float[Tensor, " d"],
    shift: Float[Tensor, " d"],
    weight: Float[Tensor, "o d"],
    bias: Float[Tensor, " o"] | None = None,
    eps: float = 1e-5,
) -> Float[Tensor, "*b o"]:
    """Give linear(layer_norm(x, scale, shift, eps), weight, bias) to the bit; keep x alone.

    `scale` and `shift` may have another floating dtype than x, whose dtype weight and bias must
    have; under autocast the norm is float32 and weight, bias and what it gives are cast.
    Raises TypeError for other dtypes, ValueError for shapes that do not fit and eps below 0.
    """
    op = "layer_norm_linear"
    check_float(op, x=x, scale=scale, shift=shift, weight=weight, bias=bias)
    check_norm(x, scale, shift, op=op, names=("scale", "shift"))
    check_linear(x, weight, bias, op=op)
    check_eps(op, eps)
    given = cast(x)  # what the norm gives is cast, not x
    weight, bias = masters(given, weight, bias)
    check_fits(op, x=given, weight=weight, bias=bias)
    return run(LayerNormLinear, raised(x), scale, shift, eps, weight, bias, given.dtype)

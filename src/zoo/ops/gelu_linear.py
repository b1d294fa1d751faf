"""Gelu, then the affine map of the last axis: the second half of an MLP, which keeps h alone.

    a = gelu(h)     y = a W^T + b
    da = dy W       dh = da gelu'(h)       dW = dy^T a       db = 1^T dy

The unfused pair keeps `a` as well, as large as h and the largest thing that a block keeps.  Here
backward makes it again: a pass over h, beside a product.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function

from zoo.ops._function import check_float, no_autocast, run
from zoo.ops._product import cast, check_fits, masters
from zoo.ops.gelu import check_form, gelu_backward_, gelu_forward, gelu_jvp
from zoo.ops.linear import Grads, check_shapes, linear_backward, linear_forward, linear_jvp


def gelu_linear_forward(
    h: Tensor, weight: Tensor, bias: Tensor | None, form: str, dtype: torch.dtype
) -> Tensor:
    """Give gelu(h) W^T + b, in products of `dtype`."""
    return linear_forward(gelu_forward(h, form).to(dtype), weight, bias)


def gelu_linear_backward(
    dy: Tensor, h: Tensor, weight: Tensor, form: str, needs: tuple[bool, bool, bool]
) -> Grads:
    """Give dh, dW and db, each where it is needed, else None."""
    dh = dw = None
    if needs[1]:  # first: what is as large as h lives one at a time
        a = gelu_forward(h, form).to(dy.dtype)
        dw = linear_backward(dy, a, weight, (False, True, False))[1]
        del a
    if needs[0]:
        da = linear_backward(dy, h, weight, (True, False, False))[0]
        assert da is not None
        dh = gelu_backward_(da.to(h.dtype), h, form)
    return dh, dw, linear_backward(dy, h, weight, (False, False, needs[2]))[2]


class GeluLinear(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(
        h: Tensor, weight: Tensor, bias: Tensor | None, form: str, dtype: torch.dtype
    ) -> Tensor:
        return gelu_linear_forward(h, weight, bias, form, dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        h, weight, _, ctx.form, ctx.dtype = inputs
        ctx.save_for_backward(h, weight)
        ctx.save_for_forward(h, weight)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        h, weight = ctx.saved_tensors
        with no_autocast(dy):
            grads = gelu_linear_backward(dy, h, weight, ctx.form, ctx.needs_input_grad[:3])
        return *grads, None, None

    @staticmethod
    def tangent(ctx: Any, t: Tensor, tweight: Tensor, tbias: Tensor | None, *_: None) -> Any:
        h, weight = ctx.saved_tensors
        a, ta = gelu_forward(h, ctx.form), gelu_jvp(h, t, ctx.form)
        return linear_jvp(a.to(ctx.dtype), weight, ta.to(ctx.dtype), tweight, tbias)


def gelu_linear(
    h: Float[Tensor, "*b i"],
    weight: Float[Tensor, "o i"],
    bias: Float[Tensor, " o"] | None = None,
    form: str = "erf",
) -> Float[Tensor, "*b o"]:
    """Give linear(gelu(h, form), weight, bias) to the bit, and keep h alone for the backward.

    All must have one dtype; under autocast weight, bias and gelu(h) are cast to its.
    Raises TypeError for other dtypes, ValueError for an unknown form and shapes that do not fit.
    """
    check_float("gelu_linear", h=h, weight=weight, bias=bias)
    check_form("gelu_linear", form)
    check_shapes(h, weight, bias, op="gelu_linear", name="h")
    given = cast(h)  # gelu(h) is cast, not h
    weight, bias = masters(given, weight, bias)
    check_fits("gelu_linear", h=given, weight=weight, bias=bias)
    return run(GeluLinear, h, weight, bias, form, given.dtype)

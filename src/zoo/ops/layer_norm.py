"""Layer normalisation over the last axis (Ba, Kiros and Hinton, 2016).

    r = 1 / sqrt(var + eps)     xhat = (x - mean) r      y = w xhat + b
    dx = r (g - mean(g) - xhat mean(g xhat)),   g = w dy
    dw = sum over rows of dy xhat               db = sum over rows of dy
    tangent:  w r (t - mean(t) - xhat mean(t xhat)) + tw xhat + tb

The map x -> xhat has a symmetric Jacobian, so `dx` and the tangent share it.  Mean and r are taken
and kept in at least float32.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function

from zoo.ops._function import LOW, check_float, differentiable, no_autocast, raised, run, wide
from zoo.ops.linear import Grads, rows


def for_kernel(x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Give weight and bias in the dtype that the kernel wants beside x.

    On a CPU a low x goes with float32 weights: it is faster than with low ones, and with those the
    kernel would keep mean and r as low as x.  On a GPU weights must be like x; these are float32.
    """
    dtype = torch.float32 if x.dtype in LOW and x.device.type == "cpu" else x.dtype
    # comparing first: a cast that does nothing still costs a call
    if weight.dtype != dtype:
        weight = weight.to(dtype)
    if bias.dtype != dtype:
        bias = bias.to(dtype)
    return weight, bias


def layer_norm_forward(
    x: Tensor, weight: Tensor, bias: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Give y, and mean and r for the backward."""
    weight, bias = for_kernel(x, weight, bias)
    return torch.native_layer_norm(x, x.shape[-1:], weight, bias, eps)


def standardised(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Give xhat and r in elementary operations."""
    centred = x - x.mean(-1, keepdim=True)
    r = torch.rsqrt((centred * centred).mean(-1, keepdim=True) + eps)
    return centred * r, r


def projected(t: Tensor, xhat: Tensor, r: Tensor) -> Tensor:
    """Apply the Jacobian of x -> xhat: what is left of t beside 1 and xhat, times r."""
    return r * (t - t.mean(-1, keepdim=True) - xhat * (t * xhat).mean(-1, keepdim=True))


def layer_norm_grads(
    dy: Tensor, x: Tensor, weight: Tensor, bias: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Give dx, dw and db from the inputs alone, by the formulas above."""
    dyw = wide(dy)
    xhat, r = standardised(wide(x), eps)
    dx = projected(dyw * weight.to(dyw.dtype), xhat, r)
    dw, db = rows(dyw * xhat).sum(0), rows(dyw).sum(0)
    return dx.to(x.dtype), dw.to(weight.dtype), db.to(bias.dtype)


def layer_norm_jvp(
    x: Tensor, weight: Tensor, eps: float, t: Tensor, tweight: Tensor, tbias: Tensor
) -> Tensor:
    """Give the tangent of y, by the product rule."""
    xhat, r = standardised(wide(x), eps)
    ty = weight * projected(wide(t), xhat, r) + tweight * xhat + tbias
    return ty.to(x.dtype)


def layer_norm_backward(
    dy: Tensor,
    inputs: tuple[Tensor, Tensor, Tensor],
    statistics: tuple[Tensor, Tensor],
    eps: float,
    needs: tuple[bool, bool, bool],
) -> Grads:
    """Give dx, dw and db, each where it is needed, else None."""
    x, weight, bias = inputs
    if differentiable():
        grads = layer_norm_grads(dy, x, weight, bias, eps)
        dx, dw, db = (g if need else None for g, need in zip(grads, needs, strict=True))
        return dx, dw, db
    dx, dw, db = torch.ops.aten.native_layer_norm_backward(
        dy, x, x.shape[-1:], *statistics, *for_kernel(x, weight, bias), needs
    )
    # what the kernel was not asked for is None
    return dx, dw if dw is None else dw.to(weight.dtype), db if db is None else db.to(bias.dtype)


class LayerNorm(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Any:
        return layer_norm_forward(x, weight, bias, eps)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        *tensors, ctx.eps = inputs
        _, mean, r = output
        # they never leave this file: a backward that may be differentiated does not look at them
        ctx.mark_non_differentiable(mean, r)
        ctx.save_for_backward(*tensors, mean, r)
        ctx.save_for_forward(*tensors, mean, r)

    @staticmethod
    def backward(ctx: Any, dy: Tensor, *_: Any) -> Any:
        x, weight, bias, mean, r = ctx.saved_tensors
        needs = ctx.needs_input_grad[:3]
        with no_autocast(dy):
            grads = layer_norm_backward(dy, (x, weight, bias), (mean, r), ctx.eps, needs)
        return *grads, None

    @staticmethod
    def tangent(ctx: Any, t: Tensor, tweight: Tensor, tbias: Tensor, _: None) -> Any:
        x, weight, *_ = ctx.saved_tensors
        return layer_norm_jvp(x, weight, ctx.eps, t, tweight, tbias), None, None


def check_shapes(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    *,
    op: str = "layer_norm",
    names: tuple[str, str] = ("weight", "bias"),
) -> None:
    """Refuse tensors that do not fit together."""
    if x.ndim == 0:
        raise ValueError(f"{op}: x has no axis to normalise; give at least one, x[None]")
    for name, w in zip(names, (weight, bias), strict=True):
        if w.shape != x.shape[-1:]:
            shapes = f"{name} {tuple(w.shape)} does not fit x {tuple(x.shape)}"
            raise ValueError(f"{op}: {shapes}; give ({x.shape[-1]},)")


def check_eps(op: str, eps: float) -> None:
    """Refuse an eps under which a root may be of a negative number."""
    if not eps >= 0:
        raise ValueError(f"{op}: eps {eps} is below 0; give a small positive number")


def layer_norm(
    x: Float[Tensor, "*b d"],
    weight: Float[Tensor, " d"],
    bias: Float[Tensor, " d"],
    eps: float = 1e-5,
) -> Float[Tensor, "*b d"]:
    """Shift and scale each row to mean 0 and variance 1, then by weight and bias.

    `weight` and `bias` may have another floating dtype than x; the result has that of x, and each
    gradient that of its input.  Under autocast the result is float32, as torch's is on a GPU.
    """
    check_float("layer_norm", x=x, weight=weight, bias=bias)
    check_shapes(x, weight, bias)
    check_eps("layer_norm", eps)
    return run(LayerNorm, raised(x), weight, bias, eps)[0]

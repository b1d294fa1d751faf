"""The last linear layer and the loss at once, some rows at a time.

    z = x W^T + c      loss and q, w as in cross_entropy      g = p - q
    dx_i = dy w_i g_i W      dW = dy sum_i g_i^T (w_i x_i)      dc = dy sum_i w_i g_i
    tangent = sum_i w_i g_i . (tx_i W^T + x_i tW^T + tc)

The gradients are formed in forward, while the logits of a chunk are at hand, and backward scales
them by dy: all the logits never exist.  Ignored rows are not multiplied at all.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from zoo.ops._elementary import elementary, mapped
from zoo.ops._function import (
    check_float,
    lowered,
    no_autocast,
    run,
    wide,
    wide_dtype,
)
from zoo.ops._loss_chunks import linear_cross_entropy_forward, opaque
from zoo.ops._product import check_fits, masters, rounded, rounded_bias
from zoo.ops.cross_entropy import (
    IGNORE,
    check_labels,
    check_options,
    flat,
    residual,
    safe,
    weigh,
)

#: rows in a chunk
ROWS = 256


def dense_backward(
    dy: Tensor,
    x: Tensor,
    weight: Tensor,
    labels: Tensor,
    bias: Tensor | None,
    ignore: int,
    smoothing: float,
    reduction: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """Give dx, dW, dc in elementary operations, with all the logits."""
    shape, (x, labels) = x.shape, flat(x, labels)
    dtype = wide_dtype(x)
    low = rounded(weight, x.dtype, x.dtype)
    z = wide(F.linear(x, low, rounded_bias(bias, x.dtype, x.dtype)))
    w = weigh(labels, ignore, reduction, dtype).unsqueeze(1)
    g = residual(z, safe(labels, ignore), smoothing) * (w * dy)
    dx, dw = torch.matmul(g, wide(low)), torch.matmul(g.mT, wide(x))
    dc = g.sum(0).to(weight.dtype)
    return dx.to(x.dtype).reshape(shape), dw.to(weight.dtype), dc


def linear_cross_entropy_backward(
    dy: Tensor,
    x: Tensor,
    weight: Tensor,
    labels: Tensor,
    bias: Tensor | None,
    formed: tuple[Tensor, ...],
    needs: list[bool],
    options: tuple[Any, ...],
) -> tuple[Tensor | None, ...]:
    """Scale what forward formed, or form it; by formula where a derivative of it may be wanted.

    What was formed is changed and given away: nobody else may hold it.
    """
    if elementary(dy):
        dx, dw, dc = dense_backward(dy, x, weight, labels, bias, *options[:3])
    else:
        if not formed:
            formed = linear_cross_entropy_forward(x, weight, labels, bias, needs, *options)[1:]
        kinds = x.dtype, weight.dtype, weight.dtype
        dx, dw, dc = (scale_(g, dy).to(kind) for g, kind in zip(formed, kinds, strict=True))
        dx = dx.reshape(x.shape) if needs[0] else dx
    return tuple(g if need else None for g, need in zip((dx, dw, dc), needs, strict=True))


def scale_(g: Tensor, dy: Tensor) -> Tensor:
    """Give g dy in the place of g; where a look shows that dy is 1, as it mostly is, that is g."""
    if torch.compiler.is_compiling():
        return g * dy
    return g if dy.device.type == "cpu" and dy.item() == 1 else g.mul_(dy)


def linear_cross_entropy_jvp(
    x: Tensor,
    weight: Tensor,
    labels: Tensor,
    bias: Tensor | None,
    tangents: tuple[Tensor | None, Tensor | None, Tensor | None],
    options: tuple[Any, ...],
) -> Tensor:
    """Give the tangent of the loss along tangents of x, weight and bias, None for a constant."""
    ignore, smoothing, reduction, _ = options
    tx, tw, tc = tangents
    if tx is not None:
        tx = flat(tx, labels)[0]
    x, labels = flat(x, labels)
    low = rounded(weight, x.dtype, x.dtype)
    z = wide(F.linear(x, low, rounded_bias(bias, x.dtype, x.dtype)))
    w = weigh(labels, ignore, reduction, z.dtype).unsqueeze(1)
    change = torch.zeros_like(z)
    if tx is not None:
        change = change + F.linear(wide(tx), wide(low))
    if tw is not None:
        change = change + F.linear(wide(x), wide(tw))
    if tc is not None:
        change = change + wide(tc)
    return (residual(z, safe(labels, ignore), smoothing) * w * change).sum()


class LinearCrossEntropy(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor,
        weight: Tensor,
        labels: Tensor,
        bias: Tensor | None,
        needs: list[bool],
        ignore: int,
        smoothing: float,
        reduction: str,
        rows: int,
    ) -> tuple[Tensor, ...]:
        chunked = opaque if torch.compiler.is_compiling() else linear_cross_entropy_forward
        return chunked(x, weight, labels, bias, needs, ignore, smoothing, reduction, rows)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        x, weight, labels, bias, _, *options = inputs
        ctx.options = tuple(options)
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)  # else zeros as large as the weight come along
        ctx.save_for_forward(x, weight, labels, bias)
        kept = output[1:] if torch.compiler.is_compiling() else ()
        ctx.save_for_backward(x, weight, labels, bias, *kept)
        if not kept:
            ctx.formed = output[1:] if any(g.numel() for g in output[1:]) else ()

    @staticmethod
    def backward(ctx: Any, dy: Tensor | None, *_: Any) -> Any:
        if dy is None:
            return (None,) * 9
        x, weight, labels, bias, *formed = ctx.saved_tensors
        needs = [ctx.needs_input_grad[i] for i in (0, 1, 3)]
        if not torch.compiler.is_compiling() and not elementary(dy):
            # given away once: kept, they would be the parameters' gradients and change with them
            formed, ctx.formed = ctx.formed, ()
        with no_autocast(dy):
            dx, dw, dc = linear_cross_entropy_backward(
                dy, x, weight, labels, bias, tuple(formed), needs, ctx.options
            )
        return dx, dw, None, dc, None, None, None, None, None

    @staticmethod
    def tangent(ctx: Any, tx: Any, tw: Any, _: Any, tc: Any, *rest: Any) -> Any:
        x, weight, labels, bias = ctx.saved_tensors
        value = linear_cross_entropy_jvp(x, weight, labels, bias, (tx, tw, tc), ctx.options)
        return value, None, None, None


def linear_cross_entropy(
    x: Float[Tensor, "*b d"],
    weight: Float[Tensor, "v d"],
    labels: Int[Tensor, "*b"],
    bias: Float[Tensor, " v"] | None = None,
    *,
    ignore: int = IGNORE,
    smoothing: float = 0.0,
    reduction: str = "mean",
) -> Float[Tensor, ""]:
    """Give cross_entropy(linear(x, weight, bias), labels) without ever holding all the logits.

    Everything but the memory is as in `cross_entropy`; under autocast x, weight and bias are cast.
    Raises TypeError for dtypes that differ, ValueError for shapes that do not fit, IndexError for a
    label outside the vocabulary.
    """
    return chunked(x, weight, labels, bias, ignore, smoothing, reduction, ROWS)


def chunked(
    x: Tensor,
    weight: Tensor,
    labels: Tensor,
    bias: Tensor | None,
    ignore: int,
    smoothing: float,
    reduction: str,
    rows: int,
) -> Tensor:
    """Check, cast, and run with `rows` rows in a chunk."""
    op = "linear_cross_entropy"
    check_float(op, x=x, weight=weight, bias=bias)
    check_options(op, smoothing, reduction)
    (x,) = lowered(x)
    weight, bias = masters(x, weight, bias)
    check_fits(op, x=x, weight=weight, bias=bias)
    if weight.ndim != 2 or weight.shape[1] != x.shape[-1]:
        shapes = f"{tuple(x.shape)} and weight {tuple(weight.shape)}"
        raise ValueError(f"{op}: x {shapes} do not fit; give (..., d) and (v, d)")
    check_labels(op, labels, (*x.shape[:-1], weight.shape[0]), ignore)
    # under a functional transform backward goes by formula, and forward need form nothing
    forms = torch.is_grad_enabled() and not mapped()
    needs = [forms and t is not None and t.requires_grad for t in (x, weight, bias)]
    return run(
        LinearCrossEntropy, x, weight, labels, bias, needs,
        ignore, smoothing, reduction, rows,
    )[0]  # fmt: skip

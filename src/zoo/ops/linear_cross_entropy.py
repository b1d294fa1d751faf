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

from zoo.ops._elementary import elementary, mapped, readable
from zoo.ops._function import check_float, check_same_dtype, lowered, no_autocast, run, wide
from zoo.ops.cross_entropy import (
    IGNORE,
    add_up,
    check_labels,
    check_options,
    flat,
    residual,
    row_losses,
    safe,
    weigh,
)

#: rows in a chunk
ROWS = 256


def counted_rows(labels: Tensor, ignore: int) -> Tensor | None:
    """Give the rows that count, None for all of them or where values cannot be read."""
    if not readable(labels):
        return None
    counted = labels != ignore
    return None if bool(counted.all()) else counted.nonzero().squeeze(1)


def chunk_buffers(x: Tensor, weight: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """Make room for the logits of a chunk, in the dtype of x and wide, to be used again and again.

    Fresh memory of this size costs more than the softmax in it.
    """
    logits = x.new_empty(min(rows, len(x)), len(weight))
    return logits, wide(logits)


def chunk_logits(
    x: Tensor, weight: Tensor, bias: Tensor | None, room: tuple[Tensor, Tensor]
) -> Tensor:
    """Give wide logits of a chunk, in `room`."""
    z, wider = (buffer[: len(x)] for buffer in room)
    if bias is None:
        torch.mm(x, weight.T, out=z)
    else:
        torch.addmm(bias, x, weight.T, out=z)
    return z if z.dtype == wider.dtype else wider.copy_(z)


def chunk_losses(z: Tensor, at: Tensor, smoothing: float) -> tuple[Tensor, Tensor]:
    """Give the losses of a chunk and p - q, which takes the place of the logits."""
    top, here = z.amax(-1), z.gather(-1, at).squeeze(-1)
    middle = smoothing * z.mean(-1) if smoothing else 0.0
    p = torch.softmax(z, -1, out=z)
    # the largest p is exp(top - lse), and at least 1 / v: its logarithm is exact enough
    lse = top - p.amax(-1).log()
    p.scatter_add_(-1, at, torch.full_like(at, smoothing - 1, dtype=p.dtype))
    if smoothing:
        p.sub_(smoothing / p.shape[-1])
    return lse - (1 - smoothing) * here - middle, p


def narrow(g: Tensor, room: tuple[Tensor, Tensor]) -> Tensor:
    """Give g in the dtype of the logits, ready to be multiplied."""
    return g if room[0].dtype == g.dtype else room[0][: len(g)].copy_(g)


def add_product_(total: Tensor, a: Tensor, b: Tensor, *, first: bool) -> None:
    """Add a b to a total that may be wider than they are; the first finds nothing there."""
    if total.dtype != a.dtype:
        product = torch.mm(a, b)
        total.copy_(product) if first else total.add_(product)
    elif first:
        torch.mm(a, b, out=total)
    else:
        total.addmm_(a, b)


def linear_cross_entropy_forward(
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
    """Give the loss and, of dx, dW and dc for dy = 1, those that are needed; else empty tensors."""
    x, labels = flat(x, labels)
    dtype = wide(x[:0]).dtype
    w, at = weigh(labels, ignore, reduction, dtype), safe(labels, ignore)
    if mapped():
        z = wide(F.linear(x, weight, bias))
        loss = add_up(row_losses(z, at, z.logsumexp(-1), smoothing), w)
        return loss, *(loss.new_empty(0) for _ in needs)
    kept = counted_rows(labels, ignore)
    loss = torch.zeros((), dtype=dtype, device=x.device)
    dx, dw, dc = (
        torch.empty(like.shape if like is not None and need else 0, dtype=kind, device=x.device)
        for like, need, kind in zip((x, weight, bias), needs, (x.dtype, dtype, dtype), strict=True)
    )
    if kept is not None:
        dx.zero_()
    if not len(x if kept is None else kept):
        dw.zero_()
    dc.zero_()
    room = chunk_buffers(x, weight, rows)
    for start in range(0, len(x) if kept is None else len(kept), rows):
        part: Any = slice(start, start + rows) if kept is None else kept[start : start + rows]
        xs, ws = x[part], w[part]
        losses, g = chunk_losses(chunk_logits(xs, weight, bias, room), at[part], smoothing)
        loss = loss + add_up(losses, ws)
        if needs[2]:
            dc += torch.mv(g.T, ws)
        if needs[0] or needs[1]:
            g, ws = narrow(g, room), ws[:, None]
        if needs[0]:
            dx[part] = (torch.mm(g, weight) * ws).to(x.dtype)
        if needs[1]:
            xs = (xs * ws).to(x.dtype)
            add_product_(dw, g.T, xs, first=start == 0)
    return loss, dx, dw, dc


def forward_shapes(
    x: Tensor, weight: Tensor, labels: Tensor, bias: Tensor | None, needs: list[bool], *_: object
) -> tuple[Tensor, ...]:
    """Give what the forward gives, in shape alone."""
    dtype = wide(x[:0]).dtype
    shapes = (labels.numel(), x.shape[-1]), tuple(weight.shape), (weight.shape[0],)
    formed = (
        torch.empty(shape if need else 0, dtype=kind, device=x.device)
        for shape, need, kind in zip(shapes, needs, (x.dtype, dtype, dtype), strict=True)
    )
    return torch.empty((), dtype=dtype, device=x.device), *formed


# Traced, the loop would be unrolled into a long graph for one length only: the compiler takes it as
# an operator instead.
opaque = torch.library.custom_op(
    "zoo::linear_cross_entropy",
    linear_cross_entropy_forward,
    mutates_args=(),
    schema="(Tensor x, Tensor weight, Tensor labels, Tensor? bias, bool[] needs, int ignore, "
    "float smoothing, str reduction, int rows) -> (Tensor, Tensor, Tensor, Tensor)",
)
opaque.register_fake(forward_shapes)


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
    dtype = wide(x[:0]).dtype
    z = wide(F.linear(x, weight, bias))
    w = weigh(labels, ignore, reduction, dtype).unsqueeze(-1)
    g = residual(z, safe(labels, ignore), smoothing) * (w * dy)
    dx, dw = torch.matmul(g, wide(weight)), torch.matmul(g.mT, wide(x))
    return dx.to(x.dtype).reshape(shape), dw.to(x.dtype), g.sum(-2).to(x.dtype)


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
        dx, dw, dc = (scale_(g, dy).to(x.dtype) for g in formed)
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
    z = wide(F.linear(x, weight, bias))
    w = weigh(labels, ignore, reduction, z.dtype).unsqueeze(-1)
    change = torch.zeros_like(z)
    if tx is not None:
        change = change + F.linear(wide(tx), wide(weight))
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
        ctx.save_for_forward(x, weight, labels, bias)
        if torch.compiler.is_compiling():
            ctx.save_for_backward(x, weight, labels, bias, *output[1:])
        else:
            ctx.save_for_backward(x, weight, labels, bias)
            ctx.formed = output[1:] if any(g.numel() for g in output[1:]) else ()

    @staticmethod
    def backward(ctx: Any, dy: Tensor, *_: Any) -> Any:
        x, weight, labels, bias, *formed = ctx.saved_tensors
        needs = [ctx.needs_input_grad[i] for i in (0, 1, 3)]
        if not torch.compiler.is_compiling() and not elementary(dy):
            # given away once: kept, they would be the parameters' gradients and change with them
            formed, ctx.formed = ctx.formed, ()
        with no_autocast(dy):
            dx, dw, dc = linear_cross_entropy_backward(
                dy, x, weight, labels, bias, tuple(formed), needs, ctx.options
            )
        return dx, dw, None, dc, *(None,) * 5

    @staticmethod
    def tangent(ctx: Any, tx: Any, tw: Any, _: Any, tc: Any, *rest: Any) -> Any:
        x, weight, labels, bias = ctx.saved_tensors[:4]
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
    x, weight, bias = lowered(x, weight, bias)
    check_same_dtype(op, x=x, weight=weight, bias=bias)
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

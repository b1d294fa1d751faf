"""The chunks of the fused linear layer and loss: logits of some rows at a time, used and forgotten.

g = p - q, formed in the place of the logits
dx_i = w_i g_i W      dW += g^T (w x)      dc += g^T w
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.ops._elementary import mapped, readable
from zoo.ops._function import wide, wide_dtype
from zoo.ops._product import multiplies_in, rounded, rounded_bias
from zoo.ops.cross_entropy import add_up, flat, row_losses, safe, weigh


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
    top, here = z.amax(1), z.gather(1, at).squeeze(1)
    middle = smoothing * z.mean(1) if smoothing else 0.0
    p = torch.softmax(z, 1, out=z)
    # the largest p is exp(top - lse), and at least 1 / v: its logarithm is exact enough
    lse = top - p.amax(1).log()
    p.scatter_add_(1, at, torch.full_like(at, smoothing - 1, dtype=p.dtype))
    if smoothing:
        p.sub_(smoothing / p.shape[1])
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
    dtype, given = wide_dtype(x), x.dtype
    w, at = weigh(labels, ignore, reduction, dtype), safe(labels, ignore)
    by = multiplies_in(x, min(len(x), rows))
    x, weight, bias = x.to(by), rounded(weight, x.dtype, by), rounded_bias(bias, x.dtype, by)
    if mapped():
        z = wide(F.linear(x, weight, bias))
        loss = add_up(row_losses(z, at, z.logsumexp(1), smoothing), w)
        return loss, *(loss.new_empty(0) for _ in needs)
    kept = counted_rows(labels, ignore)
    loss = torch.zeros((), dtype=dtype, device=x.device)
    dx, dw, dc = (
        torch.empty(like.shape if like is not None and need else 0, dtype=kind, device=x.device)
        for like, need, kind in zip((x, weight, bias), needs, (given, dtype, dtype), strict=True)
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
            dx[part] = (torch.mm(g, weight) * ws).to(given)
        if needs[1]:
            xs = (xs * ws).to(x.dtype)
            add_product_(dw, g.T, xs, first=start == 0)
    return loss, dx, dw, dc


def forward_shapes(
    x: Tensor, weight: Tensor, labels: Tensor, bias: Tensor | None, needs: list[bool], *_: object
) -> tuple[Tensor, ...]:
    """Give what the forward gives, in shape alone."""
    dtype = wide_dtype(x)
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

"""Attention in elementary operations, the whole (t, s) matrix at once.

    S = scale Q K^T      P = softmax(S) where one may look, else 0      Y = (P z) V
    dV = (P z)^T dY      dP = z (dY V^T)      dS = P (dP - rowsum(P dP))
    dQ = scale dS K      dK = scale dS^T Q
    tangent:  tS = scale (tQ K^T + Q tK^T)      tP = P (tS - rowsum(P tS))
              tY = (tP z) V + (P z) tV

z is the dropout mask over 1 - rate, or 1.  Every line here can be differentiated, mapped and pushed
forward again, which is what this file is for; memory is not.
"""

import torch
from torch import Tensor

from zoo.ops._function import wide

#: runs of rows of the batch that share one span of real keys: (row, row end, key, key end)
Spans = tuple[tuple[int, int, int, int], ...]


def visible(
    q: Tensor, k: Tensor, mask: Tensor | None, causal: bool, spans: Spans | None
) -> Tensor | None:
    """Give all that says who may look where as one mask, None where everybody may everywhere."""
    b, t, s = q.shape[0], q.shape[2], k.shape[2]
    if causal and t > 1:
        edge = torch.ones(1, 1, t, s, dtype=torch.bool, device=q.device).tril(s - t)
        mask = edge if mask is None else mask & edge
    if spans is not None:
        real = span_mask(spans, b, t, s, q.device)
        mask = real if mask is None else mask & real
    return mask


def span_mask(spans: Spans, b: int, t: int, s: int, device: torch.device) -> Tensor:
    """Write spans as a mask (b, 1, t, s); in self attention padding may not look either."""
    mask = torch.zeros(b, 1, t, s, dtype=torch.bool, device=device)
    for row, row_end, key, key_end in spans:
        queries = slice(key, key_end) if t == s else slice(None)
        mask[row:row_end, :, queries, key:key_end] = True
    return mask


def attention_scores(q: Tensor, k: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Give scale q k^T in at least float32, very low where one may not look."""
    scores = torch.matmul(wide(q) * scale, wide(k).mT)
    if mask is None:
        return scores
    # finite, so that a row that may look nowhere has a softmax (which is then cleared), not NaN
    return scores.masked_fill(~mask, torch.finfo(scores.dtype).min)


def attention_weights(q: Tensor, k: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """Give softmax of the scores, zeros where one may not look."""
    weights = torch.softmax(attention_scores(q, k, mask, scale), 3)
    return weights if mask is None else weights.masked_fill(~mask, 0.0)


def dense_forward(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, z: Tensor | None, scale: float
) -> Tensor:
    """Give the output."""
    p = attention_weights(q, k, mask, scale)
    y = torch.matmul(p if z is None else p * z, wide(v))
    return y.to(q.dtype)


def dense_backward(
    dy: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    z: Tensor | None,
    scale: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Give dq, dk, dv from the inputs alone."""
    p = attention_weights(q, k, mask, scale)
    pz = p if z is None else p * z
    dp = torch.matmul(wide(dy), wide(v).mT)
    if z is not None:
        dp = dp * z
    ds = p * (dp - (p * dp).sum(3, keepdim=True)) * scale
    dq, dk = torch.matmul(ds, wide(k)), torch.matmul(ds.mT, wide(q))
    dv = torch.matmul(pz.mT, wide(dy))
    return dq.to(q.dtype), dk.to(q.dtype), dv.to(q.dtype)


def dense_jvp(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    tangents: tuple[Tensor | None, Tensor | None, Tensor | None],
    mask: Tensor | None,
    z: Tensor | None,
    scale: float,
) -> Tensor:
    """Give the tangent of the output along `tangents` of q, k and v, None for a constant."""
    tq, tk, tv = tangents
    p = attention_weights(q, k, mask, scale)
    change = torch.zeros_like(p)
    if tq is not None:
        change = change + torch.matmul(wide(tq) * scale, wide(k).mT)
    if tk is not None:
        change = change + torch.matmul(wide(q) * scale, wide(tk).mT)
    tp = p * (change - (p * change).sum(3, keepdim=True))
    ty = torch.matmul(tp if z is None else tp * z, wide(v))
    if tv is not None:
        ty = ty + torch.matmul(p if z is None else p * z, wide(tv))
    return ty.to(q.dtype)

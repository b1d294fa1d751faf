"""Attention tile by tile in torch operations, for what no kernel does: dropout, other devices.

A tile is some rows of the batch and some queries, with all keys that they may look at; with
L = log-sum-exp of the scores and D = rowsum(dY Y), which holds with dropout z inside as well,

    P = exp(S - L)        Y = (P z) V
    dV += (P z)^T dY      dS = P (z (dY V^T) - D)      dQ = scale dS K      dK += scale dS^T Q

so that backward needs q, k, v, y and L, and no more memory than one tile.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from zoo.ops._attention_dense import Spans
from zoo.ops._function import wide, wide_dtype
from zoo.ops.dropout import keep_mask, keep_scale

#: between the seeds of two tiles; odd and large, so that seeds near each other share no tile
STEP = 0x3C6EF372FE94F82B
#: queries in a tile
BLOCK = 128
#: scores in a tile, where several rows of the batch fit into one
SCORES = 1 << 18


class Tile(NamedTuple):
    """Rows of the batch, queries, and the keys that they may look at."""

    rows: slice
    queries: slice
    keys: slice


def tiles(shape: tuple[int, ...], s: int, causal: bool, block: int) -> Iterator[Tile]:
    """Cut (b, h, t, s) into tiles; the cut depends on nothing else, so that seeds follow it."""
    b, h, t = shape[:3]
    rows = max(1, SCORES // max(1, h * min(block, t) * s))
    for row in range(0, b, rows):
        for query in range(0, t, block):
            end = min(t, query + block)
            keys = slice(0, end + s - t if causal else s)
            yield Tile(slice(row, min(b, row + rows)), slice(query, end), keys)


def parts(tile: Tile, spans: Spans | None, square: bool) -> Iterator[Tile]:
    """Give what is left of a tile in each span of real keys (and, if square, of queries)."""
    if spans is None:
        yield tile
        return
    for row, row_end, key, key_end in spans:
        rows = overlap(tile.rows, row, row_end)
        keys = overlap(tile.keys, key, key_end)
        queries = overlap(tile.queries, key, key_end) if square else tile.queries
        if all(x.stop > x.start for x in (rows, queries, keys)):
            yield Tile(rows, queries, keys)


def cut(mask: Tensor, part: Tile) -> Tensor:
    """Give the part of a mask whose axes are those of (b, h, t, s) or 1."""
    where = (part.rows, slice(None), part.queries, part.keys)
    cuts = (at if n > 1 else slice(None) for at, n in zip(where, mask.shape, strict=True))
    return mask[tuple(cuts)]


def overlap(x: slice, start: int, stop: int) -> slice:
    """Give the part of a slice between start and stop."""
    return slice(max(x.start, start), min(x.stop, stop))


def within(part: Tile, tile: Tile) -> tuple[slice, ...]:
    """Index a part in a (rows, h, queries, keys) tensor of its tile."""
    rows, queries, keys = (
        slice(a.start - b.start, a.stop - b.start) for a, b in zip(part, tile, strict=True)
    )
    return rows, slice(None), queries, keys


def tile_keep(
    tile: Tile, number: int, heads: int, rate: float, seed: Tensor, device: torch.device
) -> Tensor:
    """Draw which weights of a tile are kept: (rows, h, queries, keys)."""
    size = [x.stop - x.start for x in tile]
    return keep_mask((size[0], heads, *size[1:]), rate, seed + signed(STEP * number), device)


def signed(x: int) -> int:
    """Wrap an integer to 64 bits with a sign."""
    return (x + (1 << 63)) % (1 << 64) - (1 << 63)


def dense_keep(q: Tensor, k: Tensor, causal: bool, rate: float, seed: Tensor, block: int) -> Tensor:
    """Put the masks of all tiles together: (b, h, t, s), False where no tile looks."""
    b, h, t, s = *q.shape[:3], k.shape[2]
    keep = torch.zeros(b, h, t, s, dtype=torch.bool, device=q.device)
    for number, tile in enumerate(tiles(q.shape, s, causal, block)):
        drawn = tile_keep(tile, number, h, rate, seed, q.device)
        keep[tile.rows, :, tile.queries, tile.keys] = drawn
    return keep


def scores(
    q: Tensor, k: Tensor, part: Tile, mask: Tensor | None, causal: bool, offset: int, scale: float
) -> Tensor:
    """Give the scores of a part, -inf where one may not look; `offset` is s - t."""
    out = torch.matmul(q * scale, k.mT)
    sees = part.queries.start + offset - part.keys.start  # the last key the first query may see
    if causal and sees < out.shape[3] - 1:
        # adding is faster than filling under a mask that is repeated for each head
        out += out.new_full(out.shape[2:], -torch.inf).triu_(sees + 1)
    if mask is not None:
        out.masked_fill_(~cut(mask, part), -torch.inf)
    return out


def weights_(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Turn scores in place into exp(S - max); give them, their sums and log-sum-exp."""
    top = x.amax(3, keepdim=True)
    # a row that may look nowhere: exp(-inf - lowest) = 0, and a sum below one is nothing at all
    top.clamp_min_(torch.finfo(x.dtype).min)
    x.sub_(top).exp_()
    total = x.sum(3, keepdim=True).clamp_min_(1.0)
    return x, total, top.add_(total.log()).squeeze(3)


def heads_last(like: Tensor, dtype: torch.dtype) -> Tensor:
    """Make zeros (b, h, t, n) that lie as (b, t, h, n), so that merging heads is a view."""
    _, h, t, n = like.shape
    strides = (t * h * n, n, h * n, 1)
    return torch.empty_strided(like.shape, strides, dtype=dtype, device=like.device).zero_()


def blocks_forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    seed: Tensor | None,
    causal: bool,
    scale: float,
    rate: float,
    spans: Spans | None,
    block: int,
) -> tuple[Tensor, Tensor]:
    """Give the output and the log-sum-exp of each row, tile by tile."""
    h, t, s = q.shape[1], q.shape[2], k.shape[2]
    y = heads_last(q, q.dtype)
    lse = torch.zeros(q.shape[:3], dtype=wide_dtype(q), device=q.device)
    for number, tile in enumerate(tiles(q.shape, s, causal, block)):
        keep = None if seed is None else tile_keep(tile, number, h, rate, seed, q.device)
        for part in parts(tile, spans, t == s):
            rows, queries, keys = part
            qt = wide(q[rows, :, queries])
            kt, vt = wide(k[rows, :, keys]), wide(v[rows, :, keys])
            x = scores(qt, kt, part, mask, causal, s - t, scale)
            if x.numel() == 0:
                continue
            p, total, lse[rows, :, queries] = weights_(x)
            if keep is not None:
                p.mul_(keep[within(part, tile)].to(p.dtype))
                total = total / keep_scale(rate)
            y[rows, :, queries] = torch.matmul(p, vt).div_(total)
    return y, lse


def blocks_backward(
    dy: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    y: Tensor,
    lse: Tensor,
    mask: Tensor | None,
    seed: Tensor | None,
    causal: bool,
    scale: float,
    rate: float,
    spans: Spans | None,
    block: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Give dq, dk, dv, tile by tile; dk and dv are added up in at least float32."""
    h, t, s = q.shape[1], q.shape[2], k.shape[2]
    dq = heads_last(q, q.dtype)
    dk, dv = (heads_last(x, lse.dtype) for x in (k, v))
    for number, tile in enumerate(tiles(q.shape, s, causal, block)):
        keep = None if seed is None else tile_keep(tile, number, h, rate, seed, q.device)
        for part in parts(tile, spans, t == s):
            rows, queries, keys = part
            qt, kt, vt = wide(q[rows, :, queries]), wide(k[rows, :, keys]), wide(v[rows, :, keys])
            dt = wide(dy[rows, :, queries])
            delta = (dt * y[rows, :, queries]).sum(3, keepdim=True)
            p = scores(qt, kt, part, mask, causal, s - t, scale)
            p.sub_(lse[rows, :, queries, None]).exp_()
            dp = torch.matmul(dt, vt.mT)
            if keep is None:
                dv[rows, :, keys] += torch.matmul(p.mT, dt)
            else:
                kept = keep[within(part, tile)].to(p.dtype)
                dv[rows, :, keys] += torch.matmul((p * kept).mT, dt * keep_scale(rate))
                dp.mul_(kept).mul_(keep_scale(rate))
            ds = dp.sub_(delta).mul_(p)
            dq[rows, :, queries] = torch.matmul(ds, kt).mul_(scale)
            dk[rows, :, keys] += torch.matmul(ds.mT, qt * scale)
    return dq, dk.to(k.dtype), dv.to(v.dtype)


def blocks_forward_shapes(q: Tensor, *_: object) -> tuple[Tensor, Tensor]:
    """Give what `blocks_forward` gives, in shape alone."""
    return heads_last(q, q.dtype), q.new_empty(q.shape[:3], dtype=wide_dtype(q))


def blocks_backward_shapes(_: Tensor, q: Tensor, k: Tensor, v: Tensor, *rest: object) -> Any:
    """Give what `blocks_backward` gives, in shape alone."""
    return tuple(heads_last(x, x.dtype) for x in (q, k, v))


# Traced, the loops would be unrolled into a long graph for one length only: the compiler takes them
# as operators instead.
OPTIONS = (
    "Tensor? mask, Tensor? seed, bool causal, float scale, float rate, int[]? spans, int block"
)
opaque_forward = torch.library.custom_op(
    "zoo::attention_forward",
    blocks_forward,
    mutates_args=(),
    schema=f"(Tensor q, Tensor k, Tensor v, {OPTIONS}) -> (Tensor, Tensor)",
)
opaque_forward.register_fake(blocks_forward_shapes)
opaque_backward = torch.library.custom_op(
    "zoo::attention_backward",
    blocks_backward,
    mutates_args=(),
    schema="(Tensor dy, Tensor q, Tensor k, Tensor v, Tensor y, Tensor lse, "
    f"{OPTIONS}) -> (Tensor, Tensor, Tensor)",
)
opaque_backward.register_fake(blocks_backward_shapes)

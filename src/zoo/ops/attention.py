"""Scaled dot-product attention that never keeps the (t, s) matrix.

    S = scale Q K^T,  -inf where one may not look        L = log sum exp S
    P = exp(S - L)      Y = (P z) V,   z = dropout mask / (1 - rate)

Backward recomputes P from q, k and L:

    D = rowsum(dY Y)     dV = (P z)^T dY     dS = P (z (dY V^T) - D)
    dQ = scale dS K      dK = scale dS^T Q

On a CPU without dropout both ways are ATen's flash kernel (`_attention_flash.py`); else they go
tile by tile (`_attention_blocks.py`); where a derivative of the backward, a tangent or a mapped
call is wanted, they are elementary (`_attention_dense.py`).  A row that may look nowhere gives
zeros: there P = 0.

Source: Dao et al., FlashAttention, 2022, arXiv:2205.14135, appendix B.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd import Function

from zoo.ops._attention_blocks import (
    BLOCK,
    blocks_backward,
    blocks_forward,
    dense_keep,
    opaque_backward,
    opaque_forward,
)
from zoo.ops._attention_dense import Spans, dense_backward, dense_forward, dense_jvp, visible
from zoo.ops._attention_flash import flash_backward, flash_fits, flash_forward
from zoo.ops._elementary import elementary, mapped, readable
from zoo.ops._function import (
    check_float,
    check_same_dtype,
    lowered,
    no_autocast,
    run,
    wide_dtype,
)
from zoo.ops.dropout import check_rate, check_seed, keep_scale


def dense_extras(
    q: Tensor,
    k: Tensor,
    mask: Tensor | None,
    seed: Tensor | None,
    options: tuple[Any, ...],
) -> tuple[Tensor | None, Tensor | None]:
    """Give one mask for all that hides, and z, for the elementary formulas."""
    causal, _, rate, spans, block = options
    z = None
    if seed is not None:
        keep = dense_keep(q, k, causal, rate, seed, block)
        z = keep.to(wide_dtype(q)) * keep_scale(rate)
    return visible(q, k, mask, causal, spans), z


def attention_forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    seed: Tensor | None,
    options: tuple[Any, ...],
) -> tuple[Tensor, Tensor]:
    """Give the output and the log-sum-exp of each row by the fastest way that fits."""
    causal, scale, _, spans, _ = options
    if mapped():
        seen, z = dense_extras(q, k, mask, seed, options)
        # a backward of a mapped call goes by formula and asks for no log-sum-exp
        return dense_forward(q, k, v, seen, z, scale), q.new_empty(0)
    if seed is None and flash_fits(q, k):
        return flash_forward(q, k, v, mask, causal, scale, spans)
    tiled = opaque_forward if torch.compiler.is_compiling() else blocks_forward
    return tiled(q, k, v, mask, seed, *options)


def attention_backward(
    dy: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    y: Tensor,
    lse: Tensor,
    mask: Tensor | None,
    seed: Tensor | None,
    options: tuple[Any, ...],
) -> tuple[Tensor, Tensor, Tensor]:
    """Give dq, dk, dv by the way that the forward took, or by formula where it must be."""
    causal, scale, _, spans, _ = options
    if elementary(dy):
        seen, z = dense_extras(q, k, mask, seed, options)
        return dense_backward(dy, q, k, v, seen, z, scale)
    if seed is None and flash_fits(q, k):
        return flash_backward(dy, q, k, v, y, lse, mask, causal, scale, spans)
    tiled = opaque_backward if torch.compiler.is_compiling() else blocks_backward
    return tiled(dy, q, k, v, y, lse, mask, seed, *options)


class Attention(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(
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
        return attention_forward(q, k, v, mask, seed, (causal, scale, rate, spans, block))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        q, k, v, mask, seed, *options = inputs
        ctx.options = tuple(options)
        ctx.mark_non_differentiable(output[1])
        # the same for both: torch's vmap keeps one list of mapped axes for the two
        ctx.save_for_backward(q, k, v, *output, mask, seed)
        ctx.save_for_forward(q, k, v, *output, mask, seed)

    @staticmethod
    def backward(ctx: Any, dy: Tensor, _: Any = None) -> Any:
        with no_autocast(dy):
            q, k, v, y, lse, mask, seed = ctx.saved_tensors
            grads = attention_backward(dy, q, k, v, y, lse, mask, seed, ctx.options)
        wanted = zip(grads, ctx.needs_input_grad[:3], strict=True)
        return *(g if w else None for g, w in wanted), None, None, *(None for _ in ctx.options)

    @staticmethod
    def tangent(ctx: Any, *tangents: Any) -> Any:
        q, k, v, _, _, mask, seed = ctx.saved_tensors
        seen, z = dense_extras(q, k, mask, seed, ctx.options)
        return dense_jvp(q, k, v, tangents[:3], seen, z, ctx.options[1]), None


def attention(
    q: Float[Tensor, "b h t n"],
    k: Float[Tensor, "b h s n"],
    v: Float[Tensor, "b h s n"],
    mask: Bool[Tensor, "..."] | None = None,
    *,
    causal: bool = False,
    padding: Bool[Tensor, "b s"] | None = None,
    lengths: Sequence[int] | None = None,
    rate: float = 0.0,
    seed: int | Tensor | None = None,
    scale: float | None = None,
) -> Float[Tensor, "b h t n"]:
    """Give softmax(scale q k^T + mask) v; a query that may look nowhere gives zeros.

    `mask`, True = may look, broadcasts to (b, h, t, s).  `causal` lets query i of t look at keys up
    to i + s - t.  `padding`, True = a real key, costs nothing where the real keys of a row lie
    together; in self attention (t = s) a padding query gives zeros too.  `lengths` says that the
    one row of q, k and v holds sequences one behind the other, which see themselves alone; they
    take the place of `padding`, and s = t is their sum.  `rate` drops attention
    weights, drawn from `seed` in forward and again in backward.  `scale` is 1 / sqrt(n) if not
    given.  The dtype of q is kept, the softmax is taken in at least float32; under autocast q, k
    and v are cast.  Raises TypeError for dtypes that differ, ValueError for shapes that do not fit
    and for a rate without a seed.
    """
    return attend(q, k, v, mask, causal, padding, rate, seed, scale, BLOCK, lengths)


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    causal: bool,
    padding: Tensor | None,
    rate: float,
    seed: int | Tensor | None,
    scale: float | None,
    block: int,
    lengths: Sequence[int] | None = None,
) -> Tensor:
    """Check, cast, find the spans of real keys, and run; `block` is how many queries a tile has."""
    check_float("attention", q=q, k=k, v=v)
    q, k, v = lowered(q, k, v)
    check_same_dtype("attention", q=q, k=k, v=v)
    check_shapes(q, k, v, causal)
    if mask is not None:
        mask = four_axes(mask, (*q.shape[:3], k.shape[2]))
    spans = None
    if padding is not None:
        if padding.shape != (q.shape[0], k.shape[2]) or padding.dtype != torch.bool:
            raise ValueError(
                f"attention: padding is {padding.dtype} {tuple(padding.shape)}; "
                f"give a bool {(q.shape[0], k.shape[2])}, True = a real key"
            )
        spans, mask = use_padding(padding, mask, q.shape[2])
    if lengths is not None:
        if padding is not None:
            raise ValueError("attention: give lengths or padding, not both")
        spans = spans_of(lengths, q, k)
    if scale is None:
        scale = max(1, q.shape[3]) ** -0.5
    drawn = one_seed(rate, seed)
    return run(Attention, q, k, v, mask, drawn, causal, scale, rate, spans, block)[0]


def check_shapes(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> None:
    """Refuse shapes that do not fit, with all of them in the message."""
    fits = q.ndim == k.ndim == 4 and k.shape == v.shape
    if not fits or any(q.shape[i] != k.shape[i] for i in (0, 1, 3)):
        shapes = ", ".join(str(tuple(x.shape)) for x in (q, k, v))
        raise ValueError(f"attention: q, k, v are {shapes}; give (b, h, t, n), twice (b, h, s, n)")
    if causal and q.shape[2] > k.shape[2]:
        raise ValueError(
            f"attention: causal with {q.shape[2]} queries for {k.shape[2]} keys; the last query "
            "stands at the last key, so give no more queries than keys"
        )


def four_axes(mask: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Give a mask four axes, each 1 or that of `shape`."""
    fits = mask.ndim <= 4 and all(
        m in (1, n) for m, n in zip(reversed(mask.shape), reversed(shape), strict=False)
    )
    if not fits:
        raise ValueError(f"attention: mask {tuple(mask.shape)} does not broadcast to {shape}")
    if mask.dtype != torch.bool:
        raise TypeError(f"attention: mask is {mask.dtype}; give a bool, True = may look")
    return mask[(None,) * (4 - mask.ndim)]


def one_seed(rate: float, seed: int | Tensor | None) -> Tensor | None:
    """Give the seed as a tensor, None where nothing is dropped."""
    check_rate("attention", rate)
    if rate == 0:
        return None
    if seed is None:
        raise ValueError(f"attention: rate {rate} needs a seed; give an int or an int64 tensor")
    check_seed("attention", seed)
    return seed if isinstance(seed, Tensor) else torch.full((), seed, dtype=torch.int64)


def use_padding(padding: Tensor, mask: Tensor | None, t: int) -> tuple[Spans | None, Tensor | None]:
    """Turn padding into spans where it can be, else into a mask.

    One query against a cache is cheaper masked; a traced or mapped call cannot look at values.
    """
    b, s = padding.shape
    if t > 1 and readable(padding):
        spans = real_spans(padding)
        if spans is not None:
            return (None if spans == ((0, b, 0, s),) else spans), mask
    real = padding[:, None, None, :]
    if t == s:
        real = real & padding[:, None, :, None]
    return None, real if mask is None else mask & real


def spans_of(lengths: Sequence[int], q: Tensor, k: Tensor) -> Spans:
    """Give the spans of sequences that lie one behind the other."""
    b, t, s = q.shape[0], q.shape[2], k.shape[2]
    if b != 1 or t != s or sum(lengths) != t or any(n < 1 for n in lengths):
        raise ValueError(
            f"attention: lengths {list(lengths)} do not fit {b} rows of {t} queries and {s} keys; "
            "give one row of them one behind the other, each 1 or longer"
        )
    ends = list(itertools.accumulate(lengths))
    return tuple((0, 1, end - n, end) for n, end in zip(lengths, ends, strict=True))


def real_spans(padding: Tensor) -> Spans | None:
    """Group rows next to each other by the span of their real keys; None for a row with a hole."""
    s = padding.shape[1]
    real = padding.int()
    count, first = real.sum(1), real.argmax(1)
    end = (s - real.flip(1).argmax(1)) * (count > 0)
    spans: list[tuple[int, int, int, int]] = []
    for row, (n, start, stop) in enumerate(torch.stack((count, first, end), 1).tolist()):
        if n != stop - start:
            return None
        if spans and spans[-1][2:] == (start, stop):
            spans[-1] = (spans[-1][0], row + 1, start, stop)
        else:
            spans.append((row, row + 1, start, stop))
    return tuple(spans)

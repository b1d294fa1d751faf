"""Attention by ATen's flash kernel for CPUs, called on the spans of real keys.

What the kernel does not say and was found by trying: it takes any head layout whose last axis is
dense (and reads past the end for another), gives zeros for a row that may look nowhere, aligns its
own causal edge at the first key, takes a float mask only, and divides by zero for a size of zero.
"""

import torch
from torch import Tensor

from zoo.ops._attention_blocks import Tile, cut, heads_last, parts
from zoo.ops._attention_dense import Spans, visible
from zoo.ops._function import LOW, wide, wide_dtype

FORWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu.default
BACKWARD = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward.default


def flash_fits(q: Tensor, k: Tensor) -> bool:
    """Tell whether the kernel can take these."""
    return q.device.type == "cpu" and q.numel() > 0 and k.numel() > 0


def unit_stride(x: Tensor) -> Tensor:
    """Make the last axis dense."""
    return x if x.stride(3) == 1 else x.contiguous()


def additive(mask: Tensor | None, t: int, s: int, dtype: torch.dtype) -> Tensor | None:
    """Write a mask as what is added to (t, s) scores."""
    if mask is None:
        return None
    zeros = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
    return zeros.masked_fill_(~mask, -torch.inf).expand(-1, -1, t, s)


def part_additive(mask: Tensor | None, part: Tile, dtype: torch.dtype) -> Tensor | None:
    """Write what a mask says of a part as what is added to its scores."""
    if mask is None:
        return None
    t, s = (x.stop - x.start for x in part[1:])
    return additive(cut(mask, part), t, s, dtype)


def own_edge(q: Tensor, k: Tensor, mask: Tensor | None, causal: bool) -> tuple[Tensor | None, bool]:
    """Give mask and `is_causal`: the kernel's own edge where it is ours, else a mask."""
    if causal and q.shape[2] != k.shape[2]:
        return visible(q, k, mask, causal, None), False
    return mask, causal


def flash_forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    causal: bool,
    scale: float,
    spans: Spans | None,
) -> tuple[Tensor, Tensor]:
    """Give the output and the log-sum-exp of each row."""
    t, s = q.shape[2], k.shape[2]
    mask, causal = own_edge(q, k, mask, causal)
    if spans is None:
        return flash_part(q, k, v, additive(mask, t, s, kernel_dtype(q)), causal, scale)
    whole = Tile(slice(0, q.shape[0]), slice(0, t), slice(0, s))
    y = heads_last(q, q.dtype)
    lse = torch.zeros(q.shape[:3], dtype=wide_dtype(q), device=q.device)
    for part in parts(whole, spans, t == s):
        rows, queries, keys = part
        added = part_additive(mask, part, kernel_dtype(q))
        y[rows, :, queries], lse[rows, :, queries] = flash_part(
            q[rows, :, queries], k[rows, :, keys], v[rows, :, keys], added, causal, scale
        )
    return y, lse


def kernel_dtype(q: Tensor) -> torch.dtype:
    """Give the dtype to run in: low ones are slower there and less exact, but for one query."""
    return torch.float32 if q.dtype in LOW and q.shape[2] > 1 else q.dtype


def flash_part(
    q: Tensor, k: Tensor, v: Tensor, added: Tensor | None, causal: bool, scale: float
) -> tuple[Tensor, Tensor]:
    """Call the kernel."""
    dtype = kernel_dtype(q)
    out, lse = FORWARD(
        *(unit_stride(x.to(dtype)) for x in (q, k, v)), 0.0, causal, attn_mask=added, scale=scale
    )
    return out.to(q.dtype), lse


def flash_part_backward(
    dy: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    y: Tensor,
    lse: Tensor,
    added: Tensor | None,
    causal: bool,
    scale: float,
) -> tuple[Tensor, ...]:
    """Call the kernel's backward, always in at least float32."""
    dense = [unit_stride(wide(x)) for x in (dy, q, k, v, y)]
    grads = BACKWARD(*dense, lse, 0.0, causal, attn_mask=added, scale=scale)
    return tuple(g.to(q.dtype) for g in grads)


def flash_backward(
    dy: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    y: Tensor,
    lse: Tensor,
    mask: Tensor | None,
    causal: bool,
    scale: float,
    spans: Spans | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Give dq, dk, dv."""
    t, s = q.shape[2], k.shape[2]
    mask, causal = own_edge(q, k, mask, causal)
    if spans is None:
        added = additive(mask, t, s, lse.dtype)
        dq, dk, dv = flash_part_backward(dy, q, k, v, y, lse, added, causal, scale)
        return dq, dk, dv
    whole = Tile(slice(0, q.shape[0]), slice(0, t), slice(0, s))
    dq, dk, dv = (heads_last(x, x.dtype) for x in (q, k, v))
    for part in parts(whole, spans, t == s):
        rows, queries, keys = part
        dq[rows, :, queries], dk[rows, :, keys], dv[rows, :, keys] = flash_part_backward(
            dy[rows, :, queries],
            q[rows, :, queries],
            k[rows, :, keys],
            v[rows, :, keys],
            y[rows, :, queries],
            lse[rows, :, queries],
            part_additive(mask, part, lse.dtype),
            causal,
            scale,
        )
    return dq, dk, dv

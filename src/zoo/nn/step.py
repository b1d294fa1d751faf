"""One new token a row through blocks that normalise first: the same kernels, called directly.

A decoding step of a small batch is short: going through modules and the ops' checks takes as long
as a third of GPT-2's products do. Here a block is a dozen calls. It is taken only where calling the
modules would run the same kernels on the same numbers, and nothing else: classes of our own, no
hooks, no dropout, no derivative, transform, compiler or autocast in view, one dtype, a CPU.
Weights are read from their modules at each step, so a change of them needs no telling.
"""

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional as F
from torch.nn.modules import module as modules

from zoo import ops
from zoo.nn.attention import Attention
from zoo.nn.basic import Dropout, LayerNorm, Linear
from zoo.nn.cache import KVCache
from zoo.nn.fused import own
from zoo.nn.mlp import MLP
from zoo.ops._attention_flash import FORWARD, additive
from zoo.ops._function import autocast_dtype, transformed
from zoo.ops.attention import attention
from zoo.ops.gelu import gelu_forward

KINDS = (LayerNorm, Attention, Linear, Linear, LayerNorm, MLP, Linear, Linear, Dropout)
DTYPES = (torch.float32, torch.float64)
Part = dict[str, Any]  # what a module holds: asking it by attribute takes longer


def direct(x: Tensor) -> bool:
    """Tell whether a step on `x` may go directly, as far as its surroundings say."""
    return (
        not torch.compiler.is_compiling()
        and x.is_cpu
        and x.dtype in DTYPES
        and type(x) is Tensor
        and not torch.is_grad_enabled()
        and forward_ad._current_level < 0
        and not transformed()
        and autocast_dtype(x) is None
        and torch._C._get_tracing_state() is None
        and not modules._has_any_global_hook()
        and ops.attention is attention  # else the ops are exchanged for others
    )


def parts_of(block: nn.Module, dtype: torch.dtype) -> list[Part] | None:
    """Give what the parts of a block hold; None unless calling them would do no more."""
    inner = block.__dict__["_modules"]
    if type(inner["attn"]) is not Attention or type(inner["mlp"]) is not MLP:
        return None
    attn, mlp = inner["attn"].__dict__["_modules"], inner["mlp"].__dict__["_modules"]
    parts = (
        *(inner["norm1"], inner["attn"], attn["qkv"], attn["out"]),
        *(inner["norm2"], inner["mlp"], mlp["up"], mlp["down"], inner["drop"]),
    )
    if tuple(map(type, parts)) != KINDS:
        return None
    found = [part.__dict__ for part in parts]
    for held in found:
        if held["training"] or not own(held):
            return None
        for parameter in held["_parameters"].values():
            if parameter is not None and parameter.dtype is not dtype:
                return None
    return found


def blocks_of(
    kind: type[nn.Module], blocks: Iterable[nn.Module], x: Tensor
) -> list[list[Part]] | None:
    """Give the parts of every block; None where one must be called as a module."""
    if not direct(x):
        return None
    found = []
    for block in blocks:
        held = block.__dict__
        parts = parts_of(block, x.dtype) if type(block) is kind and own(held) else None
        if parts is None:
            return None
        found.append(parts)
    return found


def one_token(
    blocks: list[list[Part]], x: Float[Tensor, "b 1 d"], cache: KVCache
) -> Float[Tensor, "b 1 d"]:
    """Lead one new token a row, of which the cache has taken in the mask, through the blocks."""
    padding = cache.padding()
    hidden = None
    if padding is not None:
        hidden = additive(padding[:, None, None, :], 1, cache.length, x.dtype)
    for parts, keys_values in zip(blocks, cache.buffer.unbind(0), strict=True):
        norm1, attn, qkv, out, norm2, mlp, up, down, _ = parts
        y = attend(linear(norm(x, norm1), qkv), attn["heads"], keys_values, cache.length, hidden)
        x = x + linear(y, out)
        x = x + linear(gelu_forward(linear(norm(x, norm2), up), mlp["gelu"]), down)
    return x


def attend(
    qkv: Float[Tensor, "b 1 e"],
    heads: int,
    keys_values: Float[Tensor, "2 b h c n"],
    stop: int,
    hidden: Tensor | None,
) -> Float[Tensor, "b 1 d"]:
    """Write the token's keys and values into the cache; look at all of its first `stop` tokens."""
    b, _, width = qkv.shape
    size = width // (3 * heads)
    apart = qkv.view(b, 1, 3, heads, size).permute(2, 0, 3, 1, 4)  # (3, b, h, 1, n)
    keys_values.narrow(3, stop - 1, 1).copy_(apart.narrow(0, 1, 2))
    k, v = keys_values.narrow(3, 0, stop).unbind(0)
    y = FORWARD(apart.select(0, 0), k, v, 0.0, False, attn_mask=hidden, scale=size**-0.5)[0]
    return y.transpose(1, 2).reshape(b, 1, heads * size)


def norm(x: Tensor, part: Part) -> Tensor:
    weights = part["_parameters"]
    return torch.native_layer_norm(
        x, (x.shape[-1],), weights["weight"], weights["bias"], part["eps"]
    )[0]


def linear(x: Tensor, part: Part) -> Tensor:
    """Map by the layer's weight, or by what it was packed into."""
    weights = part["_parameters"]
    weight, bias = weights["weight"], weights["bias"]
    packed = part.get("packed")
    product = None if packed is None or x.dtype is not torch.float32 else packed.of(weight)
    return F.linear(x, weight, bias) if product is None else product(x, weight, bias)

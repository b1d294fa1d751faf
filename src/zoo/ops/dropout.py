"""Dropout (Srivastava et al., 2014) whose mask is drawn again in the backward, never stored.

    y = m x / (1 - p)      dx = m dy / (1 - p)      m_i = 1 with probability 1 - p, else 0

The mask is a function of seed and shape alone: threads, strides and compilation leave it as it is.
Each element takes 16 random bits, of which four come with one 64-bit word, and is kept when they
are at least p 2^16, rounded; the scale is that of the rounded p, so the mean is exact.

The bits come from an operator of its own, `zoo::random_bits`, which the compiler takes as it finds
it.  Under vmap one seed gives every sample the same mask; map over seeds for different ones.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd import Function

from zoo.ops._function import check_float, no_autocast, run

LEVELS = 1 << 16  # values of 16 bits
WORDS = 1 << 64  # values of 64 bits
GOLDEN = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio


def signed(word: int) -> int:
    """Read 64 bits as an int64 does."""
    return (word + WORDS // 2) % WORDS - WORDS // 2


def tile_seed(seed: int | Tensor, number: int) -> int | Tensor:
    """Give the seed of one of many masks that belong to `seed`; int and tensor seeds agree."""
    step = signed(GOLDEN * (number + 1))
    return seed + step if isinstance(seed, Tensor) else signed(seed + step)


def draw_bits(seed: Tensor, count: int, device: torch.device) -> Tensor:
    """Draw `count` numbers of 16 random bits each, as int16.

    On a CPU numpy's generator is more than twice as fast as torch's, and looks at all 64 bits of
    the seed, of which torch's takes 32.
    """
    if device.type == "meta":
        return fake_bits(seed, count, device)
    size = (count + 3) // 4
    if device.type == "cpu":
        words = np.random.SFC64(int(seed) % WORDS).random_raw(size)
        return torch.from_numpy(words.view(np.int16)[:count])
    generator = torch.Generator(device).manual_seed(int(seed))
    drawn = torch.empty(size, dtype=torch.int64, device=device)
    # from -2^63: plain random_() leaves the highest bit 0, and so bends every fourth element
    drawn.random_(-(WORDS // 2), None, generator=generator)
    return drawn.view(torch.int16)[:count].clone()


def fake_bits(seed: Tensor, count: int, device: torch.device) -> Tensor:
    """Give the shape alone, for the compiler."""
    return torch.empty(count, dtype=torch.int16, device=device)


def mapped_bits(
    info: Any, in_dims: tuple[int | None, ...], seed: Tensor, count: int, device: torch.device
) -> tuple[Tensor, int]:
    """Draw for each of the seeds that are mapped over; a seed has no axis but that one."""
    return torch.stack([random_bits(one, count, device) for one in seed.unbind()]), 0


random_bits = torch.library.custom_op(
    "zoo::random_bits",
    draw_bits,
    mutates_args=(),
    schema="(Tensor seed, SymInt count, Device device) -> Tensor",
)
random_bits.register_fake(fake_bits)
random_bits.register_vmap(mapped_bits)


def threshold(rate: float) -> int:
    """Give the lowest 16-bit number that is kept; one value at least always is."""
    return min(round(rate * LEVELS), LEVELS - 1)


def keep_scale(rate: float) -> float:
    """Give what a kept element is multiplied by: one over the share that is kept in truth."""
    return LEVELS / (LEVELS - threshold(rate))


def keep_mask(
    shape: Sequence[int], rate: float, seed: int | Tensor, device: torch.device | str = "cpu"
) -> Bool[Tensor, "..."]:
    """Draw which elements of a tensor of `shape` are kept, the same for the same seed.

    `seed` is an int64, as an int or as a tensor without axes (which is not compiled in).
    """
    if not isinstance(seed, Tensor):
        seed = torch.full((), seed, dtype=torch.int64)
    bits = random_bits(seed, math.prod(shape), torch.device(device))
    return (bits >= threshold(rate) - LEVELS // 2).view(shape)


def dropout_forward(x: Tensor, seed: Tensor, rate: float) -> Tensor:
    """Drop and scale; the map is linear and diagonal, so it is its own backward and tangent."""
    keep = keep_mask(x.shape, rate, seed, x.device)
    return (x * keep.to(x.dtype)).mul_(keep_scale(rate))


class Dropout(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, seed: Tensor, rate: float) -> Tensor:
        return dropout_forward(x, seed, rate)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        _, seed, ctx.rate = inputs
        ctx.save_for_backward(seed)
        ctx.save_for_forward(seed)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (seed,) = ctx.saved_tensors
        with no_autocast(dy):
            return dropout_forward(dy, seed, ctx.rate), None, None

    @staticmethod
    def tangent(ctx: Any, t: Tensor, *_: Any) -> Any:
        (seed,) = ctx.saved_tensors
        return dropout_forward(t, seed, ctx.rate)


def check_rate(op: str, rate: float) -> None:
    """Refuse a rate that is not a probability below one."""
    if not 0 <= rate < 1:
        raise ValueError(f"{op}: rate {rate} is outside [0, 1); give the share to drop")


def check_seed(op: str, seed: object) -> None:
    """Refuse a seed that is not one 64-bit integer."""
    if isinstance(seed, Tensor):
        if seed.ndim or seed.dtype != torch.int64:
            shape = tuple(seed.shape)
            raise TypeError(f"{op}: seed is {seed.dtype} {shape}; give one int64 without axes")
    elif not isinstance(seed, int):
        raise TypeError(f"{op}: seed is {seed!r}; give an int or an int64 tensor without axes")
    elif not -WORDS // 2 <= seed < WORDS // 2:
        raise ValueError(f"{op}: seed {seed} does not fit into 64 bits; give a smaller one")


def dropout(x: Float[Tensor, "..."], rate: float, seed: int | Tensor) -> Float[Tensor, "..."]:
    """Zero a share `rate` of the elements and scale the others up, so that the mean stays.

    `seed` is an int64, as an int or as a tensor without axes (one compiled graph serves all its
    values).  The same seed and shape drop the same elements.  Rate 0 gives x itself.
    """
    check_float("dropout", x=x)
    check_rate("dropout", rate)
    check_seed("dropout", seed)
    if rate == 0:
        return x
    if not isinstance(seed, Tensor):
        seed = torch.full((), seed, dtype=torch.int64)
    return run(Dropout, x, seed, rate)

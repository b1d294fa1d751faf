"""Stochastic depth (Huang et al., 2016): whole rows of a batch are left out.

    y_i = m_i x_i / (1 - p)     dx_i = m_i dy_i / (1 - p)     m_i = 1 with probability 1 - p, or 0

As in dropout, m is drawn from a seed, again in the backward, and p is rounded to 16 bits.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function

from zoo.ops._function import check_float, no_autocast, run, wide_dtype
from zoo.ops.dropout import check_rate, check_seed, keep_mask, keep_scale


def drop_path_forward(x: Tensor, seed: Tensor, rate: float) -> Tensor:
    """Drop rows and scale the others; the map is linear and diagonal, so it is its own backward."""
    keep = keep_mask(x.shape[:1], rate, seed, x.device)
    # in float32 at least: a scale rounded to bfloat16 would move the mean
    factor = keep.to(wide_dtype(x)) * keep_scale(rate)
    return (x * factor.view(-1, *(1,) * (x.ndim - 1))).to(x.dtype)


class DropPath(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, seed: Tensor, rate: float) -> Tensor:
        return drop_path_forward(x, seed, rate)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        _, seed, ctx.rate = inputs
        ctx.save_for_backward(seed)
        ctx.save_for_forward(seed)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (seed,) = ctx.saved_tensors
        with no_autocast(dy):
            return drop_path_forward(dy, seed, ctx.rate), None, None

    @staticmethod
    def tangent(ctx: Any, t: Tensor, *_: Any) -> Any:
        (seed,) = ctx.saved_tensors
        return drop_path_forward(t, seed, ctx.rate)


def drop_path(x: Float[Tensor, "b ..."], rate: float, seed: int | Tensor) -> Float[Tensor, "b ..."]:
    """Zero a share `rate` of the rows of the first axis and scale the others up.

    `seed` is an int64, as an int or as a tensor without axes (one compiled graph serves all its
    values). The same seed and number of rows drop the same rows. Rate 0 gives x itself.
    """
    check_float("drop_path", x=x)
    check_rate("drop_path", rate)
    check_seed("drop_path", seed)
    if x.ndim == 0:
        raise ValueError("drop_path: x has no rows; give at least one axis, x[None]")
    if rate == 0:
        return x
    if not isinstance(seed, Tensor):
        seed = torch.full((), seed, dtype=torch.int64)
    return run(DropPath, x, seed, rate)

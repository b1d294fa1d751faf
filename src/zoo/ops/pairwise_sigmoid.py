"""The pairwise sigmoid loss of SigLIP (Zhai et al. 2023, algorithm 1).

    z = x y^T   l = s z + b      m_ij = 1 on the diagonal, -1 elsewhere
    loss = 1/n sum_ij log(1 + exp(-m_ij l_ij))
    g = (sigmoid(l) - 1 on the diagonal) / n
    dx = s g y     dy = s g^T x     ds = sum g z     db = sum g

Each pair is judged by itself, so chunks of rows need nothing of each other.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from zoo.ops._function import no_autocast, run, wide
from zoo.ops._pairs import (
    Residual,
    asked,
    check_pairs,
    chunks,
    own,
    products,
    pulled_back,
    pushed_forward,
)


def pairwise_sigmoid_forward(x: Tensor, y: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Give the loss."""
    total = torch.zeros((), dtype=wide(x[:0]).dtype, device=x.device)
    for part in chunks(len(x)):
        logits = wide(scale) * products(x, y, part) + wide(bias)
        signed = torch.where(own(logits, part.start), -logits, logits)
        total = total + F.softplus(signed, threshold=torch.inf).sum()
    return total / max(1, len(x))


def residual_of(scale: Tensor, bias: Tensor, weight: Tensor) -> Residual:
    """Make the function that gives `weight` times g of a chunk."""

    def residual(z: Tensor, start: int) -> Tensor:
        likely = torch.sigmoid(wide(scale) * z + wide(bias))
        return (likely - own(z, start).to(z.dtype)) * (weight / max(1, z.shape[-1]))

    return residual


def pairwise_sigmoid_backward(
    dy: Tensor, x: Tensor, y: Tensor, scale: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Give the gradients, from the inputs alone."""
    dx, dt, ds, db = pulled_back(residual_of(scale, bias, dy), x, y, scale)
    return dx, dt, ds, db.to(bias.dtype)


def pairwise_sigmoid_jvp(
    x: Tensor, y: Tensor, scale: Tensor, bias: Tensor, tangents: tuple[Any, ...]
) -> Tensor:
    """Give the tangent of the loss along tangents of all four."""
    tx, ty, ts, tb = tangents
    one = torch.ones((), dtype=wide(x[:0]).dtype, device=x.device)
    residual = residual_of(scale, bias, one)
    value = pushed_forward(residual, x, y, scale, (tx, ty, ts))
    if tb is not None:
        value = value + wide(tb) * pulled_back(residual, x, y, scale)[3]
    return value


class PairwiseSigmoid(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, y: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
        return pairwise_sigmoid_forward(x, y, scale, bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        with no_autocast(dy):
            return asked(ctx, pairwise_sigmoid_backward(dy, *ctx.saved_tensors))

    @staticmethod
    def tangent(ctx: Any, *tangents: Any) -> Any:
        x, y, scale, bias = ctx.saved_tensors
        return pairwise_sigmoid_jvp(x, y, scale, bias, tangents)


def pairwise_sigmoid(
    images: Float[Tensor, "n e"],
    texts: Float[Tensor, "n e"],
    scale: Float[Tensor, ""],
    bias: Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """Judge for each pair of an image and a text whether they belong together.

    Logits are scale * images @ texts.T + bias, in at least float32, and so is the loss: a sum over
    pairs by the number of rows, 0 with none. Raises ValueError for sets that do not pair.
    """
    check_pairs("pairwise_sigmoid", images, texts, scale=scale, bias=bias)
    return run(PairwiseSigmoid, images, texts, scale, bias)

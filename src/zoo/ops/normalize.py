"""Vectors of length one.

    r = 1 / |x|  where |x| > eps, else 1 / eps        y = r x
    J = r (1 - y y^T)  where |x| > eps, else r        dx = J dy:  the Jacobian is symmetric

A vector shorter than eps is divided by eps: a vector of zeros stays, with a finite gradient.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function

from zoo.ops._function import check_float, no_autocast, raised, run, wide

EPS = 1e-12


def inverse_length(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Give r, and where the length is above eps; no derivative of it is ever NaN."""
    square = (x * x).sum(-1, keepdim=True)
    long = square > eps * eps
    return torch.where(long, torch.where(long, square, 1).rsqrt(), 1 / eps), long


def normalize_forward(x: Tensor, eps: float) -> Tensor:
    """Scale each row of the last axis, in at least float32."""
    length = torch.linalg.vector_norm(wide(x), dim=-1, keepdim=True)
    return (x / length.clamp_min(eps)).to(x.dtype)


def normalize_jvp(x: Tensor, t: Tensor, eps: float) -> Tensor:
    """Apply the Jacobian at x to t: gradients and tangents take the same way."""
    wider, t = wide(x), wide(t)
    r, long = inverse_length(wider, eps)
    y = wider * r
    along = torch.where(long, (y * t).sum(-1, keepdim=True), 0)
    return (r * (t - y * along)).to(x.dtype)


class Normalize(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, eps: float) -> Tensor:
        return normalize_forward(x, eps)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        x, ctx.eps = inputs
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        with no_autocast(dy):
            return normalize_jvp(x, dy, ctx.eps), None

    @staticmethod
    def tangent(ctx: Any, t: Tensor, _: None) -> Any:
        (x,) = ctx.saved_tensors
        return normalize_jvp(x, t, ctx.eps)


def normalize(x: Float[Tensor, "*b e"], eps: float = EPS) -> Float[Tensor, "*b e"]:
    """Scale each row of the last axis to length one; rows shorter than `eps` are divided by it.

    The dtype of `x` is kept; under autocast the result is float32, as torch's is.
    """
    check_float("normalize", x=x)
    if x.ndim == 0:
        raise ValueError("normalize: x has no axis to normalise; give at least one, x[None]")
    if not eps > 0:
        raise ValueError(f"normalize: eps {eps} is not above 0; give the shortest length to keep")
    return run(Normalize, raised(x), eps)

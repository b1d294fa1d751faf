"""The symmetric contrastive loss of CLIP (Radford et al. 2021, figure 3).

    z = x y^T   l = s z      loss = 1/2n sum_i [ lse_j l_ij + lse_j l_ji ] - 1/n sum_i l_ii
    g = (p + q) / 2n - 1/n on the diagonal,
        p_ij = exp(l_ij - lse_j l_ij),     q_ij = exp(l_ij - lse_i l_ij)
    dx = s g y     dy = s g^T x     ds = sum g z

One pass over chunks of rows finds both: the rows' log-sum-exp is whole in a chunk, the columns' is
added up from chunk to chunk. Backward takes a second pass, so n by n numbers never exist at once.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function

from zoo.ops._elementary import elementary
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


def log_sums(x: Tensor, y: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Give the rows' and the columns' log-sum-exp, and the sum of the diagonal."""
    rows, columns = [], wide(y).new_full((len(y),), -torch.inf)
    diagonal = torch.zeros((), dtype=columns.dtype, device=x.device)
    for part in chunks(len(x)):
        logits = wide(scale) * products(x, y, part)
        rows.append(logits.logsumexp(-1))
        columns = torch.logaddexp(columns, logits.logsumexp(-2))
        diagonal = diagonal + logits.diagonal(part.start).sum()
    return torch.cat(rows) if rows else columns, columns, diagonal


def contrastive_forward(x: Tensor, y: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Give the loss, and the log-sum-exps that backward needs."""
    rows, columns, diagonal = log_sums(x, y, scale)
    return ((rows.sum() + columns.sum()) / 2 - diagonal) / max(1, len(x)), rows, columns


def residual_of(rows: Tensor, columns: Tensor, scale: Tensor, weight: Tensor) -> Residual:
    """Make the function that gives `weight` times g of a chunk."""

    def residual(z: Tensor, start: int) -> Tensor:
        logits = wide(scale) * z
        p = torch.exp(logits - rows[start : start + z.shape[-2], None])
        q = torch.exp(logits - columns)
        return ((p + q) / 2 - own(z, start).to(z.dtype)) * (weight / max(1, len(columns)))

    return residual


def contrastive_backward(
    dy: Tensor, x: Tensor, y: Tensor, scale: Tensor, rows: Tensor, columns: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Give the gradients; the log-sum-exps are taken anew where a derivative may be wanted."""
    if elementary(dy):
        rows, columns, _ = log_sums(x, y, scale)
    return pulled_back(residual_of(rows, columns, scale, dy), x, y, scale)[:3]


def contrastive_jvp(x: Tensor, y: Tensor, scale: Tensor, tangents: tuple[Any, Any, Any]) -> Tensor:
    """Give the tangent of the loss along tangents of x, y and scale."""
    rows, columns, _ = log_sums(x, y, scale)
    one = torch.ones((), dtype=columns.dtype, device=x.device)
    return pushed_forward(residual_of(rows, columns, scale, one), x, y, scale, tangents)


class Contrastive(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, y: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return contrastive_forward(x, y, scale)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.mark_non_differentiable(*output[1:])
        ctx.save_for_backward(*inputs, *output[1:])
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx: Any, dy: Tensor, *_: Any) -> Any:
        with no_autocast(dy):
            return asked(ctx, contrastive_backward(dy, *ctx.saved_tensors))

    @staticmethod
    def tangent(ctx: Any, *tangents: Any) -> Any:
        x, y, scale = ctx.saved_tensors[:3]
        return contrastive_jvp(x, y, scale, tangents), None, None


def contrastive(
    images: Float[Tensor, "n e"], texts: Float[Tensor, "n e"], scale: Float[Tensor, ""]
) -> Float[Tensor, ""]:
    """Choose each image's text and each text's image among all: the mean cross entropy of both.

    Logits are scale * images @ texts.T, in at least float32, and so is the loss; with no rows it
    is 0. Raises ValueError for sets that do not pair.
    """
    check_pairs("contrastive", images, texts, scale=scale)
    return run(Contrastive, images, texts, scale)[0]

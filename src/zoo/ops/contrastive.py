"""The symmetric contrastive loss of CLIP (Radford et al. 2021, figure 3).

    l = s x y^T      loss = 1/2n sum_i [ lse_j l_ij + lse_j l_ji ] - 1/n sum_i l_ii
    g = (p + q) / 2n - 1/n on the diagonal,
        p_ij = exp(l_ij - lse_j l_ij),     q_ij = exp(l_ij - lse_i l_ij)
    dx = s g y       dy = s g^T x       ds = sum x (g y)

One pass over chunks of rows finds both: a row's log-sum-exp is whole in its chunk, a column's is
added up from chunk to chunk.  A second pass forms the gradients, still in forward, and backward
scales them by dy.  Up to DENSE rows the logits wait for the second pass; above it they are
multiplied out again, so n by n numbers never exist.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function

from zoo.ops._elementary import elementary, mapped
from zoo.ops._function import no_autocast, run, wide
from zoo.ops._pairs import (
    ROWS,
    Formed,
    check_pairs,
    chunks,
    formed_shapes,
    forms,
    own,
    products,
    pulled_back,
    pushed_forward,
    scaled,
    wanted,
)

#: up to so many rows all logits are kept between the passes
DENSE = 4096


def dense_loss(x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
    """Give the loss from all the logits, in elementary operations."""
    logits = wide(scale) * products(x, y)
    sums = logits.logsumexp(1).sum() + logits.logsumexp(0).sum()
    return (sums / 2 - logits.diagonal().sum()) / max(1, x.shape[0])


def dense_residual(x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
    """Give all of g, in elementary operations."""
    logits = wide(scale) * products(x, y)
    p, q = torch.softmax(logits, 1), torch.softmax(logits, 0)
    return ((p + q) / 2 - own(logits)) / max(1, x.shape[0])


def log_sum_exp(logits: Tensor, axis: int, room: Tensor) -> Tensor:
    """Give the log-sum-exp along an axis, with `room` for as many numbers."""
    top = logits.amax(axis, keepdim=True)
    shifted = torch.sub(logits, top, out=room).exp_()
    return top.squeeze(axis) + shifted.sum(axis).log()


def contrastive_forward(
    x: Tensor, y: Tensor, scale: Tensor, needs: list[bool], rows: int, dense: int
) -> tuple[Tensor, ...]:
    """Give the loss and, of dx, dy and ds for dy = 1, those that are needed; else empty tensors."""
    if mapped():
        loss = dense_loss(x, y, scale)
        return loss, *(loss.new_empty(0) for _ in needs)
    n, formed = len(x), Formed(x, y, needs)
    left, right = formed.x * wide(scale), formed.y.T
    keep = any(needs) and rows < n <= dense
    logits, room = left.new_empty(n if keep else min(rows, n), n), left.new_empty(min(rows, n), n)
    by_row, by_column = left.new_empty(n), left.new_empty(n)
    diagonal = left.new_zeros(())
    for part in chunks(n, rows):
        size = part.stop - part.start
        z = torch.mm(left[part], right, out=logits[part] if keep else logits[:size])
        by_row[part] = log_sum_exp(z, 1, room[:size])
        columns = log_sum_exp(z, 0, room[:size])
        by_column = torch.logaddexp(by_column, columns) if part.start else columns
        diagonal = diagonal + z.diagonal(part.start).sum()
    loss = ((by_row.sum() + by_column.sum()) / 2 - diagonal) / max(1, n)
    if not any(needs):
        return loss, *(loss.new_empty(0) for _ in needs)
    for part in chunks(n, rows):
        size = part.stop - part.start
        z = logits[part] if keep else logits[:size]
        if not keep and rows < n:
            torch.mm(left[part], right, out=z)
        g = torch.sub(z, by_row[part, None], out=room[:size]).exp_()
        g.add_(z.sub_(by_column).exp_())
        g.diagonal(part.start).sub_(2)
        formed.add(g, part)
    return loss, *formed.gradients(scale, 1 / (2 * max(1, n)))


def forward_shapes(
    x: Tensor, y: Tensor, scale: Tensor, needs: list[bool], *_: object
) -> tuple[Tensor, ...]:
    """Give what the forward gives, in shape alone."""
    return formed_shapes(x, y, needs)


# the compiler takes the loops as an operator: traced, they would be a graph for one length only
opaque = torch.library.custom_op(
    "zoo::contrastive",
    contrastive_forward,
    mutates_args=(),
    schema="(Tensor x, Tensor y, Tensor scale, bool[] needs, SymInt rows, SymInt dense)"
    " -> (Tensor, Tensor, Tensor, Tensor)",
)
opaque.register_fake(forward_shapes)


def contrastive_backward(
    dy: Tensor, x: Tensor, y: Tensor, scale: Tensor, *formed: Tensor
) -> tuple[Tensor, ...]:
    """Scale what forward formed; by formula where a derivative of it may be wanted.

    A forward under a functional transform has formed nothing, even where its pullback comes later.
    """
    *_, last = formed
    if elementary(dy) or not last.numel():
        return pulled_back(dense_residual(x, y, scale) * dy, x, y, scale)
    return scaled([*formed], dy, [x, y, scale])


def contrastive_jvp(x: Tensor, y: Tensor, scale: Tensor, tangents: tuple[Any, Any, Any]) -> Tensor:
    """Give the tangent of the loss along tangents of x, y and scale, None for a constant."""
    return (dense_residual(x, y, scale) * pushed_forward(x, y, scale, tangents)).sum()


class Contrastive(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor, y: Tensor, scale: Tensor, needs: list[bool], rows: int, dense: int
    ) -> tuple[Tensor, ...]:
        chunked = opaque if torch.compiler.is_compiling() else contrastive_forward
        return chunked(x, y, scale, needs, rows, dense)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.mark_non_differentiable(*output[1:])
        # the same for both: torch's vmap keeps one list of mapped axes for the two
        ctx.save_for_backward(*inputs[:3], *output[1:])
        ctx.save_for_forward(*inputs[:3], *output[1:])

    @staticmethod
    def backward(ctx: Any, dy: Tensor, *_: Any) -> Any:
        with no_autocast(dy):
            grads = contrastive_backward(dy, *ctx.saved_tensors)
        return *wanted(ctx.needs_input_grad[:3], grads), None, None, None

    @staticmethod
    def tangent(ctx: Any, tx: Any, ty: Any, ts: Any, *_: Any) -> Any:
        x, y, scale, *_ = ctx.saved_tensors
        return contrastive_jvp(x, y, scale, (tx, ty, ts)), None, None, None


def contrastive(
    images: Float[Tensor, "n e"], texts: Float[Tensor, "n e"], scale: Float[Tensor, ""]
) -> Float[Tensor, ""]:
    """Choose each image's text and each text's image among all: the mean cross entropy of both.

    Logits are scale * images @ texts.T, in at least float32, and so is the loss; with no rows it
    is 0. The scale may have another floating dtype. Raises ValueError for sets that do not pair,
    TypeError for images and texts of different dtypes.
    """
    return in_chunks(images, texts, scale, ROWS, DENSE)


def in_chunks(images: Tensor, texts: Tensor, scale: Tensor, rows: int, dense: int) -> Tensor:
    """Check, cast, and run with `rows` rows in a chunk, keeping the logits of up to `dense`."""
    x, y = check_pairs("contrastive", images, texts, scale=scale)
    return run(Contrastive, x, y, scale, forms(x, y, scale), rows, dense)[0]

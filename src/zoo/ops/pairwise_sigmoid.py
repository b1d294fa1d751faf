"""The pairwise sigmoid loss of SigLIP (Zhai et al. 2023, algorithm 1).

    l = s x y^T + b      m_ij = 1 on the diagonal, -1 elsewhere      u = -m l
    loss = 1/n sum_ij log(1 + exp(u_ij))      g = -m sigmoid(u) / n
    dx = s g y       dy = s g^T x       ds = sum x (g y)       db = sum g

Each pair is judged by itself, so a chunk of rows needs nothing of the others: gradients are formed
in forward, while the logits of a chunk are at hand, and backward scales them by dy.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

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

# above it log(1 + exp(u)) is u, to the last bit of a float64; exp(u) itself ends at 88 in float32
LINEAR = 40


def dense_loss(x: Tensor, y: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Give the loss from all the logits, in elementary operations."""
    logits = wide(scale) * products(x, y) + wide(bias)
    u = logits * (1 - 2 * own(logits))
    return F.softplus(u, threshold=LINEAR).sum() / max(1, x.shape[0])


def dense_residual(x: Tensor, y: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    """Give all of g, in elementary operations."""
    logits = wide(scale) * products(x, y) + wide(bias)
    signs = 1 - 2 * own(logits)
    return signs * torch.sigmoid(signs * logits) / max(1, x.shape[0])


def pairwise_sigmoid_forward(
    x: Tensor, y: Tensor, scale: Tensor, bias: Tensor, needs: list[bool], rows: int
) -> tuple[Tensor, ...]:
    """Give the loss and, of dx, dy, ds and db for dy = 1, those that are needed; else empty."""
    if mapped():
        loss = dense_loss(x, y, scale, bias)
        return loss, *(loss.new_empty(0) for _ in needs)
    n, formed = len(x), Formed(x, y, needs)
    left, right = formed.x * wide(scale), formed.y.T
    room = left.new_empty(min(rows, n), n)
    loss, db = left.new_zeros(()), left.new_zeros(())
    for part in chunks(n, rows):
        u = torch.mm(left[part], right, out=room[: part.stop - part.start]).add_(wide(bias))
        u.diagonal(part.start).neg_()
        loss = loss + F.softplus(u, threshold=LINEAR).sum()
        if any(needs):
            g = u.sigmoid_()
            g.diagonal(part.start).neg_()
            db = db + g.sum()
            formed.add(g, part)
    weight = 1 / max(1, n)
    if not any(needs):
        return loss * weight, *(loss.new_empty(0) for _ in needs)
    return loss * weight, *formed.gradients(scale, weight), db * weight


def forward_shapes(
    x: Tensor, y: Tensor, scale: Tensor, bias: Tensor, needs: list[bool], rows: int
) -> tuple[Tensor, ...]:
    """Give what the forward gives, in shape alone."""
    loss, dx, dy, ds = formed_shapes(x, y, needs)
    return loss, dx, dy, ds, torch.empty_like(ds)


# the compiler takes the loop as an operator: traced, it would be a graph for one length only
opaque = torch.library.custom_op(
    "zoo::pairwise_sigmoid",
    pairwise_sigmoid_forward,
    mutates_args=(),
    schema="(Tensor x, Tensor y, Tensor scale, Tensor bias, bool[] needs, SymInt rows)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
)
opaque.register_fake(forward_shapes)


def pairwise_sigmoid_backward(
    dy: Tensor, x: Tensor, y: Tensor, scale: Tensor, bias: Tensor, *formed: Tensor
) -> tuple[Tensor, ...]:
    """Scale what forward formed; by formula where a derivative of it may be wanted.

    A forward under a functional transform has formed nothing, even where its pullback comes later.
    """
    *_, last = formed
    if elementary(dy) or not last.numel():
        g = dense_residual(x, y, scale, bias) * dy
        return *pulled_back(g, x, y, scale), g.sum().to(bias.dtype)
    return scaled([*formed], dy, [x, y, scale, bias])


def pairwise_sigmoid_jvp(
    x: Tensor, y: Tensor, scale: Tensor, bias: Tensor, tangents: tuple[Any, Any, Any, Any]
) -> Tensor:
    """Give the tangent of the loss along tangents of all four, None for a constant."""
    change = pushed_forward(x, y, scale, tangents[:3])
    if tangents[3] is not None:
        change = change + wide(tangents[3])
    return (dense_residual(x, y, scale, bias) * change).sum()


class PairwiseSigmoid(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor, y: Tensor, scale: Tensor, bias: Tensor, needs: list[bool], rows: int
    ) -> tuple[Tensor, ...]:
        chunked = opaque if torch.compiler.is_compiling() else pairwise_sigmoid_forward
        return chunked(x, y, scale, bias, needs, rows)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.mark_non_differentiable(*output[1:])
        # the same for both: torch's vmap keeps one list of mapped axes for the two
        ctx.save_for_backward(*inputs[:4], *output[1:])
        ctx.save_for_forward(*inputs[:4], *output[1:])

    @staticmethod
    def backward(ctx: Any, dy: Tensor, *_: Any) -> Any:
        with no_autocast(dy):
            grads = pairwise_sigmoid_backward(dy, *ctx.saved_tensors)
        return *wanted(ctx.needs_input_grad[:4], grads), None, None

    @staticmethod
    def tangent(ctx: Any, tx: Any, ty: Any, ts: Any, tb: Any, *_: Any) -> Any:
        x, y, scale, bias, *_ = ctx.saved_tensors
        return pairwise_sigmoid_jvp(x, y, scale, bias, (tx, ty, ts, tb)), None, None, None, None


def pairwise_sigmoid(
    images: Float[Tensor, "n e"],
    texts: Float[Tensor, "n e"],
    scale: Float[Tensor, ""],
    bias: Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """Judge for each pair of an image and a text whether they belong together.

    Logits are scale * images @ texts.T + bias, in at least float32, and so is the loss: a sum over
    pairs by the number of rows, 0 with none. Scale and bias may have other floating dtypes. Raises
    ValueError for sets that do not pair, TypeError for images and texts of different dtypes.
    """
    return in_chunks(images, texts, scale, bias, ROWS)


def in_chunks(images: Tensor, texts: Tensor, scale: Tensor, bias: Tensor, rows: int) -> Tensor:
    """Check, cast, and run with `rows` rows in a chunk."""
    x, y = check_pairs("pairwise_sigmoid", images, texts, scale=scale, bias=bias)
    return run(PairwiseSigmoid, x, y, scale, bias, forms(x, y, scale, bias), rows)[0]

"""Cross-entropy of integer labels.

    L_i = lse(x_i) - sum_j q_ij x_ij,     q_ij = (1 - e) [j = label_i] + e / v   (smoothing e)
    loss = sum_i w_i L_i,                 w_i = 1 / counted rows ("mean") or 1; 0 where ignored
    dx_ij = dy w_i (p_ij - q_ij),         p = exp(x - lse)
    tangent = sum_ij w_i (p_ij - q_ij) t_ij

Saved are the logits as they came and one log-sum-exp a row; p is made again in backward.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd import Function

from zoo.ops._elementary import elementary, mapped, readable
from zoo.ops._function import check_float, no_autocast, run, wide, wide_dtype

IGNORE = -100
REDUCTIONS = ("mean", "sum")
#: logits worked on at a time: they and what is made of them stay in the cache
CHUNK = 1 << 18


def flat(x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Give rows and their labels without further axes."""
    return x.reshape(labels.numel(), x.shape[-1]), labels.reshape(-1)


def weigh(labels: Tensor, ignore: int, reduction: str, dtype: torch.dtype) -> Tensor:
    """Give the weight of each row in the loss; nothing counted gives zeros, not 0 / 0."""
    counted = labels != ignore
    weights = counted.to(dtype)
    if reduction == "sum":
        return weights
    return weights / counted.sum().clamp_min(1)


def safe(labels: Tensor, ignore: int) -> Tensor:
    """Give labels that can index, one axis more than they had."""
    return labels.masked_fill(labels == ignore, 0).unsqueeze(-1)


def row_losses(x: Tensor, at: Tensor, lse: Tensor, smoothing: float) -> Tensor:
    """Give the loss of each row of wide logits whose label is `at`."""
    losses = lse - (1 - smoothing) * x.gather(-1, at).squeeze(-1)
    return losses - smoothing * x.mean(-1) if smoothing else losses


def residual(x: Tensor, at: Tensor, smoothing: float) -> Tensor:
    """Give p - q in elementary operations, for wide logits."""
    q = torch.zeros_like(x).scatter(-1, at, 1 - smoothing)
    return torch.softmax(x, -1) - q - smoothing / x.shape[-1]


def add_up(losses: Tensor, weights: Tensor) -> Tensor:
    """Give the weighted sum; a row that does not count may hold anything, even NaN."""
    return torch.where(weights > 0, losses * weights, 0.0).sum()


def chunks(rows: int, width: int) -> list[slice]:
    """Cut rows so that each piece holds about CHUNK numbers; a compiler fuses by itself."""
    if torch.compiler.is_compiling():
        return [slice(None)]
    size = max(1, CHUNK // max(1, width))
    return [slice(i, min(rows, i + size)) for i in range(0, rows, size)]


def cross_entropy_forward(
    x: Tensor, labels: Tensor, ignore: int, smoothing: float, reduction: str
) -> tuple[Tensor, Tensor]:
    """Give the loss and the log-sum-exp of each row."""
    x, labels = flat(x, labels)
    weights, at = weigh(labels, ignore, reduction, wide_dtype(x)), safe(labels, ignore)
    if mapped():
        lse = wide(x).logsumexp(1)
        return add_up(row_losses(wide(x), at, lse, smoothing), weights), lse
    pieces = []
    for rows in chunks(*x.shape):
        part = wide(x[rows])
        lse = part.logsumexp(1)
        pieces.append(torch.stack((row_losses(part, at[rows], lse, smoothing), lse)))
    if not pieces:
        return weights.sum(), weights
    losses, lse = torch.cat(pieces, 1)
    return add_up(losses, weights), lse.clone()


def cross_entropy_backward(
    dy: Tensor,
    x: Tensor,
    labels: Tensor,
    lse: Tensor,
    ignore: int,
    smoothing: float,
    reduction: str,
) -> Tensor:
    """Give dx."""
    shape, (x, labels) = x.shape, flat(x, labels)
    weights = (weigh(labels, ignore, reduction, lse.dtype) * dy).unsqueeze(1)
    at = safe(labels, ignore)
    if elementary(dy):
        return (residual(wide(x), at, smoothing) * weights).to(x.dtype).reshape(shape)
    dx = torch.empty_like(x, memory_format=torch.contiguous_format)
    for rows in chunks(*x.shape):
        p = torch.sub(wide(x[rows]), lse[rows, None]).exp_()
        p.scatter_add_(1, at[rows], torch.full_like(at[rows], smoothing - 1, dtype=p.dtype))
        if smoothing:
            p.sub_(smoothing / x.shape[1])
        dx[rows] = p.mul_(weights[rows])
    return dx.view(shape)


def cross_entropy_jvp(
    t: Tensor, x: Tensor, labels: Tensor, ignore: int, smoothing: float, reduction: str
) -> Tensor:
    """Give the tangent of the loss along `t`."""
    t, x, labels = *flat(t, labels)[:1], *flat(x, labels)
    weights = weigh(labels, ignore, reduction, wide_dtype(x)).unsqueeze(1)
    return (residual(wide(x), safe(labels, ignore), smoothing) * wide(t) * weights).sum()


class CrossEntropy(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor, labels: Tensor, ignore: int, smoothing: float, reduction: str
    ) -> tuple[Tensor, Tensor]:
        return cross_entropy_forward(x, labels, ignore, smoothing, reduction)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        x, labels, *ctx.options = inputs
        ctx.mark_non_differentiable(output[1])
        # the same for both: torch's vmap keeps one list of mapped axes for the two
        ctx.save_for_backward(x, labels, output[1])
        ctx.save_for_forward(x, labels, output[1])

    @staticmethod
    def backward(ctx: Any, dy: Tensor, _: Any = None) -> Any:
        with no_autocast(dy):
            return (
                cross_entropy_backward(dy, *ctx.saved_tensors, *ctx.options),
                None,
                None,
                None,
                None,
            )

    @staticmethod
    def tangent(ctx: Any, t: Tensor, *_: Any) -> Any:
        x, labels, _ = ctx.saved_tensors
        return cross_entropy_jvp(t, x, labels, *ctx.options), None


def cross_entropy(
    logits: Float[Tensor, "*b v"],
    labels: Int[Tensor, "*b"],
    *,
    ignore: int = IGNORE,
    smoothing: float = 0.0,
    reduction: str = "mean",
) -> Float[Tensor, ""]:
    """Give the mean (or the sum) of -log softmax(logits)[label] over the labels that count.

    Labels equal to `ignore` do not count; if none counts, the loss is 0 with zero gradients, where
    torch gives NaN.  The loss is float32 at least.  Raises IndexError for a label outside the
    vocabulary, which is looked for on a CPU only and not in traced or mapped calls.
    """
    check_float("cross_entropy", logits=logits)
    check_options("cross_entropy", smoothing, reduction)
    check_labels("cross_entropy", labels, tuple(logits.shape), ignore)
    return run(CrossEntropy, logits, labels, ignore, smoothing, reduction)[0]


def check_options(op: str, smoothing: float, reduction: str) -> None:
    """Refuse options that mean nothing."""
    if not 0 <= smoothing <= 1:
        raise ValueError(f"{op}: smoothing {smoothing} is outside [0, 1]")
    if reduction not in REDUCTIONS:
        raise ValueError(f"{op}: reduction {reduction!r} is unknown; give one of mean, sum")


def check_labels(op: str, labels: Tensor, shape: tuple[int, ...], ignore: int) -> None:
    """Refuse labels that are no integers, lie otherwise than the rows, or name no column."""
    if labels.dtype != torch.int64:
        raise TypeError(f"{op}: labels are {labels.dtype}; give int64, labels.long()")
    if labels.shape != shape[:-1]:
        raise ValueError(f"{op}: labels {tuple(labels.shape)} do not name rows of {shape}")
    if not shape[-1]:
        raise ValueError(f"{op}: {shape} has no classes to choose from; give at least one")
    if labels.device.type != "cpu" or not readable(labels):
        return
    wrong = ((labels < 0) | (labels >= shape[-1])) & (labels != ignore)
    if wrong.any():
        label = int(labels[wrong][0])
        raise IndexError(f"{op}: label {label} is outside [0, {shape[-1]}) and not {ignore}")

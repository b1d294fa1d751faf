"""Objectives: (model, batch) -> loss, one a task.

A batch names its fields as the models do, and adds `labels`, where -100 does not count. Language
objectives never form the (tokens, vocab) logits: see zoo.ops.linear_cross_entropy, and the
contrastive one no (images, texts) logits when they are many.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function

from zoo import ops
from zoo.ops._function import no_autocast, wide

IGNORE = -100  # a label that does not count

Batch = Mapping[str, Tensor]


def inputs_of(batch: Batch) -> dict[str, Tensor]:
    """Give what the model reads: everything but the labels."""
    return {name: tensor for name, tensor in batch.items() if name != "labels"}


def next_token(model: Any, batch: Batch, *, reduction: str = "mean") -> Float[Tensor, ""]:
    """Predict each token from those before it; the tokens themselves are the default labels."""
    ids, mask = batch["input_ids"], batch.get("attention_mask")
    labels = batch.get("labels", ids)
    hidden = model.encode(**inputs_of(batch))[:, :-1]
    targets = labels[:, 1:]
    if mask is not None:  # neither a padded target nor a guess made from padding counts
        real = mask.bool()
        targets = torch.where(real[:, 1:] & real[:, :-1], targets, IGNORE)
    return ops.linear_cross_entropy(
        hidden, model.head.weight, targets, ignore=IGNORE, reduction=reduction
    )


def masked_token(model: Any, batch: Batch, *, reduction: str = "mean") -> Float[Tensor, ""]:
    """Predict the tokens that `labels` name, from the rest."""
    labels = batch["labels"]
    hidden = model.encode(**inputs_of(batch))
    if not torch.compiler.is_compiling():  # the few tokens that count are all the head needs
        kept = labels != IGNORE
        hidden, labels = hidden[kept], labels[kept]
    head = model.head
    return ops.linear_cross_entropy(
        head.features(hidden), head.weight, labels, head.bias, ignore=IGNORE, reduction=reduction
    )


def classification(model: Any, batch: Batch, *, reduction: str = "mean") -> Float[Tensor, ""]:
    """Choose a class: of a row (b,), of each token (b, t), or which of the choices (b,)."""
    logits = model(**inputs_of(batch))
    return ops.cross_entropy(logits, batch["labels"], ignore=IGNORE, reduction=reduction)


def span(model: Any, batch: Batch, *, reduction: str = "mean") -> Float[Tensor, ""]:
    """Find the first and the last token of an answer; labels (b, 2), the loss is their mean."""
    logits = model(**inputs_of(batch))  # (b, t, 2)
    mask = batch.get("attention_mask")
    if mask is not None:  # an answer never starts or ends in padding
        logits = logits.masked_fill(~mask.bool()[..., None], torch.finfo(logits.dtype).min)
    return ops.cross_entropy(
        logits.transpose(1, 2), batch["labels"], ignore=IGNORE, reduction=reduction
    )


def masked_image(model: Any, batch: Batch, *, reduction: str = "mean") -> Float[Tensor, ""]:
    """Draw the patches that `bool_masked_pos` hides: the absolute error of their pixels.

    SimMIM (Xie et al. 2022, section 3.2); the mean counts hidden pixels, and is 0 without any.
    """
    pixels, masked = batch["pixel_values"], batch["bool_masked_pos"]
    b, c, *size = pixels.shape
    drawn = model(**inputs_of(batch))
    grid = [side // step for side, step in zip(size, model.config.patch, strict=True)]
    hidden = masked.view(b, 1, grid[0], 1, grid[1], 1)
    shape = (b, c, grid[0], model.config.patch[0], grid[1], model.config.patch[1])
    error = wide(drawn - pixels).abs().view(shape)
    total = (error * hidden).sum()
    if reduction == "sum":
        return total
    return total / (masked.sum() * c * math.prod(model.config.patch)).clamp_min(1)


def match(model: Any, batch: Batch, *, reduction: str = "mean") -> Float[Tensor, ""]:
    """Find each image's text and each text's image among all of the batch, and of all processes.

    The symmetric contrastive loss (Radford et al. 2021, figure 3), or the pairwise one (Zhai et al.
    2023) where the model has a logit bias. With more than one process each takes its own rows of
    the global loss, so gradients averaged over processes are those of one process with all rows;
    the rows must be as many in each. `reduction="sum"` is the mean times the rows.
    """
    images = model.encode_image(batch["pixel_values"])
    texts = model.encode_text(batch["input_ids"], batch.get("attention_mask"))
    rows = images.shape[0]
    if model.logit_bias is not None:
        loss = ops.pairwise_sigmoid(gather(images), gather(texts), model.scale(), model.logit_bias)
    elif processes() == 1:
        loss = ops.contrastive(images, texts, model.scale())
    else:
        own = torch.arange(rows, device=images.device) + rows * dist.get_rank()
        scale = wide(model.scale())
        with no_autocast(images):  # a cosine times 100 wants float32, as in ops.contrastive
            one, other = (
                ops.linear_cross_entropy(scale * wide(x), wide(gather(y)), own)
                for x, y in ((images, texts), (texts, images))
            )
        loss = (one + other) / 2
    return loss if reduction == "mean" else loss * rows


def processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class Gather(Function):
    """Rows of all processes, in the order of their ranks; gradients of all of them are added up.

    Collectives are no torch.func citizens: there is no vmap rule, and torch says so.
    """

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(processes())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        (ctx.rows,) = (inputs[0].shape[0],)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        dy = dy.contiguous().clone()
        dist.all_reduce(dy)
        first = ctx.rows * dist.get_rank()
        return dy[first : first + ctx.rows]


def gather(x: Float[Tensor, "n e"]) -> Float[Tensor, "m e"]:
    """Give the rows of all processes; x itself where there is one.

    Raises ValueError when processes hold different numbers of rows.
    """
    if processes() == 1:
        return x
    rows = torch.tensor([x.shape[0]], device=x.device)
    held = [torch.empty_like(rows) for _ in range(processes())]
    dist.all_gather(held, rows)
    counts = [int(count) for count in held]
    if len({*counts}) > 1:
        raise ValueError(f"processes hold {counts} rows; give each as many, or drop the last batch")
    return Gather.apply(x)


# head -> its objective
OBJECTIVES: dict[str, Callable[..., Tensor]] = {
    "lm": next_token,
    "masked_lm": masked_token,
    "next_sentence": classification,
    "sequence": classification,
    "token": classification,
    "multiple_choice": classification,
    "span": span,
    "image": classification,
    "masked_image": masked_image,
    "match": match,
}

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
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.autograd import Function

from zoo import ops
from zoo.ops._function import no_autocast, wide

IGNORE = -100  # a label that does not count
ANSWERS = ("labels", "other_labels", "share")  # fields that the loss reads and the model does not

Batch = Mapping[str, Tensor]


def inputs_of(batch: Batch) -> dict[str, Tensor]:
    """Give what the model reads: everything but the labels."""
    return {name: tensor for name, tensor in batch.items() if name not in ANSWERS}


def targets_of(batch: Batch) -> Int[Tensor, "b t"]:
    """Give what each token but the last should predict, -100 where that does not count."""
    mask, targets = batch.get("attention_mask"), batch.get("labels", batch["input_ids"])[:, 1:]
    if mask is None:
        return targets
    real = mask.bool()  # neither a padded target nor a guess made from padding counts
    return torch.where(real[:, 1:] & real[:, :-1], targets, IGNORE)


def next_token(
    model: Any, batch: Batch, *, reduction: str = "mean", smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """Predict each token from those before it; the tokens themselves are the default labels."""
    return ops.linear_cross_entropy(
        model.encode(**inputs_of(batch))[:, :-1],
        model.head.weight,
        targets_of(batch),
        ignore=IGNORE,
        smoothing=smoothing,
        reduction=reduction,
    )


def masked_token(
    model: Any, batch: Batch, *, reduction: str = "mean", smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """Predict the tokens that `labels` name, from the rest."""
    labels = batch["labels"]
    hidden = model.encode(**inputs_of(batch))
    if not torch.compiler.is_compiling():  # the few tokens that count are all the head needs
        kept = labels != IGNORE
        hidden, labels = hidden[kept], labels[kept]
    head = model.head
    return ops.linear_cross_entropy(
        head.features(hidden),
        head.weight,
        labels,
        head.bias,
        ignore=IGNORE,
        smoothing=smoothing,
        reduction=reduction,
    )


def classification(
    model: Any, batch: Batch, *, reduction: str = "mean", smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """Choose a class: of a row (b,), of each token (b, t), or which of the choices (b,).

    A row that was mixed of two (mixup, Zhang et al. 2018; CutMix, Yun et al. 2019) has a label of
    each, `labels` and `other_labels` (b,), and `share` (b,), how much of it the first is; its loss
    is share CE(label) + (1 - share) CE(other).
    """
    logits, labels = model(**inputs_of(batch)), batch["labels"]
    loss = ops.cross_entropy(
        logits, labels, ignore=IGNORE, smoothing=smoothing, reduction=reduction
    )
    if "share" not in batch:
        return loss
    # CE(other) - CE(label) = (1 - smoothing) (x[label] - x[other]): all but the label is shared
    counted = labels != IGNORE
    further = at(logits, labels, counted) - at(logits, batch["other_labels"], counted)
    further = further * ((1 - smoothing) * (1 - batch["share"].to(further.dtype)))
    return loss + reduced(further, counted, reduction)


def span(
    model: Any, batch: Batch, *, reduction: str = "mean", smoothing: float = 0.0
) -> Float[Tensor, ""]:
    """Find the first and the last token of an answer; labels (b, 2), the loss is their mean.

    What smoothing takes from the label goes to all real tokens, and to none of the padding.
    """
    labels, mask = batch["labels"], batch.get("attention_mask")
    logits = model(**inputs_of(batch)).transpose(1, 2)  # (b, 2, t)
    real = torch.ones_like(logits[:, 0], dtype=torch.bool) if mask is None else mask.bool()
    if mask is not None:  # an answer never starts or ends in padding
        logits = logits.masked_fill(~real[:, None], torch.finfo(logits.dtype).min)
    loss = ops.cross_entropy(logits, labels, ignore=IGNORE, reduction=reduction)
    if not smoothing:
        return loss
    counted = labels != IGNORE
    middle = wide(logits).masked_fill(~real[:, None], 0).sum(-1) / real.sum(-1)[:, None]
    return loss + smoothing * reduced(at(logits, labels, counted) - middle, counted, reduction)


def at(
    logits: Float[Tensor, "*b v"], labels: Int[Tensor, "*b"], counted: Bool[Tensor, "*b"]
) -> Float[Tensor, "*b"]:
    """Give the logit of each label that counts, in at least float32."""
    return wide(logits).gather(-1, labels.where(counted, 0)[..., None]).squeeze(-1)


def reduced(
    losses: Float[Tensor, "*b"], counted: Bool[Tensor, "*b"], reduction: str
) -> Float[Tensor, ""]:
    """Give the sum or the mean of what counts; 0 where nothing does."""
    total = torch.where(counted, losses, 0.0).sum()
    return total if reduction == "sum" else total / counted.sum().clamp_min(1)


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
    return total / hidden_pixels(model, batch).clamp_min(1)


def hidden_pixels(model: Any, batch: Batch) -> Int[Tensor, ""]:
    """Count the numbers that the masked patches hold."""
    return (
        batch["bool_masked_pos"].sum()
        * batch["pixel_values"].shape[1]
        * math.prod(model.config.patch)
    )


def match(model: Any, batch: Batch, *, reduction: str = "mean") -> Float[Tensor, ""]:
    """Find each image's text and each text's image among all of the batch, and of all processes.

    The symmetric contrastive loss (Radford et al. 2021, figure 3), or the pairwise one (Zhai et al.
    2023) where the model has a logit bias. With more than one process each takes its own rows of
    the global loss, so gradients averaged over processes are those of one process with all rows;
    the rows must be as many in each. `reduction="sum"` is the mean times the rows.
    """
    return pair_loss(*features(model, batch), model.scale(), model.logit_bias, reduction=reduction)


def features(model: Any, batch: Batch) -> tuple[Float[Tensor, "n e"], Float[Tensor, "n e"]]:
    """Give the vectors of the images and of the texts, of length one."""
    images = model.encode_image(batch["pixel_values"])
    return images, model.encode_text(batch["input_ids"], batch.get("attention_mask"))


def pair_loss(
    images: Float[Tensor, "n e"],
    texts: Float[Tensor, "n e"],
    scale: Float[Tensor, ""],
    bias: Float[Tensor, ""] | None,
    *,
    reduction: str = "mean",
) -> Float[Tensor, ""]:
    """Give what `match` gives, from the vectors."""
    rows = images.shape[0]
    if bias is not None:
        loss = ops.pairwise_sigmoid(gather(images), gather(texts), scale, bias)
    elif processes() == 1:
        loss = ops.contrastive(images, texts, scale)
    else:
        own = torch.arange(rows, device=images.device) + rows * dist.get_rank()
        with no_autocast(images):  # a cosine times 100 wants float32, as in ops.contrastive
            one, other = (
                ops.linear_cross_entropy(wide(scale) * wide(x), wide(gather(y)), own)
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

# heads whose labels are classes, which label smoothing can blur
SMOOTHED = frozenset(OBJECTIVES) - {"masked_image", "match"}


def labels_that_count(model: Any, batch: Batch) -> Int[Tensor, ""]:
    return (batch["labels"] != IGNORE).sum()


def tokens_that_count(model: Any, batch: Batch) -> Int[Tensor, ""]:
    return (targets_of(batch) != IGNORE).sum()


def rows_of(model: Any, batch: Batch) -> Int[Tensor, ""]:
    pixels = batch["pixel_values"]
    return pixels.new_full((), pixels.shape[0], dtype=torch.int64)


# head -> (model, batch) -> what its mean divides its sum by
COUNTS: dict[str, Callable[..., Tensor]] = {
    **dict.fromkeys(OBJECTIVES, labels_that_count),
    "lm": tokens_that_count,
    "masked_image": hidden_pixels,
    "match": rows_of,
}

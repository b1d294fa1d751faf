"""Objectives: (model, batch) -> loss, one a task.

A batch names its fields as the models do, and adds `labels`, where -100 does not count. Language
objectives never form the (tokens, vocab) logits: see zoo.ops.linear_cross_entropy.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from zoo import ops

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


# head -> its objective
OBJECTIVES: dict[str, Callable[..., Tensor]] = {
    "lm": next_token,
    "masked_lm": masked_token,
    "next_sentence": classification,
    "sequence": classification,
    "token": classification,
    "multiple_choice": classification,
    "span": span,
}

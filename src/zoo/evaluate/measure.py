"""What a model with a head makes of labelled batches: its loss, and what people count.

    lm            loss, perplexity, bits_per_byte (with the tokenizer)
    masked_lm     loss, accuracy of the hidden tokens
    classes       loss, accuracy, macro_f1: sequence, next_sentence, multiple_choice, image, token
    span          loss, exact: both ends right
    masked_image  loss
    match         loss (of its batches), recall@k over all rows, both ways

Sums are taken over all rows, so batches may be of any size; only the contrastive loss depends on
which rows share a batch.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from zoo.evaluate.metrics import retrieval
from zoo.objectives import COUNTS, IGNORE, OBJECTIVES, inputs_of

Batch = Mapping[str, Tensor]
KS = (1, 5, 10)


def measure(
    model: Any, head: str, batches: Iterable[Batch], *, tokenizer: Any = None
) -> dict[str, float]:
    """Give the metrics of the head over all batches; the model is left in the mode it was in.

    Raises ValueError when there are no batches.
    """
    judge = JUDGES[head]()
    loss, count = 0.0, 0.0
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            for batch in batches:
                loss += float(OBJECTIVES[head](model, batch, reduction="sum"))
                count += float(COUNTS[head](model, batch))
                judge.see(model, batch)
            result = {"loss": loss / max(1.0, count)} if count else {}
            if not result:
                raise ValueError("nothing to measure: no row has a label that counts")
            if head == "lm":
                result |= language(loss, count, judge, tokenizer)
            return result | judge.numbers()
    finally:
        model.train(training)


def language(loss: float, count: float, judge: Any, tokenizer: Any) -> dict[str, float]:
    """Give perplexity, and the bits that a byte of the text costs: it compares tokenizers."""
    result = {"perplexity": math.exp(min(loss / count, 700.0))}
    if tokenizer is not None:
        size = sum(len(tokenizer.decode(ids, skip_special=False).encode()) for ids in judge.rows)
        result["bits_per_byte"] = loss / math.log(2) / max(1, size)
    return result


class Nothing:
    """Counts nothing."""

    def see(self, model: Any, batch: Batch) -> None:
        return None

    def numbers(self) -> dict[str, float]:
        return {}


class Texts(Nothing):
    """Keeps the tokens that a language model was asked for."""

    def __init__(self) -> None:
        self.rows: list[list[int]] = []

    def see(self, model: Any, batch: Batch) -> None:
        ids = batch["input_ids"]
        mask = batch.get("attention_mask", torch.ones_like(ids)).bool()
        for row, real in zip(ids, mask, strict=True):
            self.rows.append(row[real][1:].tolist())


class Hits(Nothing):
    """Counts which classes were chosen for which labels."""

    def __init__(self) -> None:
        self.labels: list[Tensor] = []
        self.chosen: list[Tensor] = []

    def see(self, model: Any, batch: Batch) -> None:
        labels = batch["labels"]
        kept = labels != IGNORE
        self.labels.append(labels[kept])
        self.chosen.append(self.answers(model, batch, kept))

    def answers(self, model: Any, batch: Batch, kept: Tensor) -> Tensor:
        return model(**inputs_of(batch)).argmax(-1)[kept]

    def numbers(self) -> dict[str, float]:
        labels, chosen = torch.cat(self.labels), torch.cat(self.chosen)
        right = labels == chosen
        return {"accuracy": float(right.double().mean())}


class Classes(Hits):
    """Also gives the mean of the classes' F1, over those that labels or answers name."""

    def numbers(self) -> dict[str, float]:
        labels, chosen = torch.cat(self.labels), torch.cat(self.chosen)
        scores = []
        for kind in torch.cat([labels, chosen]).unique():
            both = int(((labels == kind) & (chosen == kind)).sum())
            either = int((labels == kind).sum()) + int((chosen == kind).sum())
            scores.append(2 * both / either)
        return super().numbers() | {"macro_f1": sum(scores) / len(scores)}


class Hidden(Hits):
    """The hidden tokens: only their logits are formed."""

    def answers(self, model: Any, batch: Batch, kept: Tensor) -> Tensor:
        hidden = model.encode(**inputs_of(batch))[kept]
        return model.head(hidden).argmax(-1)


class Spans(Nothing):
    """Counts answers of which both ends are right."""

    def __init__(self) -> None:
        self.right = 0
        self.rows = 0

    def see(self, model: Any, batch: Batch) -> None:
        logits = model(**inputs_of(batch))
        mask = batch.get("attention_mask")
        if mask is not None:
            logits = logits.masked_fill(~mask.bool()[..., None], -torch.inf)
        same = logits.argmax(1) == batch["labels"]
        self.right += int(same.all(1).sum())
        self.rows += len(same)

    def numbers(self) -> dict[str, float]:
        return {"exact": self.right / max(1, self.rows)}


class Pairs(Nothing):
    """Ranks all texts for each image and all images for each text."""

    def __init__(self) -> None:
        self.images: list[Tensor] = []
        self.texts: list[Tensor] = []

    def see(self, model: Any, batch: Batch) -> None:
        self.images.append(model.encode_image(batch["pixel_values"]))
        self.texts.append(model.encode_text(batch["input_ids"], batch.get("attention_mask")))

    def numbers(self) -> dict[str, float]:
        cosine = torch.cat(self.texts) @ torch.cat(self.images).mT
        ways = {"text_to_image": cosine, "image_to_text": cosine.mT}
        return {
            f"{way}_recall@{k}": recall
            for way, similarity in ways.items()
            for k, recall in retrieval(similarity, ks=KS).recall.items()
        }


# head -> what counts beside the loss
JUDGES: dict[str, Callable[[], Any]] = {
    "lm": Texts,
    "masked_lm": Hidden,
    "next_sentence": Classes,
    "sequence": Classes,
    "token": Classes,
    "multiple_choice": Classes,
    "span": Spans,
    "image": Classes,
    "masked_image": Nothing,
    "match": Pairs,
}

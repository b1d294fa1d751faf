"""Pictures and texts in one space: which fits which, and classes that are only named."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from zoo import ops
from zoo.checkpoint import CheckpointError
from zoo.checkpoint.packaged import find
from zoo.evaluate import Retrieval, retrieval
from zoo.models import CLIP
from zoo.tasks.pictures import Device, Label, Reading, Seer, kind, read, wide
from zoo.tokenizers import Tokenizer

TEMPLATES = ("a photo of a {}.",)


@dataclass(frozen=True)
class Match:
    """A picture for a text or a text for a picture: its place among those given, and how near."""

    index: int
    cosine: float
    probability: float  # among those given


class Matcher(Seer):
    """Compare pictures with texts in the space of a CLIP."""

    def __init__(self, model: CLIP, processor: Any, tokenizer: Tokenizer) -> None:
        super().__init__(model, processor)
        self.tokenizer = tokenizer
        if tokenizer.vocab_size > model.config.vocab or tokenizer.encode("")[-1:] != [
            model.config.end
        ]:
            raise CheckpointError(
                f"the tokenizer has {tokenizer.vocab_size} tokens and turns '' into "
                f"{tokenizer.encode('')}; the model reads {model.config.vocab} and needs "
                f"{model.config.end} at the end: use the tokenizer it was trained with"
            )

    @classmethod
    def from_folder(
        cls, folder: str | Path, *, dtype: torch.dtype = torch.float32, device: Device = "cpu"
    ) -> "Matcher":
        """Read a CLIP, its processor and its tokenizer. Raises CheckpointError for another."""
        model, processor = read(folder, dtype, device)
        if not isinstance(model, CLIP) or model.head_name != "match":
            raise CheckpointError(
                f"{folder} holds a {kind(model)}; matching with texts needs a CLIP with both towers"
            )
        return cls(model, processor, Tokenizer.from_folder(find(folder)))

    @property
    def longest(self) -> int:
        own, context = self.tokenizer.longest, self.model.config.context
        return context if own is None else min(own, context)

    def too_long(self, texts: Sequence[str]) -> list[int]:
        """Say which texts have more tokens than the model reads: what is too much is left out."""
        return [
            i for i, text in enumerate(texts) if len(self.tokenizer.encode(text)) > self.longest
        ]

    def encode_images(
        self, images: Iterable[Any], **reading: Unpack[Reading]
    ) -> Float[Tensor, "b e"]:
        """Give a vector of length one a picture, in their order.

        A picture that `unreadable` heard of has a row of NaN.
        """
        return self.vectors(images, self.model.encode_image, reading)

    def encode_texts(self, texts: Sequence[str], *, at_once: int = 64) -> Float[Tensor, "b e"]:
        """Give a vector of length one a text, in their order; see `too_long`.

        Texts of like length share a batch, so that little is padding.
        """
        check_texts(texts, "texts")
        result = torch.empty(len(texts), self.model.config.embed, dtype=self.weight.dtype)
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        for start in range(0, len(order), at_once):
            rows = order[start : start + at_once]
            batch = self.tokenizer.batch([texts[i] for i in rows], longest=self.longest)
            inputs = {name: tensor.to(self.weight.device) for name, tensor in batch.items()}
            with torch.no_grad():
                result[rows] = self.model.encode_text(**inputs).cpu()
        return result

    def encode_labels(
        self, labels: Sequence[str], templates: Sequence[str] = TEMPLATES
    ) -> Float[Tensor, "b e"]:
        """Give a vector of length one a label: the mean over its sentences, made so long again.

        A template is a sentence with {} in the place of the label (Radford et al. 2021, section
        3.1.4). Raises ValueError for a template without, and for labels that are none or doubled.
        """
        rows = self.encode_texts(sentences(labels, templates))
        rows = rows.reshape(len(labels), len(templates), -1)
        return ops.normalize(rows.mean(1))

    def classify(
        self,
        images: Iterable[Any],
        labels: Sequence[str],
        *,
        templates: Sequence[str] = TEMPLATES,
        top: int = 5,
        **reading: Unpack[Reading],
    ) -> list[list[Label]]:
        """Give each picture's likeliest labels, best first, with no training for these.

        Probabilities are among the labels given. A picture that `unreadable` heard of has an empty
        list. Raises ValueError as `encode_labels` does.
        """
        features = wide(self.encode_labels(labels, templates)).to(self.weight.device)

        def logits(pixels: Tensor) -> Tensor:
            return wide(self.model.scale()) * (wide(self.model.encode_image(pixels)) @ features.T)

        return self.labelled(images, logits, labels, top, reading)

    def find(self, text: str, images: Iterable[Any], **reading: Unpack[Reading]) -> list[Match]:
        """Rank pictures, or vectors that `encode_images` made of some, by how they fit a text.

        A picture that `unreadable` heard of is left out.
        """
        rows = images.cpu() if isinstance(images, Tensor) else self.encode_images(images, **reading)
        return self.ranked(rows, self.encode_texts([text])[0])

    def describe(self, image: Any, texts: Sequence[str]) -> list[Match]:
        """Rank texts by how they fit a picture."""
        return self.ranked(self.encode_texts(texts), self.encode_images([image])[0])

    def recall(
        self,
        images: Iterable[Any],
        texts: Sequence[str],
        relevant: Bool[Tensor, "n m"],
        *,
        ks: Sequence[int] = (1, 5, 10),
        **reading: Unpack[Reading],
    ) -> tuple[Retrieval, Retrieval]:
        """Say how well texts find their pictures, and pictures their texts.

        `relevant` is True where picture n belongs to text m. A picture that `unreadable` heard of
        is left out, and with it the texts that belong to no other.
        """
        similarity = wide(self.encode_images(images, **reading)) @ wide(self.encode_texts(texts)).T
        there = ~similarity.isnan().all(1)
        kept = relevant[there].any(0)
        similarity, relevant = similarity[there][:, kept], relevant[there][:, kept]
        return retrieval(similarity.T, relevant.T, ks=ks), retrieval(similarity, relevant, ks=ks)

    def ranked(self, rows: Float[Tensor, "b e"], query: Float[Tensor, " e"]) -> list[Match]:
        """Give cosines with one vector and their share among all, best first; NaN is left out."""
        if not rows.shape[0]:
            raise ValueError("nothing to rank: give at least one picture or text")
        cosines = wide(rows) @ wide(query)
        there = (~cosines.isnan()).nonzero()[:, 0]
        with torch.no_grad():
            chances = (wide(self.model.scale()).cpu() * cosines[there]).softmax(0)
        order = cosines[there].argsort(descending=True, stable=True)
        return [
            Match(int(there[i]), float(cosines[there[i]]), float(chances[i]))
            for i in order.tolist()
        ]


def check_texts(texts: Any, what: str) -> None:
    if isinstance(texts, str):
        raise TypeError(f"{what} is one string; pass a list: [text]")


def sentences(labels: Sequence[str], templates: Sequence[str]) -> list[str]:
    """Put each label in each template, label by label; raise ValueError as `encode_labels` does."""
    check_texts(labels, "labels")
    check_texts(templates, "templates")
    if not labels or not templates:
        raise ValueError("no labels or no templates: give at least two labels and '{}'")
    for label, count in Counter(labels).items():
        if count > 1 or not label.strip():
            raise ValueError(f"label {label!r} stands {count} times; expected words, each once")
    for template in templates:
        if "{}" not in template:
            raise ValueError(f"template {template!r} has no {{}} where the label goes")
    return [template.replace("{}", label) for label in labels for template in templates]

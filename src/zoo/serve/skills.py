"""How each verb but `complete` is done, with a BERT, a ViT, a CLIP or a GPT-2 that classifies.

A skill says what the model has to read for a job, lets it read rows of many jobs at once, and makes
a job's answer of what came of its own. Pictures are decoded and texts are tokenised when a job is
checked, not in the thread that computes.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from zoo import ops
from zoo.config import default_labels
from zoo.serve.batches import Row
from zoo.serve.job import Job, check_time
from zoo.serve.refusal import Refusal
from zoo.tasks import Embedder, FillMask, Matcher, TextClassifier
from zoo.tasks.match import TEMPLATES, sentences
from zoo.tasks.pictures import Seer, named, wide
from zoo.tasks.text import unit
from zoo.tokenizers import Tokenizer

Text = str | list[int]
CHARACTERS = 128  # of a text for each token that a model reads: more is not even tokenised
GUESSED = 2**23  # characters of JSON in an answer to `fill`: as many as a body may bring
GUESS = 80  # of them in a guess beside the text that it fills


def check_length(text: Any, longest: int, what: str, param: str) -> None:
    """Raise Refusal for a text so long that finding its tokens would take seconds."""
    most = CHARACTERS * longest
    if isinstance(text, str) and len(text) > most:
        why = f"{what} has {len(text):,} characters, and this model takes {most:,}: shorten it"
        raise Refusal("invalid", why, param=param)


@dataclass(frozen=True)
class Reader:
    """What turns a job's texts into ids of at most `longest` tokens; too many are refused."""

    tokenizer: Tokenizer
    vocab: int
    longest: int

    def rows(self, texts: Sequence[Text], field: str = "input") -> list[Row]:
        if not texts:
            raise Refusal("invalid", f"{field} is empty: give at least one text", param=field)
        return [self.row(text, i, field) for i, text in enumerate(texts)]

    def row(self, text: Text, i: int, field: str) -> Row:
        check_length(text, self.longest, f"{field} {i}", field)
        ids = self.tokenizer.encode(text) if isinstance(text, str) else list(text)
        wrong = [token for token in ids if not 0 <= token < self.vocab]
        if wrong:
            why = f"holds token {wrong[0]}; this model's are 0 to {self.vocab - 1}"
            raise Refusal("invalid", f"{field} {i} {why}", param=field)
        if not ids:
            raise Refusal("invalid", f"{field} {i} has no tokens: give some text", param=field)
        if len(ids) > self.longest:
            why = f"has {len(ids)} tokens, and this model reads {self.longest}: shorten it"
            raise Refusal("invalid", f"{field} {i} {why}", param=field)
        return Row("text", ids, len(ids))


def right_padded(rows: Sequence[list[int]]) -> tuple[Int[Tensor, "b t"], Bool[Tensor, "b t"]]:
    """Make ids and mask of rows that begin in the same column."""
    ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
    mask = torch.zeros(ids.shape, dtype=torch.bool)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = True
    return ids, mask


def count(rows: Sequence[Row]) -> int:
    """Count the tokens of texts."""
    return sum(row.size for row in rows if row.kind == "text")


def coded(vector: Float[Tensor, " d"]) -> str:
    """Write a vector as base64 of little-endian float32."""
    return base64.b64encode(vector.float().cpu().numpy().astype("<f4").tobytes()).decode()


def vectors(rows: list[Row], results: list[Tensor], normalize: bool) -> dict[str, Any]:
    """Give the answer of `embed`."""
    made = [unit(vector[None])[0] if normalize else vector for vector in results]
    size = made[0].shape[0]
    return {"vectors": [coded(v) for v in made], "size": size, "prompt_tokens": count(rows)}


class Vectors:
    """`embed` with a BERT: pooled as its folder says."""

    def __init__(self, task: Embedder) -> None:
        self.task = task
        self.reader = Reader(task.tokenizer, task.model.config.vocab, task.longest)

    def rows(self, job: Job) -> list[Row]:
        return self.reader.rows(job.body["texts"])

    def compute(self, kind: str, values: Sequence[Any]) -> list[Tensor]:
        ids, mask = right_padded(values)
        return list(self.task.model.embed(ids, mask, pooling=self.task.config.pooling))

    def answer(self, job: Job, rows: list[Row], results: list[Tensor]) -> dict[str, Any]:
        asked = job.body.get("normalize")
        return vectors(rows, results, self.task.config.normalize if asked is None else asked)


def check_guesses(body: dict[str, Any], masks: Sequence[int]) -> None:
    """Raise Refusal for guesses that would fill the memory: each is told with its whole text."""
    sizes = [len(json.dumps(text)) + GUESS for text in body["texts"]]
    size = body["top"] * sum(many * long for many, long in zip(masks, sizes, strict=True))
    if size > GUESSED:
        why = f"the answer would have {size:,} characters; {GUESSED:,} are the most"
        raise Refusal("invalid", f"{why}: ask for a smaller top, or of fewer masks", param="top")


class Masks:
    """`fill` with a BERT that has its masked-LM head."""

    def __init__(self, task: FillMask) -> None:
        self.task = task
        config = task.model.config
        limits = (task.tokenizer.longest, config.context)
        longest = min(limit for limit in limits if limit is not None)
        self.reader = Reader(task.tokenizer, config.vocab, longest)

    def rows(self, job: Job) -> list[Row]:
        self.task.check_top(job.body["top"])
        rows = self.reader.rows(job.body["texts"])
        for text, row in zip(job.body["texts"], rows, strict=True):
            self.task.check_masks(text, row.value)
        mask = self.task.tokenizer.mask_id
        check_guesses(job.body, [row.value.count(mask) for row in rows])
        return rows

    def compute(self, kind: str, values: Sequence[Any]) -> list[Tensor]:
        ids, mask = right_padded(values)
        hidden = self.task.model.encode(ids, mask)
        where = ids.eq(self.task.tokenizer.mask_id or 0) & mask
        logits = self.task.model.head(hidden[where])
        return list(logits.split(where.sum(1).tolist()))

    def answer(self, job: Job, rows: list[Row], results: list[Tensor]) -> dict[str, Any]:
        texts, top = job.body["texts"], job.body["top"]
        found = [
            [[vars(guess) for guess in guesses] for guesses in self.task.guesses(text, made, top)]
            for text, made in zip(texts, results, strict=True)
        ]
        return {"texts": found, "prompt_tokens": count(rows)}


def labelled(names: Sequence[str], chances: Float[Tensor, " v"], top: int) -> list[dict[str, Any]]:
    """Give the likeliest of some names, best first."""
    return [
        {"label": label.name, "probability": label.probability}
        for label in named(names, chances[None], top)[0]
    ]


class TextClasses:
    """`classify` of texts."""

    def __init__(self, task: TextClassifier) -> None:
        self.model = task.model
        config = task.model.config
        self.names = config.labels or default_labels(config.classes)
        self.reader = Reader(task.tokenizer, config.vocab, config.context)

    def rows(self, job: Job) -> list[Row]:
        no_labels(job, "this model has classes of its own")
        if job.files:
            raise Refusal("invalid", "this model reads texts: give input, no image", param="image")
        return self.reader.rows(job.body.get("texts") or [])

    def compute(self, kind: str, values: Sequence[Any]) -> list[Tensor]:
        ids, mask = right_padded(values)
        return list(self.model(ids, mask))

    def answer(self, job: Job, rows: list[Row], results: list[Tensor]) -> dict[str, Any]:
        found = [
            labelled(self.names, made.float().softmax(-1), job.body["top"]) for made in results
        ]
        return {"labels": found, "prompt_tokens": count(rows)}


def no_labels(job: Job, why: str) -> None:
    if job.body.get("labels") is not None:
        raise Refusal("invalid", f"{why}: leave labels out", param="labels")


class Pictures:
    """What turns a job's files into pixels; a picture that is too large is not decoded."""

    def __init__(self, task: Seer, max_pixels: int) -> None:
        self.task = task
        self.max_pixels = max_pixels

    def rows(self, job: Job) -> list[Row]:
        from zoo.images import ImageError

        if not job.files:
            raise Refusal("invalid", "there is no image: give at least one", param="image")
        rows = []
        for i, file in enumerate(job.files):
            check_time(job)  # a large one takes a second, and whoever comes behind waits for it
            try:
                pixels = self.task.processor([self.picture(file)])
            except ImageError as error:
                raise Refusal("invalid", f"image {i}: {error}", param="image") from None
            rows.append(Row("image", pixels.to(self.task.weight.dtype), self.patches))
        return rows

    def picture(self, file: bytes) -> Any:
        from zoo.images import read_image

        return read_image(file, max_pixels=self.max_pixels)

    @property
    def patches(self) -> int:
        height, width = self.task.model.config.grid
        return height * width


class PictureClasses:
    """`classify` of pictures, in the classes that the model was trained on."""

    def __init__(self, task: Any, max_pixels: int) -> None:
        self.task = task
        self.pictures = Pictures(task, max_pixels)

    def rows(self, job: Job) -> list[Row]:
        no_labels(job, "this model has classes of its own")
        if job.body.get("texts"):
            why = "this model sees pictures: give image, no input"
            raise Refusal("invalid", why, param="input")
        return self.pictures.rows(job)

    def compute(self, kind: str, values: Sequence[Any]) -> list[Tensor]:
        return list(self.task.logits(torch.cat(list(values))))

    def answer(self, job: Job, rows: list[Row], results: list[Tensor]) -> dict[str, Any]:
        top = job.body["top"]
        found = [labelled(self.task.names, wide(made).softmax(-1), top) for made in results]
        return {"labels": found, "prompt_tokens": 0}


class Space:
    """Texts and pictures in the space of a CLIP; its three skills differ in rows and answers."""

    def __init__(self, task: Matcher, max_pixels: int) -> None:
        self.task = task
        self.pictures = Pictures(task, max_pixels)
        self.reader = Reader(task.tokenizer, task.model.config.vocab, task.longest)

    def compute(self, kind: str, values: Sequence[Any]) -> list[Tensor]:
        if kind == "image":
            return list(self.task.model.encode_image(torch.cat(list(values))))
        ids, mask = right_padded(values)
        return list(self.task.model.encode_text(ids, mask))


class SpaceVectors(Space):
    """`embed` of texts, of length one."""

    def rows(self, job: Job) -> list[Row]:
        return self.reader.rows(job.body["texts"])

    def answer(self, job: Job, rows: list[Row], results: list[Tensor]) -> dict[str, Any]:
        return vectors(rows, results, normalize=False)


class SpaceClasses(Space):
    """`classify` of pictures, in classes that the job names."""

    def rows(self, job: Job) -> list[Row]:
        labels = job.body.get("labels")
        if not labels:
            why = 'this model takes classes of your own: give labels, as ["a cat", "a dog"]'
            raise Refusal("invalid", why, param="labels")
        if job.body.get("texts"):
            why = "this model classifies pictures: give image, no input"
            raise Refusal("invalid", why, param="input")
        texts = self.reader.rows(sentences(labels, TEMPLATES), "labels")
        return texts + self.pictures.rows(job)

    def answer(self, job: Job, rows: list[Row], results: list[Tensor]) -> dict[str, Any]:
        names, top = job.body["labels"], job.body["top"]
        texts = torch.stack(results[: len(names)]).unflatten(0, (len(names), -1))
        texts = wide(ops.normalize(texts.mean(1)))
        scale = wide(self.task.model.scale())
        found = [
            labelled(names, (scale * (wide(image) @ texts.T)).softmax(-1), top)
            for image in results[len(names) :]
        ]
        return {"labels": found, "prompt_tokens": count(rows)}


class SpaceFits(Space):
    """`match`: how each text fits each picture."""

    def rows(self, job: Job) -> list[Row]:
        return self.reader.rows(job.body["texts"], "text") + self.pictures.rows(job)

    def answer(self, job: Job, rows: list[Row], results: list[Tensor]) -> dict[str, Any]:
        many = len(job.body["texts"])
        texts = wide(torch.stack(results[:many]))
        scale = wide(self.task.model.scale())
        cosines = [texts @ wide(image) for image in results[many:]]
        return {
            "cosines": [row.tolist() for row in cosines],
            "probabilities": [(scale * row).softmax(0).tolist() for row in cosines],
            "prompt_tokens": count(rows),
        }

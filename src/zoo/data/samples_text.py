"""Samples of text: windows of packed ids, and rows of a table with what is to be learned of them.

Rows are those of `zoo.data.read`; sample i is row i of the frame.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from zoo.data.errors import DataError, counted, listed
from zoo.data.order import uniform
from zoo.data.pack import fingerprint, pieces
from zoo.data.samples import IGNORE, Named, columns, numbers_of, row_seeds, version_of
from zoo.data.samples_packed import Masked, SentencePairs, Windows
from zoo.tokenizers import Tokenizer

__all__ = ["Answers", "Labelled", "Masked", "SentencePairs", "Tagged", "Windows"]


class Labelled(Named):
    """Texts, or pairs of them, with a class each: `labels` (b,).

    `labels` are the classes in the order of their numbers, by default the rows' own. Texts lose
    what is beyond `length` tokens.
    """

    unit = "texts"

    def __init__(
        self, rows: Any, tokenizer: Tokenizer, length: int, labels: Sequence[str] | None = None
    ) -> None:
        self.tokenizer, self.length = tokenizer, length
        self.ids, self.texts, names = columns(rows, "id", "text", "label")
        self.pairs = None
        if "pair" in rows.frame.columns:
            self.pairs = [pair if isinstance(pair, str) else "" for pair in rows.frame["pair"]]
        self.labels = tuple(labels or rows.labels or ())
        self.numbers = numbers_of(names, self.labels, self.ids)
        self.version = row_version("labelled", rows, tokenizer, length, self.labels)

    def batch(
        self, chosen: Int[Tensor, " n"], generator: torch.Generator, own: slice
    ) -> dict[str, Tensor]:
        rows = chosen[own].tolist()
        pairs = None if self.pairs is None else [self.pairs[i] for i in rows]
        texts = [self.texts[i] for i in rows]
        batch = self.tokenizer.batch(texts, pairs, longest=self.length)
        check_tokens(batch, self.names(rows))
        return batch | {"labels": self.numbers[chosen[own]]}


class Tagged(Named):
    """Words with a tag each: `labels` (b, t) has a word's tag at its first token, -100 elsewhere.

    `labels` are the tags in the order of their numbers, by default the rows' own.
    """

    unit = "texts"

    def __init__(
        self, rows: Any, tokenizer: Tokenizer, length: int, labels: Sequence[str] | None = None
    ) -> None:
        self.tokenizer, self.length = tokenizer, length
        self.ids, self.words, tags = columns(rows, "id", "tokens", "tags")
        self.labels = tuple(labels or rows.labels or ())
        self.numbers = [
            numbers_of(row, self.labels, [name] * len(row)).tolist()
            for row, name in zip(tags, self.ids, strict=True)
        ]
        self.version = row_version("tagged", rows, tokenizer, length, self.labels)

    def batch(
        self, chosen: Int[Tensor, " n"], generator: torch.Generator, own: slice
    ) -> dict[str, Tensor]:
        rows = chosen[own].tolist()
        texts = [" ".join(self.words[i]) for i in rows]
        batch = self.tokenizer.batch(texts, longest=self.length, offsets=True)
        check_tokens(batch, self.names(rows))
        labels = [
            first_tokens(words_of(spans, self.words[i]), self.numbers[i])
            for i, spans in zip(rows, batch.pop("offsets").tolist(), strict=True)
        ]
        return batch | {"labels": torch.tensor(labels)}


class Answers:
    """A question and the context that answers it: `labels` (b, 2), the answer's outer tokens.

    Of a context that is too long for `length` tokens a part around the answer is taken: anywhere
    around it, drawn anew each epoch, with `augment`; else with the answer in its middle.
    An answer that does not fit, or that no token holds, is an error that lists the rows, or with
    `drop` is left out and named in `dropped`. Sample i is the i-th row that is kept.
    """

    unit = "texts"

    def __init__(
        self,
        rows: Any,
        tokenizer: Tokenizer,
        length: int,
        *,
        augment: bool = True,
        drop: bool = False,
    ) -> None:
        self.tokenizer, self.length, self.augment = tokenizer, length, augment
        self.added = tokenizer.backend.num_special_tokens_to_add(True)
        found = columns(rows, "id", "question", "context", "answer", "start")
        self.ids, self.questions, self.contexts, answers, starts = found
        self.spans = [
            (start, start + len(answer)) for start, answer in zip(starts, answers, strict=True)
        ]
        fits = self.fitting()
        self.kept = [i for i, good in enumerate(fits) if good]
        self.dropped = tuple(self.ids[i] for i, good in enumerate(fits) if not good)
        if self.dropped and (not drop or not self.kept):
            raise DataError(
                f"{counted(len(self.dropped), 'answer')} of {len(self.ids):,} cannot be found in "
                f"{length} tokens beside the question: rows {listed(self.dropped)}; take a larger "
                "length, or leave them out with drop=True"
            )
        self.version = row_version("answers", rows, tokenizer, length, augment)

    def __len__(self) -> int:
        return len(self.kept)

    def names(self, chosen: Sequence[int]) -> list[str]:
        return [self.ids[self.kept[i]] for i in chosen]

    def fitting(self) -> list[bool]:
        """Tell of each row whether its answer fits in beside its question."""
        result: list[bool] = []
        backend = self.tokenizer.backend
        for contexts in pieces(self.contexts):
            here = slice(len(result), len(result) + len(contexts))
            first = backend.encode_batch(self.questions[here], add_special_tokens=False)
            second = backend.encode_batch(contexts, add_special_tokens=False)
            for a, b, span in zip(first, second, self.spans[here], strict=True):
                place = span_of(b.offsets, span)
                room = self.length - self.added - len(a)
                result.append(place is not None and place[1] - place[0] < room)
        return result

    def batch(
        self, chosen: Int[Tensor, " n"], generator: torch.Generator, own: slice
    ) -> dict[str, Tensor]:
        draws = uniform(row_seeds(len(chosen), generator, own), 1)[:, 0].tolist()
        made = [self.row(self.kept[i], u) for i, u in zip(chosen[own].tolist(), draws, strict=True)]
        batch = self.tokenizer.collate([encoding for encoding, _ in made], "right", False)
        return batch | {"labels": torch.tensor([labels for _, labels in made])}

    def row(self, index: int, draw: float) -> tuple[Any, tuple[int, int]]:
        """Give a row's tokens, its context cut to what fits, and where its answer is in them."""
        a = self.tokenizer.encoding(self.questions[index], None, special=False)
        b = self.tokenizer.encoding(self.contexts[index], None, special=False)
        place = span_of(b.offsets, self.spans[index])
        assert place is not None  # `fitting` has seen it
        room = self.length - self.added - len(a)
        if len(b) > room:
            first = cut_at(place, len(b), room, draw if self.augment else None)
            b.truncate(first + room)
            b.truncate(room, direction="left")
            place = (place[0] - first, place[1] - first)
        whole = self.tokenizer.backend.post_process(a, b, add_special_tokens=True)
        before = whole.sequence_ids.index(1)
        return whole, (before + place[0], before + place[1])


def row_version(what: str, rows: Any, tokenizer: Tokenizer, *settings: Any) -> str:
    return version_of(what, rows.order(), fingerprint(tokenizer), *settings)


def check_tokens(batch: dict[str, Tensor], names: list[str]) -> None:
    """Raise DataError for a row of no token at all: no model can say anything of it."""
    empty = [n for n, size in zip(names, batch["attention_mask"].sum(1), strict=True) if not size]
    if empty:
        raise DataError(f"no token is left of rows {listed(empty)}: remove these rows")


def words_of(spans: Sequence[Sequence[int]], words: Sequence[str]) -> list[int]:
    """Tell which word each token belongs to, -1 for none.

    `spans` are where tokens stand in the words joined by spaces: a token may begin with the space
    before its word, so its end tells.
    """
    stops = np.cumsum([len(word) + 1 for word in words]) - 1
    result = []
    for start, stop in spans:
        word = int(np.searchsorted(stops, stop))
        inside = stop > start and word < len(words) and stop > stops[word] - len(words[word])
        result.append(word if inside else -1)
    return result


def first_tokens(words: Sequence[int], numbers: Sequence[int]) -> list[int]:
    """Give each word's number at its first token, and -100 elsewhere."""
    before = [-1, *words[:-1]]
    return [
        numbers[word] if word not in (-1, last) else IGNORE
        for word, last in zip(words, before, strict=True)
    ]


def span_of(spans: Sequence[tuple[int, int]], span: tuple[int, int]) -> tuple[int, int] | None:
    """Give the first and the last token that hold some of the characters `span`; None: there is
    none."""
    start, stop = span
    held = [i for i, (a, b) in enumerate(spans) if a < stop and b > start and b > a]
    return (held[0], held[-1]) if held else None


def cut_at(place: tuple[int, int], tokens: int, room: int, draw: float | None) -> int:
    """Give where a part of `room` tokens begins that holds all of `place`."""
    lowest = max(0, place[1] + 1 - room)
    highest = min(place[0], tokens - room)
    if draw is not None:
        return lowest + int(draw * (highest - lowest + 1))
    middle = (place[0] + place[1] + 1 - room) // 2
    return min(max(middle, lowest), highest)

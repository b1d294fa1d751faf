"""Where drafts come from: text that was seen before, or a smaller model.

n-grams   what followed the last tokens where they stood before (Saxena 2023, prompt lookup;
          Yang et al. 2023, arXiv:2304.04487)
a model   of the same vocabulary, which draws as the large one will: with the same options and
          the same numbers of the row's generator
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from zoo.generate.choose import choose
from zoo.generate.reader import Reader
from zoo.generate.request import Request, check_fit, check_model


@dataclass(frozen=True, kw_only=True)
class NGram:
    """Draft what followed the last `longest` tokens, or fewer, where they stood last.

    It costs next to nothing, and helps where text repeats itself or its prompt: code, lists,
    summaries. `tokens` are drafted at most; where the last `shortest` tokens are new, none.
    Raises ValueError for numbers that are not whole or not in order.
    """

    longest: int = 3  # tokens
    shortest: int = 1  # tokens
    tokens: int = 16

    def __post_init__(self) -> None:
        for name in ("longest", "shortest", "tokens"):
            check_count(name, getattr(self, name))
        if self.shortest > self.longest:
            raise ValueError(f"shortest {self.shortest} is more than longest {self.longest}")


@dataclass(frozen=True, eq=False)
class DraftModel:
    """Draft with a smaller decoder of the same vocabulary, at most `tokens` at a time.

    Raises ValueError for a number of tokens below 1.
    """

    model: nn.Module
    tokens: int = 8

    def __post_init__(self) -> None:
        check_count("tokens", self.tokens)


def check_count(name: str, value: object) -> None:
    if type(value) is not int or value < 1:
        raise ValueError(f"{name} {value!r}; expected a whole number of at least 1")


def check_draft(draft: object, model: nn.Module, requests: Sequence[Request]) -> NGram | DraftModel:
    """Give what is drafted with. Raises TypeError or ValueError for what cannot serve."""
    if isinstance(draft, nn.Module):
        draft = DraftModel(draft)
    if not isinstance(draft, NGram | DraftModel):
        raise TypeError(
            f"draft is a {type(draft).__name__}; expected NGram(), a decoder or DraftModel(decoder)"
        )
    for request in requests:
        if request.options.beams > 1:
            raise ValueError(
                f"beams {request.options.beams} with a draft: beam search follows several texts "
                "at once; pass beams=1 or draft=None"
            )
    if isinstance(draft, DraftModel):
        check_model(draft.model, "draft: ")
        small: Any = draft.model
        large: Any = model
        if small.config.vocab != large.config.vocab:
            raise ValueError(
                f"the draft has a vocabulary of {small.config.vocab} tokens and the model of "
                f"{large.config.vocab}: a draft needs the tokenizer that the model has"
            )
        for i, request in enumerate(requests):
            new = request.options.max_new_tokens
            check_fit(len(request.prompt), new, small.config.context, i, "the draft's context")
    return draft


def drafter_of(plan: NGram | DraftModel, rows: int, capacity: int) -> "Drafter":
    """Make what drafts for a batch; `capacity` is of a cache, in tokens."""
    if isinstance(plan, NGram):
        return NGramDrafter(plan, rows)
    return ModelDrafter(plan, rows, capacity)


class Drafter(Protocol):
    """Guesses what the rows of one batch will say next."""

    tokens: int  # of a draft, at most

    def propose(self, rows: Sequence[Request], most: Sequence[int]) -> list[list[int]]:
        """Give each row's draft, of at most so many tokens; none below 1."""

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows alone."""


class Index:
    """What one row has said, and where each run of tokens ended last."""

    def __init__(self, plan: NGram) -> None:
        self.sizes = range(plan.longest, plan.shortest - 1, -1)
        self.ids: list[int] = []
        self.ends: dict[tuple[int, ...], int] = {}

    def add(self, ids: Sequence[int]) -> None:
        for token in ids:
            # a run is entered when something follows it: the newest must not find itself
            for size in self.sizes:
                if size <= len(self.ids):
                    self.ends[tuple(self.ids[-size:])] = len(self.ids)
            self.ids.append(token)

    def follow(self, count: int) -> list[int]:
        """Copy what followed the longest run that stood before; past the end, the copy itself."""
        for size in self.sizes:
            start = self.ends.get(tuple(self.ids[-size:]))
            if size <= len(self.ids) and start is not None:
                known = self.ids[start : start + count]
                while len(known) < count:
                    known.append(known[len(known) - (len(self.ids) - start)])
                return known
        return []


class NGramDrafter:
    """An index a row."""

    def __init__(self, plan: NGram, rows: int) -> None:
        self.tokens = plan.tokens
        self.indexes = [Index(plan) for _ in range(rows)]

    def propose(self, rows: Sequence[Request], most: Sequence[int]) -> list[list[int]]:
        drafts = []
        for row, index, room in zip(rows, self.indexes, most, strict=True):
            told = len(index.ids) - len(row.prompt)
            index.add([*row.prompt, *row.ids] if told < 0 else row.ids[told:])
            drafts.append(index.follow(room) if room > 0 else [])
        return drafts

    def keep(self, rows: Sequence[int]) -> None:
        self.indexes = [self.indexes[row] for row in rows]


class ModelDrafter:
    """A model beside the model; its rows draft in step."""

    def __init__(self, plan: DraftModel, rows: int, capacity: int) -> None:
        self.tokens = plan.tokens
        self.reader = Reader(plan.model, rows, capacity)
        self.told: list[list[int]] = [[] for _ in range(rows)]  # what was read of each row

    def propose(self, rows: Sequence[Request], most: Sequence[int]) -> list[list[int]]:
        whole = [[*row.prompt, *row.ids] for row in rows]
        right = [
            min(agreed(*pair), len(pair[1]) - 1) for pair in zip(self.told, whole, strict=True)
        ]
        fresh = [ids[count:] for ids, count in zip(whole, right, strict=True)]
        self.reader.forget([len(ids) - count for ids, count in zip(self.told, right, strict=True)])
        self.told = [ids[:count] for ids, count in zip(self.told, right, strict=True)]
        room = self.reader.capacity - self.reader.longest - max(map(len, fresh)) + 1
        steps = min(max(most), room)
        drafts: list[list[int]] = [[] for _ in rows]
        shadows = [shadow(row) for row in rows] if steps > 0 else []
        for _ in range(steps):
            logits = self.reader.read(fresh, 1)[:, 0]
            self.told = [told + ids for told, ids in zip(self.told, fresh, strict=True)]
            fresh = [[token] for token in choose(logits, shadows).tolist()]
            for draft, row, (token,) in zip(drafts, shadows, fresh, strict=True):
                draft.append(token)
                row.seen[token] = True
        return [draft[: max(0, room)] for draft, room in zip(drafts, most, strict=True)]

    def keep(self, rows: Sequence[int]) -> None:
        self.reader.keep(rows)
        self.told = [self.told[row] for row in rows]


def agreed(one: Sequence[int], other: Sequence[int]) -> int:
    """Count the tokens up to the first that differs."""
    pairs = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def shadow(row: Request) -> Request:
    """Copy what a choice depends on: the copy draws the numbers that the row itself will draw."""
    copied = copy.copy(row)
    copied.seen = row.seen.clone()
    copied.generator = torch.Generator()
    copied.generator.set_state(row.generator.get_state())
    return copied

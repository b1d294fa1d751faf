"""Texts that come and go while others grow, each with the bits that it would have alone.

Every request has a cache of its own. Its prompt is read alone, in chunks that begin at fixed
places; then it takes part in steps with the others, where rows meet in the products only (see
zoo.nn.rows). What follows the logits is done row by row.
"""

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.generate import sample
from zoo.generate.choose import choose_alike
from zoo.generate.forward import Step, check_finite
from zoo.generate.request import Request, check_model
from zoo.nn.cache import KVCache

CHUNK = 128  # tokens of a prompt that are read at once


@dataclass(frozen=True)
class Taken:
    """A token that a request took in, and the text that it let out.

    `logprob` is the model's own, before temperature, penalty and filters; `top` holds the likeliest
    ids with theirs. With an `error` there is no token, and the request has left.
    """

    request: Request
    token: int = -1
    logprob: float = math.nan
    top: tuple[tuple[int, float], ...] = ()
    piece: str = ""
    error: str | None = None


@dataclass(eq=False)
class Row:
    """A request that joined; `cache` is made when its reading begins."""

    request: Request
    top: int
    cache: KVCache | None = None

    def held(self) -> KVCache:
        assert self.cache is not None
        return self.cache

    def capacity(self) -> int:
        return 0 if self.cache is None else self.cache.capacity


class Continuous:
    """Decode up to `rows` texts at a time; requests may join and leave between any two steps.

    The numbers of a request are, to the bit, those that it has alone in a Continuous of the same
    `rows` and `chunk`, on the same machine with as many threads. They are those of
    `zoo.generate.generate` up to rounding. Models whose steps cannot be taken together (hooks,
    LoRA, a GPU) have each row computed by itself.
    """

    def __init__(self, model: nn.Module, *, rows: int, chunk: int = CHUNK) -> None:
        if rows < 1 or chunk < 1:
            raise ValueError(f"rows {rows} and chunk {chunk}; expected at least 1 of each")
        check_model(model)
        self.model: Any = model
        self.limit = rows
        self.chunk = chunk
        self.step = Step(model)
        self.queue: deque[Row] = deque()  # the first may have been read in part
        self.growing: list[Row] = []
        self.widths = widths_of(self.step, rows)

    @property
    def rows(self) -> int:
        """Count the texts that grow."""
        return len(self.growing)

    @property
    def waiting(self) -> int:
        """Count the requests whose prompts are not read to the end."""
        return len(self.queue)

    @property
    def cache_tokens(self) -> int:
        """Count the tokens that there is room for in all caches held."""
        return sum(map(Row.capacity, [*self.growing, *self.queue]))

    def join(self, request: Request, *, top: int = 0) -> None:
        """Take a request in; each of its tokens comes with the `top` likeliest ids.

        Raises ValueError for beams, and for a `top` beyond the ids that it may choose.
        """
        if request.options.beams > 1:
            raise ValueError(
                f"beams {request.options.beams}: rows that join have one; use generate"
            )
        if not 0 <= top <= request.choices:
            raise ValueError(f"top {top}; expected 0 to {request.choices}, the ids there are")
        self.queue.append(Row(request, top))

    def leave(self, request: Request) -> None:
        """Forget a request and its cache; nothing happens where it has left already."""
        self.queue = deque(row for row in self.queue if row.request is not request)
        self.growing = [row for row in self.growing if row.request is not request]

    def advance(self) -> list[Taken]:
        """Read at most one chunk of one prompt, then take one step with all rows that were read."""
        taken = []
        if self.queue and len(self.growing) < self.limit:
            taken += self.read(self.queue[0])
        if self.growing:
            taken += self.grow(list(self.growing))
        return taken

    def read(self, row: Row) -> list[Taken]:
        """Read the next chunk of a prompt; behind the last one the first token is chosen."""
        prompt = row.request.prompt
        if row.cache is None:
            row.cache = self.model.new_cache(
                1, len(prompt) + row.request.options.max_new_tokens - 1
            )
        cache = row.held()
        start = cache.length
        ids = torch.tensor([prompt[start : start + self.chunk]], device=cache.mask.device)
        hidden = self.step.quietly(lambda: self.model.encode(ids, cache=cache))
        if cache.length < len(prompt):
            return []
        self.queue.popleft()
        self.growing.append(row)
        logits = self.step.quietly(lambda: self.model.head(hidden[:, -1:])[:, 0])
        return [self.take(row, logits)]

    def grow(self, rows: list[Row]) -> list[Taken]:
        """Let each row read its last token and choose the next."""
        if not self.widths:
            return [self.take(row, self.alone(row)) for row in rows]
        logits = self.together(rows)
        # cloned, so that each begins where memory was handed out
        return [self.take(row, logits[i : i + 1].clone()) for i, row in enumerate(rows)]

    def alone(self, row: Row) -> Float[Tensor, "1 v"]:
        cache = row.held()
        ids = torch.tensor([row.request.ids[-1:]], device=cache.mask.device)
        encode, head = self.model.encode, self.model.head
        return self.step.quietly(lambda: head(encode(ids, cache=cache))[:, 0])

    def together(self, rows: list[Row]) -> Float[Tensor, "w v"]:
        """Give logits of all rows from one step, in the least width that keeps their bits."""
        width = min(width for width in self.widths if width >= len(rows))
        ids = torch.tensor([row.request.ids[-1] for row in rows])
        caches = [row.held() for row in rows]
        model = self.model
        return self.step.quietly(lambda: model.head(model.encode_each(ids, caches, width))[:, 0])

    def take(self, row: Row, logits: Float[Tensor, "1 v"]) -> Taken:
        """Choose a row's token; a row that is done, or whose numbers are damaged, leaves."""
        try:
            check_finite(logits)
        except ValueError as error:
            self.leave(row.request)
            return Taken(row.request, error=str(error))
        taken = taken_from(logits, row.request, row.top)
        if row.request.finish is not None:
            self.leave(row.request)
        return taken


def widths_of(step: Step, rows: int) -> tuple[int, ...]:
    """Give the numbers of rows that a step of this model may have; none: each row goes alone."""
    find = getattr(step.decoder, "row_widths", None)
    if find is None:
        return ()
    return step.quietly(lambda: tuple(find(rows)))


def taken_from(logits: Float[Tensor, "1 v"], request: Request, top: int) -> Taken:
    """Choose one request's next token and tell it."""
    token = choose_alike(logits, [request])
    (logprob,) = sample.logprobs(logits, token).tolist()
    likeliest = logits[0, : request.choices].topk(top).indices.tolist() if top else []
    beside = tuple(zip(likeliest, logprobs_of(logits, likeliest), strict=True))
    piece = request.take(int(token), logprob)
    return Taken(request, int(token), logprob, beside, piece)


def logprobs_of(logits: Float[Tensor, "1 v"], ids: Sequence[int]) -> list[float]:
    """Give log-probabilities of some ids of a row."""
    return [float(sample.logprobs(logits, torch.tensor([token])).item()) for token in ids]

"""What a request gets back, and what is kept of it until then.

A worker that dies is asked again, and begins at the beginning. Answers do not depend on chance or
company, so what the client has already is cut off and the stream goes on: `Told` keeps count.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from zoo.serve.job import Event
from zoo.serve.refusal import Refusal


class Answers:
    """The events of one request: pieces, then the answer or a Refusal.

    `model` names the version that answers, as in "gpt2@2". One reader at a time.
    """

    def __init__(self, model: str, give_up: Callable[[], None]) -> None:
        self.model = model
        self._give_up = give_up
        self._events: deque[Event] = deque()
        self._news = asyncio.Event()

    def tell(self, event: Event) -> None:
        """Add an event."""
        self._events.append(event)
        self._news.set()

    async def __aiter__(self) -> AsyncIterator[Event]:
        """Give pieces, then "done"; raise the Refusal of a request that failed."""
        while True:
            while not self._events:
                self._news.clear()
                await self._news.wait()
            event = self._events[0]  # the last one stays, for whoever asks again
            if event["is"] == "failed":
                raise Refusal.from_record(event)
            if event["is"] == "done":
                yield event
                return
            yield self._events.popleft()

    async def done(self) -> dict[str, Any]:
        """Wait for the end and give the answer; raise the Refusal of a request that failed."""
        async for event in self:
            if event["is"] == "done":
                break
        return event["answer"]

    def cancel(self) -> None:
        """Give the request up; nothing happens when it is over."""
        self._give_up()


@dataclass
class Told:
    """How much of one choice the client has, and how much the worker has said in this life."""

    tokens: int = 0
    characters: int = 0
    finished: bool = False
    said_tokens: int = 0
    said_characters: int = 0

    def fresh(self, piece: Event) -> Event | None:
        """Cut off a piece what the client has; None when nothing is left."""
        tokens, text = piece["tokens"], piece["text"]
        have = min(len(tokens), self.tokens - self.said_tokens)
        read = min(len(text), self.characters - self.said_characters)
        self.said_tokens += len(tokens)
        self.said_characters += len(text)
        self.tokens = max(self.tokens, self.said_tokens)
        self.characters = max(self.characters, self.said_characters)
        finishes = piece["finish"] is not None and not self.finished
        self.finished = self.finished or finishes
        if not (tokens[have:] or text[read:] or finishes):
            return None
        rest = {"tokens": tokens[have:], "text": text[read:]}
        if piece.get("logprobs"):
            rest["logprobs"] = {name: row[have:] for name, row in piece["logprobs"].items()}
        return piece | rest

    def again(self) -> None:
        """Begin a new life, in which the worker has said nothing."""
        self.said_tokens = self.said_characters = 0


@dataclass
class Asked:
    """A request in flight."""

    record: dict[str, Any]  # as the worker hears it
    files: tuple[bytes, ...]
    answers: Answers
    timer: asyncio.TimerHandle
    sent: bool = False
    deaths: int = 0  # of workers that had it
    told: dict[int, Told] = field(default_factory=dict)  # of each choice

    def hear(self, event: Event) -> None:
        """Pass on what is new of an event."""
        if event["is"] == "piece":
            fresh = self.told.setdefault(event["choice"], Told()).fresh(event)
            if fresh is not None:
                self.answers.tell(fresh)
        else:
            self.answers.tell(event)

    def lost(self) -> None:
        """Note that the worker that had it died, if one had."""
        self.deaths += self.sent
        self.sent = False
        for told in self.told.values():
            told.again()

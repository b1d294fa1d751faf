"""One request from its first byte to its record, and the gate that all requests pass."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from zoo.serve.limits import Limits

Heard = Callable[[dict[str, Any]], None]
ROOM = 32  # bodies of the largest size that may be in memory at once
GRACE = 1.0  # seconds after a deadline in which whoever works on a request says so itself


@dataclass
class Visit:
    """What is known of a request while it is here; routes write down what they learn."""

    id: str
    deadline: float  # of time.monotonic
    start: float = field(default_factory=time.monotonic)
    first: float | None = None  # when the first token was there
    noted: dict[str, Any] = field(default_factory=dict)  # for the record: model, verb, tokens
    undo: list[Callable[[], None]] = field(default_factory=list)  # ends what was begun for it
    status: int = 0
    sent: int = 0  # bytes

    def leave(self) -> None:
        """End whatever was begun for this request and still goes on."""
        while self.undo:
            self.undo.pop()()


@dataclass
class Gate:
    """Who may come in; one for a server, written by it and read by the guard."""

    limits: Limits
    leaving: bool = False  # told to go: not ready, and no connection is kept
    draining: bool = False  # nothing new is accepted
    inside: int = 0  # requests that are worked on
    held: int = 0  # bytes of bodies in memory

    def room(self, size: int) -> bool:
        """Say whether a body of `size` bytes may still come into memory."""
        return self.held + size <= ROOM * self.limits.body

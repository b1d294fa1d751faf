"""One version of one model: its worker's lives, and the requests that are in flight.

    loading -> ready <-> restarting      ready -> leaving      loading -> refused

A worker that dies comes back. What it was asked is asked again of the next one, once: a request
that was with two workers when they died is taken for the cause, and fails.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from zoo.serve.asked import Answers, Asked
from zoo.serve.fork_server import ForkServer
from zoo.serve.job import Event
from zoo.serve.limits import Limits
from zoo.serve.refusal import Refusal
from zoo.serve.worker_link import WorkerLink, open_link

LONGEST_PAUSE = 30.0  # seconds between two starts
STEADY = 5.0  # seconds of being ready after which a death is no part of a row of them
LONGEST_WAIT = 30  # seconds that anyone is asked to wait
SMOOTH = 32  # requests that the pace remembers
LIVES = 2  # deaths of workers that a request may see
SILENT = "its process ended without a word, as when it is killed or memory runs out"
Heard = Callable[[dict[str, Any]], None]


class Version:
    """A version; `opening` is what its worker is told, `heard` hears each change of state."""

    def __init__(
        self,
        model: str,
        version: str,
        opening: dict[str, Any],
        *,
        forks: ForkServer,
        limits: Limits,
        heard: Heard,
    ) -> None:
        self.model = model
        self.version = version
        self.folder: str = opening["folder"]
        self.state = "loading"
        self.why: str | None = None
        self.about: dict[str, Any] | None = None
        self.since = time.time()
        self.ready_seconds: float | None = None  # from a worker's start to ready, the last time
        self.restarts = 0
        self.stats: dict[str, Any] = {}
        self._opening, self._forks, self._limits, self._heard = opening, forks, limits, heard
        self._asked: dict[int, Asked] = {}
        self._given_up: set[int] = set()  # which the worker has not let go of yet
        self._pace = Pace()
        self._back = math.inf  # when the next worker is expected, of time.monotonic
        self._answered = False  # anything, in this life
        self._leaving = False
        self._link: WorkerLink | None = None
        self._life: asyncio.Task[None] | None = None
        self._settled, self._idle = asyncio.Event(), asyncio.Event()
        self._idle.set()

    async def open(self) -> None:
        """Start it; return when it is ready or refused."""
        self._tell("version loading")
        self._life = asyncio.create_task(self._live())
        await self._settled.wait()

    @property
    def serving(self) -> bool:
        """Tell whether it has taken traffic and has not been told to leave."""
        return self.state in ("ready", "restarting")

    def takes(self, deadline: float) -> bool:
        """Tell whether it is ready, or expected back by then (of time.monotonic)."""
        back = self.state == "restarting" and self._back <= deadline
        return self.state == "ready" or back

    def submit(
        self, number: int, verb: str, body: dict[str, Any], files: Sequence[bytes], deadline: float
    ) -> Answers:
        """Ask the worker, or the one that is coming; raise Refusal, and wait for nothing."""
        now = time.monotonic()
        self._check(verb, deadline, now)
        loop = asyncio.get_running_loop()
        timer = loop.call_later(max(0.0, deadline - now), self._late, number)
        answers = Answers(f"{self.model}@{self.version}", lambda: self._cancel(number))
        record = {"is": "submit", "id": number, "verb": verb, "body": body}
        record |= {"deadline": deadline, "start": now}
        if not self._asked:
            self._pace.last = now
        self._asked[number] = asked = Asked(record, tuple(files), answers, timer)
        self._idle.clear()
        if self.state == "ready":
            self._send(asked)
        return answers

    def _check(self, verb: str, deadline: float, now: float) -> None:
        """Raise the Refusal of a request that is not taken."""
        name = f"{self.model}@{self.version}"
        if not self.takes(deadline):
            wait = self._back - now if self.state == "restarting" else 1.0
            after = max(1, math.ceil(wait)) if self.state != "refused" else None
            why = ", as the log says" if self.why else ""  # it may name folders of this machine
            raise Refusal("unready", f"{name} is {self.state}{why}", retry_after=after)
        verbs = self.about["verbs"] if self.about else []
        if verb not in verbs:
            why = f"{name} does {', '.join(verbs)}, not {verb}"
            raise Refusal("invalid", why, param="model")
        self.check_room()

    def check_room(self) -> None:
        """Raise Refusal when so many requests are in flight that one more would wait too long."""
        limits, many = self._limits, len(self._asked) + len(self._given_up)
        wait = self._pace.seconds * (many - limits.rows)
        if many >= limits.queue or wait > limits.wait_seconds:
            name = f"{self.model}@{self.version}"
            why = f"{name} has {many} requests in flight, as many as it may"
            raise Refusal("busy", why, retry_after=self._pace.seconds_for(many))

    async def finish(self) -> None:
        """Take nothing new, answer what was accepted, and go."""
        self._become("leaving")
        self._leaving = True
        await self.idle()
        await self.close()
        self._tell("version gone")

    async def idle(self) -> None:
        """Wait until nothing is in flight."""
        await self._idle.wait()

    async def close(self) -> None:
        """End the worker; what is in flight is refused."""
        if self._life is not None:
            self._life.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._life
        if self._link is not None:
            await self._link.end()
            self._link = None
        for number in list(self._asked):
            self._end(number, Refusal("draining", "the server is leaving").record())
        self._settled.set()

    def record(self) -> dict[str, Any]:
        """Say how it is, as in `Fleet.models`."""
        return {
            "version": self.version,
            "state": self.state,
            "why": self.why,
            "about": self.about,
            "since": self.since,
            "ready_seconds": self.ready_seconds,
            "restarts": self.restarts,
            "inflight": len(self._asked),
            "pid": self._link.pid if self._link else None,
            "stats": self.stats,
        }

    async def _live(self) -> None:
        """Keep a worker alive; return when the first one does not become ready."""
        barren = 0  # lives, one after another
        while True:
            why = await self._one_life()
            if self.about is None:
                self._become("refused", why)
                self._settled.set()
                return
            long = self.state == "ready" and time.time() - self.since > STEADY
            barren = 0 if self._answered or long else barren + 1
            pause = pause_after(barren)
            self._mourn(why, pause)
            await asyncio.sleep(pause)

    async def _one_life(self) -> str:
        """Start a worker and hear it until it ends; say why it did."""
        born = time.monotonic()
        why = SILENT
        self._answered = False
        try:
            self._link = link = await open_link(self._forks, self._opening)
        except OSError as error:
            return f"no process could be started: {error}"
        while (record := await link.receive()) is not None:
            if record["is"] == "ready":
                self._begin(record["about"], time.monotonic() - born)
            elif record["is"] == "stats":
                self.stats = record["stats"]
            elif record["is"] in ("refused", "died"):
                why = record["why"]
            else:
                self._hear(record.pop("id"), record)
        await link.end()
        self._link = None
        return why

    def _begin(self, about: dict[str, Any], seconds: float) -> None:
        """Take a worker that is ready; ask it what is in flight."""
        self.about = about
        self.ready_seconds = seconds
        self._pace.last = time.monotonic()  # its coming back says nothing of how fast it is
        if not self._leaving:
            self._become("ready", seconds=seconds)
        self._settled.set()
        for asked in self._asked.values():
            self._send(asked)

    def _mourn(self, why: str, pause: float) -> None:
        """Note that the worker has died, and fail what has been with too many that did."""
        self.restarts += 1
        self.stats = {}
        self._given_up.clear()
        self._back = time.monotonic() + pause + (self.ready_seconds or 0.0)
        if not self._leaving:
            self._become("restarting", why, pause=pause)
        for number, asked in list(self._asked.items()):
            asked.lost()
            if asked.deaths >= LIVES:
                broken = f"the model's process died {LIVES} times while it had this request"
                self._end(number, Refusal("broken", broken).record())

    def _send(self, asked: Asked) -> None:
        assert self._link is not None
        asked.sent = True
        self._link.send(asked.record, asked.files)

    def _hear(self, number: int, event: Event) -> None:
        """Pass an event on to whoever asked, who may have gone."""
        if event["is"] == "piece":
            if number in self._asked:
                self._asked[number].hear(event)
        else:
            self._answered = True
            self._given_up.discard(number)
            self._pace.end(time.monotonic())
            self._end(number, event)

    def _end(self, number: int, event: Event) -> Asked | None:
        """Tell the last event of a request, and give it; None when it is over already."""
        asked = self._asked.pop(number, None)
        if asked is not None:
            asked.timer.cancel()
            asked.hear(event)
            if not self._asked:
                self._idle.set()
        return asked

    def _late(self, number: int) -> None:
        self._give_up(number, Refusal("late", "the deadline passed before the answer was there"))

    def _cancel(self, number: int) -> None:
        self._give_up(number, Refusal("cancelled", "whoever asked has gone"))

    def _give_up(self, number: int, refusal: Refusal) -> None:
        """End a request without the worker; tell the worker, if it has it."""
        asked = self._end(number, refusal.record())
        if asked is not None and asked.sent and self._link is not None:
            self._given_up.add(number)
            self._link.send({"is": "cancel", "id": number})

    def _become(self, state: str, why: str | None = None, **more: Any) -> None:
        # the log alone says where things lie on this machine
        self.why = why and why.replace(self.folder, "its folder")
        self.state, self.since = state, time.time()
        self._tell(f"version {state}", **({"why": why} if why else {}), **more)

    def _tell(self, event: str, **more: Any) -> None:
        self._heard({"event": event, "model": self.model, "version": self.version, **more})


def pause_after(barren: int) -> float:
    """Give the seconds before the next start: 0, 1, 2, 4 ... after lives that answered nothing."""
    return min(LONGEST_PAUSE, 2.0 ** (barren - 2)) if barren > 1 else 0.0


@dataclass
class Pace:
    """How long one request keeps a version busy, of late: the time between two ends, smoothed."""

    seconds: float = 0.0
    last: float = 0.0  # the last end, or when it began to be busy, of time.monotonic

    def end(self, now: float) -> None:
        """Note that a request has ended."""
        self.seconds += (now - self.last - self.seconds) / SMOOTH
        self.last = now

    def seconds_for(self, waiting: int) -> int:
        """Say in how many whole seconds so many will be answered: from 1 to LONGEST_WAIT."""
        return min(LONGEST_WAIT, max(1, math.ceil(waiting * self.seconds)))

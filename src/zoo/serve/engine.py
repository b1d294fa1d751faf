"""One model at work: jobs come from any thread, one thread computes, events go out.

    submit (any thread)  check, tokenise -> inbox
    run    (one thread)  inbox -> crew: a step at a time -> job.tell

A crew is what the model's kind of work needs: zoo.serve.growing continues texts, a token of all a
step; zoo.serve.batches answers whole batches. Nothing here has heard of HTTP or of processes.
"""

import threading
import time
import traceback
from collections import Counter
from typing import Any, Protocol, runtime_checkable

import torch

from zoo.serve.job import Job, check_time, late
from zoo.serve.refusal import Refusal, model_failed
from zoo.serve.tally import Tally


@runtime_checkable
class Crew(Protocol):
    """Works on jobs that `read` has made ready, some a step."""

    verbs: tuple[str, ...]
    tally: Tally

    @property
    def busy(self) -> bool: ...

    def read(self, job: Job) -> Any:
        """Check a job and make it ready; raise Refusal, ValueError or TypeError. Any thread."""

    def add(self, work: Any) -> None: ...

    def step(self) -> None:
        """Do the next piece of work and tell what came of it."""

    def drop(self, refuse: Any) -> None:
        """Give up each job for which `refuse(job)` gives a Refusal, and tell it."""

    def stats(self) -> dict[str, Any]: ...


class Engine:
    """A crew and its thread. `about` says what the model is, in plain JSON."""

    def __init__(self, crew: Crew, about: dict[str, Any]) -> None:
        self.crew = crew
        self.about = about
        self.changed = threading.Condition()
        self.inbox: list[Any] = []
        self.cancelled: set[int] = set()
        self.closed = False
        self.done: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.busy_seconds = 0.0

    def submit(self, job: Job) -> None:
        """Check a job and take it in; a refusal is told as its only event. Any thread."""
        told = job.tell

        def tell(event: dict[str, Any]) -> None:
            self.count(job, event)
            told(event)

        job = Job(job.id, job.verb, job.body, tell, job.files, job.deadline, job.start)
        try:
            check_time(job)
            if job.verb not in self.crew.verbs:
                can = ", ".join(self.crew.verbs)
                raise Refusal("invalid", f"this model does {can}, not {job.verb}", param="model")
            work = read(self.crew, job)
        except Refusal as refusal:
            tell(refusal.record())
            return
        with self.changed:
            if not self.closed:
                self.inbox.append(work)
                self.changed.notify()
                return
        tell(Refusal("draining", "this model is leaving: ask again", retry_after=1).record())

    def cancel(self, id: int) -> None:
        """Give up a job, of which nothing is told but that; of one that is over, do nothing."""
        with self.changed:
            self.cancelled.add(id)
            self.changed.notify()

    def close(self) -> None:
        """Take in no more; `run` returns when all is answered."""
        with self.changed:
            self.closed = True
            self.changed.notify()

    def run(self) -> None:
        """Compute until the engine is closed and nothing is left to answer."""
        with torch.no_grad():
            while self.turn():
                pass

    def turn(self) -> bool:
        """Wait for something to do, and do one step of it; False when there is nothing more."""
        with self.changed:
            while not (self.inbox or self.cancelled or self.crew.busy or self.closed):
                self.changed.wait()
            taken, self.inbox = self.inbox, []
            cancelled, self.cancelled = self.cancelled, set()
        for work in taken:
            self.crew.add(work)
        if not self.crew.busy:
            return not self.closed
        start = time.monotonic()
        self.crew.drop(lambda job: overdue(job, cancelled, start))
        try:
            self.crew.step()
        except Exception:  # whatever a model may do: those it was asked for hear that it did
            traceback.print_exc()
            self.crew.drop(lambda job: model_failed())
        self.busy_seconds += time.monotonic() - start
        return True

    def count(self, job: Job, event: dict[str, Any]) -> None:
        if event["is"] == "done":
            self.done[job.verb] += 1
        elif event["is"] == "failed":
            self.refused[event["kind"]] += 1

    def stats(self) -> dict[str, Any]:
        """Give gauges, and totals since the start; plain JSON."""
        return {
            **self.crew.stats(),
            "done": dict(self.done),
            "refused": dict(self.refused),
            "busy_seconds": self.busy_seconds,
        }


def read(crew: Crew, job: Job) -> Any:
    """Let the crew check a job; what the parts below say of bad input becomes a Refusal."""
    try:
        return crew.read(job)
    except (ValueError, TypeError) as error:
        raise Refusal("invalid", str(error)) from error


def overdue(job: Job, cancelled: set[int], now: float) -> Refusal | None:
    """Say why a job is to be given up now; None when it is not."""
    if job.id in cancelled:
        return Refusal("cancelled", "whoever asked has gone")
    return late(job, now)

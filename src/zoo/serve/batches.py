"""Work that is done in one go: what waits is answered in batches, oldest first.

A batch is what has come while the one before was computed, up to `AT_ONCE` rows and about `TOKENS`
tokens: more would make each wait and save nothing. Under zoo.nn.steady a row has the bits that it
has alone; where that does not hold on this machine, rows go one at a time.
"""

import traceback
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from zoo.nn.steady import Counts, steady
from zoo.serve.job import Job
from zoo.serve.refusal import Refusal, model_failed
from zoo.serve.tally import Tally

AT_ONCE = 32  # rows
TOKENS = 2048


@dataclass(frozen=True)
class Row:
    """What the model reads at once: token ids, or pixels; `size` in tokens or patches."""

    kind: str
    value: Any
    size: int


@runtime_checkable
class Skill(Protocol):
    """How one verb is done."""

    def rows(self, job: Job) -> list[Row]:
        """Check a job and say what there is to read. Raises Refusal, ValueError, TypeError."""

    def compute(self, kind: str, values: Sequence[Any]) -> list[Tensor]:
        """Give what the model makes of each of some rows of one kind."""

    def answer(self, job: Job, rows: list[Row], results: list[Tensor]) -> dict[str, Any]:
        """Give a job's answer, from what the model made of its rows."""


@dataclass
class Work:
    """A job, its rows, and what the model has made of them so far."""

    job: Job
    skill: Skill
    rows: list[Row]
    results: list[Any] = field(default_factory=list)
    left: int = 0
    over: bool = False

    def __post_init__(self) -> None:
        self.results = [None] * len(self.rows)
        self.left = len(self.rows)


class Batches:
    """A crew for verbs that need one look of the model; see zoo.serve.engine.Crew."""

    def __init__(self, skills: dict[str, Skill], *, at_once: int = AT_ONCE) -> None:
        self.skills = skills
        self.verbs = tuple(skills)
        self.at_once = at_once  # 1 where batches would change a row's bits
        self.counts = Counts()
        self.works: dict[int, Work] = {}
        self.waiting: deque[tuple[Work, int]] = deque()
        self.tally = Tally()

    @property
    def busy(self) -> bool:
        return bool(self.works)

    def read(self, job: Job) -> Work:
        skill = self.skills[job.verb]
        return Work(job, skill, skill.rows(job))

    def add(self, work: Work) -> None:
        self.works[work.job.id] = work
        self.waiting.extend((work, place) for place in range(len(work.rows)))
        self.finish(work)

    def drop(self, refuse: Any) -> None:
        for work in list(self.works.values()):
            refusal = refuse(work.job)
            if refusal is not None:
                self.end(work, refusal.record())
        self.waiting = deque(pair for pair in self.waiting if not pair[0].over)

    def step(self) -> None:
        batch = self.take()
        if not batch:
            return
        skill, kind = batch[0][0].skill, batch[0][0].rows[batch[0][1]].kind
        try:
            made = self.compute(skill, kind, [work.rows[place].value for work, place in batch])
        except Exception:
            self.give_up([work for work, _ in batch])
            return
        self.tally.step(len(batch))
        self.tally.prompt_tokens += sum(work.rows[place].size for work, place in batch)
        for (work, place), result in zip(batch, made, strict=True):
            work.results[place] = result
            work.left -= 1
            self.finish(work)

    def compute(self, skill: Skill, kind: str, values: Sequence[Any]) -> list[Tensor]:
        """Give what a skill makes of each of some rows, with the bits that each has alone."""
        with steady(self.counts):
            return skill.compute(kind, values)

    def take(self) -> list[tuple[Work, int]]:
        """Take the oldest row and those that can go with it: same skill, same kind."""
        batch: list[tuple[Work, int]] = []
        left: deque[tuple[Work, int]] = deque()
        tokens = 0
        while self.waiting and len(batch) < self.at_once and tokens < TOKENS:
            work, place = self.waiting.popleft()
            first = batch[0] if batch else (work, place)
            alike = work.skill is first[0].skill
            if alike and work.rows[place].kind == first[0].rows[first[1]].kind:
                batch.append((work, place))
                tokens += work.rows[place].size
            else:
                left.append((work, place))
        self.waiting.extendleft(reversed(left))
        return batch

    def finish(self, work: Work) -> None:
        """Answer a job of which all rows are there."""
        if work.left or work.over:
            return
        wrong = [i for i, made in enumerate(work.results) if not bool(made.isfinite().all())]
        if wrong:
            why = f"the model's numbers for input {wrong[0]} are not finite"
            self.end(work, Refusal("broken", why).record())
            return
        try:
            answer = work.skill.answer(work.job, work.rows, work.results)
        except Exception:
            self.give_up([work])
            return
        self.end(work, {"is": "done", "answer": answer})

    def give_up(self, works: list[Work]) -> None:
        """End jobs at which the model has just failed; whoever waits is not concerned."""
        traceback.print_exc()
        for work in works:
            if not work.over:
                self.end(work, model_failed().record())
        self.waiting = deque(pair for pair in self.waiting if not pair[0].over)

    def end(self, work: Work, event: dict[str, Any]) -> None:
        work.over = True
        del self.works[work.job.id]
        work.job.tell(event)

    def stats(self) -> dict[str, Any]:
        gauges = {"waiting": len(self.waiting), "rows": 0, "cache_tokens": 0, "cache_limit": 0}
        return gauges | self.tally.record()

"""How a lesson of the tour passes: its clock, its learning rate and its threads."""

import itertools
import time
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from zoo.train import Step, fit, learning_rate, make_optimizer
from zoo.train.loop import Batch, Objective

TICKS = 1000  # of a lesson: the learning rate follows them


def taught(
    model: Any,
    batches: Iterable[Batch],
    objective: Objective,
    *,
    peak: float,
    warmup: int,
    seconds: float,
    most: int | None = None,
    decay: float = 0.1,
) -> Iterator[tuple[float, Step]]:
    """Train for `seconds`, or for `most` steps when they come first.

    Gives the share of the lesson that is over and the step taken; `peak` is the largest learning
    rate and `warmup` the ticks until then. With `most` and enough seconds the schedule is the same
    on every run; sums still round by the number of threads, which follows the machine.
    """
    start = time.monotonic()
    taken = 0

    def share() -> float:
        done = 0.0 if most is None else taken / most
        return min(1.0, max(done, (time.monotonic() - start) / seconds))

    def rate(step: int) -> float:
        tick = int(share() * TICKS)
        by_clock = learning_rate(tick, peak=peak, warmup=warmup, total=TICKS, floor=0.02)
        if most is None:
            return by_clock
        # the rise is counted in steps too: a slow first step must not skip it
        return min(by_clock, peak * (step + 1) / max(1.0, warmup * most / TICKS))

    pace = Pace(torch.get_num_threads())
    optimizer = make_optimizer(model, peak, decay=decay)
    try:
        for step in fit(model, batches, objective, optimizer, rate=rate):
            pace.step_done(time.monotonic())
            taken += 1
            now = share()
            yield now, step
            if now >= 1:
                break
    finally:
        torch.set_num_threads(pace.most)
    model.eval()


class Pace:
    """Keep to as many threads as are fast: on a busy machine, small steps wait for the last one.

    The first steps are taken with all threads, as many with one, and the rest with the faster;
    when others come to use the machine, one is kept.
    """

    TRIED = 4  # steps each; the first of them warms up

    def __init__(self, most: int) -> None:
        self.most = most
        self.threads = most
        self.ends: list[float] = []

    def step_done(self, now: float) -> None:
        """Hear that a step ended, and set the threads of the next."""
        self.ends.append(now)
        if len(self.ends) == self.TRIED:
            self.threads = 1
        elif len(self.ends) == 2 * self.TRIED:
            self.threads = self.most if self.all_are_fast() else 1
        elif self.disturbed():
            self.threads = 1
        torch.set_num_threads(self.threads)

    def durations(self) -> list[float]:
        return [b - a for a, b in itertools.pairwise(self.ends)]

    def all_are_fast(self) -> bool:
        seconds = self.durations()
        return min(seconds[: self.TRIED - 1]) <= min(seconds[self.TRIED :])

    def disturbed(self) -> bool:
        """Tell whether the latest steps took more than twice what they would with one thread."""
        if len(self.ends) < 3 * self.TRIED:
            return False
        one = min(self.durations()[self.TRIED : 2 * self.TRIED - 1])
        return self.ends[-1] - self.ends[-1 - self.TRIED] > 2 * self.TRIED * one

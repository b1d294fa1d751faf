"""Experiments on one test: run it so or so, count, and say whether the difference is real."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from zoo.pyramid.flake import chance
from zoo.pyramid.flake.child import FAILED, Run, Runner
from zoo.pyramid.flake.setting import Setting, Trial

LOOKS = 3  # 7, 14 and 28 runs a side at 99 %
COMPARISONS = 8  # that share the error of one verdict


class OutOfTimeError(Exception):
    """The time for naming causes is over."""


@dataclass(frozen=True)
class Arm:
    """One way to run the test: a setting, and the tests before it (none named: all of them)."""

    setting: Setting
    tests: tuple[str, ...] = ()
    seeds: bool = False  # a new seed for each run
    hashes: bool = False  # a new hash seed for each run

    def apart(self) -> bool:
        """Say whether each run needs a start of its own."""
        return self.hashes or self.setting.workers > 1 or (self.fresh() and not self.forks())

    def fresh(self) -> bool:
        """Say whether a run must not see what an earlier one left: other tests are in it."""
        return len(self.tests) != 1

    def forks(self) -> bool:
        """Say whether a forked child will do: with threads it may wait for ever."""
        return sys.platform == "linux" and self.setting.threads == 1 and self.setting.workers == 0


@dataclass(frozen=True)
class Count:
    """Failures among runs."""

    failures: int = 0
    runs: int = 0

    def __str__(self) -> str:
        return f"{self.failures} of {self.runs}"

    def always(self) -> bool:
        """Say whether every run failed."""
        return 0 < self.runs == self.failures

    def never(self) -> bool:
        """Say whether no run failed."""
        return self.runs > 0 and self.failures == 0


@dataclass(frozen=True)
class Difference:
    """Two arms' counts, and whether the first fails more often beyond chance."""

    bad: Count
    good: Count
    real: bool

    def clear(self) -> bool:
        """Say whether one side always fails and the other never does."""
        return self.real and self.bad.always() and self.good.never()


@dataclass
class Lab:
    """Runs one test in arms, and keeps what it saw of each."""

    test: str
    run: Runner
    left: Callable[[], float]
    confidence: float
    enough: int = 0  # runs after which the rate of a random failure is known well enough
    seen: dict[Arm, list[bool]] = field(default_factory=dict)
    runs: int = 0

    def probe(self, arm: Arm, runs: int, until: bool | None = None) -> Count:
        """Run an arm until it has so many runs, or until one came out as `until` (True: failed)."""
        row = self.seen.setdefault(arm, [])
        while len(row) < runs and (until is None or until not in row):
            row += self.once(arm, 1 if arm.apart() else runs - len(row))
        return Count(sum(row), len(row))

    def once(self, arm: Arm, rounds: int) -> list[bool]:
        """Run one process; give for each run of the test whether it failed."""
        if self.left() <= 0:
            raise OutOfTimeError(self.test)
        setting, had = arm.setting, len(self.seen.get(arm, ()))
        if arm.seeds:
            setting = replace(setting, seed=setting.seed + 5_000_000 + had)
        if arm.hashes:
            setting = replace(setting, hash=(setting.hash + 50_000 + had) % 2**32)
        trial = Trial(
            setting=setting,
            tests=arm.tests,
            rounds=rounds,
            step=int(arm.seeds),
            fork=arm.fresh() and arm.forks(),
        )
        flags = verdicts(self.run(trial, self.left()), self.test)
        self.runs += len(flags)
        if not flags:  # skipped here, or cut off: no more is to be learnt
            raise OutOfTimeError(self.test)
        return flags

    def differ(self, bad: Arm, good: Arm) -> Difference:
        """Compare two arms by Fisher's exact test, at sizes that double while it is open."""
        error = (1 - self.confidence) / COMPARISONS
        size = first_size(error)
        for look in range(1, LOOKS + 1):
            left, right = self.probe(bad, size), self.probe(good, size)
            p = chance.fisher(left.failures, left.runs, right.failures, right.runs)
            if p <= chance.share(look, error):
                return Difference(left, right, True)
            if hopeless(left, right, look):
                break
            size *= 2
        return Difference(left, right, False)

    def shrink(self, tests: Sequence[str], holds: Callable[[tuple[str, ...]], bool]) -> list[str]:
        """Leave out tests as long as something holds of the rest."""
        return shrink(list(tests), lambda rest: holds(tuple(rest)))


def verdicts(run: Run, test: str) -> list[bool]:
    """Give for each outcome of a test whether it failed, by round; skips do not count."""
    rows = [o for o in run.outcomes() if o.test == test and o.outcome in (*FAILED, "passed")]
    return [o.outcome in FAILED for o in sorted(rows, key=lambda o: o.round)]


def first_size(error: float) -> int:
    """Give the runs a side at which "always" and "never" differ beyond the first look's error."""
    size = 3
    while chance.fisher(size, size, 0, size) > chance.share(1, error):
        size += 1
    return size


def hopeless(bad: Count, good: Count, look: int) -> bool:
    """Say that more runs would not tell two arms apart."""
    if bad.failures == 0 or (bad.always() and good.always()):
        return True
    return look > 1 and good.failures >= 0.8 * bad.failures


def shrink(items: list[str], holds: Callable[[list[str]], bool]) -> list[str]:
    """Give a shortest part, in order, of which something holds: Zeller's delta debugging.

    It must hold of the whole.  No single item of the result can be left out.
    """
    parts = 2
    while items:
        size = -(-len(items) // parts)
        cuts = [items[k : k + size] for k in range(0, len(items), size)]
        rests = [items[:k] + items[k + size :] for k in range(0, len(items), size)]
        smaller = next(
            (cut for cut in [*cuts, *rests] if len(cut) < len(items) and holds(cut)), None
        )
        if smaller is not None:
            parts = 2 if smaller in cuts else max(2, len(cuts) - 1)
            items = smaller
        elif size == 1:
            break
        else:
            parts = min(len(items), 2 * len(cuts))
    return items

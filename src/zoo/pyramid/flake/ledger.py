"""What is known of every test so far: how often it passed and failed, and where."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from zoo.pyramid.flake import chance
from zoo.pyramid.flake.child import FAILED, Outcome, Run, before
from zoo.pyramid.flake.setting import BASE, FACTORS, Setting

BROKEN = 8  # failures without one pass, all settings differing, that make a test broken
KEPT = 12  # sightings of a pass, or of a failure, that are kept whole
WILD = 10.0  # times the median CPU time that are worth a note
SLOW = 0.5  # seconds of CPU under which no test is worth it


@dataclass(frozen=True)
class Sighting:
    """One outcome with all that was around it: the setting, and the tests before it."""

    setting: Setting  # with the seed of its round
    before: tuple[str, ...]
    round: int
    why: str
    beside: tuple[str, ...] = ()  # the tests of the other processes, where there are some


@dataclass
class Tally:
    """One test's outcomes."""

    passes: int = 0
    failures: int = 0
    skips: int = 0
    crashes: int = 0
    collected: int = 0  # in how many processes' runs
    first: tuple[int, int] = (0, 0)  # failures, runs of the first round in each process
    failed: list[Sighting] = field(default_factory=list)
    passed: list[Sighting] = field(default_factory=list)
    levels: Counter[tuple[str, Any, bool]] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)  # by reason
    spent: list[float] = field(default_factory=list)

    @property
    def runs(self) -> int:
        """Give how often it ran to an end that says something."""
        return self.passes + self.failures

    def state(self, needed: int) -> str:
        """Say what is decided: flaky, broken, clean, skipped, or open."""
        return state(self.passes, self.failures, self.skips, needed)


def state(passes: int, failures: int, skips: int, needed: int) -> str:
    """Decide about a test from its counts; `needed` passes in a row make it clean."""
    if passes and failures:
        return "flaky"
    if failures >= BROKEN:
        return "broken"
    if passes >= needed:
        return "clean"
    if skips and not passes and not failures:
        return "skipped"
    return "open"


@dataclass
class Ledger:
    """Every test's tally, and the runs' own."""

    tests: dict[str, Tally] = field(default_factory=dict)
    rounds: int = 0  # of the whole selection
    red: int = 0  # of these, with a failure
    runs: int = 0
    seconds: float = 0.0
    trouble: Counter[str] = field(default_factory=Counter)
    cut: set[str] = field(default_factory=set)

    def add(self, run: Run) -> None:
        """Take a run in."""
        self.runs += 1
        self.seconds += run.seconds
        if run.trouble:
            self.trouble[f"{run.trouble} [{described(run.trial.setting)}]"] += 1
        for name in run.collected:
            self.tests.setdefault(name, Tally()).collected += 1
        red: dict[int, bool] = {}
        for process, place, outcome in placed(run):
            self.note(run, process, place, outcome)
            bad = outcome.outcome in FAILED
            red[outcome.round] = red.get(outcome.round, False) or bad
        self.rounds += len(red)
        self.red += sum(red.values())

    def note(self, run: Run, process: tuple[Outcome, ...], place: int, outcome: Outcome) -> None:
        """Take one outcome in."""
        tally = self.tests.setdefault(outcome.test, Tally())
        if outcome.outcome == "cut":
            self.cut.add(outcome.test)
            return
        if outcome.outcome == "skipped":
            tally.skips += 1
            tally.skipped[outcome.why] += 1
            return
        bad = outcome.outcome in FAILED
        tally.failures += bad
        tally.passes += not bad
        tally.crashes += outcome.outcome == "crashed"
        tally.spent.append(outcome.cpu)
        if outcome.round == 0:
            tally.first = (tally.first[0] + bad, tally.first[1] + 1)
        for factor, level in judged_levels(run.trial.setting):
            tally.levels[factor, level, bad] += 1
        row = tally.failed if bad else tally.passed
        if len(row) < KEPT:
            setting = replace(run.trial.setting, seed=outcome.seed)
            names = before(process, place)
            beside = {o.test for other in run.processes if other is not process for o in other}
            row.append(Sighting(setting, names, outcome.round, outcome.why, tuple(sorted(beside))))

    def states(self, needed: int) -> dict[str, str]:
        """Give every test's state."""
        return {name: tally.state(needed) for name, tally in self.tests.items()}

    def least(self, needed: int) -> int:
        """Give the runs of the test, still open, that has the fewest."""
        open_ = [t.runs for t in self.tests.values() if t.state(needed) == "open"]
        return min(open_, default=needed)

    def partly_skipped(self) -> list[str]:
        """Name the tests that were skipped in some runs and ran in others."""
        return sorted(n for n, t in self.tests.items() if t.skips and t.runs)

    def partly_there(self) -> dict[str, int]:
        """Give the tests that some runs did not collect, with how many did."""
        most = max((t.collected for t in self.tests.values()), default=0)
        return {n: t.collected for n, t in self.tests.items() if t.collected < most}

    def wild(self) -> list[tuple[str, float, float]]:
        """Give tests whose CPU seconds vary wildly, with their median and their most."""
        found = []
        for name, tally in self.tests.items():
            row = sorted(tally.spent)
            if len(row) >= 5:
                middle, most = row[len(row) // 2], row[-2]  # one slow run is an import
                if most > SLOW and most > WILD * middle:
                    found.append((name, middle, most))
        return found


def placed(run: Run) -> Iterator[tuple[tuple[Outcome, ...], int, Outcome]]:
    """Yield each outcome with its process and its place there."""
    for process in run.processes:
        for place, outcome in enumerate(process):
            yield process, place, outcome


def judged_levels(setting: Setting) -> Iterator[tuple[str, Any]]:
    """Yield the levels that come up often enough to count failures by them."""
    for factor in FACTORS:
        level = getattr(setting, factor)
        if factor == "order":
            yield factor, level == "given"
        elif factor not in ("seed", "hash"):
            yield factor, level


def screened(tally: Tally, factor: str) -> tuple[float, Any]:
    """Give Fisher's p, and the level, for the level of a factor that stands out most."""
    best: tuple[float, Any] = (1.0, None)
    seen = {level for name, level, _ in tally.levels if name == factor}
    for level in seen:
        bad = tally.levels[factor, level, True]
        runs = bad + tally.levels[factor, level, False]
        p = chance.fisher(bad, runs, tally.failures - bad, tally.runs - runs)
        best = min(best, (p * max(1, len(seen)), level), key=lambda pair: pair[0])
    return best


def described(setting: Setting) -> str:
    """Give a setting in words: what differs from the plain one."""
    words = [
        f"{factor} {getattr(setting, factor)}"
        for factor in FACTORS
        if getattr(setting, factor) != getattr(BASE, factor)
    ]
    return ", ".join(words) or "the plain setting"

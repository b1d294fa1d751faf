"""Repeat tests under varied settings until each is decided, or time ends."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from zoo.pyramid.flake import chance
from zoo.pyramid.flake.child import Run, Runner
from zoo.pyramid.flake.ledger import Ledger
from zoo.pyramid.flake.setting import Plan, Trial

KEEP = 0.45  # of the time is left for naming causes once a flaky test is seen


@dataclass(frozen=True, kw_only=True)
class Aim:
    """What is asked: how sure, of which rate, in how many seconds."""

    confidence: float = 0.99
    rate: float = 0.01
    seconds: float = 600.0

    def needed(self) -> int:
        """Give the passes in a row that make a test clean."""
        return chance.runs_needed(self.rate, self.confidence)


@dataclass
class Clock:
    """The time that a hunt has."""

    seconds: float
    now: Callable[[], float] = time.monotonic
    begin: float = field(init=False)

    def __post_init__(self) -> None:
        self.begin = self.now()

    def left(self) -> float:
        """Give the seconds that are left."""
        return self.begin + self.seconds - self.now()


@dataclass
class Pace:
    """How long a process takes to start, and a round of the whole selection."""

    start: float = 1.0
    round: float = 0.0

    def learn(self, run: Run) -> None:
        """Learn from a run: the first tells start and round apart by the tests' CPU time."""
        rounds = max(1, run.trial.rounds)
        spent = sum(outcome.cpu for outcome in run.outcomes())
        if rounds == 1:
            self.round = max(self.round, min(spent, run.seconds))
            self.start = max(0.1, run.seconds - self.round)
        else:
            self.round = max(spent, run.seconds - self.start, 1e-3) / rounds


def rounds(missing: int, runs_left: int, pace: Pace, left: float) -> int:
    """Give how many rounds the next process runs.

    So many that what is missing is spread over the runs that the plan still has; more when
    starting a process costs more than running the tests; fewer when time is short.
    """
    spread = math.ceil(missing / max(1, runs_left))
    worth = math.ceil(pace.start / max(pace.round, 1e-3))
    most = max(1, int(0.2 * left / max(pace.round, 1e-3)))
    return max(1, min(missing, max(spread, min(worth, missing // 8)), most))


def hunt(
    run: Runner,
    plan: Plan,
    aim: Aim,
    clock: Clock,
    ledger: Ledger,
    say: Callable[[str], None] = lambda text: None,
) -> None:
    """Run until every test is decided, or the time that hunting may take is over."""
    needed = aim.needed()
    pace = Pace()
    number = ledger.runs
    while True:
        states = ledger.states(needed)
        keep = KEEP * aim.seconds if "flaky" in states.values() else 0.0
        left = clock.left() - keep
        if ledger.runs and (left <= 0 or over(ledger, plan, needed)):
            return
        count = 1
        setting = plan.setting(number)
        if number and setting.workers < 2:  # a test must not meet itself in the next round
            missing = max(1, needed - ledger.least(needed))
            count = rounds(missing, max(1, plan.cycle() - number), pace, left)
        trial = Trial(setting=setting, rounds=count, step=plan.step())
        done = run(trial, max(1.0, left))
        pace.learn(done)
        ledger.add(done)
        number += 1
        if not ledger.tests:
            return
        say(progress(ledger, needed, count))


def over(ledger: Ledger, plan: Plan, needed: int) -> bool:
    """Say whether all is decided, and every level was there."""
    states = set(ledger.states(needed).values())
    if states <= {"flaky", "broken", "skipped"}:
        return "flaky" in states or ledger.runs >= min(8, plan.cycle())
    return "open" not in states and ledger.runs >= plan.cycle()


def progress(ledger: Ledger, needed: int, count: int) -> str:
    """Say in one line how far the hunt is."""
    states = list(ledger.states(needed).values())
    told = [f"{states.count(s)} {s}" for s in ("flaky", "broken") if s in states]
    ran = [tally.runs for tally in ledger.tests.values() if not tally.skips or tally.runs]
    fewest = min(ran, default=0)
    rows = f"{count} round{'s' * (count > 1)}"
    return ", ".join([f"process {ledger.runs}, {rows}: {fewest} of {needed} runs", *told])

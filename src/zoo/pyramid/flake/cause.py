"""Find what makes a flaky test fail: one factor at a time between a failing and a passing run.

A factor is a cause when the failing run, with that factor alone as in the passing one, fails less
often (it is needed), or when the passing run, with that factor alone as in the failing one, fails
more often (it is enough); each by Fisher's exact test at the confidence asked for.
"""

import contextlib
from dataclasses import dataclass, replace
from typing import Any

from zoo.pyramid.flake.lab import COMPARISONS, Arm, Count, Difference, Lab, OutOfTimeError
from zoo.pyramid.flake.ledger import Sighting, Tally, screened
from zoo.pyramid.flake.setting import BASE, Plan, Setting, differing

SIGHTINGS = 3  # that are tried again before a failure counts as random
NONE = Count()
TOGETHER = 10  # runs of the whole selection on several workers that must show it again


@dataclass(frozen=True)
class Cause:
    """One factor that makes the difference; counts are of the level that fails and of others."""

    factor: str  # of FACTORS; or needs, again, random, time
    level: Any = None
    tests: tuple[str, ...] = ()  # that break it, that it needs, or that it meets
    bad: Count = NONE
    good: Count = NONE


@dataclass(frozen=True)
class Finding:
    """The causes, and how to run the test so that it fails."""

    causes: tuple[Cause, ...]
    arm: Arm | None = None


def find(lab: Lab, tally: Tally, plan: Plan) -> Finding:
    """Name the causes of one flaky test; "time" when the time for it is over."""
    try:
        return search(lab, tally, plan)
    except OutOfTimeError:
        return Finding((Cause("time"),))


def search(lab: Lab, tally: Tally, plan: Plan) -> Finding:
    """Go through the kinds of cause, from the cheapest to tell."""
    alone = Arm(BASE, (lab.test,))
    flags = lab.once(alone, 3)
    lab.seen[alone] = list(flags)
    second = flags == [False, True, True] and not tally.first[0]
    if second and lab.once(alone, 4) == [False, True, True, True]:
        return Finding((Cause("again", bad=Count(5, 5), good=Count(0, 2)),))
    if all(flags):
        needed = needs(lab, tally)
        if needed is not None:
            return needed
    for seen in best(tally.failed)[:SIGHTINGS]:
        found = again(lab, seen, tally, plan)
        if found is not None:
            return found
    return at_random(lab, tally, plan)


def best(rows: list[Sighting]) -> list[Sighting]:
    """Give sightings, the simplest first."""
    return sorted(
        rows, key=lambda s: (s.setting.workers > 1, bool(s.setting.load), len(s.before), s.round)
    )


def needs(lab: Lab, tally: Tally) -> Finding | None:
    """Find the tests without which it fails, when it fails alone and passed after others."""
    for seen in best(tally.passed)[:SIGHTINGS]:
        setting = replace(seen.setting, workers=0, order="given")

        def passes(tests: tuple[str, ...], setting: Setting = setting) -> bool:
            return lab.probe(Arm(setting, (*tests, lab.test)), 1).never()

        if not seen.before or passes(()) or not passes(seen.before):
            continue
        tests = tuple(lab.shrink(seen.before, passes))
        plain = Arm(BASE, (*tests, lab.test))
        setting = BASE if lab.probe(plain, 1).never() else setting
        bad, good = Arm(setting, (lab.test,)), Arm(setting, (*tests, lab.test))
        made = lab.differ(bad, good)
        if made.real:
            return Finding((Cause("needs", None, tests, made.bad, made.good),), bad)
    return None


def again(lab: Lab, seen: Sighting, tally: Tally, plan: Plan) -> Finding | None:
    """See one failure again, and name what it takes; None when it does not come again."""
    setting = replace(seen.setting, order="given")
    single = replace(setting, workers=0)
    alone = Arm(single, (lab.test,))
    if lab.probe(alone, 3, until=True).failures:
        return flips(lab, alone, tally, plan)
    if seen.before:
        crowd = Arm(single, (*seen.before, lab.test))
        if lab.probe(crowd, 2, until=True).failures:
            return polluted(lab, single, seen.before, tally, plan)
    if setting.workers > 1:
        return crowded(lab, seen)
    return None


def polluted(
    lab: Lab, setting: Setting, before: tuple[str, ...], tally: Tally, plan: Plan
) -> Finding | None:
    """Find the tests after which it fails."""

    def fails(tests: tuple[str, ...]) -> bool:
        return lab.probe(Arm(setting, (*tests, lab.test)), 2, until=True).failures > 0

    tests = tuple(lab.shrink(before, fails))
    for plain in (BASE, setting):
        bad, good = Arm(plain, (*tests, lab.test)), Arm(plain, (lab.test,))
        if lab.probe(bad, 2, until=True).failures:
            made = lab.differ(bad, good)
            if made.real:
                cause = Cause("order", None, tests, made.bad, made.good)
                if plain == BASE:
                    return Finding((cause,), bad)
                more = flips(lab, bad, tally, plan)
                rest = more.causes if more is not None and more.arm is not None else ()
                return Finding((cause, *rest), bad)
    return None


def flips(lab: Lab, failing: Arm, tally: Tally, plan: Plan) -> Finding | None:
    """Flip one factor at a time between a failing arm and a passing one."""
    passing = replace(failing, setting=reference(lab, failing, tally))
    factors = [f for f in differing(failing.setting, passing.setting) if f != "order"]
    factors.sort(key=lambda factor: likely(tally, factor))
    causes: list[Cause] = []
    for factor in factors:
        made = lab.differ(failing, flipped(failing, passing, factor))
        if made.real:
            causes.append(named(failing, factor, made))
            enough = moved(passing, failing, factor)
            if made.clear() and lab.probe(enough, 3).always():
                # needed and enough: nothing else has a part in it
                return Finding((causes[-1],), enough)
    if not causes:  # one of several may be enough, so that no single one is needed
        for factor in factors:
            enough = moved(passing, failing, factor)
            made = lab.differ(enough, passing)
            if made.real:
                causes.append(named(failing, factor, made))
    if not causes:
        return at_random(lab, tally, plan)
    arm = passing
    for cause in causes:
        arm = moved(arm, failing, cause.factor)
    return Finding(tuple(causes), arm if lab.probe(arm, 3, until=True).failures else failing)


def reference(lab: Lab, failing: Arm, tally: Tally) -> Setting:
    """Give a setting in which the same tests pass: the plain one, or one in which it was seen."""
    plain = lab.probe(replace(failing, setting=BASE), 3)
    if not plain.always():
        return BASE
    for seen in best(tally.passed)[:SIGHTINGS]:
        setting = replace(seen.setting, order="given", workers=0)
        if lab.probe(replace(failing, setting=setting), 3).never():
            return setting
    return BASE


def likely(tally: Tally, factor: str) -> float:
    """Give a number that is smaller for factors that stand out in the hunt, or flip quickly."""
    quick = {"seed": 0.2, "threads": 0.3, "clock": 0.3, "hash": 0.4, "workers": 0.8, "load": 0.9}
    return min(screened(tally, factor)[0], quick.get(factor, 1.0))


def flipped(failing: Arm, passing: Arm, factor: str) -> Arm:
    """Give the failing arm with one factor as in the passing one; any other seed for a seed."""
    if factor == "seed":
        return replace(failing, seeds=True)
    if factor == "hash":
        return replace(failing, hashes=True)
    return moved(failing, passing, factor)


def moved(arm: Arm, source: Arm, factor: str) -> Arm:
    """Give an arm with one factor of another."""
    level = {factor: getattr(source.setting, factor)}
    return replace(arm, setting=replace(arm.setting, **level))


def named(failing: Arm, factor: str, made: Difference) -> Cause:
    """Give a cause with the level that fails."""
    return Cause(factor, getattr(failing.setting, factor), (), made.bad, made.good)


def crowded(lab: Lab, seen: Sighting) -> Finding | None:
    """Find out whether it fails only beside tests in other processes, and beside which."""
    # the order decides which tests meet: the one in which it was seen
    setting = replace(BASE, workers=seen.setting.workers, order=seen.setting.order)
    every = Arm(setting, ())
    if not lab.probe(every, TOGETHER, until=True).failures:
        return None
    made = lab.differ(every, Arm(replace(setting, workers=0), ()))
    if not made.real:
        return None

    few = replace(setting, order="given")  # of the tests that are named

    def fails(tests: tuple[str, ...]) -> bool:
        return lab.probe(Arm(few, (*tests, lab.test)), TOGETHER, until=True).failures > 0

    tests: tuple[str, ...] = ()
    arm = every
    with contextlib.suppress(OutOfTimeError):  # what is known stays known
        others = [test for test in seen.beside if test != lab.test]
        if others and fails(tuple(others)):
            tests = tuple(lab.shrink(others, fails))
            arm = Arm(few, (*tests, lab.test))
    return Finding((Cause("workers", setting.workers, tests, made.bad, made.good),), arm)


def at_random(lab: Lab, tally: Tally, plan: Plan) -> Finding:
    """Name a factor that stands out over the whole hunt; else none of them."""
    error = (1 - lab.confidence) / COMPARISONS
    for factor in ("load", "workers", "threads", "clock"):
        if factor in plan.vary:
            p, level = screened(tally, factor)
            if p <= error and level != getattr(BASE, factor):
                bad = tally.levels[factor, level, True]
                runs = bad + tally.levels[factor, level, False]
                good = Count(tally.failures - bad, tally.runs - runs)
                cause = Cause(factor, level, (), Count(bad, runs), good)
                return Finding((cause,), Arm(replace(BASE, **{factor: level}), ()))
    count = Count(tally.failures, tally.runs)
    if tally.runs < lab.enough:  # a hunt that ended at its first failure says little of the rate
        with contextlib.suppress(OutOfTimeError):
            more = lab.probe(Arm(BASE, (lab.test,), seeds=True), lab.enough - tally.runs)
            count = Count(count.failures + more.failures, count.runs + more.runs)
    return Finding((Cause("random", None, (), count),))

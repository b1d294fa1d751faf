"""The cause of a flake is named: suites that are rules, hunted from first run to verdict."""

import re

import pytest

from unit.pyramid.flake_world import NAMES, World, at_random, never
from zoo.pyramid.flake.cause import find
from zoo.pyramid.flake.hunting import Aim, Clock, hunt
from zoo.pyramid.flake.lab import Lab
from zoo.pyramid.flake.ledger import Ledger
from zoo.pyramid.flake.setting import FACTORS, Plan

TEST = NAMES[3]
LEVELS = {
    "workers": [1, 2, 3],
    "threads": [2, 4],
    "load": [4],
    "clock": ["2028-02-29T12:00:00 UTC0", "2026-12-31T23:59:58 UTC0"],
}
PLAN = Plan(FACTORS, LEVELS)


def planted(rule):
    """Let one test of the world fail by a rule of its setting and the tests before it."""
    return lambda setting, name, done: name == TEST and rule(setting, done)


# the rule, the factors named, and what is said of level or tests
PLANTED = {
    "seed": (lambda s, done: s.seed % 20 == 13, ["seed"], ()),
    "threads": (lambda s, done: s.threads > 1, ["threads"], ()),
    "clock": (lambda s, done: "02-29" in s.clock, ["clock"], ()),
    "hash": (lambda s, done: s.hash % 5 == 2, ["hash"], ()),
    "load": (lambda s, done: s.load > 0, ["load"], ()),
    "a polluter": (lambda s, done: NAMES[6] in done, ["order"], (NAMES[6],)),
    "two polluters": (
        lambda s, done: NAMES[6] in done and NAMES[1] in done,
        ["order"],
        (NAMES[1], NAMES[6]),
    ),
    "a test that is needed": (lambda s, done: NAMES[1] not in done, ["needs"], (NAMES[1],)),
    "its own second run": (lambda s, done: TEST in done, ["again"], ()),
    "two at once": (lambda s, done: s.threads > 1 and bool(s.load), ["load", "threads"], ()),
    "either of two": (lambda s, done: s.threads == 4 or "12-31" in s.clock, None, ()),
}


def hunted(rule, aim=None, plan=PLAN):
    aim = aim or Aim(rate=0.05)
    world, ledger = World(rule), Ledger()
    hunt(world, plan, aim, Clock(aim.seconds), ledger)
    return world, ledger, aim


@pytest.mark.parametrize("name", list(PLANTED))
def test_a_planted_cause_is_named(name):
    rule, factors, tests = PLANTED[name]
    world, ledger, aim = hunted(planted(rule))
    states = ledger.states(aim.needed())
    assert [n for n, state in states.items() if state == "flaky"] == [TEST]
    found = find(Lab(TEST, world, lambda: 1.0, 0.99), ledger.tests[TEST], PLAN)
    named = sorted(cause.factor for cause in found.causes)
    assert named == factors or (factors is None and set(named) <= {"threads", "clock"})
    assert set(found.causes[0].tests) == set(tests)


@pytest.mark.parametrize("name", ["seed", "threads", "clock", "hash", "load"])
def test_the_level_that_fails_is_given(name):
    rule, _, _ = PLANTED[name]
    world, ledger, _ = hunted(planted(rule))
    (cause,) = find(Lab(TEST, world, lambda: 1.0, 0.99), ledger.tests[TEST], PLAN).causes
    assert rule(type(PLAN.setting(0))(**{name: cause.level}), ())
    assert cause.bad.always() and cause.bad.runs >= 7


def test_chance_alone_is_called_random_with_its_rate():
    world, ledger, aim = hunted(at_random(0.1))
    lab = Lab(TEST, world, lambda: 1.0, 0.99, aim.needed())
    (cause,) = find(lab, ledger.tests[TEST], PLAN).causes
    assert cause.factor == "random"
    assert cause.bad.runs >= aim.needed() and cause.bad.failures >= 1


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_test_that_fails_often_by_chance_is_called_random(share):
    world, ledger, _ = hunted(at_random(share))
    (cause,) = find(Lab(TEST, world, lambda: 1.0, 0.99), ledger.tests[TEST], PLAN).causes
    assert cause.factor == "random"


def test_a_test_that_meets_another_in_a_second_process_names_it():
    pair = {NAMES[2], NAMES[3]}

    class Meeting(World):
        def __call__(self, trial, seconds):
            run = super().__call__(trial, seconds)
            homes = [{outcome.test for outcome in row} & pair for row in run.processes]
            apart = [home for home in homes if home] not in ([pair], [{TEST}], [{NAMES[2]}])
            rows = (
                tuple(o._replace(outcome="failed") if apart and o.test == TEST else o for o in row)
                for row in run.processes
            )
            return type(run)(**{**vars(run), "processes": tuple(rows)})

    world, ledger, aim = Meeting(never), Ledger(), Aim(rate=0.05)
    hunt(world, PLAN, aim, Clock(aim.seconds), ledger)
    found = find(Lab(TEST, world, lambda: 1.0, 0.99), ledger.tests[TEST], PLAN)
    (cause,) = found.causes
    assert (cause.factor, cause.tests) == ("workers", (NAMES[2],))
    assert found.arm.setting.workers > 1


def test_no_time_for_causes_is_said():
    world, ledger, _ = hunted(planted(PLANTED["seed"][0]))
    found = find(Lab(TEST, world, lambda: 0.0, 0.99), ledger.tests[TEST], PLAN)
    assert [cause.factor for cause in found.causes] == ["time"]


def test_a_healthy_suite_is_clean_in_every_test():
    _, ledger, aim = hunted(never)
    assert set(ledger.states(aim.needed()).values()) == {"clean"}
    assert all(tally.runs >= aim.needed() for tally in ledger.tests.values())


def test_a_test_that_always_fails_is_broken_and_not_flaky():
    _, ledger, aim = hunted(planted(lambda s, done: True))
    states = ledger.states(aim.needed())
    assert states[TEST] == "broken"
    assert {state for name, state in states.items() if name != TEST} == {"clean"}


def test_a_test_on_several_workers_never_meets_itself():
    world, _, _ = hunted(never)
    crowded = [t for t in world.trials if t.setting.workers > 1]
    assert crowded and all(trial.rounds == 1 for trial in crowded)


def test_every_level_comes_up():
    world, _, _ = hunted(never)
    for factor, row in LEVELS.items():
        assert set(row) <= {getattr(trial.setting, factor) for trial in world.trials}, factor
    assert len({trial.setting.hash for trial in world.trials}) >= 21
    orders = {re.sub(r"\d+", "N", trial.setting.order) for trial in world.trials}
    assert orders == {"given", "reversed", "mixed-N", "files-N"}


def test_factors_that_are_not_varied_stay_plain():
    world, _, _ = hunted(never, plan=Plan(("seed",), {}))
    assert {trial.setting.order for trial in world.trials} == {"given"}
    assert {trial.setting.hash for trial in world.trials} == {0}

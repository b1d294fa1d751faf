"""Settings, tallies, commands and words of the flake hunt."""

import argparse
import json
from datetime import date, datetime
from pathlib import Path

import pytest

from unit.pyramid.flake_world import NAMES, World, never
from zoo.cli import UsageError, flake, verb_parser
from zoo.pyramid.flake import setting as settings
from zoo.pyramid.flake import words
from zoo.pyramid.flake.cause import Cause, Finding
from zoo.pyramid.flake.child import Children, Outcome, Run, before, outcomes
from zoo.pyramid.flake.command import candidates, rounds_for
from zoo.pyramid.flake.hunting import Aim, Pace, rounds
from zoo.pyramid.flake.lab import Arm, Count, first_size, shrink
from zoo.pyramid.flake.ledger import Ledger, state
from zoo.pyramid.flake.report import summary_text, verdicts
from zoo.pyramid.flake.setting import BASE, Plan, Setting, Trial

PLAN = Plan(("seed", "order"), {})


def run_of(*rows, **fields):
    """Give a run of one process from (test, round, outcome)."""
    process = tuple(Outcome(test, turn, 0, outcome, 0.01, "why") for test, turn, outcome in rows)
    return Run(trial=Trial(), processes=(process,), **fields)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((1, 1, 0), "flaky"),
        ((500, 1, 3), "flaky"),
        ((0, 7, 0), "open"),
        ((0, 8, 0), "broken"),
        ((458, 0, 0), "open"),
        ((459, 0, 9), "clean"),
        ((0, 0, 3), "skipped"),
        ((0, 0, 0), "open"),
        ((3, 0, 400), "open"),
    ],
)
def test_a_test_is_decided_from_its_counts(counts, expected):
    assert state(*counts, 459) == expected


def test_a_crash_is_a_failure_and_a_cut_is_nothing():
    ledger = Ledger()
    ledger.add(run_of(("a", 0, "crashed"), ("b", 0, "cut"), ("c", 0, "skipped")))
    ledger.add(run_of(("a", 0, "passed")))
    assert ledger.states(5) == {"a": "flaky", "b": "open", "c": "skipped"}
    assert ledger.cut == {"b"} and ledger.tests["a"].crashes == 1
    assert (ledger.rounds, ledger.red) == (2, 1)


def test_a_test_that_only_some_runs_collect_or_skip_is_told():
    ledger = Ledger()
    ledger.add(run_of(("a", 0, "passed"), collected=("a", "b")))
    ledger.add(run_of(("a", 0, "skipped"), collected=("a",)))
    assert ledger.partly_there() == {"b": 1}
    assert ledger.partly_skipped() == ["a"]


def test_wild_cpu_times_are_noted_and_one_slow_start_is_not():
    ledger = Ledger()
    for spent in (0.1, 0.1, 0.1, 0.1, 9.0):
        ledger.add(Run(trial=Trial(), processes=((Outcome("a", 0, 0, "passed", spent),),)))
    assert ledger.wild() == []
    ledger.add(Run(trial=Trial(), processes=((Outcome("a", 0, 0, "passed", 8.0),),)))
    assert ledger.wild() == [("a", 0.1, 8.0)]


LINES = [
    {"begin": "a", "round": 0, "seed": 3},
    {"end": "passed", "cpu": 0.5, "why": ""},
    {"begin": "b", "round": 1, "seed": 4},
]


def test_what_began_and_did_not_end_crashed_unless_it_was_ended_by_us():
    done = Outcome("a", 0, 3, "passed", 0.5, "")
    assert outcomes(LINES[:2], 0) == [done]
    first, second = outcomes(LINES, 3)
    assert first == done
    assert second == Outcome("b", 1, 4, "crashed", 0.0, "the process ended in it (exit 3)")
    assert outcomes(LINES, -9)[1].outcome == "cut"


def test_what_ran_before_is_named_once_and_without_itself():
    process = run_of(*[(name, 0, "passed") for name in "abaxcbx"]).processes[0]
    assert before(process, 6) == ("a", "c", "b")
    assert before(process, 0) == ()


@pytest.mark.parametrize("needed", [{3}, {0, 7}, {1, 2, 6}, set(range(8)), set()])
def test_shrinking_leaves_what_is_needed_and_no_more(needed):
    items = [f"t{number}" for number in range(8)]
    kept = {f"t{number}" for number in needed}
    left = shrink(items, lambda rest: kept <= set(rest))
    assert set(left) == kept or (not kept and len(left) <= 1)
    assert left == sorted(left)


def test_shrinking_a_long_list_to_one_takes_few_runs():
    calls = []
    left = shrink([str(n) for n in range(512)], lambda rest: calls.append(1) or "300" in rest)
    assert left == ["300"] and len(calls) <= 2 * 9


@pytest.mark.parametrize(("confidence", "size"), [(0.99, 7), (0.999, 9), (0.9, 5)])
def test_a_sharp_difference_takes_few_runs(confidence, size):
    assert first_size((1 - confidence) / 8) == size


@pytest.mark.parametrize("day", [date(2026, 11, 21), date(2028, 2, 29), date(2099, 12, 31)])
def test_clocks_are_times_near_today(day):
    rows = settings.clocks(day)
    times = [datetime.fromisoformat(row.partition(" ")[0]) for row in rows]
    assert any((time.month, time.day) == (2, 29) for time in times)
    assert any((time.month, time.day, time.hour) == (12, 31, 23) for time in times)
    assert any(time.weekday() >= 5 for time in times)
    assert all(0 <= time.year - day.year <= 5 for time in times)
    assert all(settings.zone(row) for row in rows)


@pytest.mark.parametrize(
    ("year", "month", "day"), [(2025, 3, 30), (2025, 10, 26), (2026, 3, 29), (2027, 10, 31)]
)
def test_clocks_change_on_the_last_sunday(year, month, day):
    assert settings.last_sunday(year, month) == date(year, month, day)


def test_the_first_run_is_plain_and_every_deck_is_dealt():
    plan = Plan(("threads", "hash"), {"threads": [2, 4]})
    assert plan.setting(0) == BASE
    dealt = [plan.setting(number).threads for number in range(1, 5)]
    assert sorted(dealt) == [1, 1, 2, 4]
    assert plan.cycle() == settings.HASHES
    assert Plan(("threads",), {"threads": [2, 4]}).cycle() == 4
    assert len({plan.setting(number).hash for number in range(50)}) == 50


@pytest.mark.parametrize(
    ("missing", "runs_left", "left", "expected"),
    [(458, 20, 1e9, 57), (458, 2, 1e9, 229), (1, 20, 1e9, 1), (458, 20, 1.0, 2), (3, 20, 1e9, 1)],
)
def test_rounds_are_many_when_a_start_costs_much_and_few_when_time_is_short(
    missing, runs_left, left, expected
):
    assert rounds(missing, runs_left, Pace(start=20.0, round=0.1), left) == expected


def made(*causes, arm=None, rate=0.1):
    """Give the commands for a finding, as text."""
    suite = Children(("tests", "-m", "not slow"), xdist=True, root=Path.cwd(), targets=("tests",))
    finding = Finding(causes, arm)
    return [str(command) for command in candidates(finding, "t.py::test_x", suite, rate)]


ALONE = ("t.py::test_x",)
HEAD = "python -m pytest"
TAIL = "-m 'not slow' t.py::test_x"
PLUGIN = "-p zoo_pytest.varied"


@pytest.mark.parametrize(
    ("factor", "level", "command"),
    [
        ("threads", 2, f"OMP_NUM_THREADS=2 {HEAD} {TAIL}"),
        ("hash", 6, f"PYTHONHASHSEED=6 {HEAD} {TAIL}"),
        ("seed", 17, f"ZOO_VARIED='{{\"seed\": 17}}' {HEAD} {PLUGIN} {TAIL}"),
        ("load", 4, f"ZOO_VARIED='{{\"load\": 4}}' {HEAD} {PLUGIN} {TAIL}"),
        ("workers", 2, f"{HEAD} -n 2 {TAIL}"),
        ("clock", " UTC0", f"TZ=UTC0 {HEAD} {TAIL}"),
    ],
)
def test_the_shortest_command_sets_the_cause_alone(factor, level, command):
    arm = Arm(Setting(**{factor: level}), ALONE)
    assert made(Cause(factor, level), arm=arm)[0] == command


def test_an_order_is_told_by_naming_the_tests_in_it():
    arm = Arm(BASE, ("t.py::test_p[a b]", *ALONE))
    first, *_, last = made(Cause("order", tests=("t.py::test_p[a b]",)), arm=arm)
    assert first == f"{HEAD} -m 'not slow' 't.py::test_p[a b]' t.py::test_x"
    assert "ZOO_VARIED" in last and '"tests"' in last


def test_a_random_failure_is_told_with_as_many_rounds_as_it_takes():
    (command,) = made(Cause("random"), rate=0.1)
    assert '"rounds": 44' in command and '"step": 1' in command
    assert rounds_for(0.01) == 459 and rounds_for(1.0) == 1


def test_known_is_said_when_time_ended_first():
    assert words.bound_text(212, 459, 0.01, 0.99) == (
        "459 runs are needed for 1 % at 99 %; 212 done, without a failure: its rate is below 2.1 %"
    )
    assert words.bound_text(0, 459, 0.01, 0.99).endswith("it did not run")
    assert words.rate_text(3, 300, 0.99) == "failed 3 of 300 runs: 1 % [0.11 %, 3.6 % at 99 %]"


@pytest.mark.parametrize("factor", list(words.MEND))
def test_every_cause_has_words_and_a_cure(factor):
    level = {"clock": "2028-02-29T12:00:00 UTC0", "workers": 2, "load": 4}.get(factor, 7)
    cause = Cause(factor, level, ("t.py::test_y",), Count(7, 7), Count(0, 7))
    text = words.cause_text(cause, "failed 1 of 9")
    assert len(text) > 15 and words.MEND[factor].endswith(".")
    assert ("7 of 7; otherwise 0 of 7" in text) == (factor not in ("again", "random", "time"))


SUITE = Children(("t.py",), xdist=False, targets=("t.py",))


def told(world, aim):
    *rows, whole = verdicts(SUITE, world, PLAN, aim)
    return rows, whole


def test_a_clean_suite_ends_with_0_and_its_bound():
    rows, whole = told(World(never), Aim(rate=0.1))
    assert rows == [] and whole["exit"] == 0
    assert (whole["tests"], whole["clean"], whole["needed"]) == (8, 8, 44)
    text = summary_text(whole)
    assert "8 tests: 8 clean" in text
    assert "a rate below 10 % at 99 % on its own; of all at once: below" in text
    assert json.loads(json.dumps(whole)) == whole


def test_a_broken_test_ends_with_1():
    rows, whole = told(World(lambda s, name, done: name == NAMES[0]), Aim(rate=0.1))
    assert [row["known"].partition(":")[2] for row in rows] == [" broken, not flaky"]
    assert whole["exit"] == 1


def test_time_that_ended_first_ends_with_3():
    rows, whole = told(World(never), Aim(seconds=1e-9))
    assert {row["verdict"] for row in rows} == {"open"} and len(rows) == len(NAMES)
    assert "459 runs are needed for 1 % at 99 %; 1 done" in rows[0]["known"]
    assert whole["exit"] == 3


def test_a_run_that_went_wrong_is_no_clean_run():
    class Troubled(World):
        def __call__(self, trial, seconds):
            return Run(**{**vars(super().__call__(trial, seconds)), "trouble": "exit code 3"})

    _, whole = told(Troubled(never), Aim(rate=0.5))
    assert whole["exit"] == 1 and "exit code 3" in whole["notes"][0]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("t.py -p rerunfailures -x", "t.py -x"),
        ("-ppytest_randomly t.py", "t.py"),
        ("-p mine t.py -k flaky", "-p mine t.py -k flaky"),
    ],
)
def test_plugins_that_hide_a_flake_are_not_asked_for(given, kept):
    assert Children(tuple(given.split()), xdist=False).arguments == tuple(kept.split())


def parsed(text):
    return verb_parser("flake", flake).parse_args(text.split())


@pytest.mark.parametrize(
    ("text", "mine", "theirs"),
    [
        ("tests --seconds 5 -m slow", ["--seconds", "5"], ["tests", "-m", "slow"]),
        ("tests -k a --rate=0.1 --json", ["--rate=0.1", "--json"], ["tests", "-k", "a"]),
        ("tests -- --rate 3", [], ["tests", "--rate", "3"]),
        ("-x tests --vary seed", ["--vary", "seed"], ["-x", "tests"]),
    ],
)
def test_own_options_are_told_from_pytests(text, mine, theirs):
    assert flake.split(text.split()) == (mine, theirs)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("t.py --confidence 1", "--confidence 1: give 0.5 or more, less than 1"),
        ("t.py --rate 0", "--rate 0: give a share between 0 and 1"),
        ("t.py --seconds 0", "--seconds 0: give more than 0"),
        ("t.py --vary seed,moon", "'moon'. is none of seed, order"),
        ("t.py --rate often", "argument --rate: invalid float value: 'often'"),
    ],
)
def test_what_makes_no_sense_is_refused(text, said):
    with pytest.raises(UsageError, match=said):
        flake.run(parsed(text))


def test_options_before_and_after_the_tests_are_read():
    args = parsed("--seconds 5 tests -m slow --rate 0.1")
    mine, theirs = flake.split(args.pytest)
    args.parser.parse_args(mine, namespace=args)
    assert (args.seconds, args.rate, theirs) == (5.0, 0.1, ["tests", "-m", "slow"])
    assert isinstance(args, argparse.Namespace)

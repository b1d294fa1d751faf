"""Calls are timed in turns: each once a round, none always first, none always after the same."""

import sys
import time
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT))  # the benchmarks are no package of the wheel

from benchmarks.speed.clock import Took, in_turns, order, times_for, took  # noqa: E402


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_over_some_rounds_each_name_stands_at_each_place_equally_often(count):
    names = [f"n{i}" for i in range(count)]
    rounds = [order(names, number) for number in range(2 * count)]
    assert all(sorted(one) == names for one in rounds)
    for place in range(count):
        assert set(Counter(one[place] for one in rounds).values()) == {2}


def test_every_other_round_is_reversed():
    assert [order(["a", "b"], number) for number in range(4)] == [
        ["a", "b"],
        ["b", "a"],
        ["b", "a"],
        ["a", "b"],
    ]
    assert order(["a", "b", "c"], 2) == ["b", "c", "a"]
    assert order(["a", "b", "c"], 3) == ["a", "c", "b"]
    assert order([], 1) == []


def test_each_call_is_warmed_up_and_then_runs_once_a_round():
    heard = []
    calls = {name: lambda name=name: heard.append(name) for name in ("a", "b")}
    found = in_turns(calls, 3, each_round=lambda: heard.append("|"))
    assert "".join(heard) == "ab" + "ab|" + "ba|" + "ba|"
    assert {name: len(times) for name, times in found.items()} == {"a": 3, "b": 3}


def test_what_is_warm_already_is_not_called_before_the_rounds():
    heard = []
    calls = {name: lambda name=name: heard.append(name) for name in ("a", "b")}
    in_turns(calls, 1, warm={"a": Took(1.0, 1.0)})
    assert heard == ["b", "a", "b"]


def test_a_short_call_is_repeated_until_a_sample_is_long_enough():
    heard = []
    in_turns({"a": lambda: heard.append(0)}, 1, warm={"a": Took(0.001, 0.001)}, least=0.0)
    assert len(heard) == 1
    in_turns({"a": lambda: heard.append(0)}, 1, least=1e-3)
    assert len(heard) > 10


@pytest.mark.parametrize(
    ("wall", "least", "times"),
    [
        pytest.param(0.01, 0.05, 5, id="five-fit"),
        pytest.param(1.0, 0.05, 1, id="one-is-long-enough"),
        pytest.param(0.01, 0.0, 1, id="nothing-asked"),
        pytest.param(0.0, 0.05, 10_000, id="too-short-to-see"),
    ],
)
def test_how_often_to_call_follows_from_how_long_one_takes(wall, least, times):
    assert times_for(Took(0.0, wall), least) == times


def test_waiting_takes_wall_time_and_no_processor():
    found = took(lambda: time.sleep(0.02))
    assert found.wall >= 0.02
    assert found.cpu < found.wall


def test_a_call_that_measures_itself_is_believed():
    assert took(lambda: Took(3.0, 5.0), times=2) == Took(3.0, 5.0)

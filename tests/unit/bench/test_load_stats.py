"""The arithmetic of load: quantiles by rank, what counts as answered, where a ramp ends."""

import math
import random
import sys
from pathlib import Path

import numpy
import pytest

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT))  # the benchmarks are no package of the wheel

from benchmarks.load.stats import (  # noqa: E402
    Asked,
    arrivals,
    at_ceiling,
    between,
    ceiling,
    growth,
    quantile,
    recovered,
    summary,
)


def asked(at=0.0, seconds=0.1, status=200, item=0, variant=0, retry=None):
    return Asked(at, seconds, seconds / 2, status, item, variant, retry)


@pytest.mark.parametrize("count", [1, 2, 3, 10, 99, 100, 101])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.95, 0.99, 1.0])
def test_a_quantile_is_a_value_that_was_seen(count, share):
    values = [random.Random(count).random() for _ in range(count)]
    random.Random(1).shuffle(values)
    assert quantile(values, share) == numpy.quantile(values, share, method="inverted_cdf")


def test_of_nothing_there_is_no_quantile_and_a_share_is_one():
    assert quantile([], 0.5) is None
    for share in (0.0, 1.01, -1.0):
        with pytest.raises(ValueError, match="a share of"):
            quantile([1.0], share)


def test_a_run_is_summed_up():
    rows = [
        *(asked(at=float(i), seconds=0.1 * (i + 1)) for i in range(4)),
        asked(variant=1),  # a wrong answer
        asked(status=429, seconds=0.01, variant=2, retry="1"),
        asked(status=503, seconds=0.02, variant=2),
        asked(status=500, variant=2),
        asked(status=0, variant=2),
        asked(status=400, item=1, variant=2),
        asked(status=200, item=1, variant=2),
        asked(status=503, item=1, variant=2),
    ]
    found = summary(rows, good=[True, False], right=[True, False, False])
    assert (found["requests"], found["answered"], found["refused"]) == (12, 4, 2)
    assert (found["errors"], found["wrong"]) == (3, 1)
    assert (found["nonsense"], found["nonsense_let_in"]) == (3, 2)
    assert found["seconds"] == pytest.approx(3.4)
    assert found["goodput"] == pytest.approx(4 / 3.4)
    assert found["latency"]["p50"] == pytest.approx(0.2)
    assert found["latency"]["p99"] == pytest.approx(0.4) == found["latency"]["most"]
    assert found["first"]["p50"] == pytest.approx(0.1)
    assert found["refusal"]["p99"] == 0.02 and found["without_retry_after"] == 1


def test_a_run_of_nothing_is_nothing():
    found = summary([], good=[], right=[])
    assert found["goodput"] == 0.0 and found["latency"]["p50"] is None


@pytest.mark.parametrize(
    ("goodputs", "over"),
    [
        ([], False),
        ([10.0], False),
        ([10.0, 10.0], False),
        ([10.0, 10.1, 10.2], True),
        ([10.0, 20.0, 20.5], False),
        ([10.0, 20.0, 20.5, 20.6], True),
        ([10.0, 20.0, 19.0, 22.0], False),
        ([10.0, 20.0, 12.0, 8.0], True),
    ],
    ids=str,
)
def test_a_ramp_ends_when_two_levels_add_nothing(goodputs, over):
    assert at_ceiling(goodputs) is over


def test_the_ceiling_is_the_best_level():
    assert ceiling([10.0, 30.0, 20.0]) == 30.0
    for nothing in ([], [0.0, 0.0]):
        with pytest.raises(ValueError, match="no level"):
            ceiling(nothing)


def test_arrivals_come_at_their_rates():
    times = list(arrivals([(100, 20), (0, 5), (400, 10)], seed=4))
    assert times == sorted(times) and times[-1] < 35
    counts = [sum(a <= t < b for t in times) for a, b in ((0, 20), (20, 25), (25, 35))]
    assert counts[1] == 0
    for count, expected in ((counts[0], 2000), (counts[2], 4000)):
        assert abs(count - expected) < 5 * math.sqrt(expected)
    pauses = numpy.diff([t for t in times if t < 20])
    assert 0.9 < pauses.std() / pauses.mean() < 1.1  # as of independent people
    assert times == list(arrivals([(100, 20), (0, 5), (400, 10)], seed=4))


def test_even_arrivals_are_as_far_apart_as_their_rate_says():
    assert list(arrivals([(2, 2), (4, 0.6)], seed=0, even=True)) == [0.5, 1.0, 1.5, 2.25, 2.5]


def test_what_was_asked_in_a_phase():
    rows = [asked(at=float(i)) for i in range(5)]
    assert [one.at for one in between(rows, 1.0, 3.0)] == [1.0, 2.0]


def test_a_server_has_recovered_after_its_last_slow_answer():
    rows = [asked(at=t, seconds=s) for t, s in ((9.5, 5.0), (10.0, 3.0), (11.5, 0.9), (12.0, 0.2))]
    assert recovered(rows, after=10.0, usual=0.4) == 1.5
    assert recovered(rows, after=10.0, usual=2.0) == 0.0
    assert recovered(rows, after=11.0, usual=0.4, bound=3.0) == 0.0


def test_growth_compares_the_beginning_with_the_end():
    assert growth([5.0, 1.0, 2.0, *[9.0] * 10, 3.0, 4.0], part=0.2) == (2.0, 4.0)
    assert growth([7.0]) == (7.0, 7.0)
    with pytest.raises(ValueError, match="no value"):
        growth([])

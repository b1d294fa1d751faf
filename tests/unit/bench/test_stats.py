"""Medians, their intervals from ranks, and when two of them differ."""

import math
import random
import sys
from pathlib import Path

import pytest
from scipy import stats as reference

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT))  # the benchmarks are no package of the wheel

from benchmarks.speed.stats import apart, interval, rank_of, ratios, summary  # noqa: E402


@pytest.mark.parametrize("count", [1, 5, 6, 7, 8, 9, 12, 15, 25, 61])
def test_the_rank_is_the_largest_that_holds_the_median_often_enough(count):
    k = rank_of(count)
    below = reference.binom(count, 0.5).cdf
    assert k == 0 or 1 - 2 * below(k - 1) >= 0.95
    assert 1 - 2 * below(k) < 0.95


def test_six_values_are_the_fewest_for_an_interval():
    assert interval([3.0, 1.0, 2.0, 5.0, 4.0]) is None
    assert interval([3.0, 1.0, 2.0, 5.0, 4.0, 6.0]) == (1.0, 6.0)
    assert interval([float(x) for x in range(9)]) == (1.0, 7.0)


def test_the_interval_holds_the_true_median_as_often_as_it_says():
    draw = random.Random(8)
    held = 0
    for _ in range(2000):
        low, high = interval([draw.expovariate(1.0) for _ in range(9)])
        held += low <= math.log(2) <= high
    exact = 1 - 2 * reference.binom(9, 0.5).cdf(1)  # 0.961
    assert abs(held / 2000 - exact) < 4 * math.sqrt(exact * (1 - exact) / 2000)


def test_a_summary_says_middle_spread_and_extremes():
    assert summary([4.0, 1.0, 2.0, 3.0, 5.0]) == {
        "median": 3.0,
        "quartiles": [2.0, 4.0],
        "range": [1.0, 5.0],
        "interval": None,
        "count": 5,
    }
    assert summary([2.0])["quartiles"] == [2.0, 2.0]
    assert summary([1.0] * 6)["interval"] == [1.0, 1.0]


def test_nothing_cannot_be_summed_up():
    with pytest.raises(ValueError, match="measure at least one round"):
        summary([])


def test_a_ratio_is_theirs_over_ours_round_by_round():
    assert ratios([2.0, 3.0], [1.0, 6.0]) == [2.0, 0.5]
    assert ratios([2.0], [0.0]) == [math.inf]
    with pytest.raises(ValueError, match="zip"):
        ratios([1.0], [1.0, 2.0])


@pytest.mark.parametrize(
    ("before", "now", "differ"),
    [
        pytest.param([1.0] * 6, [1.1] * 6, True, id="no-common-value"),
        pytest.param([1.1] * 6, [1.0] * 6, True, id="the-other-way"),
        pytest.param([1.0, 1.2] * 3, [1.1, 1.3] * 3, False, id="they-overlap"),
        pytest.param([1.0, 1.1], [1.1, 1.2], False, id="extremes-touch"),
        pytest.param([1.0, 1.1], [1.11, 1.2], True, id="few-rounds-apart"),
    ],
)
def test_two_summaries_differ_when_their_intervals_are_apart(before, now, differ):
    assert apart(summary(before), summary(now)) is differ

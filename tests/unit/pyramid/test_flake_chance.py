"""Exact statistics, against scipy and by counting."""

import math
import random

import pytest
from scipy import stats

from zoo.pyramid.flake import chance

COUNTS = [(0, 1), (0, 459), (1, 1), (1, 459), (3, 20), (7, 7), (10, 459), (500, 1000), (999, 1000)]


@pytest.mark.parametrize(
    ("rate", "confidence", "runs"),
    [(0.01, 0.99, 459), (0.05, 0.95, 59), (0.5, 0.5, 1), (0.5, 0.75, 2), (0.001, 0.999, 6905)],
)
def test_the_runs_needed_are_the_fewest_that_show_the_rate(rate, confidence, runs):
    assert chance.runs_needed(rate, confidence) == runs
    assert (1 - rate) ** runs <= 1 - confidence + 1e-12 < (1 - rate) ** (runs - 1)


@pytest.mark.parametrize(("failures", "runs"), COUNTS)
@pytest.mark.parametrize("rate", [0.0, 1e-6, 0.01, 0.5, 0.99, 1.0])
def test_at_most_is_the_binomial_distribution(failures, runs, rate):
    expected = stats.binom.cdf(failures, runs, rate)
    # lgamma's error grows with its value, about runs * log(runs) units in the last place
    assert chance.at_most(failures, runs, rate) == pytest.approx(
        expected, rel=4e-16 * runs * max(1, math.log(runs)) + 1e-13
    )


@pytest.mark.parametrize(("failures", "runs"), COUNTS)
@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_the_interval_is_clopper_and_pearsons(failures, runs, confidence):
    expected = stats.binomtest(failures, runs).proportion_ci(confidence, method="exact")
    assert chance.interval(failures, runs, confidence) == pytest.approx(tuple(expected), abs=1e-9)


@pytest.mark.parametrize(("failures", "runs"), COUNTS)
def test_the_upper_end_is_one_sided(failures, runs):
    expected = stats.binomtest(failures, runs, alternative="less").proportion_ci(0.99, "exact")
    assert chance.upper(failures, runs, 0.99) == pytest.approx(expected.high, abs=1e-9)


@pytest.mark.parametrize("table", [(7, 7, 0, 7), (3, 10, 1, 12), (0, 5, 0, 5), (20, 20, 11, 20)])
def test_fishers_p_is_scipys(table):
    more, of_more, fewer, of_fewer = table
    rows = [[more, of_more - more], [fewer, of_fewer - fewer]]
    expected = stats.fisher_exact(rows, alternative="greater").pvalue
    assert chance.fisher(*table) == pytest.approx(expected, rel=1e-12)


def test_all_looks_together_spend_the_error_once():
    assert sum(chance.share(look, 0.01) for look in range(1, 1000)) == pytest.approx(
        0.01 * 999 / 1000
    )
    assert chance.share(1, 0.01) == 0.005 and chance.share(2, 0.01) == pytest.approx(0.01 / 6)


def test_many_tests_together_have_a_wider_bound():
    assert chance.together(459, 1, 0.99) == pytest.approx(0.00998, abs=1e-5)
    together = chance.together(459, 1000, 0.99)
    assert (1 - together) ** 459 == pytest.approx(0.01 / 1000)
    assert chance.together(0, 5, 0.99) == 1.0


def test_a_flaky_test_passes_for_clean_as_seldom_as_promised():
    """2,000 hunts of a test at exactly the rate: the share called clean is 1 - confidence."""
    draws = random.Random(3)
    needed = chance.runs_needed(0.2, 0.9)
    clean = sum(all(draws.random() >= 0.2 for _ in range(needed)) for _ in range(2000))
    low, high = stats.binom.interval(1 - 1e-6, 2000, 0.8**needed)
    assert 0.8**needed <= 0.1 and low <= clean <= high


@pytest.mark.parametrize("rate", [0.02, 0.3])
def test_the_interval_holds_for_a_hunt_that_ends_at_its_first_failure(rate):
    """The first failure comes at run n with probability (1 - r)^(n-1) r: sum where r is inside."""
    held = 0.0
    for runs in range(1, 200):
        low, high = chance.interval(1, runs, 0.9)
        if low <= rate <= high:
            held += (1 - rate) ** (runs - 1) * rate
    assert held >= 0.9

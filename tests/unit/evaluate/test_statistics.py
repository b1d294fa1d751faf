"""Intervals and tests: as scipy computes them, as counting all cases gives, and at their edges."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from zoo.evaluate.statistics import (
    SWAPS,
    bca,
    binomial,
    chance_of_breaks,
    chance_of_change,
    chance_of_hits,
    draws,
    interval,
    interval_of_change,
    wilson,
)


def mean(sums):
    return sums[..., 0] / sums[..., 1]


def parts_of(values):
    values = np.asarray(values, dtype=np.float64)
    return np.stack([values, np.ones_like(values)], axis=1)


SKEWED = np.random.default_rng(3).lognormal(size=40)


@pytest.mark.parametrize(
    ("values", "level"),
    [(SKEWED, 0.95), (-SKEWED, 0.95), (SKEWED, 0.8), ((SKEWED > 0.4) * 1.0, 0.95)],
    ids=["skewed", "mirrored", "80-per-cent", "share"],
)
def test_the_interval_of_given_draws_is_scipys(values, level):
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=999, confidence_level=level, method="BCa", rng=1
    )
    jackknife = (values.sum() - values) / (len(values) - 1)
    found = bca(theirs.bootstrap_distribution, float(values.mean()), jackknife, level=level)
    wanted = theirs.confidence_interval
    assert found == pytest.approx((wanted.low, wanted.high), rel=1e-12)


@pytest.mark.parametrize("kinds", [2, 40], ids=["few-kinds-of-rows", "all-rows-differ"])
def test_draws_have_the_mean_and_the_spread_of_drawing_rows(kinds):
    """A drawn mean has the rows' mean and, over n rows, their variance divided by n."""
    values = (SKEWED > 1) * 1.0 if kinds == 2 else SKEWED
    drawn = draws(parts_of(values), samples=20_000)
    assert (drawn[:, 1] == 40).all()  # as many rows as there are
    means = drawn[:, 0] / 40
    spread = values.std() / math.sqrt(40)
    assert abs(means.mean() - values.mean()) < 5 * spread / math.sqrt(20_000)
    # the variance of a sample variance is (kurtosis - 1) / samples; a drawn mean's kurtosis is
    # below 4 here, 3 and what is left of the rows' over n
    assert abs(means.var() / spread**2 - 1) < 5 * math.sqrt(3 / 20_000)


def test_draws_take_many_rows_in_pieces():
    """More cells than are held at once: each piece is drawn anew."""
    drawn = draws(parts_of(np.arange(1500.0)), samples=1400)
    assert len(np.unique(drawn[:, 0])) > 1350
    assert (drawn[:, 1] == 1500).all()


def test_the_same_rows_have_the_same_interval_and_another_seed_another():
    first, again, other = (interval(parts_of(SKEWED), mean, seed=s) for s in (1, 1, 2))
    assert first == again != other
    assert first[0] < SKEWED.mean() < first[1]


def test_no_rows_have_no_interval():
    with pytest.raises(ValueError, match="no rows to draw from"):
        interval(np.zeros((0, 2)), mean)


FLAT = np.full(9, 0.5)


@pytest.mark.parametrize(
    ("drawn", "estimate", "wanted"),
    [
        (np.full(99, 2.0), 2.0, (2.0, 2.0)),
        (np.linspace(1, 2, 101), 0.5, (1.025, 1.975)),  # all above: the percentile interval
        (np.linspace(1, 2, 101), 2.5, (1.025, 1.975)),
        (np.r_[np.linspace(1, 2, 101), np.nan], 1.5, (1.025, 1.975)),
        (np.array([np.nan]), 1.0, (math.nan, math.nan)),
        (np.linspace(1, 2, 101), math.nan, (math.nan, math.nan)),
    ],
    ids=["one-value", "all-above", "all-below", "not-a-number", "none-left", "no-estimate"],
)
def test_draws_that_say_little_have_a_plain_interval(drawn, estimate, wanted):
    assert bca(drawn, estimate, FLAT) == pytest.approx(wanted, rel=1e-12, nan_ok=True)


def test_the_interval_of_a_change_takes_both_results_of_a_row_together():
    """Rows differ by 100, their change by nothing: drawn apart it would be wide."""
    before = parts_of(np.linspace(0, 100, 30))
    after = parts_of(np.linspace(0, 100, 30) + np.tile([0.9, 1.1], 15))
    low, high = interval_of_change(before, after, mean)
    assert 0.95 < low < 1 < high < 1.05


def test_nothing_changed_is_no_change():
    assert interval_of_change(parts_of(SKEWED), parts_of(SKEWED), mean) == (0.0, 0.0)


@pytest.mark.parametrize(("broke", "mended"), [(0, 0), (1, 0), (0, 3), (9, 2), (14, 14), (70, 41)])
def test_the_chance_of_breaks_is_the_sign_tests(broke, mended):
    wanted = 1.0
    if broke + mended:
        wanted = stats.binomtest(broke, broke + mended, 0.5, alternative="greater").pvalue
    assert chance_of_breaks(broke, mended) == pytest.approx(wanted, rel=1e-12)


def test_breaks_are_counts():
    with pytest.raises(ValueError, match="-1 rows broke and 2 mended"):
        chance_of_breaks(-1, 2)


@pytest.mark.parametrize(("hits", "rows"), [(0, 7), (1, 7), (7, 7), (3, 20), (19, 20), (480, 1200)])
@pytest.mark.parametrize("level", [0.95, 0.99])
def test_the_interval_of_a_share_is_wilsons(hits, rows, level):
    theirs = stats.binomtest(hits, rows).proportion_ci(level, method="wilson")
    found = wilson(hits, rows, level=level)
    assert found == pytest.approx((theirs.low, theirs.high), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize(("hits", "rows"), [(-1, 3), (4, 3), (0, 0)])
def test_a_share_is_one_of_rows(hits, rows):
    with pytest.raises(ValueError, match=f"{hits} of {rows} rows"):
        wilson(hits, rows)


@pytest.mark.parametrize("share", [0.0, 1e-4, 0.01, 0.5, 0.97, 1.0])
@pytest.mark.parametrize("rows", [1, 30, 1200])
def test_chances_of_hits_are_the_binomials(rows, share):
    hits = np.arange(rows + 1)
    np.testing.assert_allclose(
        binomial(rows, share), stats.binom.pmf(hits, rows, share), rtol=1e-9, atol=1e-300
    )
    some = sorted({0, 1, rows // 3, rows})
    found = [chance_of_hits(k, rows, share) for k in some]
    np.testing.assert_allclose(found, stats.binom.sf(np.array(some) - 1, rows, share), rtol=1e-9)


@pytest.mark.parametrize("share", [-0.1, 1.1, math.nan])
def test_a_chance_is_from_nothing_to_one(share):
    with pytest.raises(ValueError, match="expected 0 to 1"):
        binomial(3, share)


def bits(seed):
    generator = np.random.default_rng(seed)
    return np.stack([generator.uniform(50, 90, 9), generator.integers(30, 60, 9)], axis=1)


@pytest.mark.parametrize("seed", range(4))
def test_the_chance_of_a_change_is_that_of_all_swaps(seed):
    """Nine rows have 512 ways to swap; the sampled share of them errs by the binomial."""
    before, after = bits(seed), bits(seed + 10)
    after[:, 1] = before[:, 1]
    seen = mean(after.sum(0)) - mean(before.sum(0))
    as_far = 0
    for swap in itertools.product([False, True], repeat=9):
        choice = np.array(swap)[:, None]
        crossed, back = np.where(choice, before, after), np.where(choice, after, before)
        as_far += mean(crossed.sum(0)) - mean(back.sum(0)) <= seen + 1e-12
    exact = as_far / 512
    found = chance_of_change(before, after, mean)
    assert abs(found - exact) < 5 * math.sqrt(exact * (1 - exact) / SWAPS) + 1 / SWAPS


def test_of_passes_and_failures_it_is_mcnemars():
    before, after = np.ones(60), np.ones(60)
    after[:9] = before[9:11] = 0
    found = chance_of_change(parts_of(before), parts_of(after), mean)
    exact = chance_of_breaks(9, 2)
    assert abs(found - exact) < 5 * math.sqrt(exact * (1 - exact) / SWAPS) + 1 / SWAPS


def test_what_got_better_is_no_fall_and_nothing_is_certain():
    before = parts_of(SKEWED)
    assert chance_of_change(before, before, mean) == 1.0
    assert chance_of_change(before, parts_of(SKEWED + 1), mean) == 1.0  # only that pair is as far
    assert chance_of_change(before, parts_of(SKEWED - 1), mean) == 1 / (SWAPS + 1)

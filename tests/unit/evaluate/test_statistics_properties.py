"""Intervals and tests for outcomes that are drawn: exact laws, symmetries, and scipy's numbers."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from unit.property_rows import UNIT, examples, seeds
from zoo.evaluate.statistics import (
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

counts = st.integers(0, 60)
shares = st.integers(0, 32).map(lambda n: n / 32)
outcomes = st.lists(st.booleans(), min_size=1, max_size=12)


def share(sums):
    with np.errstate(invalid="ignore"):  # of no rows: one row has a jackknife of none
        return sums[..., 0] / sums[..., 1]


def parts_of(passed):
    return np.array([[float(p), 1.0] for p in passed])


@examples(26)
@given(broke=st.integers(-2, 40), mended=st.integers(-2, 40))
def test_mcnemars_chance_is_exact_and_one_of_both_sides(broke, mended):
    if min(broke, mended) < 0:
        with pytest.raises(ValueError, match=f"^{broke} rows broke and {mended} mended"):
            chance_of_breaks(broke, mended)
        return
    n = broke + mended
    found = chance_of_breaks(broke, mended)
    wanted = Fraction(sum(math.comb(n, i) for i in range(broke, n + 1)), 2**n)
    assert abs(found - wanted) <= 4 * UNIT
    # at least `broke` break, or at least `mended` + 1 mend: one of the two
    if mended >= 0 and broke > 0:
        assert abs(found + chance_of_breaks(mended + 1, broke - 1) - 1) <= 8 * UNIT
    assert chance_of_breaks(broke + 1, mended) < found or n == 0
    assert chance_of_breaks(broke, mended + 1) > found or broke == 0


@examples(26)
@given(rows=counts, p=shares, hits=st.integers(-2, 62))
def test_chances_of_hits_are_scipys_and_sum_to_one(rows, p, hits):
    found = binomial(rows, p)
    # a sum of up to 60 logarithms of at most log 60! = 189, and its exponential
    close = {"rtol": 60 * 200 * UNIT, "atol": 60 * 200 * UNIT}
    np.testing.assert_allclose(found, stats.binom.pmf(np.arange(rows + 1), rows, p), **close)
    np.testing.assert_allclose(found.sum(), 1, **close)
    np.testing.assert_allclose(found, binomial(rows, 1 - p)[::-1], **close)
    at_least = chance_of_hits(hits, rows, p)
    np.testing.assert_allclose(at_least, min(1.0, stats.binom.sf(hits - 1, rows, p)), **close)
    # fewer terms, added in another order: monotone up to the rounding of a sum
    assert chance_of_hits(hits + 1, rows, p) <= at_least + 60 * UNIT
    assert at_least <= 1


@examples(20)
@given(p=st.floats(-2, 3, width=16))
def test_a_share_that_is_none_is_refused(p):
    if 0 <= p <= 1:
        assert abs(binomial(5, p).sum() - 1) < 1e-12
        return
    with pytest.raises(ValueError, match=f"^share {p}; expected 0 to 1"):
        binomial(5, p)


@examples(40)
@given(hits=st.integers(-2, 60), rows=counts, level=st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_wilsons_ends_solve_its_quadratic(hits, rows, level):
    if not 0 <= hits <= rows or rows == 0:
        with pytest.raises(ValueError, match=f"^{hits} of {rows} rows; expected at least one row"):
            wilson(hits, rows, level=level)
        return
    low, high = wilson(hits, rows, level=level)
    z = stats.norm.ppf((1 + level) / 2)
    assert 0 <= low <= hits / rows <= high <= 1 and low < high
    for end in (low, high):
        if 0 < end < 1:
            gap = abs(hits / rows - end) - z * math.sqrt(end * (1 - end) / rows)
            assert abs(gap) < 1e-7  # a root's error is as the square root of rounding
    turned = wilson(rows - hits, rows, level=level)
    assert abs(turned[0] - (1 - high)) < 1e-12 and abs(turned[1] - (1 - low)) < 1e-12
    wider = wilson(hits, rows, level=(1 + level) / 2)
    assert wider[0] <= low and wider[1] >= high


@examples(5)
@given(passed=outcomes, order=st.permutations([4, 2, 5, 0, 11, 7, 3, 1, 9, 6, 10, 8]), seed=seeds)
def test_an_interval_holds_the_share_and_knows_no_order(passed, order, seed):
    parts = parts_of(passed)
    low, high = interval(parts, share, samples=400, seed=seed)
    mean = sum(passed) / len(passed)
    assert 0 <= low <= high <= 1
    if len(set(passed)) == 1:
        assert low == high == mean
    moved = parts[[i for i in order if i < len(passed)]]
    drawn = draws(parts, samples=400, seed=seed)
    assert drawn.shape == (400, 2) and (drawn[:, 1] == len(passed)).all()
    assert (drawn[:, 0] >= 0).all() and (drawn[:, 0] <= len(passed)).all()
    again = draws(moved, samples=400, seed=seed)
    # 400 draws each: their means are within six errors of the same
    error = math.sqrt(max(mean * (1 - mean), 0) * len(passed) / 200)
    assert abs(again[:, 0].mean() - drawn[:, 0].mean()) <= 6 * error


@examples(4)
@given(before=outcomes, flips=st.lists(st.integers(0, 11), max_size=4), seed=seeds)
def test_a_change_turned_round_is_its_negative_and_none_is_none(before, flips, seed):
    after = [p != (i in flips) for i, p in enumerate(before)]
    one, two = parts_of(before), parts_of(after)
    low, high = interval_of_change(one, two, share, samples=300, seed=seed)
    change = (sum(after) - sum(before)) / len(before)
    assert low <= high
    if before == after:
        assert (low, high) == (0.0, 0.0)
        assert chance_of_change(one, two, share, swaps=99) == 1.0
        return
    assert low >= -1 and high <= 1
    broke = sum(b and not a for b, a in zip(before, after, strict=True))
    mended = sum(a and not b for b, a in zip(before, after, strict=True))
    chance = chance_of_change(one, two, share, swaps=1999, seed=seed)
    exact = chance_of_breaks(broke, mended)
    # a share of 2,000 swaps; six of its errors, and the pair itself
    assert abs(chance - exact) <= 6 * math.sqrt(0.25 / 2000) + 1 / 2000
    assert chance >= 1 / 2000
    assert (change <= 0) or chance > 0


@examples(13)
@given(
    values=st.lists(st.integers(0, 20), min_size=1, max_size=30),
    at=st.integers(0, 20),
    level=st.sampled_from([0.5, 0.9]),
)
def test_bca_without_skew_or_bias_is_the_quantile_and_always_within_the_draws(values, at, level):
    drawn = np.array(values, dtype=np.float64)
    low, high = bca(drawn, float(at), np.zeros(3), level=level)
    assert drawn.min() <= low <= high <= drawn.max()
    both = np.concatenate([drawn, 2 * at - drawn])  # as many draws above as below
    low, high = bca(both, float(at), np.zeros(3), level=level)
    expected = np.quantile(both, [(1 - level) / 2, (1 + level) / 2])
    np.testing.assert_allclose([low, high], expected, rtol=1e-9, atol=1e-9)
    junk = np.concatenate([both, [np.nan, np.inf]])
    assert bca(junk, float(at), np.zeros(3), level=level) == (low, high)
    assert all(map(math.isnan, bca(junk[-2:], float(at), np.zeros(3))))

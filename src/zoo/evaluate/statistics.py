"""How sure a number over rows is: intervals, and tests of two models on the same rows.

A statistic is a function of sums: each row adds a vector, its parts, and `of` makes a number of
their sum. A share has the parts (passed, 1) and the statistic s0 / s1. The bootstrap draws as many
rows as there are, with replacement, and gives the statistic of each draw. Rows with equal parts are
interchangeable, so a draw is only how often each kind of row came: a multinomial draw over kinds.

The interval is the BCa one. With G the share of draws below the estimate and z = Phi^-1,

    z0 = z(G)      a = sum(d^3) / (6 sum(d^2)^1.5),  d = mean of the jackknife - jackknife
    end(q) = quantile of the draws at Phi(z0 + (z0 + z(q)) / (1 - a (z0 + z(q))))

It corrects the percentile interval (z0 = a = 0) for bias and skewness, and its coverage errs by
O(1/n) where that of the percentile interval errs by O(1/sqrt(n)). Shares near one, bits over bytes
and calibration errors are skewed, so the correction is worth its jackknife, which sums make cheap.

Two models on the same rows are compared row by row. If they are equally good, nothing changes when
a row's two results are swapped, so under that hypothesis each row is swapped by a fair coin
(Fisher's randomisation). For passes and failures only rows that differ matter, and the chance is

    P(at least `broke` of n rows break) = sum_{i >= broke} C(n, i) / 2^n,   n = broke + mended,

the exact test of McNemar. Other statistics are swapped at random.

Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 14; Koehn, Statistical
Significance Tests for Machine Translation Evaluation, 2004, for paired draws; Riezler and Maxwell,
On Some Pitfalls in Automatic Evaluation, 2005, for swaps; Wilson 1927; McNemar 1947.
"""

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from jaxtyping import Float

Statistic = Callable[[np.ndarray], np.ndarray]  # sums [..., parts] -> numbers [...]

SAMPLES = 10_000
SWAPS = 9_999
SEED = 20_041  # of every interval and test, so that the same outcomes give the same sentence
LEVEL = 0.95
CELLS = 2_000_000  # rows times draws that are held at once: 16 MB
NORMAL = NormalDist()


def draws(
    parts: Float[np.ndarray, "n f"], *, samples: int = SAMPLES, seed: int = SEED
) -> Float[np.ndarray, "s f"]:
    """Give the sums of `samples` bootstrap draws of the rows; raise ValueError for no rows."""
    rows = len(parts)
    if rows == 0:
        raise ValueError("no rows to draw from; a statistic needs at least one")
    generator = np.random.default_rng(seed)
    kinds, count = np.unique(parts, axis=0, return_counts=True)
    if len(kinds) <= rows // 8:  # a multinomial draw costs several times a plain one
        return generator.multinomial(rows, count / rows, size=samples) @ kinds
    result = np.empty((samples, parts.shape[1]))
    step = max(1, CELLS // rows)
    for start in range(0, samples, step):
        size = min(step, samples - start)
        chosen = generator.integers(0, rows, (size, rows))
        chosen += rows * np.arange(size)[:, None]
        times = np.bincount(chosen.ravel(), minlength=size * rows).reshape(size, rows)
        result[start : start + size] = times @ parts
    return result


def bca(
    drawn: Float[np.ndarray, " s"],
    estimate: float,
    jackknife: Float[np.ndarray, " n"],
    *,
    level: float = LEVEL,
) -> tuple[float, float]:
    """Give the BCa interval of the draws; (estimate, estimate) when no draw differs from it.

    Draws that are not a number (a class of which no row was drawn, say) are left out. Where all
    draws lie on one side the correction is not defined, and the percentile interval is given.
    """
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn) or not math.isfinite(estimate):
        return math.nan, math.nan
    below = (np.count_nonzero(drawn < estimate) + np.count_nonzero(drawn <= estimate)) / 2
    ends = np.array([(1 - level) / 2, (1 + level) / 2])
    if 0 < below < len(drawn):
        shift = NORMAL.inv_cdf(below / len(drawn))
        d = jackknife.mean() - jackknife
        size = float((d**2).sum()) ** 1.5
        bend = float((d**3).sum()) / (6 * size) if size > 0 else 0.0
        moved = [shift + NORMAL.inv_cdf(q) for q in ends]
        ends = np.array([NORMAL.cdf(shift + m / (1 - bend * m)) for m in moved])
    low, high = np.quantile(drawn, ends)
    return float(low), float(high)


def interval(
    parts: Float[np.ndarray, "n f"],
    of: Statistic,
    *,
    level: float = LEVEL,
    samples: int = SAMPLES,
    seed: int = SEED,
) -> tuple[float, float]:
    """Give the bootstrap interval of a statistic of sums over rows."""
    total = parts.sum(0)
    drawn = of(draws(parts, samples=samples, seed=seed))
    return bca(drawn, float(of(total)), of(total - parts), level=level)


def interval_of_change(
    before: Float[np.ndarray, "n f"],
    after: Float[np.ndarray, "n f"],
    of: Statistic,
    *,
    level: float = LEVEL,
    samples: int = SAMPLES,
    seed: int = SEED,
) -> tuple[float, float]:
    """Give the interval of `after` minus `before`; a draw takes both results of a row together."""
    width = before.shape[1]
    if np.array_equal(before, after):
        return 0.0, 0.0  # as every draw would find

    def change(sums: np.ndarray) -> np.ndarray:
        return np.asarray(of(sums[..., width:]) - of(sums[..., :width]))

    both = np.concatenate([before, after], axis=1)
    return interval(both, change, level=level, samples=samples, seed=seed)


def chance_of_change(
    before: Float[np.ndarray, "n f"],
    after: Float[np.ndarray, "n f"],
    of: Statistic,
    *,
    swaps: int = SWAPS,
    seed: int = SEED,
) -> float:
    """Give the chance that equals change at least so far down: P(change <= the one seen).

    Each row's two results are swapped by a fair coin. The pair as it is counts as one of the swaps,
    so the chance is at least 1 / (swaps + 1) and the test keeps its level (Phipson and Smyth 2010).
    A statistic that should be small is passed as its negative.
    """
    differ = (before != after).any(1)
    rows = int(differ.sum())
    if rows == 0:
        return 1.0
    moved = (after - before)[differ]
    first, second = before.sum(0), after.sum(0)
    seen = float(of(second) - of(first))
    bound = seen + 1e-12 * max(1.0, abs(seen))  # equal sums may be added in another order
    generator = np.random.default_rng(seed)
    as_far, step = 0, max(1, CELLS // rows)
    for start in range(0, swaps, step):
        size = min(step, swaps - start)
        crossed = generator.integers(0, 2, (size, rows)).astype(np.float64) @ moved
        as_far += int((of(second - crossed) - of(first + crossed) <= bound).sum())
    return (as_far + 1) / (swaps + 1)


def chance_of_breaks(broke: int, mended: int) -> float:
    """Give the chance that of so many rows that changed at least `broke` break: McNemar's, exact.

    Raises ValueError for counts below 0.
    """
    if min(broke, mended) < 0:
        raise ValueError(f"{broke} rows broke and {mended} mended; expected 0 or more of each")
    rows = broke + mended
    return sum(math.comb(rows, i) for i in range(broke, rows + 1)) / 2**rows


def log_factorials(largest: int) -> Float[np.ndarray, " n"]:
    """Give log 0!, log 1!, ... log `largest`!."""
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1.0, largest + 1)))])


def binomial(rows: int, share: float) -> Float[np.ndarray, " n"]:
    """Give the chances of 0, 1, ... `rows` hits among rows that each hit with chance `share`.

    Raises ValueError for a share outside 0 to 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share {share}; expected 0 to 1")
    hits = np.arange(rows + 1)
    if share in (0, 1):
        return (hits == rows * share).astype(np.float64)
    logs = log_factorials(rows)
    ways = logs[-1] - logs - logs[::-1]
    return np.exp(ways + hits * math.log(share) + (rows - hits) * math.log1p(-share))


def chance_of_hits(hits: int, rows: int, share: float) -> float:
    """Give the chance of at least `hits` among `rows`, each of which hits with chance `share`."""
    return min(1.0, float(binomial(rows, share)[max(0, hits) :].sum()))


def wilson(hits: int, rows: int, *, level: float = LEVEL) -> tuple[float, float]:
    """Give Wilson's interval of a share: all p with |hits/n - p| <= z sqrt(p (1 - p) / n).

    The ends solve that quadratic in p; unlike hits/n +- z sqrt(...) they stay within 0 to 1, and
    the interval of a share of 0 or 1 has a width. Raises ValueError for hits that are not of rows.
    """
    if not 0 <= hits <= rows or rows == 0:
        raise ValueError(f"{hits} of {rows} rows; expected at least one row, and hits among them")
    z = NORMAL.inv_cdf((1 + level) / 2)
    p = hits / rows
    middle = p + z * z / (2 * rows)
    half = z * math.sqrt(p * (1 - p) / rows + z * z / (4 * rows * rows))
    scale = 1 + z * z / rows
    low = 0.0 if hits == 0 else (middle - half) / scale
    high = 1.0 if hits == rows else (middle + half) / scale
    return low, high

"""What rounds say: medians, spread, and an interval that assumes nothing of how times scatter.

The interval of a median comes from ranks: of n independent values, the number below the true
median is binomial with p = 1/2, so the k-th smallest and the k-th largest hold it between them
with probability 1 - 2 P(X < k). Six values are the fewest that give 95 %.
"""

import math
import statistics
from collections.abc import Sequence
from typing import Any

LEVEL = 0.95


def rank_of(count: int, level: float = LEVEL) -> int:
    """Give the largest k whose interval holds the median with at least `level`; 0 where none."""
    below, k = 0.0, 0
    while k < count:
        below += math.comb(count, k) / 2**count  # P(X <= k)
        if 1 - 2 * below < level:
            break
        k += 1
    return k


def interval(values: Sequence[float], level: float = LEVEL) -> tuple[float, float] | None:
    """Give the interval of the median from ranks, or None where there are too few values."""
    k = rank_of(len(values), level)
    ordered = sorted(values)
    return (ordered[k - 1], ordered[-k]) if k else None


def summary(values: Sequence[float]) -> dict[str, Any]:
    """Describe values: median, quartiles, extremes, and the interval (None: too few)."""
    if not values:
        raise ValueError("no value to sum up; measure at least one round")
    found = interval(values)
    quartiles = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else None
    return {
        "median": statistics.median(values),
        "quartiles": [quartiles[0], quartiles[2]] if quartiles else [values[0], values[0]],
        "range": [min(values), max(values)],
        "interval": None if found is None else list(found),
        "count": len(values),
    }


def ratios(theirs: Sequence[float], ours: Sequence[float]) -> list[float]:
    """Divide round by round: above 1, ours is faster."""
    return [a / b if b > 0 else math.inf for a, b in zip(theirs, ours, strict=True)]


def apart(before: dict[str, Any], now: dict[str, Any]) -> bool:
    """Tell whether two summaries differ beyond their noise: their intervals have nothing in common.

    Where one has too few rounds for an interval, its extremes stand for it.
    """
    (a, b), (c, d) = (one["interval"] or one["range"] for one in (before, now))
    return b < c or d < a

"""What a number of runs says about a test's failure rate: exact, with the standard library alone.

A test that never fails in n runs has, at confidence c, a rate below r when (1 - r)^n <= 1 - c:

    n = ln(1 - c) / ln(1 - r)          459 runs for 1 % at 99 %

That is Wald's sequential test of "never" against "at rate r": one failure decides at once, and n
passes decide the other way.  n is fixed before the first run, so looking after every run costs
nothing.
"""

import math
from collections.abc import Callable


def runs_needed(rate: float, confidence: float) -> int:
    """Give how many passes in a row show that a failure rate is below `rate`."""
    return max(1, math.ceil(math.log(1 - confidence) / math.log1p(-rate) - 1e-9))


def at_most(failures: int, runs: int, rate: float) -> float:
    """Give the probability of at most that many failures in so many runs at a rate."""
    if failures >= runs or rate <= 0:
        return 1.0
    if rate >= 1:
        return 0.0
    log, log_not = math.log(rate), math.log1p(-rate)
    whole = math.lgamma(runs + 1)
    terms = [
        whole - math.lgamma(k + 1) - math.lgamma(runs - k + 1) + k * log + (runs - k) * log_not
        for k in range(failures + 1)
    ]
    return min(1.0, math.fsum(map(math.exp, terms)))


def crossing(falling: Callable[[float], float], level: float) -> float:
    """Give the rate in 0 .. 1 at which a falling function of it passes a level."""
    low, high = 0.0, 1.0
    for _ in range(45):
        middle = (low + high) / 2
        if falling(middle) > level:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def upper(failures: int, runs: int, confidence: float) -> float:
    """Give the rate that lies above the true one with this confidence (Clopper and Pearson)."""
    if failures >= runs:
        return 1.0
    return crossing(lambda rate: at_most(failures, runs, rate), 1 - confidence)


def interval(failures: int, runs: int, confidence: float) -> tuple[float, float]:
    """Give Clopper and Pearson's two-sided interval of a failure rate.

    It also holds, a little wide, for a hunt that ends at its first failure: the lower end is the
    same, and the upper end of that plan, with one failure fewer in one run fewer, is smaller.
    """
    tail = (1 - confidence) / 2
    high = upper(failures, runs, 1 - tail)
    if failures == 0:
        return 0.0, high
    low = crossing(lambda rate: at_most(failures - 1, runs, rate), 1 - tail)
    return low, high


def together(runs: int, tests: int, confidence: float) -> float:
    """Give the rate that no failure in `runs` bounds for every one of many tests at once."""
    if runs == 0:
        return 1.0
    return 1 - ((1 - confidence) / max(1, tests)) ** (1 / runs)


def fisher(more: int, of_more: int, fewer: int, of_fewer: int) -> float:
    """Give Fisher's exact one-sided p: that chance alone makes the first share so much larger."""
    failures, runs = more + fewer, of_more + of_fewer
    ways = sum(
        math.comb(of_more, k) * math.comb(of_fewer, failures - k)
        for k in range(more, min(failures, of_more) + 1)
    )
    return ways / math.comb(runs, failures)


def share(look: int, error: float) -> float:
    """Give the part of an error that look 1, 2, 3, ... may spend: together they spend it once."""
    return error / (look * (look + 1))

"""When a gate refuses a model for the rows it passes and fails, and how probable that is.

Two versions of a model differ on some rows. Of the rows, a share `churn` / 2 breaks and as many
mend when both are equally good; when the new one is worse by `drop`, a share `drop` more breaks.
With B broken and C mended of n rows the gate refuses when

    B - C > allowed n                     more is lost than the file allows
    P(at least B of B + C) <= level       McNemar: so many more break than mend by no chance,
        and B - C > allowed n / 10        and more is lost than a tenth of what is allowed
    P(at least B of n) <= level           more rows broke than those of an equal model would,
                                          each with chance churn / 2
    hits - B + C < at_least n             the share is under its bound

and the chance of that is the sum of P(B, C) over that region. Nothing is simulated. For a set of
which nothing is known, (B, C, rest) is trinomial. For an accepted version with h hits only those
can break and only the others can mend: B of h and C of n - h are independent and binomial, with
shares that give the same mean. There fewer rows can mend than churn says when most are passed.
Then an equal model breaks fewer as well: a share (n - h + 1) / (n + 2) at most, by Laplace's rule
of succession, since a model that has passed all rows so far will not pass all there are.

Source: Miettinen, The Matched Pairs Design in the Case of All-or-None Responses, 1968; Connor,
Sample Size for Testing Differences in Proportions for the Paired-Sample Design, 1987.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from zoo.evaluate.statistics import binomial, log_factorials

SPREAD = 12  # standard deviations beyond which no chance is summed: e^-72
RELEVANT = 0.1  # of what is allowed: every row may lose a little, as all do by rounded weights
SLACK = 1e-9  # in a share: 0.8 - 0.75 is no more than 0.05


@dataclass(frozen=True, kw_only=True)
class Rule:
    """When `rows` rows refuse a model."""

    rows: int
    level: float  # of each test
    churn: float = 0.02
    allowed: float | None = None  # fall
    at_least: float | None = None
    accuracy: float | None = None  # of the accepted version
    tested: bool = True  # whether McNemar's test is made
    breaks: bool = True  # whether broken rows are counted


@dataclass(frozen=True, kw_only=True)
class Power:
    """What a gate can see with its rows, beside what it promises."""

    rows: int  # that accuracy rests on
    tests: int
    power: float  # chance to tell a fall by the promised drop
    alarm: float  # chance at most that an equally good model is refused
    least_rows: int | None  # that the promise takes; None for none, or where that was not asked
    least_drop: float | None  # that these rows tell
    sentences: tuple[str, ...]  # what is not kept

    @property
    def ok(self) -> bool:
        return not self.sentences


def refusal(rule: Rule, drop: float) -> float:
    """Give the chance that a rule refuses a model that is worse by `drop`, summed exactly."""
    b, c, chance = outcomes(rule, drop)
    return min(1.0, float(chance[refused(rule, b, c)].sum()))


def refused(
    rule: Rule, b: Int[np.ndarray, " x"], c: Int[np.ndarray, " y"]
) -> Bool[np.ndarray, "x y"]:
    """Tell for numbers of broken and of mended rows whether the rule refuses them."""
    broke, mended = b[:, None], c[None, :]
    result = np.zeros((len(b), len(c)), dtype=bool)
    if rule.allowed is not None:
        result |= broke - mended > most(rule.rows, rule.allowed)
    if rule.tested:
        certain = broke >= least_breaks(rule.level, int(b[-1] + c[-1]))[broke + mended]
        result |= certain & (broke - mended > most(rule.rows, RELEVANT * (rule.allowed or 0.0)))
    if rule.breaks:
        result |= broke >= first_break(rule.rows, rule.churn, rule.level)
    if rule.at_least is not None and rule.accuracy is not None:
        hits = round(rule.accuracy * rule.rows)
        result |= hits - broke + mended < (rule.at_least - SLACK) * rule.rows
    return result


def most(rows: int, allowed: float) -> int:
    """Give how many of the rows may be lost for good, at most."""
    return math.floor((allowed + SLACK) * rows)


def least_breaks(level: float, largest: int) -> Int[np.ndarray, " n"]:
    """Give for 0 to `largest` changed rows how many broken ones McNemar's test refuses.

    N(n, b) = sum_{i >= b} C(n, i) is kept as a whole number, and N / 2^n compared with the level:

        N(n + 1, b) = 2 N(n, b) + C(n, b - 1)      N(n, b + 1) = N(n, b) - C(n, b)
    """
    result = np.empty(largest + 1, dtype=np.int64)
    b, tail, two = 1, 0, 1  # no changed row refuses nothing: one would have to break
    for n in range(largest + 1):
        if n:
            tail, two = 2 * tail + math.comb(n - 1, b - 1), 2 * two
        while tail / two > level:
            tail -= math.comb(n, b)
            b += 1
        result[n] = b
    return result


def first_break(rows: int, churn: float, level: float) -> int:
    """Give the number of broken rows that is too many for an equally good model."""
    tails = binomial(rows, churn / 2)[::-1].cumsum()[::-1]
    return int(np.argmax(tails <= level)) if tails[-1] <= level else rows + 1


def outcomes(
    rule: Rule, drop: float
) -> tuple[Int[np.ndarray, " x"], Int[np.ndarray, " y"], Float[np.ndarray, "x y"]]:
    """Give the numbers of broken and of mended rows that may come, and the chance of each pair."""
    n, half = rule.rows, rule.churn / 2
    if n < 1 or not 0 <= drop <= 1 or not 0 <= rule.churn <= 1 or half + drop > 1:
        raise ValueError(
            f"{n} rows, drop {drop}, churn {rule.churn}; expected a row or more, and shares of "
            "which half the churn and the drop are at most 1 together"
        )
    if rule.accuracy is None:
        return trinomial(n, half + drop, half)
    hits = round(rule.accuracy * n)
    share = hits / n
    mend = min(half, 1 - share)
    lost = mend + drop if drop else min(half, (n - hits + 1) / (n + 2))
    lost = min(share, lost)
    first, b = window(hits, lost / share if hits else 0.0)
    second, c = window(n - hits, mend / (1 - share) if hits < n else 0.0)
    return b, c, first[:, None] * second[None, :]


def window(rows: int, share: float) -> tuple[Float[np.ndarray, " x"], Int[np.ndarray, " x"]]:
    """Give the chances of a binomial and their numbers, where they are not nothing."""
    low, high = ends(rows, share)
    return binomial(rows, min(1.0, share))[low : high + 1], np.arange(low, high + 1)


def ends(rows: int, share: float) -> tuple[int, int]:
    """Give the first and last number of hits whose chance is not nothing."""
    mean = rows * share
    reach = SPREAD * math.sqrt(max(0.0, mean * (1 - share))) + SPREAD**2 / 2
    return max(0, math.floor(mean - reach)), min(rows, math.ceil(mean + reach))


def trinomial(
    rows: int, broken: float, mended: float
) -> tuple[Int[np.ndarray, " x"], Int[np.ndarray, " y"], Float[np.ndarray, "x y"]]:
    """Give n! / (b! c! (n - b - c)!) broken^b mended^c rest^(n - b - c) where it is not nothing."""
    b, c = (np.arange(low, high + 1) for low, high in (ends(rows, broken), ends(rows, mended)))
    rest = rows - b[:, None] - c[None, :]
    logs = log_factorials(rows)
    ways = logs[rows] - logs[b][:, None] - logs[c][None, :] - logs[np.maximum(rest, 0)]
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = [
            np.where(count == 0, 0.0, count * np.log(share))
            for count, share in (
                (b[:, None], broken),
                (c[None, :], mended),
                (rest, max(0.0, 1 - broken - mended)),
            )
        ]
    chance = np.exp(ways + terms[0] + terms[1] + terms[2])
    return b, c, np.where(rest >= 0, chance, 0.0)

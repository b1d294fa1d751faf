"""The arithmetic of load: quantiles, goodput, when a ramp has reached the ceiling, arrivals.

Goodput counts right answers a second. A refusal is 429 or 503; whatever else is no right answer to
a good request is an error. Nonsense that got its 4xx is neither.
"""

import math
import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

GAIN = 0.05  # of the goodput: levels that add less have reached the ceiling
REFUSED = (429, 503)


class Asked(NamedTuple):
    """One request, as the client saw it; times in seconds."""

    at: float  # since the run began
    seconds: float
    first: float
    status: int
    item: int
    variant: int  # which of the answers that were seen
    retry_after: str | None


def quantile(values: Sequence[float], share: float) -> float | None:
    """Give the smallest value that at least `share` of all do not exceed; None of none."""
    if not 0 < share <= 1:
        raise ValueError(f"a share of {share}; expected more than 0 and at most 1")
    if not values:
        return None
    return sorted(values)[math.ceil(share * len(values)) - 1]


def quantiles(values: Sequence[float]) -> dict[str, float | None]:
    """Give p50, p95, p99 and the largest."""
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "most": 1.0}
    return {name: quantile(values, share) for name, share in shares.items()}


def summary(asked: Sequence[Asked], good: Sequence[bool], right: Sequence[bool]) -> dict[str, Any]:
    """Sum a run up; `good` says of each item whether it makes sense, `right` of each variant.

    Seconds of a run are from its first question to its last answer.
    """
    sensible = [one for one in asked if good[one.item]]
    nonsense = [one for one in asked if not good[one.item]]
    answered = [one for one in sensible if one.status == 200 and right[one.variant]]
    refused = [one for one in sensible if one.status in REFUSED]
    seconds = span(asked)
    return {
        "requests": len(asked),
        "answered": len(answered),
        "refused": len(refused),
        "errors": len(sensible) - len(answered) - len(refused),
        "wrong": sum(one.status == 200 and not right[one.variant] for one in sensible),
        "nonsense": len(nonsense),
        "nonsense_let_in": sum(not 400 <= one.status < 500 for one in nonsense),
        "seconds": seconds,
        "goodput": len(answered) / seconds if seconds else 0.0,
        "latency": quantiles([one.seconds for one in answered]),
        "first": quantiles([one.first for one in answered]),
        "refusal": quantiles([one.seconds for one in refused]),
        "without_retry_after": sum(one.retry_after is None for one in refused),
    }


def span(asked: Sequence[Asked]) -> float:
    """Give the seconds from the first question to the last answer."""
    if not asked:
        return 0.0
    return max(one.at + one.seconds for one in asked) - min(one.at for one in asked)


def between(asked: Sequence[Asked], start: float, end: float) -> list[Asked]:
    """Give what was asked from `start` until before `end`, in seconds of the run."""
    return [one for one in asked if start <= one.at < end]


def at_ceiling(goodputs: Sequence[float], gain: float = GAIN) -> bool:
    """Tell whether a ramp may end: two levels in a row gave less than `gain` over the best."""
    if len(goodputs) < 3:
        return False
    best = max(goodputs[:-2])
    return max(goodputs[-2:]) < best * (1 + gain)


def ceiling(goodputs: Sequence[float]) -> float:
    """Give the highest goodput of a ramp. Raises ValueError where nothing was answered."""
    if not goodputs or max(goodputs) <= 0:
        raise ValueError("no level of the ramp got a right answer; see the records")
    return max(goodputs)


def arrivals(rates: Sequence[Sequence[float]], seed: int, *, even: bool = False) -> Iterator[float]:
    """Yield when requests arrive, in seconds: (a second, for seconds), one after the other.

    Evenly spaced, or as independent people come: with exponential pauses.
    """
    draw, begin = random.Random(seed), 0.0
    for rate, seconds in rates:
        end, at = begin + seconds, begin
        while rate > 0:
            at += 1 / rate if even else draw.expovariate(rate)
            if at >= end:
                break
            yield at
        begin = end


def recovered(asked: Sequence[Asked], after: float, usual: float, bound: float = 2.0) -> float:
    """Give the seconds from `after` until the last answer slower than `bound` times the usual.

    Of answers to what was asked after it; 0 where none was so slow.
    """
    slow = [one.at for one in asked if one.at >= after and one.seconds > bound * usual]
    return max(slow) - after if slow else 0.0


def growth(samples: Sequence[float], part: float = 0.2) -> tuple[float, float]:
    """Give the median of the first and of the last `part` of what was sampled, at least one."""
    count = max(1, int(part * len(samples)))
    return middle(samples[:count]), middle(samples[-count:])


def middle(values: Sequence[float]) -> float:
    """Give the median. Raises ValueError for no values."""
    found = quantile(values, 0.5)
    if found is None:
        raise ValueError("no value to find the middle of")
    return found

"""The last two minutes of traffic, second by second: what the status page draws.

Latencies are counted in bins that grow by a tenth each, so that a quantile is right to 5 % and a
second of any traffic costs a few hundred numbers at most. Prometheus keeps what is older.
"""

import math
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

SECONDS = 120
WINDOW = 5  # seconds that a quantile looks back
STEP = math.log(1.1)
LEAST, MOST = 1e-4, 1e3  # seconds; what lies outside is counted at the end


@dataclass
class Second:
    """What ended in one second."""

    at: int  # whole seconds of the clock
    requests: int = 0
    refused: int = 0  # status 429 and 503
    failed: int = 0  # any other 5xx
    tokens: int = 0  # new ones
    latencies: Counter[int] = field(default_factory=Counter)  # bin -> answers


def bin_of(seconds: float) -> int:
    """Give the bin of a latency."""
    return round(math.log(min(max(seconds, LEAST), MOST)) / STEP)


def quantile(counts: Counter[int], share: float) -> float | None:
    """Give the latency, in seconds, that `share` of the counted do not exceed; None of none."""
    left = math.ceil(share * counts.total())
    for number in sorted(counts):
        left -= counts[number]
        if left <= 0:
            return math.exp(number * STEP)
    return None


def summed(seconds: Iterable[Second]) -> Counter[int]:
    """Add up the latencies of some seconds."""
    return sum((second.latencies for second in seconds), Counter())


class Recent:
    """Takes each request when it ends and forgets what is older than two minutes."""

    def __init__(self) -> None:
        self.seconds: deque[Second] = deque(maxlen=SECONDS)

    def heard(self, record: Mapping[str, Any], now: float) -> None:
        """Count a request that ended at `now`, seconds of a clock that does not go back.

        Only posts count: the page's own questions are no load. What was refused at the door is
        no latency: ten refusals a millisecond long would hide what those who wait are waiting.
        """
        if record.get("method") != "POST":
            return
        if not self.seconds or self.seconds[-1].at != int(now):
            self.seconds.append(Second(int(now)))
        second, status = self.seconds[-1], record["status"]
        second.requests += 1
        second.refused += status in (429, 503)
        second.failed += status >= 500 and status != 503
        second.tokens += record.get("new_tokens") or 0
        if status < 400:
            second.latencies[bin_of(record["seconds"])] += 1

    def load(self, now: float) -> dict[str, Any]:
        """Give lists of SECONDS numbers, oldest first, that end with the last whole second.

        Quantiles are in seconds, over WINDOW seconds, and None where nothing was answered.
        """
        last = int(now) - 1
        times = range(last - SECONDS + 1, last + 1)
        there = {second.at: second for second in self.seconds}
        rows = [there.get(at) or Second(at) for at in times]
        spans = [summed(rows[max(0, end - WINDOW) : end]) for end in range(1, len(rows) + 1)]
        counted = ("requests", "refused", "failed", "tokens")
        return {name: [getattr(row, name) for row in rows] for name in counted} | {
            "p50": [quantile(span, 0.5) for span in spans],
            "p95": [quantile(span, 0.95) for span in spans],
        }

"""Verdicts, and the two scores made of them.

    score = killed / (killed + survived + no tests)

without the mutants that are marked equivalent. A mutant whose run ends by its time (`endless`), by
a signal (`crash`) or without a word (`suspicious`) is neither killed nor survived: it is unknown,
told next to the score, and `least` is the score if all of the unknown had survived.
"""

import math
from collections import Counter
from dataclasses import dataclass

UNKNOWN = ("endless", "crash", "suspicious", "timeout")
OPEN = ("survived", "no tests")


@dataclass(frozen=True, kw_only=True)
class Score:
    """What a set of mutants came to."""

    mutants: int
    killed: int
    open: int  # survived, or no test reaches them; accepted ones too
    equivalent: int
    unknown: dict[str, int]

    @property
    def decided(self) -> int:
        return self.killed + self.open

    def percent(self) -> float | None:
        """Give the score, or None where nothing was decided."""
        return 100 * self.killed / self.decided if self.decided else None

    def least(self) -> float | None:
        """Give the score if every unknown mutant had survived."""
        every = self.decided + sum(self.unknown.values())
        return 100 * self.killed / every if every else None

    def interval(self) -> tuple[float, float]:
        """Give the score's 95 % Wilson interval, in percent."""
        return wilson(self.killed, self.decided)


def wilson(hits: int, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """Give the 95 % interval of a rate in percent (Wilson 1927); (0, 100) without a trial."""
    if not trials:
        return 0.0, 100.0
    rate, share = hits / trials, z * z / trials
    middle = (rate + share / 2) / (1 + share)
    half = z * math.sqrt(rate * (1 - rate) / trials + share / (4 * trials)) / (1 + share)
    return 100 * max(0.0, middle - half), 100 * min(1.0, middle + half)


def score(rows: list[dict]) -> Score:
    """Count rows with a `verdict`, and `status` where a survivor is tracked."""
    same = [row for row in rows if row["verdict"] in OPEN and row.get("status") == "equivalent"]
    counts = Counter(row["verdict"] for row in rows)
    return Score(
        mutants=len(rows),
        killed=counts["killed"],
        open=sum(counts[name] for name in OPEN) - len(same),
        equivalent=len(same),
        unknown={name: counts[name] for name in UNKNOWN if counts[name]},
    )


def both(rows: list[dict]) -> tuple[Score, Score]:
    """Give the score of all, and of operators and numbers alone."""
    return score(rows), score([row for row in rows if row["computes"]])

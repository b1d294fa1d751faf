"""Two versions of a model on the same rows: which rows changed, and how far each metric moved.

Numbers within ROUNDING of the accepted ones count as equal, so that other threads and other types
of float change nothing. Answers have no such room: a row that changed its answer is always listed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from zoo.evaluate.outcome import Outcome, Row
from zoo.evaluate.statistics import chance_of_breaks, chance_of_change
from zoo.evaluate.tally import STATISTICS, Metric

ROUNDING = 1e-4  # of the number, or of one where it is smaller

Outcomes = Mapping[str, Outcome] | Iterable[Outcome]


@dataclass(frozen=True, kw_only=True)
class Change:
    """A row that is not as accepted: broke, mended, answer (another one), or moved (its number)."""

    id: str
    kind: str
    before: Outcome
    after: Outcome


@dataclass(frozen=True, kw_only=True)
class Compared:
    """A metric of the accepted version and of the one found, over the rows of both."""

    name: str
    before: float
    after: float
    low: float  # ends of the 95 % interval of after - before
    high: float
    rows: int
    chance: float | None  # that an equally good model gets worse so far; None where not tested


def by_id(outcomes: Outcomes) -> dict[str, Outcome]:
    """Name outcomes by their rows; raise ValueError for two of one row."""
    result: dict[str, Outcome] = {}
    for outcome in outcomes.values() if isinstance(outcomes, Mapping) else outcomes:
        if outcome.id in result:
            raise ValueError(f"two outcomes of row {outcome.id!r}; expected one")
        result[outcome.id] = outcome
    return result


def settle(before: Outcome, after: Outcome) -> Outcome:
    """Give `after` with the numbers of `before` where they differ by rounding only."""
    result = replace(after, value=rounded(before.value, after.value))
    result = replace(result, weight=rounded(before.weight, after.weight))
    if before.confidence is None or after.confidence is None:
        return result
    return replace(result, confidence=rounded(before.confidence, after.confidence))


def rounded(before: float, after: float) -> float:
    return before if abs(after - before) <= ROUNDING * max(1.0, abs(before)) else after


def changes_of(
    rows: Sequence[Row], known: Mapping[str, Outcome], made: Mapping[str, Outcome]
) -> tuple[Change, ...]:
    """List the rows that are not as accepted, in their order."""
    result = []
    for row in rows:
        if row.id in known and row.id in made:
            before, after = known[row.id], settle(known[row.id], made[row.id])
            kind = kind_of(before, after)
            if kind is not None:
                result.append(Change(id=row.id, kind=kind, before=before, after=made[row.id]))
    return tuple(result)


def kind_of(before: Outcome, after: Outcome) -> str | None:
    """Name what changed: broke, mended, answer or moved; None when nothing did."""
    if before.passed is True and after.passed is not True:
        return "broke"
    if before.passed is not True and after.passed is True:
        return "mended"
    if (before.answer, before.passed, before.right) != (after.answer, after.passed, after.right):
        return "answer"
    same = (before.value, before.confidence) == (after.value, after.confidence)
    return None if same else "moved"


def pairs(
    before: Mapping[str, Metric], after: Mapping[str, Metric]
) -> dict[str, tuple[Metric, Metric]]:
    """Give the metrics that rest on the same rows in both."""
    return {
        name: (metric, after[name])
        for name, metric in before.items()
        if name in after and after[name].rows == metric.rows
    }


def chance_of_fall(before: Metric, after: Metric) -> float:
    """Test one-sided, on the same rows, whether a metric got worse."""
    if before.kind == "share":
        return chance_of_breaks(len(broken(before, after)), len(broken(after, before)))
    of = STATISTICS[before.kind]
    sign = 1.0 if before.larger_is_better else -1.0
    return chance_of_change(before.parts, after.parts, lambda sums: sign * of(sums))


def broken(before: Metric, after: Metric) -> list[str]:
    """Give the rows of a share that counted before and do not now."""
    fell = after.parts[:, 0] < before.parts[:, 0]
    return [name for name, is_broken in zip(before.rows, fell.tolist(), strict=True) if is_broken]


def harmed(before: Metric, after: Metric) -> list[str]:
    """Give the rows that made a metric worse: those that broke, or lost most, worst first."""
    if before.kind == "share":
        return broken(before, after)
    if before.kind == "f1":
        half = before.parts.shape[1] // 2  # the hits of each class
        lost = (before.parts - after.parts)[:, :half].sum(1)
    elif before.kind == "ece":
        lost = np.abs(after.parts[:, :-1]).sum(1) - np.abs(before.parts[:, :-1]).sum(1)
    else:
        lost = (after.parts - before.parts)[:, 0]
    order = np.argsort(-lost, kind="stable")
    return [before.rows[i] for i in order.tolist() if lost[i] > 0]


def compared(
    before: Mapping[str, Metric], after: Mapping[str, Metric], tests: Mapping[str, float]
) -> dict[str, Compared]:
    """Set the metrics of both versions side by side."""
    result = {}
    for name, (first, second) in pairs(before, after).items():
        low, high = first.change(second)
        result[name] = Compared(
            name=name,
            before=first.value,
            after=second.value,
            low=low,
            high=high,
            rows=len(first.rows),
            chance=tests.get(name),
        )
    return result

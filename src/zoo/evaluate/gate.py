"""The gate: what a model made of a golden set, held against bounds and the accepted version.

It refuses when

    bound    a metric is under its `at_least` or over its `at_most`
    fall     a metric got worse by more than its `drop` or `rise`
    test     a metric that is guarded, or accuracy, got worse by more than a tenth of what is
             allowed, and by no chance
    breaks   more rows broke than those of an equally good model would (`churn`), mended or not
    pinned   a row flagged "pinned" does not pass
    rows     rows came or went, or a row's outcome is no number: there is nothing to compare
    power    the set is too small for what the gate promises; see zoo.evaluate.power

The tests are one-sided and paired: McNemar's for shares, random swaps for other metrics, and the
binomial for broken rows. Several tests in one gate would multiply its false alarms, so they share
`alarm` by Holm's procedure: the smallest chance is held against alarm / tests, the next against
alarm / (tests - 1), and so on until one holds. That bounds the probability of any false alarm by
`alarm` however the metrics depend on each other, and these do: a segment's rows count in the whole.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zoo.evaluate import sentences as say
from zoo.evaluate.calibration import OVER
from zoo.evaluate.gate_file import Bound, Gate, GateError
from zoo.evaluate.outcome import Outcome, Row
from zoo.evaluate.power import BREAKS, power_of, tests_of
from zoo.evaluate.rule import RELEVANT, SLACK, Power
from zoo.evaluate.statistics import chance_of_hits
from zoo.evaluate.tally import Metric, tally
from zoo.evaluate.versions import (
    ROUNDING,
    Change,
    Compared,
    Outcomes,
    broken,
    by_id,
    chance_of_fall,
    changes_of,
    compared,
    harmed,
    pairs,
    settle,
)

__all__ = ["ROUNDING", "Change", "Compared", "Gate", "GateError", "Verdict", "check_gate"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the gate says; `ok` when it has nothing to say against the model."""

    sentences: tuple[str, ...]
    changes: tuple[Change, ...]
    metrics: Mapping[str, Compared]  # those of both versions; empty before the first accept
    found: Mapping[str, Metric]
    power: Power

    @property
    def ok(self) -> bool:
        return not self.sentences


def check_gate(
    gate: Gate,
    rows: Sequence[Row],
    accepted: Outcomes | None,
    found: Outcomes,
    *,
    subject: str = "the model",
) -> Verdict:
    """Hold what a model made of the rows against the gate and the accepted outcomes.

    `rows` are all that were asked, perturbed twins too. With `accepted` None, before the first
    accept, only bounds, pinned rows and the set's size are looked at. Raises GateError for a metric
    that the set does not have.
    """
    made = by_id(found)
    known = made if accepted is None else by_id(accepted)
    said = [] if accepted is None else strangers(rows, known)
    absent = [row.id for row in rows if row.id not in made]
    lost = [row.id for row in rows if row.id in made and not is_number(made[row.id])]
    if absent:
        said.append(f"{subject} was not asked {say.rows(len(absent))}: {say.ids(absent)}")
    if lost:
        said.append(f"{subject} gives no finite number for {say.rows(len(lost))}: {say.ids(lost)}")
    counted = [row for row in rows if row.id in made and row.id not in lost]
    both = [row for row in counted if row.id in known]
    now = tally(counted, [made[row.id] for row in counted])
    before = tally(both, [known[row.id] for row in both])
    after = tally(both, [settle(known[row.id], made[row.id]) for row in both])
    gate.check_names({**before, **now})
    said += broken_bounds(gate, now, made, subject)
    said += uncounted(before, after, subject)
    tests = chances(gate, before, after)
    metrics = compared(before, after, tests)
    said += falls(gate, metrics, before, after, tests, subject)
    said += pinned(counted, made, subject)
    power = power_of(gate, {**now, **before}, known=accepted is not None, advice=False)
    return Verdict(
        sentences=(*said, *power.sentences),
        changes=changes_of(rows, known, made),
        metrics={} if accepted is None else metrics,
        found=now,
        power=power,
    )


def is_number(made: Outcome) -> bool:
    """Tell whether an outcome's numbers are finite, and its confidence one."""
    sure = 0.0 if made.confidence is None else made.confidence
    return math.isfinite(made.value) and math.isfinite(made.weight) and 0 <= sure <= 1 + OVER


def strangers(rows: Sequence[Row], known: Mapping[str, Outcome]) -> list[str]:
    """Say which rows came and which went since the last accept."""
    asked = {row.id for row in rows}
    new = [row.id for row in rows if row.id not in known]
    gone = [name for name in known if name not in asked]
    again = "accept the set again: zoo golden accept NAME --because WHY"
    said = []
    if new:
        said.append(f"{say.were(new)} never accepted: {say.ids(new)}; {again}")
    if gone:
        said.append(f"{say.were(gone)} accepted before and not asked: {say.ids(gone)}; {again}")
    return said


def broken_bounds(
    gate: Gate,
    now: Mapping[str, Metric],
    made: Mapping[str, Outcome],
    subject: str,
) -> list[str]:
    """Say which metrics are out of their bounds."""
    said = []
    for bound in gate.metrics:
        metric = now.get(bound.name)
        if metric is None:
            continue  # said by `uncounted`
        low = -math.inf if bound.at_least is None else bound.at_least
        high = math.inf if bound.at_most is None else bound.at_most
        if low - SLACK <= metric.value <= high + SLACK:
            continue
        failed = [name for name in metric.rows if made[name].passed is False]
        said.append(say.out_of_bounds(subject, metric, bound, failed))
    return said


def uncounted(before: Mapping[str, Metric], after: Mapping[str, Metric], subject: str) -> list[str]:
    """Say which metrics do not rest on the rows that they rested on: an answer lost its verdict."""
    said = []
    for name, metric in before.items():
        rows = set(after[name].rows) if name in after else set()
        odd = [row for row in metric.rows if row not in rows]
        odd += sorted(rows - set(metric.rows))
        if odd:
            said.append(
                f"{subject}'s {say.place(name)} rested on {say.rows(len(metric.rows))} and now "
                f"does on {len(rows)}: {say.ids(odd)}"
            )
    return said


def chances(
    gate: Gate, before: Mapping[str, Metric], after: Mapping[str, Metric]
) -> dict[str, float]:
    """Give by test the chance that an equally good model is so much worse."""
    both = pairs(before, after)
    result = {}
    for name in tests_of(gate, both):
        if name != BREAKS:
            result[name] = chance_of_fall(*both[name])
    if "accuracy" in both:
        broke = len(broken(*both["accuracy"]))
        asked = len(both["accuracy"][0].rows)
        result[BREAKS] = chance_of_hits(broke, asked, gate.guard.churn / 2) if broke else 1.0
    return result


def holm(chances: Mapping[str, float], alarm: float) -> dict[str, float]:
    """Give the tests that reject, each with the level it was held against; see the top."""
    result = {}
    for number, name in enumerate(sorted(chances, key=lambda name: chances[name])):
        level = alarm / (len(chances) - number)
        if not chances[name] <= level:
            break
        result[name] = level
    return result


def falls(
    gate: Gate,
    metrics: Mapping[str, Compared],
    before: Mapping[str, Metric],
    after: Mapping[str, Metric],
    tests: Mapping[str, float],
    subject: str,
) -> list[str]:
    """Say which metrics fell too far, or at all and by no chance, and whether too many broke."""
    bounds = {bound.name: bound for bound in gate.metrics}
    rejected = holm(tests, gate.guard.alarm)
    said, told = [], set()
    for name in dict.fromkeys([*bounds, "accuracy"]):
        if name not in metrics:
            continue
        bound, found = bounds.get(name, Bound(name=name)), metrics[name]
        allowed = bound.allowed()
        fall = found.before - found.after
        fall = fall if before[name].larger_is_better else -fall
        certain = name in rejected and not fall <= RELEVANT * (allowed or 0.0) + SLACK
        if (allowed is not None and not fall <= allowed + SLACK) or certain:
            rows = harmed(before[name], after[name])
            told.add(name)
            said.append(say.worse(subject, found, bound, rejected[name] if certain else None, rows))
    if BREAKS in rejected and "accuracy" not in told:
        first, second = before["accuracy"], after["accuracy"]
        mended = len(broken(second, first))
        said.append(
            say.too_many_broke(
                subject,
                broken(first, second),
                mended,
                len(first.rows),
                gate.guard,
                rejected[BREAKS],
            )
        )
    return said


def pinned(rows: Sequence[Row], made: Mapping[str, Outcome], subject: str) -> list[str]:
    """Say which pinned rows do not pass; a perturbed twin is not pinned."""
    failed = [
        row.id
        for row in rows
        if "pinned" in row.flags and row.under is None and made[row.id].passed is not True
    ]
    if not failed:
        return []
    what = "a pinned row" if len(failed) == 1 else f"{len(failed)} pinned rows"
    return [f"{subject} fails {what}, which must always pass: {say.ids(failed)}"]

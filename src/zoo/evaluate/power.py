"""What a gate can see: how large a set must be, and which fall it tells, before any model is tried.

A gate keeps its promise when a fall by `drop` is told with the probability `power` of [guard], and
the chances that any of its metrics refuses an equally good model add up to no more than `alarm`.
With `tests` tests in the gate each has the level alarm / tests: Bonferroni's, and also the first
step of Holm's procedure, which decides whether the gate refuses at all. Pinned rows are left out:
they may not break, by chance or not. So are bounds of numbers that are no shares, such as bits:
churn says nothing of them; their tests are counted at their full level.

Source: Card et al., With Little Power Comes Great Responsibility, 2020, arXiv:2010.06595; Holm, A
Simple Sequentially Rejective Multiple Test Procedure, 1979.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from zoo.evaluate.gate_file import Bound, Gate
from zoo.evaluate.outcome import Outcome, Row
from zoo.evaluate.rule import SLACK, Power, Rule, refusal
from zoo.evaluate.sentences import too_loud, too_small
from zoo.evaluate.tally import Metric, tally

TESTS = 2  # of a gate without guarded metrics: accuracy, and the rows that broke
BREAKS = "broken rows"  # the name of that test
LARGEST = 100_000  # rows that are ever asked for


def power(
    rows: int,
    drop: float,
    churn: float,
    alarm: float,
    *,
    allowed: float | None = None,
    accuracy: float | None = None,
    tests: int = TESTS,
) -> float:
    """Give the chance that a gate over so many rows refuses a model that is worse by `drop`.

    At a drop of 0 that is the chance of a false alarm. `allowed` is the fall that the gate file
    allows, `accuracy` that of the accepted version, where they are known. Raises ValueError for
    shares that are none.
    """
    rule = Rule(rows=rows, level=alarm / tests, churn=churn, allowed=allowed, accuracy=accuracy)
    return refusal(rule, drop)


def least_rows(
    drop: float,
    churn: float,
    alarm: float,
    wanted: float,
    *,
    allowed: float | None = None,
    accuracy: float | None = None,
    tests: int = TESTS,
) -> int | None:
    """Give how many rows it takes to tell a fall by `drop` with chance `wanted`.

    Rows are whole, so the power is a saw over their number: the answer is the first number from
    which on it holds for as many rows more as a tooth is wide. It is told to three digits, rounded
    up. None when LARGEST rows do not hold it.
    """

    def holds(rows: int) -> bool:
        found = power(rows, drop, churn, alarm, allowed=allowed, accuracy=accuracy, tests=tests)
        return found >= wanted

    high = 8
    while not holds(high):
        if high >= LARGEST:
            return None
        high = min(2 * high, LARGEST)
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    step = 10 ** max(0, len(str(high)) - 3)
    first, tooth = -(-high // step) * step, math.ceil(2 / drop)
    run = range(first, first + tooth + step, step)
    while bad := [rows for rows in run if not holds(rows)]:
        first = bad[-1] + step
        run = range(first, first + tooth + step, step)
    while first > step and holds(first - step):
        first -= step
    return first


def least_drop(
    rows: int,
    churn: float,
    alarm: float,
    wanted: float,
    *,
    allowed: float | None = None,
    accuracy: float | None = None,
    tests: int = TESTS,
) -> float | None:
    """Give the smallest fall, to a tenth of a point, that so many rows tell with chance `wanted`.

    None when they tell none.
    """

    def holds(thousandths: int) -> bool:
        drop = thousandths / 1000
        found = power(rows, drop, churn, alarm, allowed=allowed, accuracy=accuracy, tests=tests)
        return found >= wanted

    low, high = 0, math.floor(1000 * ((1.0 if accuracy is None else accuracy) - churn / 2))
    if high < 1 or not holds(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high / 1000


def check_power(
    gate: Gate,
    rows: Iterable[Row],
    accepted: Mapping[str, Outcome] | Iterable[Outcome] | None = None,
) -> Power:
    """Tell whether a set of these rows is large enough for what the gate promises.

    With the accepted outcomes, which must be those of the rows, what is known of the accepted
    version is used: of 97 % passed rows few can mend. Raises GateError for a metric that the rows
    do not have.
    """
    rows = list(rows)
    known = accepted is not None
    if accepted is None:
        accepted = [as_if_passed(row) for row in rows]
    made = accepted.values() if isinstance(accepted, Mapping) else accepted
    return power_of(gate, tally(rows, made), known=known)


def as_if_passed(row: Row) -> Outcome:
    """Make an outcome that counts where the row would, to know how many rows a metric rests on."""
    if row.task == "text":
        return Outcome(id=row.id, answer="", value=1.0)
    return Outcome(id=row.id, answer="", value=1.0, passed=True, right=True, confidence=1.0)


def tests_of(gate: Gate, metrics: Iterable[str]) -> list[str]:
    """Name the tests of a gate: accuracy, the rows that broke, and each guarded metric."""
    known = set(metrics)
    guarded = [bound.name for bound in gate.metrics if bound.guarded()]
    return [BREAKS, *dict.fromkeys(n for n in ("accuracy", *guarded) if n in known)]


def power_of(
    gate: Gate, metrics: Mapping[str, Metric], *, known: bool, advice: bool = True
) -> Power:
    """Weigh a gate's promise by the metrics of its set; `known` when their values are accepted.

    Without `advice` what would be enough is looked for only where the promise is not kept.
    """
    gate.check_names(metrics)
    guard, tests = gate.guard, len(tests_of(gate, metrics))
    if "accuracy" not in metrics:
        said = "[guard] speaks of accuracy, and the set has no row with a known answer to pass"
        return Power(
            rows=0, tests=tests, power=0.0, alarm=0.0, least_rows=None, least_drop=None,
            sentences=(said,),
        )  # fmt: skip
    rules = rules_of(gate, metrics, known=known)
    rule = rules["accuracy"]
    reached = refusal(rule, guard.drop)
    alarms = {name: refusal(each, 0.0) for name, each in rules.items()}
    bits = [n for n in tests_of(gate, metrics) if n != BREAKS and n not in rules]
    alarms |= dict.fromkeys(bits, guard.alarm / tests)
    allowed, accuracy = rule.allowed, rule.accuracy
    wanted = (guard.churn, guard.alarm, guard.power)
    found = Power(
        rows=rule.rows,
        tests=tests,
        power=reached,
        alarm=min(1.0, sum(alarms.values())),
        least_rows=None,
        least_drop=None,
        sentences=(),
    )
    if advice or reached < guard.power:
        about: dict[str, Any] = {"allowed": allowed, "accuracy": accuracy, "tests": tests}
        enough = least_rows(guard.drop, *wanted, **about)
        seen = least_drop(rule.rows, *wanted, **about)
        found = replace(found, least_rows=enough, least_drop=seen)
    sentences = [too_small(gate, found)] if reached < guard.power else []
    if found.alarm > guard.alarm:
        sentences.append(too_loud(gate, rules, alarms, found))
    return replace(found, sentences=tuple(sentences))


def rules_of(gate: Gate, metrics: Mapping[str, Metric], *, known: bool) -> dict[str, Rule]:
    """Give the rule of each share that the gate bounds, and of accuracy."""
    tests = tests_of(gate, metrics)
    bounds = {bound.name: bound for bound in gate.metrics}
    result = {}
    for name in dict.fromkeys(["accuracy", *bounds]):
        metric, bound = metrics[name], bounds.get(name, Bound(name=name))
        if metric.kind != "share":
            continue
        broken = bound.at_least is None or metric.value < bound.at_least - SLACK
        result[name] = Rule(
            rows=len(metric.rows),
            level=gate.guard.alarm / len(tests),
            churn=gate.guard.churn,
            allowed=bound.drop,
            at_least=None if broken else bound.at_least,
            accuracy=metric.value if known else None,
            tested=name in tests,
            breaks=name == "accuracy",
        )
    return result

"""What a gate says: which metric got worse, for whom, by how much, and which rows broke."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from zoo.evaluate.gate_file import Bound, Gate, Guard
from zoo.evaluate.rule import Power, Rule, refusal
from zoo.evaluate.tally import SMALL_IS_GOOD, Metric
from zoo.evaluate.versions import Compared

NAMED = 8  # ids that a sentence names; it counts the others


def ids(names: Iterable[str]) -> str:
    """Name at most eight rows and count the others."""
    names = list(names)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count} rows"


def were(names: Sequence[str]) -> str:
    return "1 row was" if len(names) == 1 else f"{len(names)} rows were"


def short(number: float, digits: int) -> str:
    """Write a number without the noughts at its end."""
    text = f"{number:.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def chance(number: float) -> str:
    return f"{number:.2g}" if number >= 1e-4 else "less than 0.0001"


def is_share(name: str) -> bool:
    """Tell whether a metric is told in per cent."""
    return name.partition("[")[0] != "bits_per_byte"


def value(name: str, number: float) -> str:
    if is_share(name):
        return f"{short(100 * number, 1)} %"
    return f"{short(number, 4)} bits a byte"


def both(name: str, before: float, after: float) -> str:
    """Write two values, with their unit once where it is long."""
    first = value(name, before)
    if not is_share(name):
        first = first.removesuffix(" bits a byte")
    return f"{first} to {value(name, after)}"


def step(name: str, number: float) -> str:
    """Write a change, or an end of one, with its sign."""
    text = short(100 * number, 1) if is_share(name) else short(number, 4)
    return f"+{text}" if number > 0 and text != "0" else text


def points(name: str, number: float) -> str:
    """Write how much is allowed."""
    if is_share(name):
        text = short(100 * number, 2)
        return f"{text} point is" if text == "1" else f"{text} points are"
    return f"{short(number, 4)} is"


def place(name: str) -> str:
    """Say where a metric got worse: a segment, a perturbation, or the metric itself."""
    base, _, segment = name.partition("[")
    segment = segment.removesuffix("]")
    base = base.replace("_", " ")
    if segment.startswith("under:"):
        return f"{base} under {segment.removeprefix('under:')}"
    if segment and base == "accuracy":
        return segment
    return f"{base} of {segment}" if segment else base


def worse(
    subject: str, found: Compared, bound: Bound, level: float | None, harmed: Sequence[str]
) -> str:
    """Say that a metric got worse; `level` is that of the test that told it, None if none did."""
    name, low, high = found.name, step(found.name, found.low), step(found.name, found.high)
    unit = " points" if is_share(name) else ""
    said = [
        f"{subject} got worse at {place(name)}: {both(name, found.before, found.after)} of "
        f"{rows(found.rows)} "
        f"(95 % interval of the change: {low} to {high}{unit})"
    ]
    allowed = bound.allowed()
    if allowed is not None:
        said.append(f"{points(name, allowed)} allowed")
    if level is not None and found.chance is not None:
        said.append(
            f"and a model as good falls so far with probability {chance(found.chance)} "
            f"(the gate stops at {chance(level)})"
        )
    return ", ".join(said) + which(name, harmed)


def which(name: str, harmed: Sequence[str]) -> str:
    """Name the rows that did it."""
    if not harmed:
        return ""
    what = "rows that broke" if name.partition("[")[0] not in SMALL_IS_GOOD else "rows that lost"
    return f"; {what if len(harmed) > 1 else what.replace('rows', 'row')}: {ids(harmed)}"


def out_of_bounds(subject: str, metric: Metric, bound: Bound, failed: Sequence[str]) -> str:
    """Say that a metric breaks its bound."""
    name, (low, high) = metric.name, metric.interval()
    if bound.at_least is not None:
        asked = f"at least {value(name, bound.at_least)} is asked"
    else:
        asked = f"at most {value(name, bound.at_most or 0.0)} is allowed"
    rest = f"; rows that fail: {ids(failed)}" if failed else ""
    return (
        f"{subject} is not good enough at {place(name)}: {value(name, metric.value)} of "
        f"{rows(len(metric.rows))} (95 % interval: {value(name, low)} to {value(name, high)}), "
        f"{asked}{rest}"
    )


def too_many_broke(
    subject: str, broke: Sequence[str], mended: int, asked: int, guard: Guard, level: float
) -> str:
    """Say that more rows broke than those of an equally good model would."""
    return (
        f"{subject} broke {rows(len(broke))} of {asked} and mended {mended}: a model as good "
        f"answers {value('', guard.churn)} of them otherwise (churn), and breaks so many with "
        f"probability under {chance(level)}; rows that broke: {ids(broke)}"
    )


def too_small(gate: Gate, power: Power) -> str:
    """Say that a set cannot see the fall that it claims to guard."""
    guard = gate.guard
    cure = []
    if power.least_rows is not None:
        cure.append(f"it takes {rows(power.least_rows)}")
    if power.least_drop is not None:
        cure.append(f"these tell a fall by {short(100 * power.least_drop, 1)} points")
    return (
        f"the set is too small for its [guard]: with {rows(power.rows)} a fall of accuracy by "
        f"{short(100 * guard.drop, 2)} points is told with probability {power.power:.2f}, not "
        f"{short(guard.power, 3)}; {' and '.join(cure) or 'no number of rows tells it'}"
    )


def too_loud(
    gate: Gate, rules: Mapping[str, Rule], alarms: Mapping[str, float], power: Power
) -> str:
    """Say that a gate refuses good models, and which bounds to loosen."""
    guard = gate.guard
    share = guard.alarm / max(1, len(alarms))
    loud = sorted((n for n in alarms if alarms[n] > share), key=lambda n: -alarms[n])
    advice = [
        f"{name} ({chance(alarms[name])} of {rows(rules[name].rows)}{cure(rules[name], share)})"
        for name in loud
        if name in rules
    ]
    return (
        f"the gate refuses a model as good as the accepted one with probability up to "
        f"{chance(power.alarm)}, more than alarm = {short(guard.alarm, 4)}: {'; '.join(advice)}"
    )


def cure(rule: Rule, share: float) -> str:
    """Say which bounds would keep a metric's false alarms within its share."""
    if refusal(replace(rule, allowed=None, at_least=None), 0.0) > share:
        return ""
    for lost in range(rule.rows + 1):
        said, tried = [], rule
        if rule.allowed is not None:
            tried = replace(tried, allowed=max(rule.allowed, lost / rule.rows))
            said.append(f"drop = {ceiling(max(rule.allowed, lost / rule.rows))}")
        if rule.at_least is not None and rule.accuracy is not None:
            bound = min(rule.at_least, max(0.0, rule.accuracy - lost / rule.rows))
            tried = replace(tried, at_least=bound)
            said.append(f"at_least = {floor(bound)}")
        if refusal(tried, 0.0) <= share:
            return f", would bear {' and '.join(said)}" if said else ""
    return ""


def ceiling(share: float) -> str:
    return short(math.ceil(1000 * share - 1e-6) / 1000, 3)


def floor(share: float) -> str:
    return short(math.floor(1000 * share + 1e-6) / 1000, 3)

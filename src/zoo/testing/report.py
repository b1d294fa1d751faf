"""What a run of the checks says: in words, and as plain data."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from zoo.testing.finding import KINDS, Finding
from zoo.testing.folding import also, followers, marked, title

SEVERITIES = ("fail", "warn", "info")
# Kinds in the order of what explains what: a wrong backward is told before the failure to learn
# that it causes. Kinds that are not named come in the order of KINDS, between the two lists.
CAUSES = (
    "bad-input-data",
    "global-state",
    "input-mutated",
    "hidden-rng",
    "eval-noise",
    "nondeterministic",
    "crash",
    "shape",
    "unregistered",
    "state-carried",
)
SYMPTOMS = (
    "formula",  # says what a step should be, but not what the slip does
    "init",
    "exploding",
    "vanishing",
    "dead-units",
    "saturated",
    "collapsed",
    "precision",
    "range",
    "loss-scale",
    "not-learning",
)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one check."""

    check: str
    status: Literal["passed", "found", "skipped", "error"]
    reason: str = ""  # why it was skipped, or what stopped it
    findings: tuple[Finding, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Report:
    """What all checks said of one model."""

    name: str
    outcomes: tuple[Outcome, ...]
    seconds: float = 0.0
    parameters: int = 0

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, the most telling first, what follows from others behind them."""
        return folded(self.outcomes)

    @property
    def ok(self) -> bool:
        """Whether no finding has the severity "fail"."""
        return not self.failures

    @property
    def failures(self) -> tuple[Finding, ...]:
        """The findings of severity "fail", the most telling first."""
        return tuple(f for f in folded(self.outcomes) if f.severity == "fail")

    def __str__(self) -> str:
        return in_words(self)

    def to_json(self) -> dict[str, Any]:
        """Give the report as plain data."""
        return as_data(self)


def sorted_findings(outcomes: tuple[Outcome, ...]) -> tuple[Finding, ...]:
    """Give findings by severity, then causes before symptoms."""
    every = [finding for outcome in outcomes for finding in outcome.findings]
    return tuple(sorted(every, key=lambda f: (SEVERITIES.index(f.severity), rank(f.kind))))


def folded(outcomes: tuple[Outcome, ...]) -> tuple[Finding, ...]:
    """Give sorted findings, in each severity behind the others what follows from one of them."""
    found = marked(sorted_findings(outcomes))
    return tuple(sorted(found, key=lambda f: (SEVERITIES.index(f.severity), bool(f.because))))


def rank(kind: str) -> int:
    """Give a kind's place in the order from causes to symptoms."""
    if kind in CAUSES:
        return CAUSES.index(kind)
    if kind in SYMPTOMS:
        return 1000 + SYMPTOMS.index(kind)
    return 100 + list(KINDS).index(kind)


def in_words(report: Report) -> str:
    """Tell what was found, what matters most first, and what was not tried and why."""
    lines = [headline(report), *findings_in_words(report.findings)]
    for status, word in (("skipped", "not tried"), ("error", "could not be run")):
        left = [o for o in report.outcomes if o.status == status]
        if left:
            lines += ["", f"{word} ({len(left)}):", *by_reason(left)]
    return "\n".join(lines)


def by_reason(outcomes: Iterable[Outcome]) -> list[str]:
    """Give a line for each reason, with the checks that it holds for."""
    names: dict[str, list[str]] = {}
    for outcome in outcomes:
        names.setdefault(outcome.reason, []).append(outcome.check)
    return [f"  {', '.join(checks)}: {reason}" for reason, checks in names.items()]


def headline(report: Report) -> str:
    """Say in one line how it went."""
    ran = sum(o.status in ("passed", "found") for o in report.outcomes)
    head = f"{report.name}: {ran} checks in {report.seconds:.1f} s"
    said = [f"{n} {word}" for word, n in counted(report.findings).items() if n]
    more = sum(bool(f.because) for f in report.findings)
    said += [f"{more} more that follow{'s' if more == 1 else ''}"] if more else []
    return f"{head}, {', '.join(said)}" if said else f"{head}, all good"


def counted(findings: Sequence[Finding]) -> dict[str, int]:
    """Count by severity the findings that follow from no other."""
    return {s: sum(f.severity == s and not f.because for f in findings) for s in SEVERITIES}


def findings_in_words(findings: Sequence[Finding]) -> list[str]:
    """Tell findings one by one, and in a line each what follows from one of them."""
    lines: list[str] = []
    told = [f for f in findings if not f.because]
    for number, finding in enumerate(told, 1):
        lines += ["", *finding_in_words(number, finding, also(finding, findings))]
    ends = []
    for cause, more in followers(findings).items():
        number = next((n for n, f in enumerate(told, 1) if title(f) == cause), 0)
        ends.append(f"follows from {number or cause}, mend it and run again: {', '.join(more)}")
    return [*lines, "", *ends] if ends else lines


def finding_in_words(number: int, finding: Finding, places: Sequence[str] = ()) -> list[str]:
    """Tell one finding: where, what, why, what to change, how to see it again."""
    where = f" at {finding.where}" if finding.where else ""
    lines = [f"{number}. {finding.severity.upper()} {finding.kind}{where}: {KINDS[finding.kind]}"]
    parts = (
        ("line", finding.line),
        ("seen", finding.evidence),
        ("also", f"the same at {', '.join(places)}" if places else ""),
        ("why", finding.explanation),
        ("fix", finding.fix),
    )
    lines += [f"   {head + ':':<6} {text}" for head, text in parts if text]
    if finding.repro:
        again = finding.repro.splitlines()
        lines += [f"   again: {again[0]}", *(f"          {x}" for x in again[1:])]
    return lines


def as_data(report: Report) -> dict[str, Any]:
    """Give a report as dicts, lists, numbers and strings."""
    return {
        "name": report.name,
        "ok": report.ok,
        "seconds": report.seconds,
        "parameters": report.parameters,
        "findings": [asdict(f) for f in report.findings],
        "checks": [
            {"check": o.check, "status": o.status, "reason": o.reason, "seconds": o.seconds}
            for o in report.outcomes
        ],
    }

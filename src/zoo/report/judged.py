"""A rows set as its subject answers it today: what every figure of a model is filled from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.evaluate.gate import Change, check_gate
from zoo.evaluate.gate_file import Bound, Gate
from zoo.evaluate.golden_quality import ask
from zoo.evaluate.outcome import Outcome, Row
from zoo.evaluate.sets import GoldenRows
from zoo.evaluate.statistics import wilson
from zoo.evaluate.subject import Subject
from zoo.evaluate.tally import Metric, tally
from zoo.report import words
from zoo.report.page import Estimate, Score


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A set's rows with their perturbed twins, what came out now, and what the gate says of it."""

    name: str
    folder: Path
    version: int
    rows: tuple[Row, ...]
    found: Mapping[str, Outcome]
    accepted: bool
    metrics: Mapping[str, Metric]
    bounds: Mapping[str, Bound]
    history: tuple[Mapping[str, Any], ...]
    ok: bool | None  # None: nothing was accepted, or there is no gate
    sentences: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()  # against what was accepted

    def plain(self, *tasks: str) -> list[tuple[Row, Outcome]]:
        """Give the rows of some tasks as people wrote them, with their outcomes."""
        return [(r, self.found[r.id]) for r in self.rows if r.under is None and r.task in tasks]

    def command(self, subject: str) -> str:
        return f"zoo evaluate {subject} --on {self.name}"


def judged(golden: GoldenRows, subject: Subject) -> Judged:
    """Put a set's rows, and their twins under its perturbations, to a model, and to its gate."""
    answered = ask(golden, subject)
    rows, accepted = answered.rows, golden.accepted()
    gate = Gate.read(golden.gate) if golden.gate.exists() else None
    said = ["It has no gate yet."] if gate is None else []
    said += [] if accepted else ["Nothing is accepted yet, so there is nothing to compare with."]
    verdict = None
    if gate is not None:
        known = tuple(accepted.values()) if accepted else None
        verdict = check_gate(gate, rows, known, answered.outcomes, subject=golden.subject)
        said += verdict.sentences
    return Judged(
        name=golden.name,
        folder=golden.folder,
        version=golden.golden.version,
        rows=rows,
        found=answered.by_id(),
        accepted=bool(accepted),
        metrics=tally(rows, answered.outcomes) if verdict is None else verdict.found,
        bounds={} if gate is None else {bound.name: bound for bound in gate.metrics},
        history=tuple(golden.history()),
        ok=verdict.ok if verdict is not None and accepted else None,
        sentences=tuple(said),
        changes=() if verdict is None else verdict.changes,
    )


def estimate(metric: Metric) -> Estimate:
    """Give a metric's value with its interval: of a share Wilson's, which has a width at its ends.

    The bootstrap's interval of a share of one is a point: no draw of rows that all passed differs.
    """
    if metric.kind == "share":
        hits, count = metric.parts.sum(0).round().astype(int).tolist()
        low, high = wilson(hits, count)
        return Estimate(value=metric.value, low=low, high=high)
    low, high = metric.interval()
    if not low <= high:  # NaN: no draw had a value
        return Estimate(value=metric.value)
    return Estimate(value=metric.value, low=low, high=high)


def score(name: str, held: Judged) -> Score:
    """Give a metric with what is asked of it and what it was."""
    share = words.is_share(name)
    metric = held.metrics[name]
    past = [
        (f"version {entry['version']}", float(entry["metrics"][name]))
        for entry in held.history
        if name in entry.get("metrics", {})
    ]
    return Score(
        name=name,
        estimate=estimate(metric),
        rows=len(metric.rows),
        share=share,
        bound=bound_told(held.bounds.get(name), share),
        history=tuple(past),
    )


def bound_told(bound: Bound | None, share: bool) -> str:
    """Say what a gate asks of a metric."""
    if bound is None:
        return ""
    said = []
    if bound.at_least is not None:
        said.append(f"at least {words.told(bound.at_least, share)}")
    if bound.at_most is not None:
        said.append(f"at most {words.told(bound.at_most, share)}")
    allowed = bound.allowed()
    if allowed is not None:
        way = "fall" if bound.rise is None else "rise"
        much = f"{100 * allowed:.3g} points" if share else words.told(allowed, share)
        said.append(f"may {way} by {much}")
    return ", ".join(said)

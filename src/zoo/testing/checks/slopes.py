"""Whether autograd's gradients are the slopes of what the model computes, and where they are not.

One direction of all parameters together costs six forward passes. Only where its two slopes differ
is each module's own backward looked at, children before parents; the first that is wrong has the
bug. Then its cause is sought: a cut that, taken back, makes autograd right; an autograd.Function
whose backward is not its derivative; a hook; a number taken out of the graph.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from zoo.testing.checks.slopes_causes import Cause, cause_of
from zoo.testing.checks.slopes_local import (
    Memory,
    Probe,
    Unsteady,
    Wrong,
    first_wrong_calls,
    inside,
    recorded,
)
from zoo.testing.checks.slopes_numeric import projected, with_gradient
from zoo.testing.checks.slopes_rows import blocked_rows
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.finding import Finding
from zoo.testing.stress import Bench
from zoo.testing.subject import Subject
from zoo.testing.trees import changed

LARGE = 5_000_000  # parameters: one mode is enough
TRIES = 3  # batches, where a kink leaves it open


@dataclass
class Diagnosis:
    """What is wrong with a model's gradients."""

    causes: list[Cause] = field(default_factory=list)
    skipped: str = ""


KNOWN: WeakKeyDictionary[Subject, Diagnosis] = WeakKeyDictionary()


def diagnosis(subject: Subject) -> Diagnosis:
    """Compare the slopes of a model, once."""
    if subject not in KNOWN:
        KNOWN[subject] = diagnose(subject)
    return KNOWN[subject]


def diagnose(subject: Subject) -> Diagnosis:
    """Compare the slopes in train mode, which is where they are used, and then in eval mode."""
    if subject.spec.straight_through is True:
        return Diagnosis(skipped="every backward pass is declared not to be the derivative")
    found: dict[bool, list[Cause]] = {}
    reasons = []
    for train in (True, False):
        try:
            bench = subject.bench(train=train)
            if bench.bound > 1e-2:
                return Diagnosis(skipped="the model computes in too low a precision")
            found[train] = causes_on(bench)
        except Unsteady as why:
            reasons.append(str(why))
        except Exception as error:  # such a mode or such weights do not run: not this check's bug
            reasons.append(f"the model raises {type(error).__name__} with other weights")
        large = subject.built.count > LARGE and found.get(train) == []
        if large or any(cause.explained for cause in found.get(train, ())):
            break  # the other mode would say it once more
    return Diagnosis(agreed(found), skipped="" if found else reasons[0])


def agreed(found: dict[bool, list[Cause]]) -> list[Cause]:
    """Give what both modes say, or what one says that is enough alone.

    A cut in eval mode alone is meant; what has no cause must be there in both modes.
    """
    train, still = found.get(True), found.get(False)
    if train is None or still is None:
        return train or still or []
    sure = [c for c in train if c.explained or any(c.where == e.where for e in still)]
    return sure or [c for c in still if c.kind != "detached" and c.explained]


def causes_on(bench: Bench) -> list[Cause]:
    """Find the causes of wrong gradients on one bench."""
    subject = bench.subject
    trained = {
        name: p
        for name, p in bench.module.named_parameters()
        if p.requires_grad and not declared(name, subject.spec.frozen) and p.is_floating_point()
    }
    if not trained:
        raise Unsteady("no parameter is trained")
    size = max(3, subject.spec.min_batch_train or 2)
    undo: Sequence[str] | None = None if subject.spec.stop_gradient is True else ()
    for attempt in range(TRIES):
        batch = bench.batch(size, None if attempt == 0 else subject.seed + attempt)
        blocked, output = blocked_rows(bench, batch)
        probe = probe_of_model(bench, batch, trained, blocked, with_gradient(output))
        del output
        gradients, cuts = probe.gradients(undo)
        slope = probe.slope(gradients)
        if slope.wrong() or slope.doubtful():
            steady(probe)
        if slope.wrong():
            whole = Wrong("", probe, slope, gradients, list(cuts.events.values()))
            return causes_of(bench, batch, whole, blocked, undo)
        if not slope.doubtful():
            return []
    return []


def steady(probe: Probe) -> None:
    """Refuse a model that gives other numbers when it is run again."""
    one, other = float(probe.value()), float(probe.value())
    if not abs(one - other) <= 1e-12 * (1 + abs(one)):
        raise Unsteady("the model gives other numbers when it is run again")


def probe_of_model(
    bench: Bench,
    batch: dict[str, Any],
    trained: dict[str, nn.Parameter],
    blocked: dict[int, Tensor],
    paths: list[str],
) -> Probe:
    """Make a probe of the whole model, of some parameters; outputs without gradient are left out.

    Where no output has a gradient all count.
    """

    def number(output: Any) -> Tensor | None:
        return projected(output, paths or None)

    memory = Memory(bench.module)

    def run() -> Any:
        memory.put_back()
        copy = {name: changed(x, Tensor.clone) for name, x in batch.items()}
        return bench.run(copy)

    dtype = torch.float64 if bench.bound < 1e-8 else torch.float32
    at: list[Tensor] = list(trained.values())
    return Probe(run, list(trained), at, [blocked.get(id(p)) for p in at], dtype, number)


def causes_of(
    bench: Bench,
    batch: dict[str, Any],
    whole: Wrong,
    blocked: dict[int, Tensor],
    undo: Sequence[str] | None,
) -> list[Cause]:
    """Find the innermost modules whose own backward is wrong, and why it is."""
    spec, dtype = bench.subject.spec, whole.probe.dtype
    calls = recorded(bench.module, whole.probe.run)

    def skip(path: str) -> bool:
        return any(declared_module(path, said) for said in (spec.straight_through,))

    wrong = first_wrong_calls(calls, dtype, blocked, skip, undo)
    if not wrong and not spec.straight_through:
        wrong = [whole]
    return [cause_of(w, bench.module, calls) for w in wrong]


def declared(name: str, patterns: Iterable[str] | None) -> bool:
    """Say whether a name is covered by patterns: itself, or a module that it lies in."""
    return any(
        fnmatch(name, pattern) or inside(name, pattern.rstrip(".*")) for pattern in patterns or ()
    )


def declared_module(path: str, said: bool | Sequence[str]) -> bool:
    """Say whether a module, or one inside it, is covered by what the author said."""
    if isinstance(said, bool):
        return said
    return any(
        fnmatch(path, pattern) or inside(pattern.rstrip(".*"), path) or declared(path, [pattern])
        for pattern in said
    )


def check_parameter_gradients(subject: Subject) -> Iterable[Finding]:
    """Compare every gradient with the difference of two runs, and find the first that is wrong."""
    found = diagnosis(subject)
    if found.skipped:
        raise NotApplicable(found.skipped)
    causes = [cause for cause in found.causes if not excused(cause, subject)]
    for first in {(c.kind, c.severity, c.line or c.where): c for c in reversed(causes)}.values():
        same = [c.where for c in causes if c.line and c.line == first.line and c.kind == first.kind]
        yield finding_of(first, same[1:])


def excused(cause: Cause, subject: Subject) -> bool:
    """Say whether the author declared what was found."""
    spec = subject.spec
    if cause.kind == "detached" and declared_module(cause.where, spec.stop_gradient):
        return True
    return cause.kind == "wrong-gradient" and declared_module(cause.where, spec.straight_through)


def finding_of(cause: Cause, others: Sequence[str] = ()) -> Finding:
    """Put a cause into words; the same line may be wrong in other modules too."""
    more = f"; the same in {', '.join(others[:4])}" if others else ""
    return Finding(
        kind=cause.kind,
        severity=cause.severity,
        where=cause.where,
        line=cause.line,
        evidence=cause.evidence + more,
        explanation=cause.explanation,
        fix=cause.fix,
    )


ROWS = (
    Check(
        name="parameter_gradients",
        run=check_parameter_gradients,
        about="every gradient is the slope that two runs show",
    ),
)

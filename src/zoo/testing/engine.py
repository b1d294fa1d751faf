"""Run checks on a model: one engine behind every door.

A check is a function from a subject to findings; it may raise NotApplicable to say why it has
nothing to say. Whatever happens in it, the next check starts from the same state of the process.
"""

import difflib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from torch import nn

from zoo.testing.finding import Finding
from zoo.testing.guard import Untouched
from zoo.testing.report import Outcome, Report, findings_in_words, sorted_findings
from zoo.testing.spec import ModelSpec
from zoo.testing.subject import SpecError, Subject

Tier = Literal["quick", "full"]
BUDGET = (
    150.0  # seconds of processor time: a model of 124 million parameters is done in two minutes
)


class NotApplicable(Exception):
    """A check has nothing to say of this model; the message says why."""


class CheckFailed(AssertionError):
    """A model has a bug that a check was asked about. `findings` holds what was seen."""

    def __init__(self, message: str, findings: Sequence[Finding] = ()) -> None:
        super().__init__(message)
        self.findings = tuple(findings)


@dataclass(frozen=True, kw_only=True)
class Check:
    """One row of the table of checks."""

    name: str  # "causality": check_causality is its function
    run: Callable[[Subject], Iterable[Finding]]
    tier: Tier = "quick"  # quick ones run on every call of the default battery
    about: str  # one line: what it proves


def check_model(
    spec: Any,
    *,
    only: Sequence[str] = (),
    skip: Sequence[str] = (),
    tier: Tier = "full",
    seed: int = 0,
    origin: str = "",
    budget: float = BUDGET,
    **facts: Any,
) -> Report:
    """Run every check on a model and report; a bug is a finding, never an exception.

    `spec` is a ModelSpec, a module, or a function that builds one; `facts` are fields of ModelSpec
    that are added to it. `only` and `skip` name checks, `tier="quick"` leaves the slow ones out,
    `origin` ("pkg.mod:spec") is what the findings' examples import. `budget` is in seconds of
    processor time: what is left of the checks when it is spent is not tried, and told.

    Raises SpecError for a description that cannot be followed, KeyError for a check that is none.
    """
    from zoo.testing.checks.table import CHECKS

    chosen = chosen_checks(CHECKS, only, skip, tier)
    began = time.perf_counter()
    outcomes, name, parameters = [], "", 0
    for outcome, subject in each_outcome(as_spec(spec, facts), chosen, seed, origin, budget):
        outcomes.append(outcome)
        if subject is not None:
            name, parameters = subject.title, subject.built.count
    return Report(
        name=name or getattr(spec, "name", "") or type(spec).__name__,
        outcomes=tuple(outcomes),
        seconds=time.perf_counter() - began,
        parameters=parameters,
    )


def chosen_checks(
    every: dict[str, Check], only: Sequence[str], skip: Sequence[str], tier: Tier
) -> list[Check]:
    """Give the checks that are asked for. Raises KeyError for a name that is none."""
    for name in (*only, *skip):
        if name not in every:
            raise KeyError(f"no check is called {name!r}; there are {', '.join(every)}")
    wanted = [every[n] for n in only] if only else list(every.values())
    return [
        check
        for check in wanted
        if check.name not in skip and (only or tier == "full" or check.tier == "quick")
    ]


def each_outcome(
    spec: ModelSpec, checks: Sequence[Check], seed: int, origin: str, budget: float = BUDGET
) -> Iterator[tuple[Outcome, Subject | None]]:
    """Run checks one by one; a model that does not run at all ends it after the first."""
    from zoo.testing.checks.running import first_run

    subject, outcome, began = None, None, time.process_time()
    with Untouched(seed):
        subject, findings = first_run(spec, seed)
    if findings:
        found = tuple(replace(f, check="forward", repro=repro("forward", origin)) for f in findings)
        outcome = Outcome(check="forward", status="found", findings=found)
        yield outcome, subject
        return
    assert subject is not None
    for check in checks:
        if time.process_time() - began > budget:
            reason = f"the budget of {budget:g} s of processor time is spent; give a larger one"
            yield Outcome(check=check.name, status="skipped", reason=reason), subject
        else:
            yield outcome_of(check, subject, origin), subject


def outcome_of(check: Check, subject: Subject, origin: str) -> Outcome:
    """Run one check; whatever it raises becomes part of the outcome."""
    began = time.perf_counter()
    found: list[Finding] = []
    status, reason = "passed", ""
    with Untouched(subject.seed):
        try:
            for finding in check.run(subject):
                found.append(replace(finding, check=check.name, repro=repro(check.name, origin)))
        except NotApplicable as why:
            status, reason = "skipped", str(why)
        except Exception as error:
            status, reason = "error", f"{type(error).__name__}: {first_line(error)}"
    if found:
        status = "found"
    return Outcome(
        check=check.name,
        status=status,  # type: ignore[arg-type]
        reason=reason,
        findings=sorted_findings((Outcome(check="", status="found", findings=tuple(found)),)),
        seconds=time.perf_counter() - began,
    )


def first_line(error: Exception) -> str:
    """Give the first line of what an exception says."""
    return (str(error).splitlines() or [""])[0][:300]


def repro(check: str, origin: str) -> str:
    """Write the three lines that show a finding again."""
    module, _, name = origin.partition(":")
    module, name = module or "yours", name or "spec"
    if check == "forward":
        return f"from {module} import {name}\nmodel = {name}.build()\nmodel(**{name}.batch(3))"
    head = f"from zoo.testing import check_{check}"
    return f"{head}\nfrom {module} import {name}\ncheck_{check}({name})"


def assert_check(name: str, spec: Any, facts: dict[str, Any], seed: int = 0) -> None:
    """Run one check; raise CheckFailed with its failures in words, and nothing for a skip."""
    report = check_model(spec, only=(name,), seed=seed, **facts)
    if report.failures:
        words = [f"{report.name}: check_{name}", *findings_in_words(report.failures)]
        raise CheckFailed("\n".join(words), report.failures)
    for outcome in report.outcomes:
        if outcome.status == "error":
            raise RuntimeError(f"check_{name} could not be run: {outcome.reason}")


def as_spec(given: Any, facts: dict[str, Any]) -> ModelSpec:
    """Give a spec as it is, or make one of a module or of a function that builds one."""
    if isinstance(given, ModelSpec):
        return replace(given, **checked(facts)) if facts else given
    if isinstance(given, nn.Module) or callable(given):
        from zoo.testing.invent import invented_spec

        return invented_spec(given, checked(facts))
    raise SpecError(
        f"{type(given).__name__} cannot be checked; give a ModelSpec, a torch.nn.Module, or a "
        "function that builds one"
    )


def checked(facts: dict[str, Any]) -> dict[str, Any]:
    """Refuse facts that a spec has no field for, naming the nearest."""
    names = [f.name for f in fields(ModelSpec)]
    for name in facts:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            raise TypeError(
                f"ModelSpec has no field {name!r}"
                + (f"; did you mean {near[0]!r}?" if near else "")
            )
    return facts

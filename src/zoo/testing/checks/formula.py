"""Whether every step is what the model's family computes there; see zoo.testing.family."""

from collections.abc import Iterator

from zoo.testing.engine import Check, NotApplicable
from zoo.testing.family import compare_subject
from zoo.testing.family.steps import Step
from zoo.testing.finding import Finding, Severity
from zoo.testing.subject import SpecError, Subject

LARGEST = 5e7  # parameters: every op's inputs are kept
# wrong in any family: a reshape that cuts across positions
NEVER_MEANT = ("view without transpose", "cuts across the picture", "mixed by a reshape")


def check_formula(subject: Subject) -> Iterator[Finding]:
    """Hold every step of a declared family against its formula; of others, what is never meant."""
    if subject.built.count > LARGEST:
        raise NotApplicable(f"{subject.built.count:,} parameters: too many to keep every step")
    declared = subject.spec.family
    if declared is not None:
        try:
            made = compare_subject(subject, declared)
        except SpecError as error:
            raise NotApplicable(str(error)) from None
        yield from (finding(step, declared, "fail") for step in made.wrong)
        return
    yield from undeclared(subject)


def undeclared(subject: Subject) -> Iterator[Finding]:
    """Find slips that no family has, in a model of no declared family."""
    for family in ("gpt2", "bert", "vit"):
        try:
            steps = compare_subject(subject, family).wrong
        except Exception:  # whatever it is, it is none of the families
            continue
        for step in steps:
            if any(text in step.found for text in NEVER_MEANT):
                yield finding(step, "transformer", "fail")
                return
    raise NotApplicable("no family is declared: family='gpt2', 'bert', 'vit' or 'clip'")


def finding(step: Step, family: str, severity: Severity) -> Finding:
    """Make a finding of a step that is not the family's."""
    off = f", {step.gap:.2g} of its largest number away from the formula" if step.gap else ""
    return Finding(
        kind="formula",
        severity=severity,
        where=step.where,
        line=step.line,
        evidence=f"{step.name}: {step.found}{off}; the numbers that this step read and gave were "
        "compared in float64",
        explanation=f"a {family} computes something else there, so published weights give other "
        "answers, and new ones learn worse",
        fix=step.fix,
    )


ROWS = (
    Check(
        name="formula",
        run=check_formula,
        about="each step is the declared family's: scale, mask, heads, norm, activation, patches",
    ),
)

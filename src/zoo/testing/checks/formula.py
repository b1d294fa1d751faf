"""Whether every step is what the model's family computes there; see zoo.testing.family."""

from collections.abc import Iterator

from zoo.testing.engine import Check, NotApplicable
from zoo.testing.family import compare_subject
from zoo.testing.family.steps import Step
from zoo.testing.finding import Finding, Severity
from zoo.testing.subject import SpecError, Subject

LARGEST = 5e7  # parameters: every op's inputs are kept
# wrong in any transformer: a view that takes positions for features, a softmax over other rows
NEVER_MEANT = (
    "heads are split by view",
    "heads are joined by view",
    "keys are viewed in another shape",
    "the softmax runs over the rows of the batch",
    "cuts across the picture",
    "mixed by a reshape",
    "it normalises over the rows of the batch",
)
UNUSUAL = (  # some models mean it: T5 has no scale, slot attention asks queries to compete
    "the softmax runs over queries",
    "the softmax runs over heads",
    "scores become weights by softmax twice",
    "scores become weights by log softmax",
    "scores are multiplied by 1/sqrt(width)",
    "scores are multiplied by sqrt(head size)",
    "what may not be seen gets zeros before the softmax",
    "what may not be seen gets one added",
    "no activation stands there",
)


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
        yield from (finding(step, declared, "warn") for step in made.rare)
        return
    yield from undeclared(subject)


def undeclared(subject: Subject) -> Iterator[Finding]:
    """Find slips that no family has, in a model of no declared family."""
    why = "no family is declared: family='gpt2', 'bert', 'vit' or 'clip'"
    try:
        made = compare_subject(subject, None, trials=1)
    except SpecError:
        raise NotApplicable(why) from None
    told: list[Finding] = []
    for step in made.wrong:
        for text in step.found.split("; "):  # a mask may be meant beside what is not
            if any(slip in text for slip in NEVER_MEANT):
                yield finding(step, "transformer", "fail")
                return
        if step.found.startswith(UNUSUAL):
            told.append(finding(step, "transformer", "warn"))
    if not told:
        raise NotApplicable(why)
    yield told[0]


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

"""Quality sets: a trained checkpoint with its probe, and rows that are put to one behind a gate.

A set of kind rows is asked of the checkpoint that it names, which lies beside it and is verified
first, or is carried by a package.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.checkpoint import CheckpointError
from zoo.checkpoint.packaged import PACKAGED
from zoo.data.errors import shown
from zoo.evaluate.gate import Gate, check_gate
from zoo.evaluate.golden import MANIFEST, GoldenError, GoldenSet, Report, open_set, verify
from zoo.evaluate.judges import judge
from zoo.evaluate.outcome import Outcome, Row
from zoo.evaluate.perturb import perturbed
from zoo.evaluate.sets import GoldenRows, open_rows
from zoo.evaluate.subject import Subject
from zoo.evaluate.tally import tally
from zoo.models.probe_folder import check_probe


@dataclass(frozen=True)
class Answered:
    """The rows of a set with their perturbed twins, and what a model made of each."""

    rows: tuple[Row, ...]
    outcomes: tuple[Outcome, ...]

    def by_id(self) -> dict[str, Outcome]:
        return {outcome.id: outcome for outcome in self.outcomes}


def compare_checkpoint(golden: GoldenSet, subject: Any, report: Report) -> None:
    """Check that the model of a checkpoint's folder still gives the answers of its probe."""
    try:
        report.compared += len(check_probe(golden.folder, subject))
    except CheckpointError as error:
        report.faults.append(str(error))


def compare_rows(golden: GoldenSet, subject: Any, report: Report) -> None:
    """Put the rows to the subject, and its answers to the gate."""
    held = open_rows(golden.folder)
    answered = ask(held, subject)
    report.compared += len(answered.outcomes)
    report.verdict = verdict_of(held, answered)
    report.faults += report.verdict.sentences
    report.changes += [told(c.id, c.before, c.after) for c in report.verdict.changes]


def ask(held: GoldenRows, subject: Any = None) -> Answered:
    """Put a set's rows and their perturbed twins to a model.

    `subject` is a Subject, a folder or a packaged name; without one it is the set's own, whose
    files are verified first when it is a golden checkpoint.
    """
    if subject is None:
        model = subject_of(held.folder.resolve().parent, held.subject)
    else:
        model = subject if isinstance(subject, Subject) else Subject.open(subject)
    rows = asked(held)
    return Answered(rows, tuple(judge(rows, model, held.folder)))


def asked(held: GoldenRows) -> tuple[Row, ...]:
    """Give the rows of a set and their perturbed twins: all that a model is asked."""
    return (*held.rows, *perturbed(held.rows, held.perturbations, held.folder))


def subject_of(root: Path, name: str) -> Subject:
    """Open the model that a set names: a golden checkpoint of the root, verified, or a package's.

    Raises GoldenError for what is neither: a golden set is not put to what a hub may change.
    """
    if (root / name / MANIFEST).exists():
        verify(open_set(root / name))
        return Subject.open(root / name)
    if name not in PACKAGED:
        raise GoldenError(
            f"{name} is no golden checkpoint of {root}, and no model of a package; "
            f"packages carry {sorted(PACKAGED)}"
        )
    return Subject.open(name)


def verdict_of(held: GoldenRows, answered: Answered) -> Any:
    """Give the gate's verdict on answers, against those that were accepted."""
    accepted = held.accepted()
    if not accepted:
        raise GoldenError(
            f"{held.name} has no accepted answers; record them: "
            f'zoo golden accept {held.name} --because "..."'
        )
    gate = Gate.read(held.gate)
    return check_gate(gate, answered.rows, accepted, answered.outcomes, subject=held.subject)


def told(name: str, old: Outcome | None, new: Outcome | None) -> str:
    """Say how a row's outcome changed."""
    if old is None or new is None:
        return f"{name} is {'new' if old is None else 'gone'}"
    verdict = {True: ": mended", False: ": broke", None: ": no verdict any more"}[new.passed]
    verdict = verdict if old.passed != new.passed else ""
    if old.answer != new.answer:
        return f"{name} answers {shown(new.answer)}, before {shown(old.answer)}{verdict}"
    return f"{name} has {new.value:.4g}, before {old.value:.4g}{verdict}"


def metrics_of(rows: Sequence[Row], outcomes: Sequence[Outcome]) -> dict[str, float]:
    """Give every metric of outcomes by name, for the history: rounded to six decimals."""
    return {name: round(metric.value, 6) for name, metric in tally(rows, outcomes).items()}

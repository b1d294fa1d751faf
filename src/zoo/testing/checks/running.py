"""Whether a model runs at all, at every ordinary size, and what comes out."""

import traceback
from collections.abc import Iterable
from pathlib import Path

from zoo.testing.blame import HERE, TORCH
from zoo.testing.engine import Check
from zoo.testing.finding import Finding
from zoo.testing.spec import ModelSpec
from zoo.testing.subject import SpecError, Subject


def first_run(spec: ModelSpec, seed: int) -> tuple[Subject | None, list[Finding]]:
    """Build a model and run it once; what it raises is the one finding there is."""
    subject = None
    try:
        subject = Subject(spec, seed)
        subject.prepare()
    except SpecError:
        raise
    except Exception as error:
        return subject, [crash(error, "a batch of 3 rows" if subject else "build()")]
    return subject, []


def crash(error: Exception, what: str) -> Finding:
    """Make the finding of a model that raises."""
    said = (str(error).splitlines() or [""])[0][:400]
    return Finding(
        kind="crash",
        severity="fail",
        where="",
        line=raised_at(error),
        evidence=f"{what} raised {type(error).__name__}: {said}",
        explanation="nothing else can be checked before the model runs",
        fix="make build() and forward(**batch(3)) work; the line above is where it stopped",
    )


def raised_at(error: BaseException) -> str:
    """Give file, line and text of the innermost code of the user's own."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith((HERE, TORCH, "<frozen")):
            return f"{Path(frame.filename).name}:{frame.lineno} {frame.line or ''}".strip()
    return ""


def check_forward(subject: Subject) -> Iterable[Finding]:
    """Run the model once; that it ran is known by now."""
    with_batch = subject.bench()
    del with_batch
    return []


ROWS = (Check(name="forward", run=check_forward, about="the model runs on a batch of its own"),)

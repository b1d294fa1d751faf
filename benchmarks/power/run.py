"""Run the unit tests once for each planted bug: its own room first, then all the others.

`zoo.pyramid.mutate` puts the bug before the tests: an import hook gives one file another source, so
nothing is written to the checkout. It runs the tests without the bug first, sees which of them
reach the bug's lines, and asks those before the rest of the room.  A timeout or a crash is no kill.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.power.bugs import ROOT, Bug, rest_of, unit_of

from zoo.pyramid.mutate import Mutant, Result, mutant_from_edit, run_mutants


@dataclass(frozen=True)
class Outcome:
    """What became of one bug."""

    id: str
    verdict: str  # "killed", "survived", or why it is neither: "timeout", "error", "broken"
    test: str  # the first that failed
    where: str  # "room" or "rest": whose test that is
    asked: int  # tests that were run until then
    cpu: float  # seconds of processor time, without the run without a bug
    why: str  # what pytest said

    def record(self) -> dict[str, Any]:
        return asdict(self)


def planted(bug: Bug) -> Mutant:
    """Make the edit; raise MutateError unless it fits once and is Python."""
    return mutant_from_edit(ROOT / bug.file, bug.old, bug.new, bug.says, id=bug.id)


def command(tests: Sequence[str]) -> list[str]:
    """Give the command that runs some of the unit tier."""
    return [sys.executable, "-m", "pytest", *tests, "-q", "-p", "no:cacheprovider"]


def asking(bugs: Sequence[Bug], tests: Sequence[str], jobs: int) -> Iterator[Result]:
    """Ask some tests about bugs."""
    yield from run_mutants([planted(bug) for bug in bugs], command(tests), cwd=ROOT, jobs=jobs)


def outcomes(bugs: Sequence[Bug], *, jobs: int = 1, rest: bool = True) -> Iterator[Outcome]:
    """Give what became of each bug, room by room; `rest` asks the other rooms about survivors."""
    for room in sorted({bug.room for bug in bugs}):
        mine = {bug.id: bug for bug in bugs if bug.room == room}
        for result in asking(list(mine.values()), unit_of(room), jobs):
            if result.verdict == "survived" and rest:
                yield beyond(mine[result.mutant.id], result, jobs)
            else:
                yield outcome(result, "room", result.tests)


def beyond(bug: Bug, result: Result, jobs: int) -> Outcome:
    """Ask the other rooms about a bug that its own has not noticed."""
    (other,) = asking([bug], rest_of(bug.room), jobs)
    return outcome(other, "rest", result.tests + other.tests)


def outcome(result: Result, where: str, asked: int) -> Outcome:
    killed = result.verdict == "killed"
    return Outcome(
        result.mutant.id,
        result.verdict,
        result.test,
        where if killed else "",
        asked,
        round(result.cpu, 1),
        result.why,
    )

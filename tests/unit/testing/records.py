"""What each check says of each model of these tests, word by word: records/<test file>.json.

A test that calls `check_model` or `held` from here compares whole outcomes (status, reason, and
every field of every finding, in their order) with the records of that test. Left out is what hangs
on the machine: numbers of lines, and the last digits of fractions (see `near`).

    ZOO_WRITE_RECORDS=1 python -m pytest -n 0 tests/unit/testing/test_flow.py

writes the records of these tests anew. `git diff` is then to be read: each line is a sentence that
somebody will be told of their model.
"""

import dataclasses
import difflib
import json
import os
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from zoo.testing import engine
from zoo.testing.finding import Finding
from zoo.testing.report import Outcome, Report

FOLDER = Path(__file__).parent / "records"
FRACTION = re.compile(r"-?(?<![\w.])\d+(?:\.\d+(?:e[+-]?\d+)?|e[+-]?\d+)(?![\w.]*\w)")
WHERE = re.compile(r"(\w+\.py):\d+|0x[0-9a-f]{6,}|Weights only load failed.*")  # torch's words
NOISE = 1e-5  # smaller fractions are what rounding leaves: each machine has its own
NUMBER = re.compile(r"-?\d[\d.]*(e[+-]?\d+)?")
LOOSE = {  # tests whose numbers are not compared, and why
    "test_a_saboteur_is_stopped[OwnNoise-train_randomness-hidden-rng-]": "noise of the machine's",
    "test_a_layer_that_loses_digits_far_from_zero_is_stopped[MeanOfSquares]": "rounding, enlarged",
    "test_positions_counted_in_bfloat16_are_a_warning": "rounding, enlarged",
    "test_a_model_that_cannot_tell_rows_apart_is_stopped": "as many steps as time allows",
}
WRITTEN = set[str]()  # the tests whose records were written anew by this process


def check_model(spec: Any, **options: Any) -> Report:
    """Run checks as the engine does, and hold what they say to the test's records."""
    report = engine.check_model(spec, **options)
    hold([line for outcome in report.outcomes for line in of_outcome(outcome)])
    return report


def held(findings: Iterable[Finding]) -> list[Finding]:
    """Hold the findings of one check to the test's records."""
    made = list(findings)
    hold([line for one in made for line in of_finding(one)])
    return made


def of_outcome(outcome: Outcome) -> list[str]:
    """Give what one check said: a line of its own, and those of its findings."""
    first = f"{outcome.check}: {outcome.status} {outcome.reason}".rstrip()
    return [
        WHERE.sub(r"\1", first),
        *(line for one in outcome.findings for line in of_finding(one)),
    ]


def of_finding(finding: Finding) -> list[str]:
    """Give a finding in lines, without numbers of lines and without addresses."""
    head = f"- {finding.severity} {finding.kind} at {finding.where!r}, {finding.line!r}"
    lines = [head, finding.evidence, finding.explanation, finding.fix]
    if finding.data is not None:
        lines.append("data " + json.dumps(finding.data, default=str))
    return [WHERE.sub(r"\1", line) for line in lines]


def hold(lines: list[str]) -> None:
    """Compare lines with the records of the test that runs; write them where that is asked for."""
    file, _, test = os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0].partition("::")
    path = FOLDER / f"{Path(file).stem}.json"
    if test in LOOSE:
        lines = [NUMBER.sub("#", line) for line in lines]
    if os.environ.get("ZOO_WRITE_RECORDS"):
        write(path, test, lines)
        return
    known = load(path).get(test, [])
    if any(alike(lines, record) for record in known):
        return
    near_by = [difflib.unified_diff(one, lines, lineterm="", n=0) for one in known]
    pytest.fail("\n".join([f"not as {path.name} has it:", *(x for d in near_by for x in d)]))


def write(path: Path, test: str, lines: list[str]) -> None:
    """Add a record; the first that a test writes replaces those that it had."""
    records = load(path)
    had = records[test] = records.get(test, []) if test in WRITTEN else []
    WRITTEN.add(test)
    if lines not in had:
        had.append(lines)
    path.write_text(json.dumps(records, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


@cache
def load(path: Path) -> dict[str, list[list[str]]]:
    """Read the records of a file of tests."""
    return json.loads(path.read_text()) if path.exists() else {}


def alike(lines: list[str], record: list[str]) -> bool:
    """Say whether lines are those of a record, but for what hangs on the machine."""
    if len(lines) != len(record):
        return False
    for one, other in zip(map(quiet, lines), map(quiet, record), strict=True):
        same = all(map(near, FRACTION.findall(one), FRACTION.findall(other)))
        if not same or FRACTION.sub("", one) != FRACTION.sub("", other):
            return False
    return True


def quiet(line: str) -> str:
    """Give a line with 0 for fractions that are noise."""
    return FRACTION.sub(lambda at: "0" if abs(float(at[0])) < NOISE else at[0], line)


def near(one: str, other: str) -> bool:
    """Say whether two printed fractions are one number: apart by two of the last digit.

    A number is rounded for print after it was computed: where the machines differ by its last bit,
    the last digit may be another, and in a ratio of two such numbers by two.
    """
    a, b = float(one), float(other)
    return abs(a - b) <= 2.001 * max(last(one), last(other))


def last(number: str) -> float:
    """Give what one more in the last printed digit is worth."""
    digits, _, power = number.partition("e")
    return 10.0 ** (int(power or 0) - len(digits.partition(".")[2]))


def plain(x: Any) -> Any:
    """Give an answer as something that == compares whole: tensors with their dtype and shape."""
    if isinstance(x, Tensor):
        return str(x.dtype).removeprefix("torch."), tuple(x.shape), x.tolist()
    if isinstance(x, dict):
        return type(x).__name__, [(key, plain(item)) for key, item in x.items()]
    if isinstance(x, list | tuple):
        return type(x).__name__, [plain(item) for item in x]
    if dataclasses.is_dataclass(x) and not isinstance(x, type):
        return type(x).__name__, [plain(getattr(x, f.name)) for f in dataclasses.fields(x)]
    return x

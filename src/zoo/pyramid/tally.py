"""Read pytest's JUnit reports: cases, functions, seconds, and what a skipped case waits for.

A report knows a case by a dotted class name; its file is the longest part of it that is there. A
case that stands in several reports is counted once, as the newest has it; seconds are of all runs.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

CPU = ("cpu_s", "cpu_seconds", "cpu")  # names under which a suite may record processor seconds
BAD = ("failure", "error")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One case of one run; `seconds` are of the wall, `cpu` of the processor where recorded."""

    function: str  # tests/unit/test_x.py::test_y, without the parameters
    name: str  # test_y[row]
    outcome: str  # passed, failed, skipped
    seconds: float
    cpu: float | None = None
    reason: str = ""  # why it was skipped


@dataclass(frozen=True, kw_only=True)
class Suite:
    """One run of pytest: when it began, how long it took, and its cases."""

    stamp: str
    seconds: float
    cases: tuple[Case, ...]


class ReportError(ValueError):
    """A report that cannot be read."""


def read_reports(paths: Iterable[Path], root: Path) -> list[Suite]:
    """Read reports, the newest run first; raise ReportError for a file that is none."""
    known: dict[str, str] = {}
    suites = [suite for path in paths for suite in read_report(path, root, known)]
    return sorted(suites, key=lambda suite: suite.stamp, reverse=True)


def read_report(path: Path, root: Path, known: dict[str, str]) -> list[Suite]:
    """Read one file; `known` keeps the file of every class name that was looked up."""
    try:
        top = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise ReportError(f"{path} is no JUnit report: {error}; run the tests again") from None
    except OSError as error:
        raise ReportError(f"{path} cannot be read: {error.strerror}") from None
    suites = []
    for suite in top.iter("testsuite"):
        cases = tuple(read_case(case, root, known) for case in suite.iterfind("testcase"))
        stamp, seconds = suite.get("timestamp", ""), number(suite.get("time"))
        suites.append(Suite(stamp=stamp, seconds=seconds, cases=cases))
    return suites


def read_case(element: ElementTree.Element, root: Path, known: dict[str, str]) -> Case:
    """Read one case."""
    label = element.get("classname", "")
    if label not in known:
        known[label] = element.get("file") or file_of(label, root)
    name = element.get("name", "")
    skipped = element.find("skipped")
    outcome = "passed" if skipped is None else "skipped"
    if any(element.find(tag) is not None for tag in BAD):
        outcome = "failed"
    return Case(
        function=f"{known[label]}::{name.partition('[')[0]}",
        name=name,
        outcome=outcome,
        seconds=number(element.get("time")),
        cpu=processor(element),
        reason="" if skipped is None else skipped.get("message", ""),
    )


def file_of(label: str, root: Path) -> str:
    """Give the file and the class of a dotted name: tests/unit/test_x.py::TestY."""
    parts = label.split(".")
    for end in range(len(parts), 0, -1):
        path = "/".join(parts[:end]) + ".py"
        if (root / path).is_file():
            return "::".join([path, *parts[end:]])
    return "/".join(parts)  # a file that is gone since


def processor(element: ElementTree.Element) -> float | None:
    """Give the processor seconds that a case recorded as a property."""
    for item in element.iter("property"):
        if item.get("name") in CPU:
            return number(item.get("value"))
    return None


def number(text: str | None) -> float:
    """Read seconds; what is no number is none."""
    try:
        return float((text or "0").replace(",", ""))
    except ValueError:
        return 0.0


def shared(
    suites: Iterable[Suite], folders: Mapping[str, Iterable[str]], elsewhere: str
) -> dict[str, tuple[float, list[Case]]]:
    """Deal cases out to tiers: of each tier its wall seconds and its cases.

    Every run counts: one of a single tier with all its seconds, import included, one of several
    tiers split by the seconds of their cases. `suites` come the newest first.
    """
    seen: set[tuple[str, str]] = set()
    dealt: dict[str, tuple[float, list[Case]]] = {}
    for suite in suites:
        parts: dict[str, list[Case]] = {}
        for case in suite.cases:
            parts.setdefault(tier_of(case.function, folders, elsewhere), []).append(case)
        every = sum(case.seconds for case in suite.cases)
        for tier, cases in parts.items():
            own = sum(case.seconds for case in cases)
            # a run in which nothing took time is split by the number of cases
            part = own / every if every else len(cases) / len(suite.cases)
            wall, before = dealt.get(tier, (0.0, []))
            new = [case for case in cases if (case.function, case.name) not in seen]
            dealt[tier] = wall + suite.seconds * part, before + new
        seen |= {(case.function, case.name) for case in suite.cases}
    return dealt


def tier_of(function: str, folders: Mapping[str, Iterable[str]], elsewhere: str) -> str:
    """Give the tier whose folder holds a test: the innermost one."""
    path = function.partition("::")[0]
    found = [
        (len(folder), tier)
        for tier, some in folders.items()
        for folder in some
        if path == folder or path.startswith(folder.rstrip("/") + "/")
    ]
    return max(found)[1] if found else elsewhere

"""docs/power.md: what was planted, and which test caught it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.power.bugs import CLASSES, HERE, ROOT, Bug

PAGE = ROOT / "docs" / "power.md"
CAUGHT = HERE / "caught.json"
BEGIN, END = "<!-- from here on by `python -m benchmarks.power --table` -->", "<!-- to here -->"
TITLES = {
    "core": "Ops and their derivatives",
    "newest": "Everything above the ops",
    "thread": "What users of other libraries reported",
}


def read_caught(path: Path = CAUGHT) -> dict[str, dict[str, Any]]:
    """Read what the last runs found, by id."""
    if not path.is_file():
        return {}
    return {row["id"]: row for row in json.loads(path.read_text())}


def write_caught(bugs: Sequence[Bug], found: Mapping[str, dict[str, Any]]) -> None:
    """Keep what was found, in the order of the tables; forget bugs that are gone.

    Why a test failed is not kept: it may name a folder of this machine.
    """
    rows = [found[bug.id] | {"why": ""} for bug in bugs if bug.id in found]
    CAUGHT.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")


def table(bugs: Sequence[Bug], found: Mapping[str, dict[str, Any]]) -> str:
    """Write the counts and a table a class."""
    parts = [summary(bugs, found)]
    for kind in CLASSES:
        mine = [bug for bug in bugs if bug.kind == kind]
        thread = "thread | " if kind == "thread" else ""
        head = f"| bug | planted in | {thread}first caught by |"
        line = "|" + "---|" * (head.count("|") - 1)
        rows = [row(bug, found.get(bug.id)) for bug in mine]
        parts.append("\n".join([f"## {TITLES[kind]}", "", head, line, *rows]))
    return "\n\n".join(parts)


def summary(bugs: Sequence[Bug], found: Mapping[str, dict[str, Any]]) -> str:
    """Count, by class and in all."""
    lines = [
        "| class | planted | run | caught by the unit tier | by its own room |",
        "|---|---|---|---|---|",
    ]
    for kind in (*CLASSES, None):
        mine = [bug for bug in bugs if kind in (bug.kind, None)]
        killed = [b for b in mine if found.get(b.id, {}).get("verdict") == "killed"]
        near = [b for b in killed if found[b.id]["where"] == "room"]
        name, ran = "all" if kind is None else kind, sum(b.id in found for b in mine)
        lines.append(f"| {name} | {len(mine)} | {ran} | {len(killed)} | {len(near)} |")
    return "\n".join(lines)


def row(bug: Bug, caught: Mapping[str, Any] | None) -> str:
    """Write a bug's line of its table."""
    place = bug.file.removeprefix("src/zoo/")
    thread = f"{linked(bug.thread)} | " if bug.kind == "thread" else ""
    return f"| `{bug.id}`: {bug.says} | `{place}` | {thread}{by(caught)} |"


def by(caught: Mapping[str, Any] | None) -> str:
    """Name the test that caught a bug."""
    if caught is None:
        return "not run yet"
    if caught["verdict"] != "killed":
        return f"**nobody** ({caught['verdict']})"
    return f"`{caught['test'].removeprefix('tests/unit/')}`".replace("|", "\\|")


def linked(thread: str) -> str:
    """Write `owner/name#number` as a link; the site leads from issues to pull requests itself."""
    name, _, number = thread.partition("#")
    return f"[{thread}](https://github.com/{name}/issues/{number})"


def with_table(page: str, text: str) -> str:
    """Put the tables between the marks of the page; raise ValueError for a page without."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"docs/power.md has no {BEGIN} and {END}: put the marks back")
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"

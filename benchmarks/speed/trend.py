"""A line a comparison and run, kept in a file; and what changed beyond its noise.

What is compared is named by processor, threads, size, item, mode and peer, so that a file may hold
the runs of several machines.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.speed import stats
from benchmarks.speed.table import markdown, percent, spread

Line = dict[str, Any]
KEY = ("processor", "threads", "size", "item", "ours", "peer")


def lines_of(result: dict[str, Any]) -> list[Line]:
    """Give a run's lines."""
    machine = result["machine"]
    lines = []
    for record in result["items"]:
        for pair in record["pairs"]:
            side = record["sides"][pair["ours"]]
            lines.append(
                {
                    **{name: machine[name] for name in ("commit", "date", "changed", "processor")},
                    **{name: record[name] for name in ("threads", "size", "item", "clock")},
                    **{name: pair[name] for name in ("ours", "peer", "ratio", "live", "same")},
                    "seconds": side["seconds"],
                    "of_limit": side.get("of_limit"),
                }
            )
    return lines


def append(file: Path, lines: Iterable[Line]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as out:
        out.writelines(json.dumps(line) + "\n" for line in lines)


def read(file: Path) -> list[Line]:
    """Read a trend file; raise ValueError that names the line at fault."""
    lines = []
    for number, text in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        try:
            line = json.loads(text)
            key_of(line), line["ratio"]["median"], line["commit"]
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{file}: line {number} is not of `zoo bench speed --trend`") from None
        lines.append(line)
    if not lines:
        raise ValueError(f"{file} is empty; `zoo bench speed --trend {file}` adds a run")
    return lines


def key_of(line: Line) -> tuple[Any, ...]:
    return tuple(line[name] for name in KEY)


def grouped(lines: Iterable[Line]) -> dict[tuple[Any, ...], list[Line]]:
    """Put the runs of one comparison together, oldest first."""
    groups: dict[tuple[Any, ...], list[Line]] = {}
    for line in lines:
        groups.setdefault(key_of(line), []).append(line)
    return groups


def change(runs: Sequence[Line]) -> str:
    """Say how the last run differs from the one before it: faster, slower, within noise, new."""
    if len(runs) < 2:
        return "new"
    before, now = runs[-2]["ratio"], runs[-1]["ratio"]
    if not stats.apart(before, now):
        return "within noise"
    return "faster" if now["median"] > before["median"] else "slower"


HEAD = (
    *("item", "zoo", "peer", "runs", "before", "× the peer before", "95 %"),
    *("now", "× the peer now", "95 %", "% of the limit", "change"),
)


def rows(lines: Iterable[Line]) -> list[dict[str, Any]]:
    """Give each comparison's last two runs and what changed; changes first."""
    found = []
    for runs in grouped(lines).values():
        now, before = runs[-1], runs[-2] if len(runs) > 1 else None
        found.append(
            {
                **{name: now[name] for name in KEY},
                "runs": len(runs),
                "before": before and {"commit": before["commit"], "ratio": before["ratio"]},
                "now": {"commit": now["commit"], "ratio": now["ratio"]},
                "of_limit": now["of_limit"],
                "change": change(runs),
            }
        )
    return sorted(found, key=lambda row: row["change"] not in ("slower", "faster"))


def table(lines: Iterable[Line]) -> str:
    """Lay the trend out for people."""
    return markdown(HEAD, [cells(row) for row in rows(lines)])


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    def run(part: dict[str, Any] | None) -> tuple[str, str, str]:
        if part is None:
            return "", "", ""
        return part["commit"], f"{part['ratio']['median']:.2f}", spread(part["ratio"])

    start = (row["item"], row["ours"], row["peer"], str(row["runs"]))
    return (*start, *run(row["before"]), *run(row["now"]), percent(row["of_limit"]), row["change"])

"""Add what benchmarks measured to a trend file, and hold it against the last runs.

    python3 .ci/trend.py build/bench/*.json --history build/trend/bench.jsonl --commit 1a2b3c

Any object with a number `ratio` counts, under its `op` and `kind`, its `case`, or the keys that
lead to it. A ratio compares two things that ran in turns on one machine, so that it can be compared
between machines; seconds cannot. The table goes to stdout: what lies outside all of the last runs
stands first.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

LAST = 10  # runs that are looked back at
FEW = 3  # with fewer runs nothing is outside


def ratios(value: Any, path: str) -> Iterator[tuple[str, float]]:
    """Yield the named ratios in a JSON value."""
    if isinstance(value, dict):
        if isinstance(value.get("ratio"), int | float):
            own = [str(value[key]) for key in ("op", "case", "kind", "dtype") if key in value]
            yield " ".join([path, *own]), float(value["ratio"])
        for key, part in value.items():
            yield from ratios(part, path if key == "items" else f"{path} {key}")
    elif isinstance(value, list):
        for part in value:
            yield from ratios(part, path)


def read(path: Path) -> dict[str, float]:
    """Read a file of one JSON value, or of a value a line."""
    text = path.read_text(encoding="utf-8")
    try:
        values = [json.loads(text)]
    except ValueError:
        values = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return dict(pair for value in values for pair in ratios(value, path.stem))


def judged(now: dict[str, float], runs: list[dict[str, float]]) -> list[tuple[str, ...]]:
    """Give a row for each item: name, now, median, lowest, highest, and whether it is outside."""
    rows = []
    for name, value in now.items():
        before = [run[name] for run in runs if name in run]
        if not before:
            rows.append((name, f"{value:.3f}", "-", "-", "new"))
            continue
        low, high = min(before), max(before)
        outside = len(before) >= FEW and not low <= value <= high
        middle = f"{statistics.median(before):.3f}"
        rows.append(
            (name, f"{value:.3f}", middle, f"{low:.3f} to {high:.3f}", "outside" if outside else "")
        )
    return sorted(rows, key=lambda row: row[4] != "outside")


def history_of(path: Path) -> list[dict[str, float]]:
    """Give the ratios of the last runs."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()[-LAST:]
    return [json.loads(line)["ratios"] for line in lines]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--history", type=Path, required=True)
    parser.add_argument("--commit", default="")
    args = parser.parse_args(arguments)
    now = {name: value for path in args.files for name, value in read(path).items()}
    if not now:
        print("no ratio in", *args.files, file=sys.stderr)
        return 1
    rows = judged(now, history_of(args.history))
    print("| benchmark | ratio | median | last runs | |\n|---|---:|---:|---|---|")
    print(*("| " + " | ".join(row) + " |" for row in rows), sep="\n")
    args.history.parent.mkdir(parents=True, exist_ok=True)
    date = datetime.now(UTC).isoformat(timespec="seconds")
    with args.history.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"date": date, "commit": args.commit, "ratios": now}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

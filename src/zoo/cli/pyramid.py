"""Say of each tier of tests how many there are, how long they take, and what they catch.

zoo pyramid
zoo pyramid --slowest 20
zoo pyramid --json > before.json ... zoo pyramid --since before.json
zoo pyramid --markdown >> "$GITHUB_STEP_SUMMARY"

Nothing is run: what the last runs left is read, JUnit reports first of all (pytest --junitxml).
Works in any project: tiers, budgets and files come from [tool.zoo.pyramid] in its pyproject.toml,
or tiers are the folders in tests/. A budget is said, not asserted: the exit code is 0 over it too.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from zoo.cli import UsageError
from zoo.cli.common import emit
from zoo.pyramid.tally_words import as_markdown, as_text
from zoo.pyramid.tiers import gather, trend


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", default=".", metavar="FOLDER", help="the project (default: here)")
    parser.add_argument(
        "--slowest", type=int, default=5, metavar="N", help="show so many tests (default: 5)"
    )
    parser.add_argument("--since", metavar="FILE.json", help="an older --json: what got slower?")
    parser.add_argument("--markdown", action="store_true", help="for a job's summary")


def run(args: argparse.Namespace) -> int:
    root = Path(args.root)
    if not root.is_dir():
        raise UsageError(f"--root {args.root}: there is no such folder")
    if args.slowest < 0:
        raise UsageError(f"--slowest {args.slowest}; expected 0 or more")
    record = gather(root)
    if args.since is not None:
        record["trend"] = trend(older(Path(args.since)), record)
    written = as_markdown if args.markdown else as_text
    emit(args, record, "" if args.json else written(record, args.slowest))
    return 0


def older(path: Path) -> dict[str, Any]:
    """Read the table of an earlier run."""
    if not path.is_file():
        raise UsageError(f"--since {path}: there is no such file; zoo pyramid --json writes one")
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"--since {path} is no JSON: {error}") from None
    if not isinstance(table, dict):
        raise UsageError(f"--since {path}: expected what zoo pyramid --json writes")
    return table

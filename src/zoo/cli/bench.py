"""Measure: what the testing kits catch, on bugs and on correct models. Run it in a checkout of zoo.

zoo bench testers --half score
zoo bench testers --half score --tools zoo,torchtest2,pytest-torch --correct --out build/testers
zoo bench testers --half dev --only 'dev/gpt/*' --declared no

Each model is checked in a process of its own. A line a model goes to the folder of --out, and the
tables (found, false alarms, right kind, right module, seconds, 95 % intervals) are printed. The
other kits are only run where they are installed.
"""

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

from zoo.cli import UsageError
from zoo.cli.common import emit, say

TOOLS = ("zoo", "torchtest2", "pytest-torch")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("testers",), help="what is measured")
    parser.add_argument("--half", choices=("dev", "score"), default="score", help="default: score")
    parser.add_argument("--tools", default="zoo", metavar="NAMES", help=", ".join(TOOLS))
    parser.add_argument("--declared", choices=("yes", "no", "both"), default="both")
    parser.add_argument("--correct", action="store_true", help="the correct models too")
    parser.add_argument("--only", metavar="GLOB", help="ids to run, such as 'score/gpt/*'")
    parser.add_argument("--jobs", type=int, default=2, help="processes; default: 2")
    parser.add_argument("--out", default="build/testers", help="default: build/testers")


def run(args: argparse.Namespace) -> None:
    tools = args.tools.split(",")
    for tool in tools:
        if tool not in TOOLS:
            raise UsageError(f"--tools {tool!r}; expected some of {', '.join(TOOLS)}")
    if not Path("benchmarks/testers/run.py").is_file():
        raise UsageError("there is no benchmarks/testers here; run it in a checkout of zoo")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    runner: Any = importlib.import_module("benchmarks.testers.run")
    table: Any = importlib.import_module("benchmarks.testers.table")
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    calls = [["--half", args.half, "--declared", word] for word in words(args.declared)]
    calls += [["--correct"]] if args.correct else []
    lines: list[dict[str, Any]] = []
    for tool in tools:
        for call in calls:
            name = "-".join([tool, *(word.lstrip("-") for word in call if word != "--declared")])
            file = out / f"{name}.jsonl"
            say(f"{' '.join([tool, *call])} -> {file}")
            more = ["--only", args.only] if args.only else []
            runner.main(
                [*call, *more, "--tool", tool, "--jobs", str(args.jobs), "--out", str(file)]
            )
            lines += [json.loads(line) for line in file.read_text().splitlines()]
    if not lines:
        raise UsageError(f"--only {args.only!r} names no model")
    made = table.summary(lines)
    (out / "table.json").write_text(json.dumps(made, indent=1))
    emit(args, made, table.markdown(made))


def words(declared: str) -> list[str]:
    """Give which runs are asked for."""
    return ["yes", "no"] if declared == "both" else [declared]

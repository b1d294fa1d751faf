"""`zoo bench testers`: what the testing kits catch, on bugs and on correct models.

The tables give found, false alarms, right kind, right module, seconds, 95 % intervals. The other
kits are only run where they are installed.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from zoo.cli import UsageError
from zoo.cli.bench_checkout import of_checkout
from zoo.cli.common import emit, say

TOOLS = ("zoo", "torchtest2", "pytest-torch")


def arguments(group: Any) -> None:
    group.add_argument("--half", choices=("dev", "score"), help="default: score")
    group.add_argument("--tools", metavar="NAMES", help=f"{', '.join(TOOLS)}; default: zoo")
    group.add_argument("--declared", choices=("yes", "no", "both"), help="default: both")
    group.add_argument("--correct", action="store_true", help="the correct models too")
    group.add_argument("--only", metavar="GLOB", help="ids to run, such as 'score/gpt/*'")
    group.add_argument("--jobs", type=int, help="processes; default: 2")


def run(args: argparse.Namespace) -> None:
    tools = (args.tools or "zoo").split(",")
    for tool in tools:
        if tool not in TOOLS:
            raise UsageError(f"--tools {tool!r}; expected some of {', '.join(TOOLS)}")
    runner, table = (of_checkout(f"benchmarks.testers.{name}") for name in ("run", "table"))
    out = Path(args.out or "build/testers")
    out.mkdir(parents=True, exist_ok=True)
    declared = ["yes", "no"] if args.declared in (None, "both") else [args.declared]
    calls = [["--half", args.half or "score", "--declared", word] for word in declared]
    calls += [["--correct"]] if args.correct else []
    lines: list[dict[str, Any]] = []
    for tool in tools:
        for call in calls:
            name = "-".join([tool, *(word.lstrip("-") for word in call if word != "--declared")])
            file = out / f"{name}.jsonl"
            say(f"{' '.join([tool, *call])} -> {file}")
            more = ["--only", args.only] if args.only else []
            more += ["--tool", tool, "--jobs", str(args.jobs or 2), "--out", str(file)]
            runner.main([*call, *more])
            lines += [json.loads(line) for line in file.read_text().splitlines()]
    if not lines:
        raise UsageError(f"--only {args.only!r} names no model")
    made = table.summary(lines)
    (out / "table.json").write_text(json.dumps(made, indent=1))
    emit(args, made, table.markdown(made))

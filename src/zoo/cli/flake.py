"""Hunt flaky tests in any pytest suite: decide which are, name what makes them fail.

zoo flake tests/unit --confidence 0.99 --rate 0.01 --seconds 600
zoo flake tests/test_api.py -m "not slow" -k login --vary seed,order,hash

Everything that is no option below goes to pytest as it stands. The tests are repeated under other
seeds, orders, worker counts, thread counts, machine load, clocks and hash seeds, until each is
known to be flaky or to fail less often than --rate with --confidence; then one factor at a time is
flipped between a failing and a passing run. Each verdict ends with a command that shows it again.
Exit code 0: all clean; 1: some are flaky, broken or went wrong; 3: time ended first.
"""

import argparse
import importlib.util
import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from zoo.cli import UsageError
from zoo.cli.common import emit, say
from zoo.pyramid.flake.child import Children, Run, installed
from zoo.pyramid.flake.hunting import Aim
from zoo.pyramid.flake.report import summary_text, verdicts
from zoo.pyramid.flake.setting import FACTORS, Plan, levels
from zoo.pyramid.flake.words import test_text

VALUES = ("--confidence", "--rate", "--seconds", "--vary", "--out")
PLAIN = ("--json", "--help", "-h")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "pytest",
        nargs=argparse.REMAINDER,
        metavar="TESTS",
        help="files, folders, ids; and any options of pytest",
    )
    parser.add_argument(
        "--confidence", type=float, default=0.99, help="of each verdict (default: 0.99)"
    )
    parser.add_argument(
        "--rate", type=float, default=0.01, help="a test that fails less often is clean (0.01)"
    )
    parser.add_argument("--seconds", type=float, default=600.0, help="wall time (600)")
    parser.add_argument(
        "--vary", default=",".join(FACTORS), metavar="A,B", help=f"of {','.join(FACTORS)} (all)"
    )
    parser.add_argument("--out", metavar="FILE", help="write every outcome there, a JSON line each")
    parser.set_defaults(parser=parser)


def split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part this verb's own options from what goes to pytest; after -- all does."""
    mine: list[str] = []
    theirs: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--":
            theirs += rest
        elif word.partition("=")[0] in VALUES:
            mine += (
                [word] if "=" in word else [word, *[value for value in [next(rest, "")] if value]]
            )
        elif word in PLAIN:
            mine.append(word)
        else:
            theirs.append(word)
    return mine, theirs


def run(args: argparse.Namespace) -> int:
    mine, theirs = split(args.pytest)
    args.parser.parse_args(mine, namespace=args)
    aim = Aim(confidence=args.confidence, rate=args.rate, seconds=args.seconds)
    plan = planned(args, theirs)
    suite = Children(arguments=tuple(theirs), xdist=installed("xdist", tuple(theirs), "xdist"))
    if args.out:
        Path(args.out).write_text("", encoding="utf-8")
        suite.record = lambda run: write(Path(args.out), run)
    code = 2
    waiting: dict[str, list[str]] = {}
    for row in verdicts(suite, suite, plan, aim, say):
        if row.get("verdict") == "open" and not args.json:  # many, and all alike
            waiting.setdefault(row["known"], []).append(row["test"])
        elif "suite" not in row:
            emit(args, row, test_text(row) + "\n")
        elif not row["tests"]:
            why = "; ".join(row["notes"]) or "pytest found none"
            raise UsageError(f"no test ran with {' '.join(theirs) or 'no arguments'}: {why}")
        else:
            for known, names in waiting.items():
                print(f"UNDECIDED {shown(names)}\n  {known}\n")
            emit(args, row, summary_text(row))
            code = row["exit"]
    return code


def shown(names: list[str]) -> str:
    """Name one test, and say how many more there are."""
    return names[0] + (f" and {len(names) - 1} more" if names[1:] else "")


def planned(args: argparse.Namespace, theirs: Sequence[str]) -> Plan:
    """Check the options, and say which factors are left out."""
    if not 0.5 <= args.confidence < 1:
        raise UsageError(f"--confidence {args.confidence:g}: give 0.5 or more, less than 1")
    if not 0 < args.rate < 1:
        raise UsageError(f"--rate {args.rate:g}: give a share between 0 and 1, such as 0.01")
    if args.seconds <= 0:
        raise UsageError(f"--seconds {args.seconds:g}: give more than 0")
    if importlib.util.find_spec("pytest") is None:
        raise UsageError("pytest is not installed beside zoo: pip install pytest")
    asked = [word.strip() for word in args.vary.split(",") if word.strip()]
    unknown = [word for word in asked if word not in FACTORS]
    if unknown or not asked:
        raise UsageError(f"--vary {args.vary}: {unknown} is none of {', '.join(FACTORS)}")
    vary = [factor for factor in FACTORS if factor in asked]
    if "workers" in vary and not installed("xdist", tuple(theirs), "xdist"):
        say("workers: left out, since pytest-xdist is not installed or switched off")
        vary.remove("workers")
    travels = importlib.util.find_spec("time_machine") is not None
    if "clock" in vary and not travels:
        say("clock: only time zones are varied; for other times: pip install time-machine")
    made = levels(vary, date.today(), xdist="workers" in vary, clock=travels)
    return Plan(tuple(vary), made)


def write(path: Path, run: Run) -> None:
    """Append a run's outcomes to a file."""
    setting = {key: getattr(run.trial.setting, key) for key in FACTORS}
    with path.open("a", encoding="utf-8") as file:
        for number, process in enumerate(run.processes):
            for outcome in process:
                line = {"process": number, **setting, **outcome._asdict()}
                file.write(json.dumps(line) + "\n")
        if run.trouble:
            file.write(json.dumps({**setting, "trouble": run.trouble}) + "\n")

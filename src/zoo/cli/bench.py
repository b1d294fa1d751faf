"""Measure: how fast zoo is beside its peers and the machine, or what the testing kits catch.

zoo bench speed                                          every item but the scaling ones
zoo bench speed --items 'gpt2-train-*' generation --against hf,ctranslate2 --rounds 9
zoo bench speed --size tiny --out build/try              the whole path in a minute
zoo bench list                                           what there is to measure
zoo bench trend build/trend/speed.jsonl                  what changed beyond its noise
zoo bench compare before/results.json after/results.json
zoo bench testers --half score --tools zoo,torchtest2,pytest-torch --correct

Run it in a checkout of zoo. Speed: docs/performance.md says how to read a row. Testers: each model
is checked in a process of its own; a line a model and the tables go to the folder of --out.

Exit codes: 0 measured, 1 two sides did not compute the same, 2 it cannot be done.
"""

import argparse
from typing import Any

from zoo.cli import UsageError, bench_speed, bench_testers

# what is measured -> (who does it, the options that are for it)
WHAT: dict[str, tuple[Any, tuple[str, ...]]] = {
    "speed": (bench_speed.speed, ("items", "against", "modes", *bench_speed.NUMBERS)),
    "list": (bench_speed.listed, ()),
    "trend": (bench_speed.trend, ()),
    "compare": (bench_speed.compare, ()),
    "testers": (bench_testers.run, ("half", "tools", "declared", "correct", "only", "jobs")),
}


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=WHAT, help="what is done")
    parser.add_argument("files", nargs="*", metavar="FILE", help="trend and compare: what to read")
    parser.add_argument("--out", metavar="FOLDER", help="default: build/speed or build/testers")
    bench_speed.arguments(parser.add_argument_group("speed"))
    bench_testers.arguments(parser.add_argument_group("testers"))


def run(args: argparse.Namespace) -> int:
    work, own = WHAT[args.what]
    for what, (_, names) in WHAT.items():
        for name in names:
            if name not in own and getattr(args, name) not in (None, False):
                raise UsageError(f"--{name} is for `zoo bench {what}`")
    if args.files and args.what not in ("trend", "compare"):
        raise UsageError(f"zoo bench {args.what} takes no file; found {args.files[0]!r}")
    code: int | None = work(args)
    return code or 0

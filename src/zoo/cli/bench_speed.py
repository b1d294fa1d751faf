"""`zoo bench speed`, `list`, `trend` and `compare`: zoo beside its peers, and beside itself."""

import argparse
import json
from pathlib import Path
from typing import Any

from zoo.cli import UsageError
from zoo.cli.bench_checkout import of_checkout
from zoo.cli.common import emit, say

NUMBERS = ("rounds", "threads", "size", "rss", "trend")
ITEMS = ("training", "forward", "generation", "costs")  # unless others are named: no scaling


def arguments(group: Any) -> None:
    group.add_argument(
        "--items",
        nargs="+",
        metavar="GLOB",
        help=f"items or groups; default: {' '.join(ITEMS)}",
    )
    group.add_argument(
        "--against",
        metavar="NAMES",
        help="hf, hf-eager, nanogpt, onnxruntime, ctranslate2, ctranslate2-int8; "
        "default: hf,ctranslate2,ctranslate2-int8",
    )
    group.add_argument(
        "--modes",
        metavar="NAMES",
        help="zoo, zoo-compiled, zoo-packed, zoo-float16, zoo-int8; default: those of an item",
    )
    group.add_argument("--rounds", type=int, help="default: 7; six are the fewest for 95 %%")
    group.add_argument("--threads", type=int, help="default: 1")
    group.add_argument("--size", choices=("full", "tiny"), help="default: full")
    group.add_argument(
        "--rss",
        choices=("yes", "no"),
        help="peak memory of a process of its own for each side; default: yes, no with --size tiny",
    )
    group.add_argument("--trend", metavar="FILE", help="add the results to this file")


def speed(args: argparse.Namespace) -> int:
    runner = of_checkout("benchmarks.speed.run")
    tiny = args.size == "tiny"
    given = {
        "against": names(args.against),
        "modes": names(args.modes),
        "rounds": args.rounds,
        "threads": args.threads,
    }
    how = runner.How(
        tiny=tiny,
        rss=not tiny if args.rss is None else args.rss == "yes",
        **{name: value for name, value in given.items() if value is not None},
    )
    result = runner.speed(
        args.items or ITEMS,
        how,
        Path(args.out or "build/speed"),
        history=None if args.trend is None else Path(args.trend),
        say=say,
    )
    emit(args, result, runner.table(result["items"]))
    wrong = runner.faults(result)
    for line in wrong:
        say(line)
    return int(bool(wrong))


def names(given: str | None) -> tuple[str, ...] | None:
    return None if given is None else tuple(name for name in given.split(",") if name)


def listed(args: argparse.Namespace) -> None:
    runner = of_checkout("benchmarks.speed.run")
    for item in runner.TABLE:
        record = runner.listed(item)
        emit(args, record, f"{item.group:<11} {item.name:<26} {item.does}")


def trend(args: argparse.Namespace) -> None:
    """Tell what changed in trend files, and draw it."""
    if not args.files:
        raise UsageError("zoo bench trend takes the files of --trend")
    module = of_checkout("benchmarks.speed.trend")
    lines = [line for file in args.files for line in module.read(Path(file))]
    if args.out is not None:
        picture = Path(args.out, "trend.png")
        of_checkout("benchmarks.speed.draw").trend(lines, picture)
        say(str(picture))
    told(args, module, lines)


def compare(args: argparse.Namespace) -> None:
    """Tell what changed from one run's results.json to another's."""
    if len(args.files) != 2:
        raise UsageError("zoo bench compare takes two results.json: before and after")
    module = of_checkout("benchmarks.speed.trend")
    lines = []
    for file in args.files:
        try:
            lines += module.lines_of(json.loads(Path(file).read_text(encoding="utf-8")))
        except (KeyError, TypeError, json.JSONDecodeError):
            raise UsageError(f"{file} is no results.json of `zoo bench speed`") from None
    told(args, module, lines)


def told(args: argparse.Namespace, module: Any, lines: list[dict[str, Any]]) -> None:
    """Print the comparisons that have two runs, and what changed in them."""
    if args.json:
        for row in module.rows(lines):
            emit(args, row, "")
        return
    print(module.table(lines))

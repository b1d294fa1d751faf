"""Put bugs into source files the way real bugs are, and see which tests notice.

zoo mutate mypkg/model.py --command "pytest tests/test_model.py"
zoo mutate mypkg.model mypkg/loss.py --command "pytest tests" --only scale,mask --jobs 2
zoo mutate mypkg/model.py --list
zoo mutate mypkg/model.py --command "make test" --sample 50 --seed 0 --out report.jsonl

Each mutant is one small edit: a scale dropped, a mask shifted, a residual lost. No file of yours is
written: the command imports the mutated source through a hook. The command runs once as it is and
must pass; then once for each mutant. A mutant that cannot be imported (broken), never ends
(timeout) or ends the process (error) is no kill, and is not counted. With --out what was decided
is kept, and the same call goes on where it stopped. Exit code 0: all were killed, or as many as
--floor says; 1: too many survived; 2: the command cannot be used.
"""

import argparse
import json
import os
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from zoo.cli import UsageError
from zoo.cli.common import emit, say
from zoo.pyramid.mutate.clean import Clean
from zoo.pyramid.mutate.find import files_of, mutants_of
from zoo.pyramid.mutate.mutant import Mutant, MutateError, diff, source_hash
from zoo.pyramid.mutate.results import Result, again, held, percent, score
from zoo.pyramid.mutate.runner import run_mutants


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="files, folders or dotted modules to mutate"
    )
    parser.add_argument("--command", metavar="TEXT", help="what runs the tests; needs no --list")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="NAME,...",
        help="operators or families whose name holds this, such as scale,mask; repeatable",
    )
    parser.add_argument(
        "--functions", metavar="TEXT", help="mutants of functions whose name holds this"
    )
    parser.add_argument("--list", action="store_true", help="show the mutants, and run nothing")
    parser.add_argument("--sample", type=int, metavar="N", help="so many of them, drawn by --seed")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="at a time (default: 1)")
    parser.add_argument(
        "--floor", type=float, default=100.0, help="the score to reach, in percent (default: 100)"
    )
    parser.add_argument("--out", type=Path, help="a file to keep results in, as JSON lines")
    parser.add_argument(
        "--no-fork", action="store_true", help="start a new process for every mutant"
    )


def run(args: argparse.Namespace) -> int:
    mutants = wanted(args)
    if args.list:
        for mutant in mutants:
            emit(
                args, listed(mutant), f"{mutant.id} {mutant.where()}: {mutant.says}\n{diff(mutant)}"
            )
        say(f"{len(mutants)} mutants")
        return 0
    if not args.command:
        raise UsageError("say what runs the tests: --command 'pytest tests', or --list")
    results: list[Result] = []
    say(f"{len(mutants)} mutants; first {args.command!r} runs without any")
    stopped = False
    try:
        for result in judged(args, mutants):
            results.append(result)
            emit(args, result.record(), result.line())
    except MutateError as error:
        raise UsageError(str(error)) from None if not os.environ.get("ZOO_DEBUG") else error
    except KeyboardInterrupt:
        stopped = True
    conclude(args, results, len(mutants))
    if stopped:
        raise KeyboardInterrupt
    reached = score(results).share
    return int(reached is None or 100 * reached < args.floor)


def wanted(args: argparse.Namespace) -> list[Mutant]:
    """Give the mutants that are asked for; raise UsageError when there are none."""
    for name, value, least in (("sample", args.sample, 1), ("jobs", args.jobs, 1)):
        if value is not None and value < least:
            raise UsageError(f"--{name} {value}; expected {least} or more")
    if not 0 <= args.floor <= 100:
        raise UsageError(f"--floor {args.floor}; expected a percentage, 0 to 100")
    only = [part.strip() for text in args.only for part in text.split(",") if part.strip()]
    try:
        found = [
            m for file in files_of(args.files, Path.cwd()) for m in mutants_of(file, only=only)
        ]
    except MutateError as error:
        raise UsageError(str(error)) from None
    if args.functions:
        found = [m for m in found if args.functions in m.function]
    if not found:
        what = " ".join(args.files)
        kinds = f" of {', '.join(only)}" if only else ""
        inside = f" in functions like {args.functions!r}" if args.functions else ""
        raise UsageError(
            f"there is nothing to mutate{kinds}{inside} in {what}: it computes nothing that the "
            "operators know"
        )
    if args.sample is not None and args.sample < len(found):
        drawn = random.Random(args.seed).sample(range(len(found)), args.sample)
        found = [found[place] for place in sorted(drawn)]
    return found


def judged(args: argparse.Namespace, mutants: list[Mutant]) -> Iterable[Result]:
    """Run the mutants; what --out holds already is not run again."""
    kept: list[Clean] = []
    by_id = {mutant.id: mutant for mutant in mutants}

    def known(clean: Clean) -> list[Result]:
        kept.append(clean)
        say(passed(clean))
        old = held(args.out, mutants, clean.key) if args.out else {}
        if old:
            say(f"{len(old)} of them are known from {args.out}")
        return [again(by_id[id], record) for id, record in old.items()]

    for result in run_mutants(
        mutants, args.command, jobs=args.jobs, fork=not args.no_fork, started=known
    ):
        if args.out and not result.resumed:
            record = result.record()
            record |= {"key": kept[0].key, "source": source_hash(result.mutant.path)}
            args.out.parent.mkdir(parents=True, exist_ok=True)
            with args.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        yield result


def passed(clean: Clean) -> str:
    """Say how the run without a mutant went."""
    if clean.tests is None:
        return f"it passes, in {clean.cpu:.1f} s of processor time"
    return (
        f"{len(clean.tests)} tests pass, in {clean.cpu:.1f} s of processor time; each mutant meets "
        "those that execute its function, and no others"
    )


def listed(mutant: Mutant) -> dict[str, Any]:
    """Give a mutant that was not run, for a line of JSON."""
    return {
        name: value
        for name, value in Result(mutant=mutant, verdict="").record().items()
        if name not in ("verdict", "test", "why", "tests", "reached", "cpu")
    }


def conclude(args: argparse.Namespace, results: list[Result], total: int) -> None:
    """Print the score, and the survivors in words."""
    found = score(results)
    left = [result for result in results if result.verdict == "survived"]
    record = {
        "kind": "score",
        "mutants": total,
        "run": len(results),
        "killed": found.killed,
        "decided": found.decided,
        "share": found.share,
        "low": found.low,
        "high": found.high,
        "counts": found.counts,
        "survivors": [result.mutant.id for result in left],
        "floor": args.floor,
    }
    lines = [result.words() for result in left]
    if len(results) < total:
        lines.append(f"stopped after {len(results)} of {total} mutants")
    lines.append(found.text())
    if found.share is not None and 100 * found.share < args.floor:
        lines.append(f"the floor is {percent(args.floor / 100)}")
    emit(args, record, "\n" + "\n".join(lines))

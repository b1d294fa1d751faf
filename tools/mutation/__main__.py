"""python -m tools.mutation COMMAND: run, changed, plan, escapes, report."""

import argparse
import fnmatch
import sys
from pathlib import Path

from tools.mutation import rooms, survivors, work
from tools.mutation.tell import told
from tools.mutation.tree import RunError


def main(words: list[str] | None = None) -> int:
    """Parse, call, and give the exit code: 0 good, 1 the answer is no, 2 cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutation", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, says, arguments, run in COMMANDS:
        one = commands.add_parser(name, help=says, description=says)
        arguments(one)
        one.set_defaults(run=run)
    args = parser.parse_args(words)
    try:
        return args.run(args)
    except (RunError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2


def room_of(name: str) -> rooms.Room:
    """Give the room, or say which there are."""
    table, _ = rooms.read()
    if name not in table:
        raise ValueError(f"no room {name!r}; there are {sorted(table)}")
    return table[name]


def run_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `run`."""
    parser.add_argument("room")
    parser.add_argument("--only", default="", help="functions, such as 'zoo.nn.attention*'")
    parser.add_argument("--sample", type=int, default=0, help="draw so many mutants uniformly")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="children at a time")
    parser.add_argument("--out", type=Path, help="where the record goes")
    parser.add_argument("--floor", type=float, help="instead of the room's own")


def run_command(args: argparse.Namespace) -> int:
    """Run a room's mutants: all, some functions, or a sample."""
    room = room_of(args.room)
    every = work.mutants_of(room)
    chosen = [m for m in every if not args.only or fnmatch.fnmatch(m.function, args.only)]
    whole = not args.only and not 0 < args.sample < len(chosen)
    if args.sample:
        chosen = work.drawn(chosen, args.sample, args.seed)
    if not chosen:
        raise ValueError(f"room {room.name}: no mutant in a function named {args.only!r}")
    how = {"of": len(every), "sampled": args.sample if not whole and not args.only else 0}
    place = work.BUILD / room.name
    record = work.run(room, chosen, jobs=args.jobs, how=how, place=place / "tree")
    out = args.out or place / "record.json"
    work.keep(record, out)
    return tell_and_judge(record, room, args.floor, {m.function for m in every}, whole=whole)


def tell_and_judge(
    record: dict, room: rooms.Room, floor: float | None, functions: set[str], *, whole: bool
) -> int:
    """Print the survivors and the scores; 1 with a new survivor, a stale entry, or a low score."""
    known = survivors.read_known(room.name)
    stale = survivors.stale(record["rows"], known, functions, whole=whole)
    text, good = told(record, room.floor if floor is None else floor, stale)
    print(text)
    return 0 if good else 1


COMMANDS = [
    ("run", "run a room's mutants", run_arguments, run_command),
]

if __name__ == "__main__":
    sys.exit(main())

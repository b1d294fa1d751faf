"""python -m tools.mutation COMMAND: run, changed, plan, escapes, report."""

import argparse
import fnmatch
import json
import sys
from pathlib import Path

from tools.mutation import changed, escapes, plan, report, rooms, survivors, work
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
    parser.add_argument("--shard", default="", help="a part of the functions, such as 2/5")
    parser.add_argument("--again", type=Path, help="only what this record has as not killed")
    parser.add_argument("--jobs", type=int, default=1, help="children at a time")
    parser.add_argument("--out", type=Path, help="where the record goes")
    parser.add_argument("--floor", type=float, help="instead of the room's own")


def run_command(args: argparse.Namespace) -> int:
    """Run a room's mutants: all, some functions, or a sample."""
    room = room_of(args.room)
    every = work.mutants_of(room)
    chosen = [m for m in every if not args.only or fnmatch.fnmatch(m.function, args.only)]
    if args.shard:
        cost = plan.read_costs().get(room.name, plan.UNKNOWN)
        part = plan.part_of(room, args.shard, cost)
        chosen = [m for m in chosen if m.function in part]
    before = report.read([args.again])[0] if args.again else None
    if before:
        chosen = work.lived(before, chosen)
    sampled = 0 < args.sample < len(chosen)
    if sampled:
        chosen = work.drawn(chosen, args.sample, args.seed)
    if not chosen:
        raise ValueError(f"room {room.name}: no mutants in {args.only or args.shard or room.name}")
    how = {"of": len(every), "sampled": args.sample if sampled else 0, "shard": args.shard}
    whole = len(chosen) == len(every)
    place = work.BUILD / room.name
    record = work.run(room, chosen, jobs=args.jobs, how=how, place=place / "tree")
    if before:
        record = work.again(before, record)
    name = f"{room.name}-{args.shard.replace('/', '-of-')}" if args.shard else room.name
    out = args.out or work.BUILD / "records" / f"{name}.json"
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


def changed_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `changed`."""
    parser.add_argument("--since", default="origin/main", metavar="REF")
    parser.add_argument("--minutes", type=float, default=10.0, help="of all jobs together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--list", action="store_true", help="only name the functions")
    parser.add_argument("--out", type=Path, default=work.BUILD / "changed")


def changed_command(args: argparse.Namespace) -> int:
    """Run the mutants of the functions that changed, as many as fit in the time."""
    table, _ = rooms.read()
    touched = {name: changed.since(args.since, list(room.files)) for name, room in table.items()}
    touched = {name: functions for name, functions in touched.items() if functions}
    if args.list:
        print("\n".join(sorted(f for functions in touched.values() for f in functions)))
        return 0
    costs = plan.read_costs()
    found = {}
    for name, functions in touched.items():
        found[name] = [m for m in work.mutants_of(table[name]) if m.function in functions]
    fixed = {name: costs.get(name, plan.UNKNOWN).fixed for name in found}
    each = {name: costs.get(name, plan.UNKNOWN).each for name in found}
    counts = {name: len(mutants) for name, mutants in found.items() if mutants}
    fits = changed.fit(counts, fixed, each, args.minutes * 60 * args.jobs * AT_MOST)
    if not counts:
        print(f"no function with mutants has changed since {args.since}")
        return 0
    code = 0
    for name, number in fits.items():
        if number < counts[name]:
            print(f"{name}: {number} of {counts[name]} mutants fit in {args.minutes:g} minutes")
        if number:
            code |= one_changed(table[name], found[name], number, args)
    return code


AT_MOST = 0.7  # of the time: the costs are of another machine


def one_changed(room: rooms.Room, mutants: list, number: int, args: argparse.Namespace) -> int:
    """Run what changed in one room."""
    chosen = work.drawn(mutants, number, args.seed)
    how = {
        "of": len(mutants),
        "sampled": number if number < len(mutants) else 0,
        "since": args.since,
    }
    place = work.BUILD / room.name / "changed"
    record = work.run(room, chosen, jobs=args.jobs, how=how, place=place)
    work.keep(record, args.out / f"{room.name}.json")
    known = {entry.function for entry in survivors.read_known(room.name)}
    functions = known | {m.function for m in mutants}
    return tell_and_judge(record, room, 0.0, functions, whole=False)


def plan_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `plan`."""
    parser.add_argument("--minutes", type=float, default=plan.MINUTES, help="of one shard")
    parser.add_argument("--most", type=int, default=16, help="shards a night")
    parser.add_argument("--night", type=int, help="a day's number; today's by default")
    parser.add_argument("--all", action="store_true", help="every shard, whatever the night")


def plan_command(args: argparse.Namespace) -> int:
    """Print the night's shards as a matrix for GitHub; say on stderr which night it is."""
    table, _ = rooms.read()
    every = plan.all_shards(table, plan.read_costs(), args.minutes)
    chosen, night, nights = plan.tonight(every, args.most, args.night)
    if args.all:
        chosen = every
    hours = sum(shard["minutes"] for shard in every) / 60
    print(
        f"{len(every)} shards, {hours:.1f} hours of two cores; night {night + 1} of {nights}"
        f" runs {len(chosen)}",
        file=sys.stderr,
    )
    print(json.dumps({"include": chosen}))
    return 0


def escapes_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `escapes`."""
    parser.add_argument("--count", action="store_true", help="with mutmut's own generator")
    parser.add_argument("--explained", action="store_true", help="also those with a known reason")


def escapes_command(args: argparse.Namespace) -> int:
    """List the functions that have statements and no mutants; 1 when one is not explained."""
    table, excluded = rooms.read()
    files = [file for room in table.values() for file in room.files]
    found, counted = escapes.of_files(files), 0
    if args.count:
        made = {m.function for room in table.values() for m in work.mutants_of(room)}
        found, counted = escapes.with_generator(files, made), len(made)
    listed = escapes.read_listed()
    open_ = [e for e in found if not e.explained(listed)]
    stale = sorted(set(listed) - {e.function for e in found})
    for escape in found if args.explained else open_:
        print(f"{escape.place} {escape.function}: {listed.get(escape.function, escape.reason)}")
    for name in stale:
        print(f"{name} does not escape: remove it from {escapes.LISTED}")
    homeless = rooms.homeless(table, excluded)
    for file in homeless:
        print(f"{file} is in no room and not excluded: add it to {rooms.TABLE.name}")
    print(
        f"{len(found)} functions have no mutants, {len(found) - len(open_)} for a known reason"
        + (f"; {counted} functions have some" if counted else "")
    )
    return 1 if open_ or stale or homeless else 0


def report_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of `report`."""
    where = [work.BUILD / "records"]
    parser.add_argument("records", nargs="*", type=Path, default=where, help="files or folders")
    parser.add_argument("--summary", type=Path, help="append the table here")
    parser.add_argument("--keep", action="store_true", help="write scores.json and costs.json")


def report_command(args: argparse.Namespace) -> int:
    """Merge records into one table, and keep the scores and the costs."""
    records = report.read(args.records)
    merged = report.merged(records)
    found = report.scores(merged)
    text = report.summary(merged, found)
    print(text)
    if args.summary:
        with args.summary.open("a") as out:
            out.write(text)
    if args.keep:
        report.write(found, records)
    low = [name for name, room in merged.items() if survivors.new(room["rows"])]
    return 1 if low else 0


COMMANDS = [
    ("run", "run a room's mutants", run_arguments, run_command),
    ("changed", "run the mutants of what changed", changed_arguments, changed_command),
    ("plan", "list a night's shards", plan_arguments, plan_command),
    ("escapes", "list what has no mutants", escapes_arguments, escapes_command),
    ("report", "merge records into a table", report_arguments, report_command),
]

if __name__ == "__main__":
    sys.exit(main())

"""How many planted bugs does our own unit tier catch, and by which test?

python -m benchmarks.power                     all bugs; exit code 1 when one is not caught
python -m benchmarks.power --only ID [ID ...]  some of them
python -m benchmarks.power --record --table    keep what was found, and write docs/power.md
"""

import argparse
import json
import sys

from benchmarks.power.bugs import CLASSES, read_bugs
from benchmarks.power.page import PAGE, read_caught, table, with_table, write_caught
from benchmarks.power.run import Outcome, outcomes

from zoo.pyramid.mutate import MutateError


def line(found: Outcome) -> str:
    said = found.test if found.verdict == "killed" else found.why
    return f"{found.verdict:<9} {found.id}: {said} (of {found.asked} asked)"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.power", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--only", nargs="+", metavar="ID", help="ids, or rooms such as ops")
    parser.add_argument("--kind", choices=CLASSES, help="one class")
    parser.add_argument("--jobs", type=int, default=1, help="bugs at a time")
    parser.add_argument("--json", action="store_true", help="a line of JSON a bug")
    parser.add_argument("--record", action="store_true", help="keep results in caught.json")
    parser.add_argument("--table", action="store_true", help="write docs/power.md from them")
    asked = parser.parse_args(argv)
    every = read_bugs()
    bugs = [bug for bug in every if asked.kind in (bug.kind, None)]
    if asked.only:
        unknown = set(asked.only) - {bug.id for bug in every} - {bug.room for bug in every}
        if unknown:
            parser.error(f"no bug and no room is called {sorted(unknown)[0]!r}")
        bugs = [bug for bug in bugs if {bug.id, bug.room} & {*asked.only}]
    missed = 0
    caught = read_caught()
    try:
        for found in outcomes(bugs, jobs=asked.jobs) if asked.record or not asked.table else ():
            print(json.dumps(found.record()) if asked.json else line(found), flush=True)
            missed += found.verdict != "killed"
            caught[found.id] = found.record()
            if asked.record:
                write_caught(every, caught)
    except MutateError as error:
        print(error, file=sys.stderr)
        return 2
    if asked.table:
        PAGE.write_text(with_table(PAGE.read_text(), table(every, caught)))
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())

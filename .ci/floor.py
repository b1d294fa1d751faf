"""Hold measured coverage against the floor in .ci/floor.json, which only goes up.

python3 .ci/floor.py               is what was measured at least the floor?
python3 .ci/floor.py --raise       write what was measured, rounded down, as the new floor
python3 .ci/floor.py --since REF   is the floor at least what it was there?
"""

import argparse
import json
import math
import subprocess
import sys
from pathlib import Path

FLOOR = Path(__file__).with_name("floor.json")
MEASURED = Path("build/report/coverage.json")
WHAT = {
    "lines": ("covered_lines", "num_statements"),
    "branches": ("covered_branches", "num_branches"),
}


def measured(path: Path) -> dict[str, float]:
    """Give the covered per cents of `coverage json`."""
    totals = json.loads(path.read_text())["totals"]
    return {name: 100 * totals[a] / max(1, totals[b]) for name, (a, b) in WHAT.items()}


def below(now: dict[str, float], floor: dict[str, float]) -> list[str]:
    """Say what lies below the floor."""
    return [
        f"{name}: {now.get(name, 0.0):.2f} % is below the floor of {floor[name]} %"
        for name in floor
        if now.get(name, 0.0) < floor[name]
    ]


def lifted(now: dict[str, float], floor: dict[str, float]) -> dict[str, float]:
    """Give the floor of tomorrow: what was measured, to a tenth, and never less than today's."""
    return {name: max(floor.get(name, 0.0), math.floor(10 * now[name]) / 10) for name in now}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--raise", dest="lift", action="store_true")
    parser.add_argument("--since", metavar="REF")
    parser.add_argument("--floor", type=Path, default=FLOOR)
    parser.add_argument("--measured", type=Path, default=MEASURED)
    args = parser.parse_args(arguments)
    floor = json.loads(args.floor.read_text())
    if args.since:
        place = f"{args.since}:./{args.floor.name}"
        shown = subprocess.run(
            ["git", "-C", str(args.floor.parent), "show", place],
            capture_output=True,
            text=True,
            check=False,
        )
        if shown.returncode:  # the first floor
            print(f"no floor at {args.since}")
            return 0
        wrong = below(floor, json.loads(shown.stdout))
    else:
        if not args.measured.is_file():
            print(f"{args.measured} is not there: run .ci/coverage", file=sys.stderr)
            return 2
        now = measured(args.measured)
        print("coverage:", ", ".join(f"{name} {share:.2f} %" for name, share in now.items()))
        if args.lift:
            args.floor.write_text(json.dumps(lifted(now, floor), indent=2) + "\n")
            return 0
        wrong = below(now, floor)
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Put a golden set's rows to any model, and tell its metrics; or tell what a set of rows can see.

zoo evaluate runs/mine/model --on english-next          metrics with intervals; no gate
zoo evaluate gpt2-english --on english-next --json
zoo evaluate power english-next                         does the set see what its gate promises?
zoo evaluate power --rows 200 --drop 0.05               how sure 200 rows tell a fall by 5 points
zoo evaluate power --drop 0.05                          how many rows that takes
zoo evaluate power --rows 200                           which fall they tell

Exit codes: 0 done, 1 the set is too small for what its gate promises, 2 it cannot be done.
"""

import argparse
from pathlib import Path
from typing import Any

from zoo.cli import UsageError
from zoo.cli.common import emit, say
from zoo.cli.golden_root import finite, root_argument, root_of, rows_folder

POWER = "power"
MOST, LEAST = 5000, 0.005  # rows and a fall that are weighed in seconds: chances are summed exactly


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help=f"a folder or a name, or `{POWER}`")
    parser.add_argument("set", nargs="?", metavar="SET", help="power: the set of rows")
    parser.add_argument("--on", metavar="SET", help="the set of rows that the model is asked")
    root_argument(parser)
    parser.add_argument("--rows", type=int, metavar="N", help="power: rows with a known answer")
    parser.add_argument("--drop", type=float, metavar="D", help="power: a fall of accuracy (0.05)")
    parser.add_argument(
        "--churn", type=float, metavar="C", help="power: rows that equal models pass differently"
    )
    parser.add_argument(
        "--alarm", type=float, metavar="A", help="power: share of equal models that are refused"
    )
    parser.add_argument(
        "--sure", type=float, metavar="P", help="power: how probably a fall is told (0.8)"
    )


def run(args: argparse.Namespace) -> int:
    sizes = {name: getattr(args, name) for name in ("rows", "drop", "churn", "alarm", "sure")}
    given = [name for name, value in sizes.items() if value is not None]
    if args.model != POWER:
        if args.set is not None or given:
            raise UsageError(f"{args.set or '--' + given[0]} is for `zoo evaluate {POWER}`")
        if args.on is None:
            raise UsageError("name the set of rows that the model is asked: --on SET")
        return evaluate(args, root_of(args.root))
    if args.on is not None:
        raise UsageError(f"zoo evaluate {POWER} SET takes no --on")
    if args.set is not None:
        if given:
            raise UsageError(f"--{given[0]} stands in the gate of {args.set}; leave it out")
        return power_of_set(args, root_of(args.root))
    return power_of_sizes(args)


def evaluate(args: argparse.Namespace, root: Path) -> int:
    """Print every metric of a model on a set, beside the accepted one."""
    folder = rows_folder(root, args.on)
    from zoo.evaluate.drafts import manifest_of, opened
    from zoo.evaluate.golden_quality import ask
    from zoo.evaluate.rows import stated
    from zoo.evaluate.sets import ACCEPTED, read_outcomes
    from zoo.evaluate.tally import tally

    model = str(root / args.model) if (root / args.model).is_dir() else args.model
    subject = None if "subject" in stated(folder) else args.model  # rows alone name none
    with opened(folder, manifest_of(folder, subject)) as held:
        answered = ask(held, model)
    known = read_outcomes(folder / ACCEPTED)
    both = [row for row in answered.rows if row.id in known]
    accepted = tally(both, [known[row.id] for row in both]) if both else {}
    for name, metric in tally(answered.rows, answered.outcomes).items():
        low, high = map(finite, metric.interval())
        other = accepted.get(name)
        record = {
            "metric": name,
            "value": finite(metric.value),
            "low": low,
            "high": high,
            "rows": len(metric.rows),
            "accepted": None if other is None else finite(other.value),
        }
        emit(args, record, line_of(record))
    passed = sum(outcome.passed is True for outcome in answered.outcomes)
    judged = sum(outcome.passed is not None for outcome in answered.outcomes)
    say(f"{args.model} on {folder.name}: {passed} of {judged} rows passed")
    return 0


def line_of(record: dict[str, Any]) -> str:
    """Say a metric in a line."""
    from zoo.evaluate.sentences import value

    name = record["metric"]
    now, low, high, accepted = (
        "-" if record[key] is None else value(name, record[key])
        for key in ("value", "low", "high", "accepted")
    )
    text = f"{name:<28} {now:>18}  ({low} to {high}; {record['rows']} rows)"
    return text if record["accepted"] is None else f"{text}  accepted: {accepted}"


def power_of_set(args: argparse.Namespace, root: Path) -> int:
    """Tell what a set can see; 1 when its gate promises more."""
    folder = rows_folder(root, args.set)
    from zoo.evaluate.drafts import manifest_of, opened
    from zoo.evaluate.gate import Gate
    from zoo.evaluate.golden_quality import asked
    from zoo.evaluate.power import check_power
    from zoo.evaluate.rows import stated
    from zoo.evaluate.sets import ACCEPTED, GATE, read_outcomes

    nobody = None if "subject" in stated(folder) else "nobody"  # no model is asked here
    with opened(folder, manifest_of(folder, nobody)) as held:
        rows = asked(held)
    known = read_outcomes(folder / ACCEPTED)
    whole = known if known and all(row.id in known for row in rows) else None
    own = None if whole is None else [whole[row.id] for row in rows]
    gate = Gate.read(folder / GATE)
    found = check_power(gate, rows, own)
    guard = gate.guard
    record = {
        "set": folder.name,
        "ok": found.ok,
        "rows": found.rows,
        "power": found.power,
        "alarm": found.alarm,
        "least_rows": found.least_rows,
        "least_drop": found.least_drop,
        "faults": list(found.sentences),
    }
    told = (
        f"{folder.name}: {found.rows} rows tell a fall of accuracy by {100 * guard.drop:g} points "
        f"with probability {found.power:.2f} ({guard.power:g} is promised), and refuse a model as "
        f"good with probability {found.alarm:.3g} at most ({guard.alarm:g} is allowed)"
    )
    emit(args, record, "\n".join([told, *(f"{folder.name}: {s}" for s in found.sentences)]))
    return int(not found.ok)


def power_of_sizes(args: argparse.Namespace) -> int:
    """Tell of rows and a fall the third: how sure it is told, or how many rows, or which fall."""
    if args.rows is None and args.drop is None:
        raise UsageError(f"zoo evaluate {POWER} takes a SET, or --rows N and --drop D, or one")
    from zoo.evaluate.gate_file import Guard, check_guard
    from zoo.evaluate.power import least_drop, least_rows, power

    named = {name: getattr(args, name) for name in ("drop", "churn", "alarm")}
    held = {name: value for name, value in named.items() if value is not None}
    held |= {} if args.sure is None else {"power": args.sure}
    guard = Guard(**({"drop": 0.05} | held))
    check_guard(guard)
    if args.rows is not None and not 1 <= args.rows <= MOST:
        raise UsageError(f"--rows {args.rows}; expected one or more, and at most {MOST}")
    if guard.drop < LEAST:
        raise UsageError(f"--drop {guard.drop:g}; expected {LEAST:g} or more")
    record: dict[str, Any] = {"rows": args.rows, "drop": args.drop}
    wanted = (guard.churn, guard.alarm, guard.power)
    if args.drop is not None:
        record["least_rows"] = least_rows(guard.drop, *wanted)
    if args.rows is not None:
        record["least_drop"] = least_drop(args.rows, *wanted)
        if args.drop is not None:
            record["power"] = power(args.rows, guard.drop, guard.churn, guard.alarm)
    emit(args, record, told_of(record, guard))
    return 0


def told_of(record: dict[str, Any], guard: Any) -> str:
    """Say what so many rows see."""
    lines = []
    if "power" in record:
        lines.append(
            f"{record['rows']} rows tell a fall by {100 * guard.drop:g} points with probability "
            f"{record['power']:.2f}"
        )
    if "least_rows" in record:
        count = record["least_rows"]
        takes = "no number of rows is enough" if count is None else f"{count} rows are needed"
        lines.append(f"to tell {100 * guard.drop:g} points with {guard.power:g}: {takes}")
    if "least_drop" in record:
        drop = record["least_drop"]
        tells = "no fall" if drop is None else f"a fall by {100 * drop:.1f} points"
        lines.append(f"{record['rows']} rows tell {tells} with probability {guard.power:g}")
    return "\n".join(lines)

"""List golden sets, check them, accept what they hold, or make a checkpoint again from its recipe.

zoo golden                                              which sets there are
zoo golden check                                        are all models as good as they were?
zoo golden check mails english-next
zoo golden accept mails --because "label of mail-017 was wrong"
zoo golden accept vit-mnist --from runs/vit-mnist --because "trained twice as long: 98.1 %"
zoo golden reproduce vit-mnist                          does its recipe still give these very bits?

Exit codes: 0 all is as accepted, 1 something got worse or is damaged, 2 it cannot be done.
"""

import argparse
import time
from pathlib import Path
from typing import Any

from zoo.cli import UsageError
from zoo.cli.common import emit, say
from zoo.cli.golden_root import chosen, finite, root_argument, root_of

NAMED = 12  # changed rows that are listed; the others are counted


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action",
        nargs="?",
        choices=("list", "check", "accept", "reproduce"),
        default="list",
        help="what to do (default: list)",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="sets; all where none is named")
    parser.add_argument("--because", metavar="REASON", help="accept: why the set may change")
    parser.add_argument("--from", dest="source", metavar="RUN", help="accept: a checkpoint's run")
    parser.add_argument(
        "--subject", metavar="MODEL", help="accept: the model of a set of rows, the first time"
    )
    parser.add_argument("--out", metavar="RUN", help="reproduce: where to train")
    root_argument(parser)


def run(args: argparse.Namespace) -> int:
    given = {"because": "accept", "source": "accept", "subject": "accept", "out": "reproduce"}
    for name, action in given.items():
        if getattr(args, name) is not None and args.action != action:
            option = "from" if name == "source" else name
            raise UsageError(f"--{option} is for `zoo golden {action}`")
    if args.action in ("accept", "reproduce") and len(args.names) != 1:
        raise UsageError(f"zoo golden {args.action} takes the name of one set")
    root = root_of(args.root)
    return {"list": listed, "check": check, "accept": accept, "reproduce": reproduce}[args.action](
        args, root
    )


def listed(args: argparse.Namespace, root: Path) -> int:
    """Print a line a set."""
    from zoo.evaluate.golden import open_set
    from zoo.evaluate.rows import ROWS, read_lines
    from zoo.evaluate.sets import HISTORY

    for folder in chosen(root, args.names):
        golden = open_set(folder)
        rows = len(read_lines(folder / ROWS)) if (folder / ROWS).exists() else None
        history = read_lines(folder / HISTORY) if (folder / HISTORY).exists() else []
        record = {
            "set": golden.name,
            "kind": golden.kind,
            "version": golden.version,
            "why": golden.manifest["history"][0]["why"] if golden.version else None,
            "subject": golden.manifest.get("subject"),
            "rows": rows,
            "metrics": history[-1]["metrics"] if history else {},
        }
        emit(args, record, line_of(record))
    return 0


def line_of(record: dict[str, Any]) -> str:
    """Say in a line what a set is; of its metrics those of the whole."""
    whole = {name: value for name, value in record["metrics"].items() if "[" not in name}
    asked = f"{record['rows']} rows for {record['subject']}" if record["rows"] else ""
    numbers = ", ".join(f"{name} {value:.3f}" for name, value in whole.items())
    why = record["why"] if record["kind"] == "checkpoint" else None  # which tells what it reaches
    tail = "; ".join(part for part in (asked, numbers, why) if part)
    head = f"{record['set']:<20} {record['kind']:<10} version {record['version']:<3}"
    return f"{head} {tail}".rstrip()


def check(args: argparse.Namespace, root: Path) -> int:
    """Compare every set with what it recorded; 1 when one of them is not as accepted."""
    folders = chosen(root, args.names)
    begun, failed = time.perf_counter(), 0
    for folder in folders:
        record = checked(folder)
        failed += not record["ok"]
        emit(args, record, said(record))
    took = time.perf_counter() - begun
    sets = "1 set" if len(folders) == 1 else f"{len(folders)} sets"
    how = f"{failed} not as accepted" if failed else "all as accepted"
    say(f"{sets}, {how}; {took:.1f} seconds")
    return int(failed > 0)


def checked(folder: Path) -> dict[str, Any]:
    """Compare one set; what it cannot be compared for is a fault of it, too."""
    from zoo.evaluate.golden import Report, compare, open_set

    begun = time.perf_counter()
    kind = None
    try:
        golden = open_set(folder)
        kind = golden.kind
        report = compare(golden)
    except (ValueError, OSError) as error:
        report = Report(folder.name, faults=[" ".join(str(error).split())])
    metrics = report.verdict.metrics if report.verdict is not None else {}
    names = ("before", "after", "low", "high", "rows")
    return {
        "set": folder.name,
        "kind": kind,
        "ok": report.ok,
        "compared": report.compared,
        "faults": report.faults,
        "changes": report.changes,
        "metrics": {n: {k: finite(getattr(m, k)) for k in names} for n, m in metrics.items()},
        "seconds": round(time.perf_counter() - begun, 3),
    }


def said(record: dict[str, Any]) -> str:
    """Say what a check found: a line when all is well, and one for each fault and changed row."""
    name, changes = record["set"], record["changes"]
    if record["ok"]:
        what = f"{record['compared']} comparisons" if record["kind"] != "rows" else "as accepted"
        lines = [f"{name}: sound, {what} ({record['seconds']:.1f} s)"]
    else:
        lines = [f"{name}: {fault}" for fault in record["faults"]]
    lines += [f"{name}: changed: {change}" for change in changes[:NAMED]]
    if len(changes) > NAMED:
        lines.append(f"{name}: changed: {len(changes) - NAMED} rows more (--json lists all)")
    return "\n".join(lines)


def accept(args: argparse.Namespace, root: Path) -> int:
    """Make what is computed now what a set expects."""
    (name,) = args.names
    if args.because is None:
        raise UsageError('say why: --because "what changed, and why that is right"')
    if not name or "/" in name or "\\" in name or name.startswith("."):
        raise UsageError(f"{name!r} is no set's name; name a folder of {root}")
    from zoo.evaluate.accept import accept as accepted

    done = accepted(root / name, args.because, source=args.source, subject=args.subject)
    record = {
        "set": done.name,
        "version": done.version,
        "changed": done.changed,
        "metrics": {
            m.name: [*map(finite, (m.before, m.after, m.low, m.high))] for m in done.metrics
        },
        "rows": list(done.rows),
    }
    lines = [done.says, *(f"  {moved}" for moved in done.metrics)]
    lines += [f"  {row}" for row in done.rows[:NAMED]]
    if len(done.rows) > NAMED:
        lines.append(f"  and {len(done.rows) - NAMED} more")
    emit(args, record, "\n".join(lines))
    asked = askers(root, name) if done.changed else []
    if asked:
        say(f"now see what the rows put to it say: zoo golden check {' '.join(asked)}")
    return 0


def askers(root: Path, subject: str) -> list[str]:
    """Name the sets whose rows are put to a model."""
    from zoo.evaluate.golden import find_sets

    return [held.name for held in find_sets(root) if held.manifest.get("subject") == subject]


def reproduce(args: argparse.Namespace, root: Path) -> int:
    """Train a checkpoint again by its recipe, and compare."""
    from zoo.cli.golden_reproduce import reproduced
    from zoo.evaluate.golden import open_set

    (folder,) = chosen(root, args.names)
    golden = open_set(folder)
    if golden.kind != "checkpoint":
        raise UsageError(f"{folder.name} is of kind {golden.kind}; only a checkpoint has a recipe")
    record, code = reproduced(golden, root, Path(args.out or f"runs/again-{folder.name}"))
    emit(args, record, f"{record['set']}: {record['says']}")
    return code

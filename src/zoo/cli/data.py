"""Check data before a run: leaks, doubles, labels, encodings, and drift from recorded data.

zoo data check mails.csv --kind labelled_text --columns text=body
zoo data check pets/ --kind labelled_images --record pets.json
zoo data check new/ --kind labelled_images --reference pets.json
zoo data check visits.parquet --kind labelled_text --entity patient --time date

Exit codes: 0 sound, 1 something found is an error, 2 the files cannot be used.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from zoo.cli import UsageError
from zoo.cli.common import emit, say

ACTIONS = ("check",)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=ACTIONS, help="what to do with the data")
    parser.add_argument("files", nargs="+", metavar="FILE", help="files or folders of rows")
    parser.add_argument(
        "--kind",
        required=True,
        help="text, labelled_text, tagged_text, answers, labelled_images, images or pairs",
    )
    parser.add_argument(
        "--reference",
        metavar="FILE",
        help="compare with what --record wrote for other data, or with a run's folder",
    )
    parser.add_argument("--record", metavar="FILE", help="write what these data are like, as JSON")
    parser.add_argument(
        "--entity", metavar="COLUMN", help="whose values may not stand in two splits"
    )
    parser.add_argument(
        "--time", metavar="COLUMN", help="numbers or ISO dates: no row of train after valid or test"
    )
    parser.add_argument("--labels", metavar="A,B", help="the labels that may occur")
    parser.add_argument(
        "--columns",
        action="append",
        default=[],
        metavar="OURS=THEIRS",
        help="what a column is called in the files, may be given again",
    )
    parser.add_argument("--group", metavar="COLUMN", help="draw rows of one value into one split")
    parser.add_argument("--lines", action="store_true", help="a line of a .txt is a text")


def run(args: argparse.Namespace) -> int:
    columns = dict(map(named, args.columns))
    from zoo.data import read
    from zoo.data.check import read_reference, report_of, seen
    from zoo.data.statistics import statistics_of

    reference = None if args.reference is None else read_reference(args.reference)
    rows = read(
        args.files,
        args.kind,
        labels=None if args.labels is None else args.labels.split(","),
        columns=columns or None,
        group=args.group,
        lines=args.lines,
    )
    view = seen(rows, reference=reference, entity=args.entity, time=args.time)
    report = report_of(view)
    emit(args, report.as_dict(), report.text())
    if args.record is not None:
        write(Path(args.record), statistics_of(view))
        say(f"{args.record}: what these data are like; compare others with --reference")
    return 0 if report.passed else 1


def named(text: str) -> tuple[str, str]:
    """Split OURS=THEIRS."""
    ours, equals, theirs = text.partition("=")
    if not (ours and equals and theirs):
        raise UsageError(f"--columns {text!r}; expected OURS=THEIRS, such as text=body")
    return ours, theirs


def write(file: Path, record: dict[str, Any]) -> None:
    file.write_text(f"{json.dumps(record)}\n", encoding="utf-8")

"""Write one page that shows what the golden models can do: scores, slices, mistakes, attention.

zoo report
zoo report --out page.html --only vit-mnist --date 2026-11-21

Every model is asked its golden rows anew, so what the page says holds now. It is one HTML file that
needs no network and runs no script. The date is SOURCE_DATE_EPOCH's where --date is not given, and
none without: the same inputs give the same bytes. The page tells a fall; it fails nothing, which
`zoo golden check` does.
"""

import argparse
import datetime
import os
from pathlib import Path

from zoo.cli import UsageError
from zoo.cli.common import emit, say
from zoo.cli.golden_root import root_argument, root_of


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", default="report.html", metavar="FILE.html", help="default: report.html"
    )
    root_argument(parser)
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="a model or a set; repeatable"
    )
    parser.add_argument("--date", metavar="YYYY-MM-DD", help="the page's date")


def run(args: argparse.Namespace) -> None:
    out = Path(args.out)
    if out.suffix.lower() != ".html" or out.is_dir():
        raise UsageError(f"--out {out}; expected a file that ends in .html")
    if not out.absolute().parent.is_dir():
        raise UsageError(f"--out {out}: there is no folder {out.parent}")
    root = root_of(args.root)
    made = date_of(args.date, os.environ.get("SOURCE_DATE_EPOCH"))
    from zoo.report import gather, write_page

    page = gather(root, only=args.only, made=made)
    write_page(page, out)
    for part in page.parts:
        numbers = {score.name: score.estimate.value for score in part.main}
        record = {"model": part.name, "verdict": part.verdict, "rows": part.rows}
        record |= {"scores": numbers}
        scores = ", ".join(f"{name} {value:.4g}" for name, value in numbers.items())
        emit(args, record, f"{part.name:<16} {part.verdict:<6} {part.rows:>6,} rows  {scores}")
    for sentence in page.missing:
        say(sentence)
    say(f"wrote {out}")


def date_of(given: str | None, epoch: str | None) -> str | None:
    """Give the page's date; raise UsageError for what is none."""
    if given is not None:
        try:
            return datetime.date.fromisoformat(given).isoformat()
        except ValueError:
            raise UsageError(f"--date {given!r}; expected YYYY-MM-DD") from None
    if not epoch:
        return None
    try:
        moment = datetime.datetime.fromtimestamp(int(epoch), datetime.UTC)
    except (ValueError, OverflowError, OSError):
        raise UsageError(f"SOURCE_DATE_EPOCH={epoch!r}; expected seconds since 1970") from None
    return moment.date().isoformat()

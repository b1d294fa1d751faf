"""A report as one HTML file: no script, no network, readable on a telephone and on paper."""

import os
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any

from zoo.testing.finding import KINDS, Finding
from zoo.testing.folding import also
from zoo.testing.report import Report, counted

STYLE = """
:root { color-scheme: light dark; --line: #8884; --fail: #c62828; --warn: #955800; --info: #1565c0;
  --good: #2e7d32; --quiet: #666 }
@media (prefers-color-scheme: dark) { :root { --fail: #ff8a80; --warn: #ffb74d; --info: #90caf9;
  --good: #a5d6a7; --quiet: #aaa } }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 56rem; padding: 1rem;
  background: Canvas; color: CanvasText }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin: 0 0 .3rem }
h1, h2, dd, td { overflow-wrap: anywhere }
article { border: 1px solid var(--line); border-left: .4rem solid; border-radius: .3rem;
  margin: 1rem 0; padding: .8rem 1rem }
.fail { border-left-color: var(--fail) } .warn { border-left-color: var(--warn) }
.info { border-left-color: var(--info) }
.tag { font-size: .8rem; font-weight: 700; letter-spacing: .04em; text-transform: uppercase }
.fail .tag, b.fail { color: var(--fail) } .warn .tag, b.warn { color: var(--warn) }
.info .tag, b.info { color: var(--info) } b.good { color: var(--good) }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .2rem .8rem;
  margin: .5rem 0 0 }
dt { color: var(--quiet) } dd { margin: 0 }
pre, code { font: .85rem/1.45 ui-monospace, monospace } pre { margin: 0; overflow-x: auto }
table { border-collapse: collapse; width: 100% } td, th { border-top: 1px solid var(--line);
  padding: .2rem .5rem; text-align: left; vertical-align: top } td.n { text-align: right }
svg { max-width: 100%; height: auto; margin-top: .6rem } figcaption { font-size: .85rem }
"""
LETTERS = {"fail": "failed", "warn": "looks wrong", "info": "worth knowing"}
CELL = 14  # pixels a side of a matrix's cell


def write_page(reports: Sequence[Report], path: Path) -> None:
    """Write reports to a file, whole or not at all."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(page(reports), encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def page(reports: Sequence[Report]) -> str:
    """Give the page's HTML."""
    names = ", ".join(report.name for report in reports)
    body = "".join(piece for report in reports for piece in report_html(report))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(names)}: checks</title><style>{STYLE}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def report_html(report: Report) -> Iterator[str]:
    """Give one report's part of the page."""
    yield f"<section><h1>{escape(report.name)}</h1><p>{verdict(report)}</p>"
    for finding in report.findings:
        if not finding.because:
            yield finding_html(finding, also(finding, report.findings))
    more = [finding for finding in report.findings if finding.because]
    if more:
        yield f"<details><summary>{len(more)} more: what follows from these</summary>"
        yield from (finding_html(finding) for finding in more)
        yield "</details>"
    yield "<details><summary>All checks</summary><table><tr><th>check</th><th>result</th>"
    yield "<th>seconds</th></tr>"
    for outcome in report.outcomes:
        said = f"{outcome.status}: {outcome.reason}" if outcome.reason else outcome.status
        yield (
            f"<tr><td><code>{escape(outcome.check)}</code></td><td>{escape(said)}</td>"
            f'<td class="n">{outcome.seconds:.2f}</td></tr>'
        )
    yield "</table></details></section>"


def verdict(report: Report) -> str:
    """Say in one sentence how it went."""
    ran = sum(outcome.status in ("passed", "found") for outcome in report.outcomes)
    counts = counted(report.findings)
    told = [f'<b class="{s}">{n} {LETTERS[s]}</b>' for s, n in counts.items() if n]
    more = sum(bool(f.because) for f in report.findings)
    told += [f"{more} more that follow{'s' if more == 1 else ''}"] if more else []
    head = f"{ran} checks of {report.parameters:,} parameters in {report.seconds:.1f} s: "
    return head + (", ".join(told) or '<b class="good">all good</b>')


def finding_html(finding: Finding, places: Sequence[str] = ()) -> str:
    """Give one finding's card."""
    rows = [
        ("where", f"<code>{escape(finding.where or 'the model itself')}</code>"),
        ("line", f"<code>{escape(finding.line)}</code>" if finding.line else ""),
        ("seen", escape(finding.evidence)),
        ("also", escape(f"the same at {', '.join(places)}") if places else ""),
        ("follows from", escape(finding.because)),
        ("why", escape(finding.explanation)),
        ("fix", escape(finding.fix)),
        ("again", f"<pre>{escape(finding.repro)}</pre>" if finding.repro else ""),
    ]
    listed = "".join(f"<dt>{head}</dt><dd>{text}</dd>" for head, text in rows if text)
    return (
        f'<article class="{finding.severity}"><span class="tag">{finding.severity}</span>'
        f"<h2>{escape(finding.kind)}: {escape(KINDS[finding.kind])}</h2>"
        f"<dl>{listed}</dl>{matrix_html(finding.data)}</article>"
    )


def matrix_html(data: Any) -> str:
    """Draw an influence matrix: outputs down, inputs across, dark where one moves the other.

    `data` is {"matrix": rows of numbers, "rows": what a row is, "columns": what a column is}.
    """
    if not isinstance(data, dict) or not data.get("matrix"):
        return ""
    matrix = data["matrix"]
    largest = max((abs(x) for row in matrix for x in row), default=0.0) or 1.0
    rows, columns = data.get("rows", "output"), data.get("columns", "input")
    cells = "".join(
        f'<rect x="{c * CELL}" y="{r * CELL}" width="{CELL - 1}" height="{CELL - 1}" '
        f'fill="currentColor" fill-opacity="{0.06 + 0.94 * min(1.0, abs(x) / largest) ** 0.3:.2f}">'
        f"<title>{escape(str(rows))} {r}, {escape(str(columns))} {c}: {x:.2g}</title></rect>"
        for r, row in enumerate(matrix)
        for c, x in enumerate(row)
        if x
    )
    width, height = CELL * max(len(row) for row in matrix), CELL * len(matrix)
    said = f"which {rows} (down) moves with which {columns} (across)"
    return (
        f'<figure><svg width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="{escape(said)}"><rect width="{width}" height="{height}" '
        f'fill="none" stroke="currentColor" stroke-opacity=".4"/>{cells}</svg>'
        f"<figcaption>{escape(said)}</figcaption></figure>"
    )

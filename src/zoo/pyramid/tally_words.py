"""The table of tiers for people: 80 columns for a terminal, Markdown for a job's summary."""

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from zoo.pyramid.tally_extra import wilson

WIDTH = 80
VERDICTS = ("clean", "flaky", "again", "broken", "open", "skipped")
UNSOUND = ("flaky", "again", "broken")
HEAD = ("tier", "tests", "cases", "skipped", "failed", "wall", "cpu", "budget", "share", "power")


def row(name: str, tier: dict[str, Any]) -> tuple[str, ...]:
    """Give one tier's cells."""
    shares = [one["killed"] / one["of"] for one in tier["power"] if one["of"]]
    return (
        name,
        f"{tier['tests']:,}",
        "-" if tier["cases"] is None else f"{tier['cases']:,}",
        f"{tier['skipped']:,}",
        f"{tier['failed']:,}",
        span(tier["seconds"]),
        span(tier["cpu"]),
        span(tier["budget"]),
        "-" if tier["share"] is None else f"{100 * tier['share']:.0f} %",
        f"{100 * min(shares):.1f} %" if shares else "-",  # its weakest measurement
    )


def span(seconds: float | None) -> str:
    """Write seconds short: 0.4 s, 93 s."""
    if seconds is None:
        return "-"
    return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:,.0f} s"


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Set cells in columns: the first to the left, numbers to the right."""
    widths = [max(len(line[at]) for line in rows) for at in range(len(rows[0]))]
    return [
        "  ".join(
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in rows
    ]


def power_line(one: dict[str, Any]) -> str:
    """Say what one measurement of power found, with its interval."""
    if not one["of"]:
        return f"{one['tier']}: nothing to catch in {one['what']}"
    low, high = (100 * x for x in wilson(one["killed"], one["of"]))
    share = 100 * one["killed"] / one["of"]
    return (
        f"{one['tier']}: {one['killed']:,} of {one['of']:,} caught, {share:.1f} % "
        f"[{low:.1f}, {high:.1f}] ({one['what']})"
    )


def sections(record: dict[str, Any], slowest: int) -> list[tuple[str, list[str]]]:
    """Give the parts below the table: a title and its lines; none that is empty."""
    power = [one for tier in record["tiers"].values() for one in tier["power"]]
    parts = [
        ("power: what the tests catch", [power_line(p) for p in power + record["other_power"]]),
        ("slowest tests", slow_lines(record["functions"], slowest)),
        ("skipped, and what they wait for", waiting_lines(record["waiting"])),
        ("flakes", flake_lines(record["flakes"])),
        ("coverage", coverage_lines(record["coverage"])),
        ("since then", trend_lines(record.get("trend"), slowest)),
    ]
    return [(title, lines) for title, lines in parts if lines]


def slow_lines(functions: dict[str, dict[str, Any]], slowest: int) -> list[str]:
    """Give the slowest functions; all their cases count."""
    lines = []
    for name, one in list(functions.items())[:slowest]:
        cpu = "" if one["cpu"] is None else f", {one['cpu']:.2f} s cpu"
        cases = "" if one["cases"] == 1 else f" in {one['cases']} cases"
        lines.append(f"{one['seconds']:.2f} s{cpu}{cases}  {name}")
    return lines


def waiting_lines(waiting: Iterable[dict[str, Any]]) -> list[str]:
    """Give the reasons of skipped cases."""
    return [f"{one['cases']:,} in {one['tier']}: {one['reason'] or 'no reason'}" for one in waiting]


def flake_lines(flakes: Sequence[dict[str, Any]]) -> list[str]:
    """Count the verdicts, and name every test that does not always pass, with its cause."""
    lines = []
    for one in flakes:
        if one.get("suite") is True:
            counts = [f"{one[name]:,} {name}" for name in VERDICTS if one.get(name)]
            lines.append(f"{one.get('tests', 0):,} tests hunted: {', '.join(counts) or 'none ran'}")
    rows = [one for one in flakes if one.get("suite") is not True]
    if rows and not lines:
        verdicts = [str(one["verdict"]) for one in rows]
        lines.append(", ".join(f"{verdicts.count(v):,} {v}" for v in sorted(set(verdicts))))
    bad = [one for one in rows if one["verdict"] in UNSOUND]
    return lines + [f"{one['verdict']}: {one['test']}{because(one)}" for one in bad]


def because(one: dict[str, Any]) -> str:
    """Give the causes of a flake where they are known."""
    causes = one.get("factors")
    return f" ({', '.join(map(str, causes))})" if isinstance(causes, list) and causes else ""


def coverage_lines(found: dict[str, int] | None) -> list[str]:
    """Give covered lines and branches."""
    if found is None:
        return []
    return [
        f"{what}: {found[what]:,} of {found[of]:,}, {100 * found[what] / found[of]:.2f} %"
        for what, of in (("lines", "lines_of"), ("branches", "branches_of"))
        if found[of]
    ]


def trend_lines(trend: dict[str, Any] | None, slowest: int) -> list[str]:
    """Say what changed since an older table."""
    if trend is None:
        return []
    lines = [f"before: {trend['before'] or 'no run'}; {trend['added']} new, {trend['gone']} gone"]
    for one in trend["tiers"]:
        a, b = one["before"], one["now"]
        if a is not None and b is not None and a != b:
            texts = (span(a), span(b)) if one["what"] == "seconds" else (f"{a:,}", f"{b:,}")
            lines.append(f"{one['tier']}: {one['what']} {texts[0]} -> {texts[1]}")
    unit = {"cpu": " of the processor", "seconds": ""}
    for one in trend["slower"][:slowest]:
        spans = f"{one['before']:.2f} s -> {one['now']:.2f} s{unit[one['what']]}"
        lines.append(f"slower: {one['test']}  {spans}")
    if len(trend["slower"]) > slowest:
        lines.append(f"and {len(trend['slower']) - slowest} slower tests more")
    return lines


def total(record: dict[str, Any]) -> str:
    """Say in one sentence how much there is."""
    tiers = record["tiers"].values()
    cases = sum(tier["cases"] or 0 for tier in tiers)
    seconds = sum(tier["seconds"] or 0.0 for tier in tiers)
    if record["when"] is None:
        return "no report yet: run pytest with --junitxml build/report/unit.xml"
    tests = sum(tier["tests"] for tier in tiers)
    first, last = (record[name][:16].replace("T", " ") for name in ("first", "when"))
    runs = f"run at {last}" if first[:10] == last[:10] else f"runs from {first} to {last}"
    return f"{tests:,} tests, {cases:,} cases, {span(seconds)}; {runs}"


def as_text(record: dict[str, Any], slowest: int) -> str:
    """Write the table for a terminal."""
    rows = [HEAD, *(row(name, tier) for name, tier in record["tiers"].items())]
    lines = [*columns(shown(rows)), "", total(record)]
    for title, some in sections(record, slowest):
        lines += ["", title, *(part for line in some for part in cut(line))]
    return "\n".join(lines)


def shown(rows: Sequence[Sequence[str]]) -> list[list[str]]:
    """Leave out columns that say nothing of any tier."""
    keep = [
        at
        for at in range(len(rows[0]))
        if at < 3 or any(line[at] not in ("-", "0") for line in rows[1:])
    ]
    return [[line[at] for at in keep] for line in rows]


def cut(line: str) -> list[str]:
    """Fold what is wider than a terminal; a test's name stays whole on a line of its own."""
    if len(line) + 2 <= WIDTH:
        return ["  " + line]
    head, gap, name = line.rpartition("  ")
    if gap:
        return ["  " + head.rstrip(), "      " + name]
    return textwrap.wrap(
        line,
        WIDTH,
        initial_indent="  ",
        subsequent_indent="      ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def as_markdown(record: dict[str, Any], slowest: int) -> str:
    """Write the table for a page."""
    rows = shown([HEAD, *(row(name, tier) for name, tier in record["tiers"].items())])
    lines = ["| " + " | ".join(line) + " |" for line in rows]
    lines.insert(1, "|---" + "|---:" * (len(rows[0]) - 1) + "|")
    lines += ["", total(record)]
    for title, some in sections(record, slowest):
        lines += [
            "",
            f"<details><summary>{title}</summary>",
            "",
            "```text",
            *some,
            "```",
            "</details>",
        ]
    return "\n".join(lines)

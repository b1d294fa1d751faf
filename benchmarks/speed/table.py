"""Results as tables for people: a row for each of zoo's modes and each peer."""

from collections.abc import Iterable, Sequence
from typing import Any

MIB = 1 << 20
Record = dict[str, Any]

HEAD = (
    *("item", "zoo", "peer", "zoo's time", "peer's time", "× the peer", "95 %"),
    *("% of the limit", "live MiB", "× peer's", "peak RSS MiB", "same numbers"),
)


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay a table out; the first three columns are words, the others numbers."""
    lines = ["| " + " | ".join(head) + " |"]
    lines.append("|" + "|".join("---" if i < 3 else "---:" for i in range(len(head))) + "|")
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


def table(records: Iterable[Record]) -> str:
    """Give the table of all items."""
    return markdown(HEAD, [row for record in records for row in rows_of(record)])


def rows_of(record: Record) -> list[tuple[str, ...]]:
    """Give the rows of an item; a side that is absent has one that says why."""
    rows = [row_of(record, pair) for pair in record["pairs"]]
    sides = record["sides"]
    if not record["pairs"]:
        rows += [alone(record, name) for name, side in sides.items() if "absent" not in side]
    for name, side in sides.items():
        if "absent" in side:
            zoo, peer = (name, "") if name.startswith("zoo") else ("", name)
            rows.append((record["item"], zoo, peer, *[""] * (len(HEAD) - 4), side["absent"]))
    return rows


def alone(record: Record, name: str) -> tuple[str, ...]:
    """Give the row of a side that nothing is compared with."""
    side = record["sides"][name]
    zoo, peer = (name, "") if name.startswith("zoo") else ("", name)
    limit = percent(side.get("of_limit"))
    memory = (mib(side.get("live")), "", mib(side.get("rss")), "")
    return (record["item"], zoo, peer, duration(side["seconds"]), "", "", "", limit, *memory)


def row_of(record: Record, pair: Record) -> tuple[str, ...]:
    ours, theirs = (record["sides"][pair[name]] for name in ("ours", "peer"))
    return (
        record["item"],
        pair["ours"],
        pair["peer"],
        duration(ours["seconds"]),
        duration(theirs["seconds"]),
        f"{pair['ratio']['median']:.2f}",
        spread(pair["ratio"]),
        percent(ours.get("of_limit")),
        mib(ours.get("live")),
        "-" if pair["live"] is None else f"{pair['live']:.2f}",
        " / ".join(mib(side.get("rss")) for side in (ours, theirs)),
        sameness(pair),
    )


def duration(seconds: float) -> str:
    """Write seconds with three digits that count."""
    for factor, unit in ((1.0, "s"), (1e3, "ms")):
        if seconds * factor >= 1:
            return f"{seconds * factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def spread(ratio: Record) -> str:
    """Write the interval of a median, or the extremes where there are too few rounds for one."""
    if ratio["interval"] is not None:
        return "{:.2f} to {:.2f}".format(*ratio["interval"])
    return "({:.2f} to {:.2f})".format(*ratio["range"])


def percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.0f}"


def mib(count: int | None) -> str:
    return "-" if count is None else f"{count / MIB:,.0f}"


def sameness(pair: Record) -> str:
    """Say whether both computed the same."""
    if pair.get("fault"):
        return f"NO: {pair['difference']:.1e}, more than {pair['bound']:.1e}"
    parts = []
    if "tokens" in pair:
        every = pair["tokens"] == pair["tokens_same"]
        parts.append(f"{'all' if every else pair['tokens_same']} of {pair['tokens']} tokens")
    if "difference" in pair and pair["bound"] is None:
        parts.append(f"off by {100 * pair['difference']:.2g} %")
    elif "difference" in pair and "tokens" not in pair:
        parts.append("yes")
    return ", ".join(parts) or "-"

"""Columns beside a record of others: added, removed, renamed, of another type, with more gaps."""

from collections.abc import Iterator, Mapping
from difflib import SequenceMatcher
from typing import Any

from zoo.data.drift import chance, level_of
from zoo.data.findings import Finding, plural
from zoo.data.statistics import columns_of
from zoo.data.view import View

ALIKE = 0.6  # of two names, difflib's ratio; what its get_close_matches takes
NUMBERS = ("whole number", "number")
ROWS = 20  # fewer rows of one value say nothing


def schema(view: View) -> Iterator[Finding]:
    """Find columns that were added, removed, renamed, or hold another type."""
    then, now = view.reference["columns"], columns_of(view)
    removed = {name: about for name, about in then.items() if name not in now}
    added = {name: about for name, about in now.items() if name not in then}
    renamed = renames(removed, added)
    for old, new in sorted(renamed.items()):
        yield changed(
            f"column {old!r} is called {new!r} now; rename it, or pass --columns {old}={new}",
            old,
            "renamed",
        )
    for name in sorted(set(removed) - set(renamed)):
        yield changed(f"column {name!r} ({removed[name]['type']}) is gone", name, "removed")
    for name in sorted(set(added) - set(renamed.values())):
        yield changed(
            f"column {name!r} ({added[name]['type']}) is new; drop it, or record these data anew",
            name,
            "added",
        )
    for name in sorted(set(then) & set(now)):
        old, new = then[name]["type"], now[name]["type"]
        if old != new and "empty" not in (old, new):
            mild = {old, new} == set(NUMBERS)
            yield changed(
                f"column {name!r} held {old} and holds {new}",
                name,
                "type",
                level="warning" if mild else "error",
            )


def changed(text: str, column: str, what: str, level: str = "error") -> Finding:
    return Finding(level, "schema", text, (), {"column": column, "change": what})


def renames(removed: Mapping[str, Any], added: Mapping[str, Any]) -> dict[str, str]:
    """Match columns that are gone with new ones: of one type, and of like names or values."""
    pairs = sorted(
        (-likeness(old, new, removed[old], added[new]), old, new)
        for old in removed
        for new in added
    )
    found: dict[str, str] = {}
    for score, old, new in pairs:
        if -score >= ALIKE and old not in found and new not in found.values():
            found[old] = new
    return found


def likeness(old: str, new: str, then: Mapping[str, Any], now: Mapping[str, Any]) -> float:
    """Tell how likely one column is another by a new name: the likeness of names, or of values."""
    both = {then["type"], now["type"]}
    if len(both) > 1 and not both <= set(NUMBERS):
        return 0.0
    one, other = (name.casefold().replace("_", "").replace(" ", "") for name in (old, new))
    values = 0.0
    if then.get("values") and now.get("values"):
        a, b = set(then["values"]), set(now["values"])
        values = len(a & b) / len(a | b)
    elif then.get("low") is not None and now.get("low") is not None:
        low, high = max(then["low"], now["low"]), min(then["high"], now["high"])
        width = max(then["high"], now["high"]) - min(then["low"], now["low"])
        # one range may be many things' (0 to 1): it alone is not enough
        values = 0.5 * max(0.0, high - low) / width if width else 0.0
    return max(SequenceMatcher(None, one, other).ratio(), values)


def gaps(view: View) -> Iterator[Finding]:
    """Find columns with more missing cells, or fewer, than in the record."""
    then, now = view.reference["columns"], columns_of(view)
    before, rows = view.reference["rows"], len(view.ids)
    both = sorted(set(then) & set(now))
    for name in both:
        if not before or not rows:
            continue
        old, new = then[name]["missing"] / before, now[name]["missing"] / rows
        level = level_of(abs(new - old))
        if level and abs(new - old) >= chance(before, rows, len(both)):
            yield Finding(
                level,
                "gaps",
                f"column {name!r} lacks {new:.1%} of its cells; in the record it was {old:.1%}",
                (),
                {"column": name, "then": old, "now": new},
            )


def constants(view: View) -> Iterator[Finding]:
    """Find columns that hold one value, or nothing."""
    rows = len(view.ids)
    if rows < ROWS:
        return
    for name, about in columns_of(view).items():
        values = about.get("values", {})
        one = len(values) == 1 or (about.get("low") is not None and about["low"] == about["high"])
        if about["missing"] == rows:
            yield Finding("note", "constants", f"column {name!r} is empty", (), {"column": name})
        elif one and not about["missing"]:
            value = next(iter(values), about.get("low"))
            yield Finding(
                "note",
                "constants",
                f"column {name!r} is {value!r} in all {plural(rows, 'row')}",
                (),
                {"column": name},
            )

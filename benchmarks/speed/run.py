"""Measure items one after the other and write down everything: what `zoo bench speed` calls."""

import gc
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.speed import draw, machine, trend
from benchmarks.speed.items import ITEMS, TABLE, Item, chosen
from benchmarks.speed.job import Absent
from benchmarks.speed.measure import How, measure
from benchmarks.speed.models import MODES
from benchmarks.speed.table import table

PEERS = ("hf", "hf-eager", "nanogpt", "onnxruntime", "ctranslate2", "ctranslate2-int8")


def speed(
    patterns: Sequence[str],
    how: How,
    out: Path,
    *,
    history: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Measure what the patterns name; results.json in `out` is written after each item.

    Raises ValueError for a pattern, a peer or a mode that there is not.
    """
    check(how)
    items = chosen(patterns)
    warned = machine.warning(how.threads)
    if warned:
        say(f"warning: {warned}")
    result: dict[str, Any] = {"machine": machine.facts(how.threads), "items": []}
    out.mkdir(parents=True, exist_ok=True)
    for item in items:
        say(f"{item.name}: {item.does}")
        result["items"].append(record := measure(item, how, say))
        result["machine"]["load_after"] = machine.load()
        (out / "results.json").write_text(json.dumps(result, indent=1))
        say(brief(record))
        gc.collect()
    if history is not None:
        trend.append(history, trend.lines_of(result))
    (out / "table.md").write_text(table(result["items"]) + "\n")
    pictures(result, out, say)
    return result


def check(how: How) -> None:
    for given, known, what in ((how.against, PEERS, "peer"), (how.modes or (), MODES, "mode")):
        wrong = [name for name in given if name not in known]
        if wrong:
            raise ValueError(f"no {what} {wrong[0]!r}; there are {', '.join(known)}")
    if how.rounds < 1 or how.threads < 1:
        raise ValueError(f"{how.rounds} rounds, {how.threads} threads; expected at least 1 of each")


def brief(record: dict[str, Any]) -> str:
    """Say in a line what an item came to."""
    parts = [
        f"{pair['ours']} {pair['ratio']['median']:.2f} x {pair['peer']}" for pair in record["pairs"]
    ]
    return "  " + (", ".join(parts) or "nothing to compare with")


def pictures(result: dict[str, Any], out: Path, say: Callable[[str], None]) -> None:
    """Draw every item and every curve, where matplotlib is installed."""
    try:
        for record in result["items"]:
            draw.item(record, out / f"{record['item']}.png")
        draw.curves(result["items"], out)
    except Absent as reason:
        say(str(reason))


def faults(result: dict[str, Any]) -> list[str]:
    """Name the comparisons whose sides did not compute the same."""
    return [
        f"{record['item']}: {pair['ours']} and {pair['peer']} differ by {pair['difference']:.1e}, "
        f"more than rounding does ({pair['bound']:.1e}); their times compare nothing"
        for record in result["items"]
        for pair in record["pairs"]
        if pair.get("fault")
    ]


def listed(item: Item) -> dict[str, Any]:
    """Describe an item; nothing is built."""
    return {"item": item.name, "group": item.group, "does": item.does, "modes": [*item.modes]}


__all__ = ["ITEMS", "TABLE", "How", "faults", "listed", "speed", "table"]

"""Results as pictures: an item's times, ratios and memory; curves over size; the trend."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.speed.job import Absent
from benchmarks.speed.table import MIB, duration
from benchmarks.speed.trend import Line, grouped

Record = dict[str, Any]
OURS, THEIRS = "#1b6ca8", "#9a9a9a"


def figures() -> Any:
    """Import matplotlib without a window; raise Absent where it is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise Absent("no pictures: matplotlib is not installed: pip install matplotlib") from None
    return Figure


def colour(name: str) -> str:
    return OURS if name.startswith("zoo") else THEIRS


def item(record: Record, file: Path) -> None:
    """Draw an item: each round's time a dot, ratios with their intervals, memory as bars."""
    sides = {name: side for name, side in record["sides"].items() if "absent" not in side}
    figure = figures()(figsize=(11, 1.6 + 0.35 * max(3, len(sides), len(record["pairs"]))))
    times, ratio, memory = figure.subplots(1, 3)
    figure.suptitle(f"{record['item']}: {record['does']}", fontsize=9)
    names = [*sides][::-1]
    for y, name in enumerate(names):
        side = sides[name]
        taken = side[record["clock"]]
        times.plot(taken, [y] * len(taken), ".", color=colour(name), alpha=0.6)
        times.plot([side["seconds"]], [y], "|", color="black", markersize=14)
        if "limit_seconds" in side:
            times.plot([side["limit_seconds"]], [y], "d", color="#c0392b", markersize=4)
    times.set_yticks(range(len(names)), names, fontsize=8)
    times.set_xlim(left=0)
    times.set_xlabel("seconds (red: the limit)", fontsize=8)
    draw_ratios(ratio, record["pairs"])
    draw_memory(memory, sides, names)
    save(figure, file)


def draw_ratios(axes: Any, pairs: Sequence[Record]) -> None:
    for y, pair in enumerate(reversed(pairs)):
        found = pair["ratio"]
        low, high = found["interval"] or found["range"]
        axes.plot([low, high], [y, y], color=OURS)
        axes.plot([found["median"]], [y], "o", color=OURS, markersize=5)
    labels = [f"{pair['ours']} / {pair['peer']}" for pair in reversed(pairs)]
    axes.set_yticks(range(len(labels)), labels, fontsize=7)
    axes.axvline(1.0, color="black", linewidth=0.6)
    axes.set_xlabel("× the peer, 95 %", fontsize=8)


def draw_memory(axes: Any, sides: Record, names: Sequence[str]) -> None:
    for y, name in enumerate(names):
        live, rss = (sides[name].get(kind) or 0 for kind in ("live", "rss"))
        axes.barh(y, rss / MIB, color=colour(name), alpha=0.3)
        axes.barh(y, live / MIB, color=colour(name), height=0.4)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_xlabel("MiB: live tensors (dark), peak RSS (pale)", fontsize=8)


def curves(records: Iterable[Record], folder: Path) -> list[Path]:
    """Draw time and memory of each curve's points over its size, both axes logarithmic."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        if record["curve"]:
            groups.setdefault(record["curve"], []).append(record)
    files = []
    for number, (title, points) in enumerate(groups.items(), 1):
        figure = figures()(figsize=(9, 3.6))
        figure.suptitle(title, fontsize=10)
        for axes, kind, factor in zip(
            figure.subplots(1, 2), ("seconds", "live"), (1, MIB), strict=True
        ):
            for name in dict.fromkeys(name for point in points for name in point["sides"]):
                found = [
                    (point["x"], point["sides"][name][kind] / factor)
                    for point in points
                    if point["sides"].get(name, {}).get(kind)
                ]
                if found:
                    axes.plot(*zip(*found, strict=True), ".-", label=name)
            axes.set_xscale("log", base=2)
            axes.set_yscale("log")
            axes.set_ylabel("seconds" if kind == "seconds" else "live MiB", fontsize=8)
            if axes.lines:
                axes.legend(fontsize=7)
        files.append(folder / f"curve-{number}.png")
        save(figure, files[-1])
    return files


def trend(lines: Iterable[Line], file: Path) -> None:
    """Draw the ratio of each comparison over its runs."""
    groups = grouped(lines)
    figure = figures()(figsize=(9, 1 + 1.5 * len(groups)))
    panels = figure.subplots(len(groups), 1, squeeze=False)[:, 0]
    for axes, runs in zip(panels, groups.values(), strict=True):
        middle = [run["ratio"]["median"] for run in runs]
        ends = [run["ratio"]["interval"] or run["ratio"]["range"] for run in runs]
        reach = [
            [m - low for m, (low, _) in zip(middle, ends, strict=True)],
            [high - m for m, (_, high) in zip(middle, ends, strict=True)],
        ]
        axes.errorbar(range(len(runs)), middle, reach, fmt="o-", color=OURS, markersize=4)
        axes.axhline(1.0, color="black", linewidth=0.6)
        axes.set_xticks(range(len(runs)), [run["commit"] for run in runs], fontsize=6)
        last = runs[-1]
        axes.set_title(
            f"{last['item']}: {last['ours']} / {last['peer']}, now {duration(last['seconds'])}",
            fontsize=8,
        )
    save(figure, file)


def save(figure: Any, file: Path) -> None:
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)

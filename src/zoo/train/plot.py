"""A run's curves as one picture: loss, learning rate, gradient norm, speed, and what was validated.

    one run         the losses as they were and smoothed, and those of the validation
    several runs    a colour each, for comparison

Drawn by matplotlib (the extra `report`) without a display and without its global state.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from zoo.train.log import PARTIAL, LogError, read_log

INK, FAINT = "#333333", "#d9d9d9"
# Okabe and Ito's colours, which can be told apart without red or green
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
STYLE: Any = {
    "agg.path.chunksize": 10000,  # a line of a million points is drawn in parts
    "axes.edgecolor": FAINT,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "font.family": "DejaVu Sans",  # which matplotlib carries
    "font.size": 9,
    "grid.color": "#ececec",
    "legend.frameon": False,
    "xtick.color": INK,
    "ytick.color": INK,
}
DPI, PANEL = 120, (5.5, 2.9)  # dots an inch; inches of a panel
KEYS = ("loss", "rate", "norm")  # what a step is drawn by
SMOOTHED = 25  # a smoothed point is the mean of such a part of the run
FEW = 40  # points that are not smoothed, and are marked one by one
FALL = 100.0  # largest loss over smallest from which the scale is logarithmic

Curve = tuple[list[int], list[float]]  # steps, values


@dataclass
class Curves:
    """What there is to draw of a run."""

    name: str
    last: int = 0  # step
    unit: str = ""  # tokens or images, when the log says so
    train: dict[str, Curve] = field(default_factory=dict)  # loss, rate, norm, speed
    valid: dict[str, Curve] = field(default_factory=dict)

    def loss(self) -> float | None:
        """Give the mean training loss of the last part of the run."""
        _, losses = self.train.get("loss", ([], []))
        late = [value for value in losses[-max(1, len(losses) // SMOOTHED) :] if value == value]
        return sum(late) / len(late) if late else None


def plot(folders: str | Path | Sequence[str | Path], out: str | Path) -> Path:
    """Draw the logs of one run, or of several in one picture, as PNG; give where it is.

    Raises LogError when there is no log or nothing in it, ImportError without matplotlib.
    """
    given = [folders] if isinstance(folders, str | Path) else folders
    return picture(read_runs([Path(folder) for folder in given]), Path(out))


def picture(runs: Sequence[Curves], out: Path) -> Path:
    """Write the picture of some runs, whole or not at all."""
    draft = out.with_name(out.name + PARTIAL)
    try:
        draw(runs, draft)
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)
    return out


def read_runs(paths: Sequence[Path]) -> list[Curves]:
    """Read the logs of runs, each named by its folder; raise LogError as `read_log` does."""
    return [read_curves(path, name) for path, name in zip(paths, names(paths), strict=True)]


def names(paths: Sequence[Path]) -> list[str]:
    """Name runs by their folders, with as many of the folders above as it takes to differ."""
    parts = [path.absolute().parts for path in paths]
    for count in range(1, max(map(len, parts), default=0)):
        found = ["/".join(part[-count:]) for part in parts]
        if len({*found}) == len({*parts}):
            return found
    return [str(path) for path in paths]


def read_curves(folder: Path, name: str) -> Curves:
    """Read a run's log; raise LogError when no step is in it."""
    records = read_log(folder)
    if not records:
        raise LogError(f"the log of {folder} is empty: not one step was logged yet")
    curves = Curves(name)
    for record in records:
        step, valid = record["step"], record.get("valid")
        curves.last = max(curves.last, step)
        curves.unit = record.get("unit", curves.unit)
        add(curves.train, step, {key: record[key] for key in KEYS if key in record})
        add(curves.valid, step, valid if isinstance(valid, dict) else {})
    curves.train["speed"] = speed(records)
    return curves


def add(curves: dict[str, Curve], step: int, values: dict[str, Any]) -> None:
    """Put numbers at the ends of their curves; null is a gap, what is no number is left out."""
    for key, value in values.items():
        if isinstance(value, bool | str | dict | list):
            continue
        steps, points = curves.setdefault(key, ([], []))
        steps.append(step)
        points.append(math.nan if value is None else float(value))


def speed(records: Sequence[dict[str, Any]]) -> Curve:
    """Give units a second between each logged step and the one before it."""
    told = [r for r in records if {"seconds", "count"} <= r.keys()]
    steps, points = [], []
    for old, new in pairwise(told):
        seconds, count = new["seconds"] - old["seconds"], new["count"] - old["count"]
        if seconds > 0 and count > 0:  # a clock that began again says nothing here
            steps.append(new["step"])
            points.append(count / seconds)
    return steps, points


def smooth(values: Sequence[float]) -> list[float]:
    """Give the mean of each point and as many before as after it; gaps count for nothing.

    Unlike a moving average of the past it does not lag behind a curve that falls.
    """
    sums, counts = [0.0], [0]
    for value in values:
        known = math.isfinite(value)
        sums.append(sums[-1] + (value if known else 0.0))
        counts.append(counts[-1] + known)
    reach = max(1, len(values) // (2 * SMOOTHED))
    result = []
    for i in range(len(values)):
        # at the ends a few of one side are better than the noise of a single point
        side = max(reach // 4, min(reach, i, len(values) - 1 - i))
        first, last = max(0, i - side), min(len(values), i + side + 1)
        count = counts[last] - counts[first]
        result.append((sums[last] - sums[first]) / count if count else math.nan)
    return result


def draw(runs: Sequence[Curves], out: Path) -> None:
    """Draw all panels into a PNG."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError(
            'drawing curves needs matplotlib; use pip install "zoo[report]"'
        ) from None
    more = sorted({key for run in runs for key in run.valid} - {"loss"})
    panels = ["loss", "rate", "norm", "speed", *more]
    rows = -(-len(panels) // 2)
    # a letter that the font lacks is drawn as a box, which is no reason to stop
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure = Figure(figsize=(2 * PANEL[0], rows * PANEL[1] + 0.6), layout="constrained")
        axes = list(figure.subplots(rows, 2, squeeze=False).flat)
        for axis, panel in zip(axes, panels, strict=False):
            draw_panel(axis, panel, runs)
        for axis in axes[len(panels) :]:
            axis.set_axis_off()
        title(figure, runs)
        figure.savefig(out, format="png", dpi=DPI, metadata={"Software": None})


def draw_panel(axis: Any, panel: str, runs: Sequence[Curves]) -> None:
    """Draw one kind of curve of all runs."""
    alone = len(runs) == 1
    for run, colour in zip(runs, colours(len(runs)), strict=True):
        train, valid = run.train.get(panel, ([], [])), run.valid.get(panel, ([], []))
        noisy(axis, train, colour, faint=alone, exact=panel == "rate")
        other = COLOURS[1] if alone and train[0] else colour
        dash = ":" if train[0] and not alone else "-"
        line(axis, valid, other, dash, label="validation", marked=True)
    values = [v for made in axis.lines for v in made.get_ydata() if math.isfinite(v)]
    axis.set_title(plain(heading(panel, runs)), loc="left")
    axis.set_xlabel("step")
    axis.set_xlim(*reach_of(runs))
    axis.xaxis.set_major_formatter("{x:,.0f}")
    axis.xaxis.get_major_locator().set_params(integer=True, nbins=7, min_n_ticks=1)
    if not values:
        axis.text(
            0.5, 0.5, "nothing to draw", transform=axis.transAxes, ha="center", color="#888888"
        )
        axis.set_yticks([])
        return
    if panel == "loss" and alone and len(axis.lines) > 1:
        axis.legend(loc="upper right")
    scale(axis, panel, min(values), max(values))


def reach_of(runs: Sequence[Curves]) -> tuple[float, float]:
    """Give the steps that all panels show, with a little more on both sides."""
    curves = [curve for run in runs for curve in (*run.train.values(), *run.valid.values())]
    steps = [step for curve in curves for step in curve[0]]
    least, most = min(steps, default=0), max(steps, default=0)
    more = max(0.03 * (most - least), 1.0)
    return least - more, most + more


def scale(axis: Any, panel: str, least: float, most: float) -> None:
    """Choose a panel's axis: logarithmic, from 0, or as far as the curves go."""
    if least > 0 and (panel == "norm" or (panel == "loss" and most / least > FALL)):
        from matplotlib.ticker import LogFormatter

        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(LogFormatter())
        axis.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1.0, 0.4)))
    elif panel == "rate":
        axis.set_ylim(bottom=0.0)
        axis.yaxis.set_major_formatter("{x:.1e}")
    elif panel == "speed":
        axis.set_ylim(0.0, 1.08 * most)
        axis.yaxis.set_major_formatter(thousands)


def noisy(axis: Any, curve: Curve, colour: str, *, faint: bool, exact: bool) -> None:
    """Draw a training's curve smoothed unless `exact`, and as it was behind it if `faint`."""
    steps, values = curve
    if exact or len(values) <= FEW:
        line(axis, curve, colour, label="training")
        return
    if faint:
        axis.plot(steps, values, color=colour, alpha=0.25, linewidth=0.7)
    line(axis, (steps, smooth(values)), colour, label="training, smoothed")


def line(
    axis: Any, curve: Curve, colour: str, dash: str = "-", *, label: str, marked: bool = False
) -> None:
    """Draw a curve if there is one; its points too when they are few, or when one stands alone."""
    steps, values = curve
    if not steps:
        return
    finite = sum(map(math.isfinite, values))
    marker = "o" if (marked and finite <= FEW) or finite == 1 else ""
    axis.plot(
        steps, values, dash, color=colour, linewidth=1.5, marker=marker, markersize=3.5, label=label
    )


def heading(panel: str, runs: Sequence[Curves]) -> str:
    """Say what a panel shows, and in which unit."""
    units = sorted({run.unit for run in runs if run.unit})
    told = {
        "loss": "loss",
        "rate": "learning rate",
        "norm": "norm of the gradient, before clipping",
        "speed": f"{' or '.join(units) or 'units'} a second",
    }
    return told.get(panel, f"validation: {panel}")


def title(figure: Any, runs: Sequence[Curves]) -> None:
    """Write the run's name over the picture, or the names beside their colours."""
    if len(runs) == 1:
        figure.suptitle(plain(runs[0].name), fontsize=12, fontweight="bold", color=INK)
        return
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=colour, linewidth=2.5) for colour in colours(len(runs))]
    shown = [plain(run.name) for run in runs]
    figure.legend(handles, shown, loc="outside upper center", ncols=min(3, len(runs)), fontsize=10)


def colours(count: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(count)]


def plain(text: str) -> str:
    """Keep matplotlib from reading a dollar as mathematics."""
    return text.replace("$", r"\$")


def thousands(value: float, position: int) -> str:
    """Write 12,000 as 12k."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"

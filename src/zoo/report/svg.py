"""Charts as SVG, by hand: they take the page's colours, so they follow dark mode, and weigh little.

    bar          one value with its interval; as wide as its column: places across are in percent
    sparkline    a metric over accepted versions
    reliability  of rows that the model was so sure of, how many were right

Colours are classes of page.css. Numbers must be finite: a NaN is refused, as no place is its own.
"""

import math
from collections.abc import Sequence
from html import escape

from zoo.report.page import Bin, Estimate

BAR = 22  # pixels high
SPARK = (96, 24)  # pixels
SQUARE, LEFT, BELOW = 220, 44, 40  # pixels of the reliability chart: its square, and for its axes
MOST = 9  # pixels: the radius of the largest of its points
LEAST = 2.5


def place(value: float, low: float, high: float) -> float:
    """Give where a value lies from low to high, 0 to 1. Raises ValueError for one that does not."""
    if not low < high:
        raise ValueError(f"an axis from {low} to {high} has no length")
    if not low <= value <= high:  # NaN is in no range
        raise ValueError(f"{value} is not on an axis from {low} to {high}")
    return (value - low) / (high - low)


def number(value: float) -> str:
    """Write a coordinate in as few letters as two decimals take."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def ends(estimate: Estimate) -> tuple[float, float] | None:
    """Give an interval's ends; None without one. Raises ValueError for half of one, or a NaN."""
    if estimate.low is None and estimate.high is None:
        return None
    if estimate.low is None or estimate.high is None or not estimate.low <= estimate.high:
        raise ValueError(f"an interval from {estimate.low} to {estimate.high}")
    return estimate.low, estimate.high


def bar(estimate: Estimate, *, top: float = 1.0, floor: float | None = None) -> str:
    """Draw a value from 0 to `top`, its interval as a line, and the floor that it must not fall
    below as a mark. The number stands beside it, so readers of the screen are told nothing."""
    across = number(100 * place(estimate.value, 0.0, top))
    drawn = [
        f'<svg class="bar" width="100%" height="{BAR}" aria-hidden="true" focusable="false">',
        '<rect class="track" y="5" width="100%" height="12" rx="2"/>',
        f'<rect class="value" y="5" width="{across}%" height="12" rx="2"/>',
    ]
    if floor is not None:
        x = number(100 * place(floor, 0.0, top))
        drawn.append(f'<line class="floor" x1="{x}%" x2="{x}%" y1="1" y2="21"/>')
    interval = ends(estimate)
    if interval is not None:
        low, high = (number(100 * place(end, 0.0, top)) for end in interval)
        drawn.append(f'<line class="interval" x1="{low}%" x2="{high}%" y1="11" y2="11"/>')
        drawn += [
            f'<line class="interval" x1="{x}%" x2="{x}%" y1="7.5" y2="14.5"/>' for x in (low, high)
        ]
    return "".join([*drawn, "</svg>"])


def sparkline(values: Sequence[float], label: str) -> str:
    """Draw values from left to right, the last marked; one value is a dot, equal ones a level line.

    `label` says it in words. Raises ValueError without a value, and for one that is not finite.
    """
    if not values:
        raise ValueError("a sparkline of no values")
    for value in values:
        if not math.isfinite(value):
            raise ValueError(f"{value} has no place on a sparkline")
    low, high = min(values), max(values)
    width, height = SPARK
    room = 4  # for the mark of the last
    points = []
    for i, value in enumerate(values):
        across = i / (len(values) - 1) if len(values) > 1 else 0.5
        up = place(value, low, high) if low < high else 0.5
        x = room + across * (width - 2 * room)
        y = height - room - up * (height - 2 * room)
        points.append((number(x), number(y)))
    line = " ".join(f"{x},{y}" for x, y in points)
    drawn = f'<polyline class="line" points="{line}"/>' if len(points) > 1 else ""
    cx, cy = points[-1]
    return (
        f'<svg class="spark" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="{escape(label)}">{drawn}'
        f'<circle class="last" cx="{cx}" cy="{cy}" r="2.5"/></svg>'
    )


def reliability(bins: Sequence[Bin], label: str) -> str:
    """Draw how often rows of like confidence were right; a perfectly honest model is the diagonal.

    A point is as large as its rows are many; its line is the 95 % interval. Raises ValueError
    without bins, and for a number outside 0 to 1.
    """
    if not bins:
        raise ValueError("a reliability curve of no bins")
    most = max(each.rows for each in bins)
    width, height = LEFT + SQUARE + 24, 12 + SQUARE + BELOW
    drawn = [
        f'<svg class="reliability" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">'
    ]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = spot(tick, tick)
        end = LEFT + SQUARE
        said = f"{100 * tick:.0f} %"
        drawn += [
            f'<line class="grid" x1="{LEFT}" x2="{end}" y1="{y}" y2="{y}"/>',
            f'<text class="tick" x="{LEFT - 6}" y="{y}" dy="4" text-anchor="end">{said}</text>',
            f'<text class="tick" x="{x}" y="{SQUARE + 28}" text-anchor="middle">{said}</text>',
        ]
    (x1, y1), (x2, y2) = spot(0.0, 0.0), spot(1.0, 1.0)
    drawn.append(f'<line class="honest" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>')
    line = " ".join(",".join(spot(each.confidence, each.right.value)) for each in bins)
    drawn.append(f'<polyline class="line" points="{line}"/>')
    for each in bins:
        x, y = spot(each.confidence, each.right.value)
        interval = ends(each.right)
        if interval is not None:
            top, bottom = spot(each.confidence, interval[1])[1], spot(0.0, interval[0])[1]
            drawn.append(f'<line class="interval" x1="{x}" x2="{x}" y1="{top}" y2="{bottom}"/>')
        radius = max(LEAST, MOST * math.sqrt(each.rows / most)) if each.rows else LEAST
        drawn.append(f'<circle class="point" cx="{x}" cy="{y}" r="{number(radius)}"/>')
    middle = number(LEFT + SQUARE / 2)
    drawn.append(
        f'<text class="axis" x="{middle}" y="{height - 3}" text-anchor="middle">'
        "how sure it was</text></svg>"
    )
    return "".join(drawn)


def spot(across: float, up: float) -> tuple[str, str]:
    """Give the pixel of a point of the unit square."""
    x = LEFT + SQUARE * place(across, 0.0, 1.0)
    y = 12 + SQUARE * (1 - place(up, 0.0, 1.0))
    return number(x), number(y)

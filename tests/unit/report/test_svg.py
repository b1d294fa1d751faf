"""Charts: where things are drawn, at the ends of every scale, and what is refused."""

import math
import re
import xml.etree.ElementTree as ElementTree

import pytest

from zoo.report import svg
from zoo.report.page import Bin, Estimate

NAN = math.nan


def drawn(text):
    """Parse a chart, which must be XML, and refuse numbers that are none."""
    assert not re.search(r"\b(nan|inf)\b", text)
    return ElementTree.fromstring(text)


def of_class(chart, name):
    return [element for element in chart.iter() if element.get("class") == name]


def numbers(element, *names):
    return [float(element.get(name).rstrip("%")) for name in names]


@pytest.mark.parametrize(
    ("value", "top", "width"),
    [(0.0, 1.0, 0), (1.0, 1.0, 100), (0.25, 1.0, 25), (1.5, 6.0, 25), (1 / 3, 1.0, 33.33)],
)
def test_a_bar_is_as_long_as_its_value_is_of_the_axis(value, top, width):
    (rect,) = of_class(drawn(svg.bar(Estimate(value=value), top=top)), "value")
    assert numbers(rect, "width") == [width]


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.5, 0.5), (0.125, 0.75)])
def test_an_interval_is_a_line_with_a_mark_at_both_ends(low, high):
    chart = drawn(svg.bar(Estimate(value=0.5, low=low, high=high)))
    line, first, second = (numbers(e, "x1", "x2") for e in of_class(chart, "interval"))
    ends = [100 * low, 100 * high]
    assert line == ends
    assert [first, second] == [[end, end] for end in ends]


def test_a_bar_without_an_interval_or_a_floor_is_a_bar_alone():
    chart = drawn(svg.bar(Estimate(value=0.5)))
    assert [e.get("class") for e in chart] == ["track", "value"]


@pytest.mark.parametrize("floor", [0.0, 0.5, 1.0])
def test_a_floor_is_a_mark_across_the_bar(floor):
    (mark,) = of_class(drawn(svg.bar(Estimate(value=0.75), floor=floor)), "floor")
    assert numbers(mark, "x1", "x2") == [100 * floor] * 2


def test_a_bar_says_nothing_to_readers_of_the_screen():
    assert drawn(svg.bar(Estimate(value=0.5))).get("aria-hidden") == "true"


REFUSED_BARS = {
    "a value that is no number": (Estimate(value=NAN), 1.0, None),
    "a value that is infinite": (Estimate(value=math.inf), 1.0, None),
    "a value below the axis": (Estimate(value=-0.1), 1.0, None),
    "a value beyond the axis": (Estimate(value=1.1), 1.0, None),
    "an axis without a length": (Estimate(value=0.0), 0.0, None),
    "an end that is no number": (Estimate(value=0.5, low=0.2, high=NAN), 1.0, None),
    "an interval of one end": (Estimate(value=0.5, low=0.2), 1.0, None),
    "an interval of the other end": (Estimate(value=0.5, high=0.7), 1.0, None),
    "an interval that is turned round": (Estimate(value=0.5, low=0.7, high=0.2), 1.0, None),
    "an interval beyond the axis": (Estimate(value=0.5, low=0.2, high=1.2), 1.0, None),
    "a floor that is no number": (Estimate(value=0.5), 1.0, NAN),
    "a floor beyond the axis": (Estimate(value=0.5), 1.0, 1.5),
}


@pytest.mark.parametrize(("estimate", "top", "floor"), REFUSED_BARS.values(), ids=REFUSED_BARS)
def test_a_bar_refuses(estimate, top, floor):
    with pytest.raises(ValueError, match=r"axis|interval"):
        svg.bar(estimate, top=top, floor=floor)


# width 96 and height 24, of which 4 pixels are free at every side
LINES = {
    "two values: from below to above": ([1.0, 2.0], [(4, 20), (92, 4)]),
    "two that fall": ([2.0, 1.0], [(4, 4), (92, 20)]),
    "three: the middle in its place": ([0.0, 1.0, 4.0], [(4, 20), (48, 16), (92, 4)]),
    "equal values: a level line": ([3.0, 3.0], [(4, 12), (92, 12)]),
    "below zero": ([-2.0, -1.0], [(4, 20), (92, 4)]),
}


@pytest.mark.parametrize(("values", "points"), LINES.values(), ids=LINES)
def test_a_sparkline_goes_through(values, points):
    chart = drawn(svg.sparkline(values, "a label"))
    (line,) = of_class(chart, "line")
    found = [tuple(map(float, pair.split(","))) for pair in line.get("points").split()]
    assert found == points
    (last,) = of_class(chart, "last")
    assert tuple(numbers(last, "cx", "cy")) == points[-1]


def test_a_sparkline_of_one_value_is_a_dot_in_the_middle():
    chart = drawn(svg.sparkline([0.7], "a label"))
    assert of_class(chart, "line") == []
    assert numbers(of_class(chart, "last")[0], "cx", "cy") == [48, 12]


@pytest.mark.parametrize("values", [[], [NAN], [1.0, math.inf], [-math.inf, 2.0]], ids=str)
def test_a_sparkline_refuses(values):
    with pytest.raises(ValueError, match="sparkline"):
        svg.sparkline(values, "a label")


LABELS = ["plain", "<b>&\"'", "long " * 400, "Ünïcödé ✓"]


@pytest.mark.parametrize("label", LABELS, ids=["plain", "marked-up", "long", "letters"])
def test_a_label_is_told_as_it_is(label):
    assert drawn(svg.sparkline([1.0, 2.0], label)).get("aria-label") == label
    bins = [Bin(confidence=0.5, right=Estimate(value=0.5), rows=1)]
    assert drawn(svg.reliability(bins, label)).get("aria-label") == label


def bin_at(confidence, right, rows=1, low=None, high=None):
    return Bin(confidence=confidence, right=Estimate(value=right, low=low, high=high), rows=rows)


# the square begins at 44 across and 12 down, and has 220 pixels a side
SPOTS = {"nothing": (0.0, 0.0, 44, 232), "all": (1.0, 1.0, 264, 12), "else": (0.5, 0.25, 154, 177)}


@pytest.mark.parametrize(("confidence", "right", "x", "y"), SPOTS.values(), ids=SPOTS)
def test_a_point_of_the_curve_is_where_its_numbers_are(confidence, right, x, y):
    chart = drawn(svg.reliability([bin_at(confidence, right)], "a label"))
    (point,) = of_class(chart, "point")
    assert numbers(point, "cx", "cy") == [x, y]


def test_a_point_has_an_area_by_its_rows_but_is_never_too_small_to_see():
    bins = [bin_at(0.1, 0.1, 100), bin_at(0.5, 0.5, 25), bin_at(0.9, 0.9, 1), bin_at(1.0, 1.0, 0)]
    chart = drawn(svg.reliability(bins, "a label"))
    assert [numbers(p, "r")[0] for p in of_class(chart, "point")] == [9, 4.5, 2.5, 2.5]


def test_bins_without_a_row_are_drawn():
    assert of_class(drawn(svg.reliability([bin_at(0.1, 0.1, 0)], "a label")), "point")


def test_the_interval_of_a_point_goes_from_low_to_high():
    chart = drawn(svg.reliability([bin_at(0.5, 0.5, low=0.25, high=1.0)], "a label"))
    (line,) = of_class(chart, "interval")
    assert numbers(line, "x1", "x2", "y1", "y2") == [154, 154, 12, 177]


def test_the_diagonal_is_that_of_the_square():
    chart = drawn(svg.reliability([bin_at(0.5, 0.5)], "a label"))
    (line,) = of_class(chart, "honest")
    assert numbers(line, "x1", "y1", "x2", "y2") == [44, 232, 264, 12]


REFUSED_CURVES = {
    "no bins": [],
    "a confidence that is no number": [bin_at(NAN, 0.5)],
    "a confidence above one": [bin_at(1.01, 0.5)],
    "a share that is no number": [bin_at(0.5, NAN)],
    "a share below zero": [bin_at(0.5, -0.1)],
    "half an interval": [bin_at(0.5, 0.5, low=0.1)],
    "an interval above one": [bin_at(0.5, 0.5, low=0.1, high=1.1)],
}


@pytest.mark.parametrize("bins", REFUSED_CURVES.values(), ids=REFUSED_CURVES)
def test_a_curve_refuses(bins):
    with pytest.raises(ValueError, match=r"axis|interval|bins"):
        svg.reliability(bins, "a label")

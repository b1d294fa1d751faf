"""Curves from a log: what is read, smoothed and named."""

import math
from pathlib import Path

import pytest

from zoo.train.log import Log, LogError
from zoo.train.plot import (
    COLOURS,
    Curves,
    add,
    colours,
    heading,
    names,
    plain,
    reach_of,
    read_curves,
    read_runs,
    smooth,
    speed,
    thousands,
)

NAN = math.nan


def logged(folder, records):
    with Log(folder) as log:
        for record in records:
            log.write(record)
    return folder


RECORDS = [
    {"step": 2, "loss": 3.0, "rate": 0.1, "norm": 4.0, "seconds": 1.0, "count": 10, "unit": "a"},
    {"step": 4, "loss": NAN, "rate": 0.2, "norm": 2.0, "seconds": 3.0, "count": 50},
    {"step": 4, "valid": {"loss": 5.0, "says": "good", "accuracy": None, "sure": True}},
    {"step": 6, "loss": 1, "unit": "images", "seconds": 4.0, "count": 90},
    {"step": 5, "valid": {"accuracy": 0.5, "classes": [1], "by": {"a": 1}}},
    {"step": 5, "valid": 3},
]


def test_a_log_is_read_into_its_curves(tmp_path):
    found = read_curves(logged(tmp_path, RECORDS), "name")
    assert repr(found) == repr(
        Curves(
            "name",
            last=6,
            unit="images",
            train={
                "loss": ([2, 4, 6], [3.0, NAN, 1.0]),
                "rate": ([2, 4], [0.1, 0.2]),
                "norm": ([2, 4], [4.0, 2.0]),
                "speed": ([4, 6], [20.0, 40.0]),
            },
            valid={"loss": ([4], [5.0]), "accuracy": ([4, 5], [NAN, 0.5])},
        )
    )


def test_a_log_without_a_step_is_told(tmp_path):
    logged(tmp_path / "run", [])
    with pytest.raises(LogError, match=r"^the log of .*run is empty: not one step was logged yet$"):
        read_curves(tmp_path / "run", "name")


def test_runs_are_read_with_their_names(tmp_path):
    places = [logged(tmp_path / name / "run", RECORDS) for name in "ab"]
    assert [run.name for run in read_runs(places)] == ["a/run", "b/run"]


def test_values_are_put_at_the_ends_of_their_curves():
    curves = {"a": ([1], [2.0])}
    add(curves, 3, {"a": 1, "b": "x", "c": True, "d": [], "e": {}, "f": 4})
    add(curves, 5, {"f": None})
    assert repr(curves) == repr({"a": ([1, 3], [2.0, 1.0]), "f": ([3, 5], [4.0, NAN])})


@pytest.mark.parametrize(
    ("records", "points"),
    [
        ([(0, 1.0, 10), (1, 3.0, 50), (2, 3.5, 60)], ([1, 2], [20.0, 20.0])),
        ([(0, 1.0, 10)], ([], [])),
        ([(0, 1.0, 10), (1, 1.0, 20), (2, 0.5, 30), (3, 1.0, 35)], ([3], [10.0])),
        ([(0, 1.0, 10), (1, 2.0, 10), (2, 4.0, 11)], ([2], [0.5])),
        ([(0, 1.0, 10), (1, 3.0, 12), (2, None, 60), (3, 5.0, 18)], ([1, 3], [1.0, 3.0])),
    ],
    ids=["two", "alone", "clock-went-back", "nothing-counted", "no-clock"],
)
def test_speed_is_between_two_lines(records, points):
    told = [{"step": s, "count": c} | ({} if t is None else {"seconds": t}) for s, t, c in records]
    told.insert(1, {"step": 0, "valid": {"loss": 1.0}})
    assert speed(told) == points


@pytest.mark.parametrize(
    ("losses", "mean"),
    [
        ([float(i) for i in range(100)], (96 + 97 + 98 + 99) / 4),
        ([float(i) for i in range(50)], (48 + 49) / 2),
        ([1.0, 2.0, 5.0], 5.0),
        ([2.0, NAN], None),
        ([NAN] * 48 + [3.0, NAN], 3.0),
        ([], None),
    ],
)
def test_the_last_loss_is_the_mean_of_the_last_part(losses, mean):
    assert Curves("run", train={"loss": (list(range(len(losses))), losses)}).loss() == mean


def test_a_run_without_losses_has_no_last_loss():
    assert Curves("run").loss() is None


def plainly(values):
    """Smooth point by point: as many on both sides as there are, at the ends a few of one."""
    n, result = len(values), []
    reach = max(1, n // 50)
    for i in range(n):
        side = max(reach // 4, min(reach, i, n - 1 - i))
        near = [v for v in values[max(0, i - side) : i + side + 1] if math.isfinite(v)]
        result.append(sum(near) / len(near) if near else NAN)
    return result


@pytest.mark.parametrize("count", [0, 1, 2, 3, 49, 50, 51, 149, 150, 201, 500])
def test_a_point_is_the_mean_of_its_neighbours(count):
    values = [math.sin(i * i) for i in range(count)]
    if count > 100:
        values[7:9], values[60] = [NAN, math.inf], NAN
    assert smooth(values) == pytest.approx(plainly(values), abs=1e-12, nan_ok=True)
    assert smooth([NAN] * count) == pytest.approx([NAN] * count, nan_ok=True)


@pytest.mark.parametrize(
    ("folders", "told"),
    [
        ([], []),
        (["/a/x"], ["x"]),
        (["/a/x", "/b/y"], ["x", "y"]),
        (["/a/run", "/b/run", "/b/y"], ["a/run", "b/run", "b/y"]),
        (["/a/b/run", "/c/b/run"], ["a/b/run", "c/b/run"]),
        (["/a/x", "/a/x"], ["x", "x"]),
        (["/"], ["/"]),
    ],
    ids=["none", "one", "two", "same-name", "three-deep", "twice", "root"],
)
def test_runs_are_named_by_as_much_of_their_folders_as_they_differ_in(folders, told):
    assert names([Path(folder) for folder in folders]) == told


@pytest.mark.parametrize(
    ("curves", "reach"),
    [
        ([], (-1, 1)),
        ([Curves("a", train={"loss": ([5], [2.0])})], (4, 6)),
        ([Curves("a", train={"loss": ([10, 30], [2.0, 1.0])})], (9, 31)),
        (
            [
                Curves("a", train={"loss": ([100, 200], [2.0, 1.0])}),
                Curves("b", valid={"loss": ([0, 300], [2.0, 1.0])}),
            ],
            (-9, 309),
        ),
    ],
    ids=["nothing", "one", "short", "two"],
)
def test_all_panels_show_the_same_steps(curves, reach):
    assert reach_of(curves) == pytest.approx(reach, rel=1e-12)


@pytest.mark.parametrize(
    ("panel", "units", "text"),
    [
        ("loss", [""], "loss"),
        ("rate", [""], "learning rate"),
        ("norm", [""], "norm of the gradient, before clipping"),
        ("speed", [""], "units a second"),
        ("speed", ["tokens", "", "images", "tokens"], "images or tokens a second"),
        ("accuracy", [""], "validation: accuracy"),
    ],
)
def test_a_panel_says_what_it_shows(panel, units, text):
    assert heading(panel, [Curves("run", unit=unit) for unit in units]) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (950, "950"), (999.5, "999.5"), (1000, "1k"), (12500, "12.5k"), (1e6, "1M"),
        (2.5e6, "2.5M"), (1e9, "1G"), (3e12, "3000G"),
    ],
)  # fmt: skip
def test_thousands_are_short(value, text):
    assert thousands(float(value), 0) == text


def test_colours_begin_again_and_a_dollar_is_no_mathematics():
    assert colours(9) == [*COLOURS, *COLOURS[:2]]
    assert plain("a$b$") == r"a\$b\$"

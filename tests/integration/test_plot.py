"""The curves: what is logged is what is drawn, and where nothing is logged nothing is invented."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from unit.train.limits import limited
from zoo.train.log import FILE, Log, LogError
from zoo.train.plot import (
    COLOURS,
    DPI,
    FEW,
    Curves,
    draw_panel,
    names,
    plain,
    plot,
    read_curves,
    smooth,
    speed,
    thousands,
)

NAN = float("nan")


def logged(folder, records):
    with Log(folder) as log:
        for record in records:
            log.write(record)
    return folder


def run_of(folder, steps, *, loss=2.0, unit="tokens"):
    """Log a run of so many steps, a second each, that validates each third."""
    records = []
    for step in range(steps):
        told = {"loss": loss + 1 / (step + 1), "rate": 1e-3 * (step + 1), "norm": 0.5 + step}
        records.append({"step": step, **told, "seconds": step + 1.0, "count": 7 * (step + 1)})
        records[-1]["unit"] = unit
        if step % 3 == 2:
            records.append({"step": step, "valid": {"loss": loss + 1, "accuracy": step / steps}})
    return logged(folder, records)


def panel(kind, *runs):
    """Draw one panel and give its axis."""
    axis = Figure().subplots()
    draw_panel(axis, kind, runs)
    return axis


def lines(axis):
    """Give (label, colour, points) of each line of a panel."""
    return [
        (line.get_label(), line.get_color(), list(zip(*line.get_data(), strict=True)))
        for line in axis.lines
    ]


def test_a_run_is_read_into_its_curves(tmp_path):
    records = [
        {"step": 2, "loss": 3.0, "rate": 0.1, "norm": NAN, "seconds": 1.0, "count": 10},
        {"step": 4, "loss": NAN, "rate": 0.2, "norm": 2.0, "seconds": 3.0, "count": 50},
        {"step": 4, "valid": {"loss": 5.0, "says": "good", "accuracy": None}},
        {"step": 6, "loss": 1, "unit": "images", "seconds": 1.0, "count": 90},
        {"step": 6, "valid": {"accuracy": 0.5}},
    ]
    curves = read_curves(logged(tmp_path, records), "name")
    assert (curves.name, curves.unit, curves.last) == ("name", "images", 6)
    assert curves.train["rate"] == ([2, 4], [0.1, 0.2])
    assert curves.train["speed"] == ([4], [20.0])  # the clock began again after it
    assert curves.valid["loss"] == ([4], [5.0])
    for curve, steps, values in (
        (curves.train["loss"], [2, 4, 6], [3.0, NAN, 1.0]),
        (curves.train["norm"], [2, 4], [NAN, 2.0]),
        (curves.valid["accuracy"], [4, 6], [NAN, 0.5]),
    ):
        assert curve[0] == steps
        np.testing.assert_array_equal(curve[1], values)


@pytest.mark.parametrize(
    ("records", "points"),
    [
        ([(0, 1.0, 10), (1, 3.0, 50), (2, 3.5, 60)], ([1, 2], [20.0, 20.0])),
        ([(0, 1.0, 10)], ([], [])),
        ([(0, 1.0, 10), (1, 1.0, 20), (2, 0.5, 30), (3, 1.0, 35)], ([3], [10.0])),
        ([(0, 1.0, 10), (1, 2.0, 10), (2, 4.0, 11)], ([2], [0.5])),
    ],
    ids=["two", "alone", "clock-went-back", "nothing-counted"],
)
def test_speed_is_between_two_lines(records, points):
    told = [{"step": s, "seconds": t, "count": c} for s, t, c in records]
    told.insert(1, {"step": 0, "valid": {"loss": 1.0}})
    assert speed(told) == points


def test_the_last_loss_is_the_mean_of_the_last_part():
    curves = Curves("run", train={"loss": (list(range(100)), [float(i) for i in range(100)])})
    assert curves.loss() == (96 + 97 + 98 + 99) / 4
    assert Curves("run", train={"loss": ([1, 2, 3], [1.0, 2.0, 5.0])}).loss() == 5.0
    assert Curves("run", train={"loss": ([1], [NAN])}).loss() is None
    assert Curves("run").loss() is None


def test_a_line_stays_a_line_when_it_is_smoothed():
    values = [3.0 - 0.01 * i for i in range(200)]
    smoothed = smooth(values)
    # at the ends, the few points of one side stand for both
    np.testing.assert_allclose(smoothed[4:-4], values[4:-4], atol=1e-12)
    np.testing.assert_allclose(smoothed, values, atol=0.01)


def test_a_point_is_the_mean_of_its_neighbours():
    values = [0.0] * 500
    values[250] = 21.0
    smoothed = smooth(values)
    assert {round(v, 12) for v in smoothed[240:261]} == {1.0}
    assert smoothed[239] == smoothed[261] == 0.0


def test_at_the_ends_a_few_points_of_one_side_are_the_mean():
    values = [0.0] * 500
    values[-1] = values[0] = 9.0
    smoothed = smooth(values)
    assert smoothed[-1] == smoothed[0] == pytest.approx(3.0, abs=1e-12)


def test_gaps_count_for_nothing_when_smoothed():
    assert smooth([2.0, NAN, 2.0]) == [2.0, 2.0, 2.0]
    assert all(map(math.isnan, smooth([NAN] * 3)))
    assert smooth([]) == []


@pytest.mark.parametrize(
    ("folders", "told"),
    [
        (["/a/x"], ["x"]),
        (["/a/x", "/b/y"], ["x", "y"]),
        (["/a/run", "/b/run", "/b/y"], ["a/run", "b/run", "b/y"]),
        (["/a/x", "/a/x"], ["x", "x"]),
        (["/"], ["/"]),
    ],
    ids=["one", "two", "same-name", "twice", "root"],
)
def test_runs_are_named_by_as_much_of_their_folders_as_they_differ_in(folders, told):
    assert names([Path(folder) for folder in folders]) == told


def test_few_points_are_drawn_as_they_are(tmp_path):
    axis = panel("loss", read_curves(run_of(tmp_path, 7), "run"))
    train = [(step, 2.0 + 1 / (step + 1)) for step in range(7)]
    assert lines(axis) == [
        ("training", COLOURS[0], train),
        ("validation", COLOURS[1], [(2, 3.0), (5, 3.0)]),
    ]
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["training", "validation"]


def test_many_points_are_drawn_faint_and_smoothed(tmp_path):
    curves = read_curves(run_of(tmp_path, FEW + 2), "run")
    shown = lines(panel("loss", curves))
    assert [label for label, _, _ in shown][1:] == ["training, smoothed", "validation"]
    assert [y for _, y in shown[0][2]] == curves.train["loss"][1]
    assert [y for _, y in shown[1][2]] == smooth(curves.train["loss"][1])


def test_a_learning_rate_is_never_smoothed(tmp_path):
    curves = read_curves(run_of(tmp_path, FEW + 2), "run")
    ((_, _, points),) = lines(panel("rate", curves))
    assert [y for _, y in points] == curves.train["rate"][1]


def test_several_runs_have_a_colour_each_and_only_smoothed_lines(tmp_path):
    runs = [read_curves(run_of(tmp_path / name, FEW + 2), name) for name in "ab"]
    shown = lines(panel("norm", *runs))
    assert [(label, colour) for label, colour, _ in shown] == [
        ("training, smoothed", COLOURS[0]),
        ("training, smoothed", COLOURS[1]),
    ]
    assert len(lines(panel("loss", *runs))) == 4
    assert panel("loss", *runs).get_legend() is None


@pytest.mark.parametrize(
    ("kind", "losses", "scale"),
    [
        ("loss", [4.0, 1.0], "linear"),
        ("loss", [4.0, 0.01], "log"),
        ("loss", [4.0, 0.0], "linear"),
        ("norm", [4.0, 1.0], "log"),
        ("norm", [4.0, 0.0], "linear"),
        ("rate", [4.0, 0.01], "linear"),
        ("speed", [4.0, 0.01], "linear"),
        ("accuracy", [0.01, 4.0], "linear"),
    ],
)
def test_a_scale_is_logarithmic_where_the_numbers_ask_for_it(kind, losses, scale):
    part = "valid" if kind == "accuracy" else "train"
    assert panel(kind, Curves("run", **{part: {kind: ([0, 1], losses)}})).get_yscale() == scale


def test_all_panels_show_the_same_steps(tmp_path):
    curves = read_curves(run_of(tmp_path, 7), "run")
    assert {panel(kind, curves).get_xlim() for kind in ("loss", "speed", "accuracy")} == {(-1, 7)}


def test_a_single_point_is_marked():
    axis = panel("loss", Curves("run", train={"loss": ([5], [2.0])}))
    assert axis.lines[0].get_marker() == "o"
    assert axis.get_xlim() == (4, 6)


def test_a_panel_without_numbers_says_so(tmp_path):
    axis = panel("norm", Curves("run", train={"loss": ([5], [2.0]), "norm": ([5], [NAN])}))
    assert [text.get_text() for text in axis.texts] == ["nothing to draw"]


@pytest.mark.parametrize(
    ("unit", "heading"),
    [("tokens", "tokens a second"), ("images", "images a second"), ("", "units a second")],
)
def test_speed_has_its_unit(unit, heading):
    assert panel("speed", Curves("run", unit=unit)).get_title(loc="left") == heading


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB"))


def colour_share(image, colour):
    rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return (image == rgb).all(-1).mean()


def test_the_picture_of_a_run_has_four_panels_and_one_for_what_else_was_validated(tmp_path):
    out = plot(run_of(tmp_path / "run", 9), tmp_path / "out.png")
    assert out == tmp_path / "out.png"
    image = pixels(out)
    assert image.shape == (round((3 * 2.9 + 0.6) * DPI), 11 * DPI, 3)
    assert colour_share(image, COLOURS[0]) > 1e-3
    assert colour_share(image, COLOURS[1]) > 1e-4
    assert colour_share(image, COLOURS[2]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.png", "run"]


def test_several_runs_are_in_one_picture(tmp_path):
    runs = [run_of(tmp_path / name, 9, loss=loss) for name, loss in (("a", 1.0), ("b", 2.0))]
    image = pixels(plot(runs, tmp_path / "out.png"))
    assert min(colour_share(image, colour) for colour in COLOURS[:2]) > 3e-4


def test_the_same_log_gives_the_same_picture(tmp_path):
    run = run_of(tmp_path / "run", 2)
    first = plot(run, tmp_path / "out.png").read_bytes()
    assert plot(run, tmp_path / "out.png").read_bytes() == first


def test_any_name_can_be_drawn(tmp_path):
    runs = [run_of(tmp_path / name, 1) for name in ("$x^$", "_run", "日本", "a\\b")]
    assert plot(runs, tmp_path / "out.png").is_file()


def test_a_dollar_is_no_mathematics():
    assert plain("a$b$") == r"a\$b\$"


@pytest.mark.parametrize(
    ("records", "sentence"),
    [(None, "has no log.jsonl"), ([], "is empty: not one step was logged yet")],
    ids=["no-log", "empty"],
)
def test_a_run_without_a_step_is_told_and_an_old_picture_stays(tmp_path, records, sentence):
    if records is not None:
        logged(tmp_path / "run", records)
    out = tmp_path / "out.png"
    out.write_bytes(b"old")
    with pytest.raises(LogError, match=sentence):
        plot(tmp_path / "run", out)
    assert out.read_bytes() == b"old"


def test_nothing_is_left_of_a_picture_that_does_not_fit(tmp_path):
    run = run_of(tmp_path / "run", 2)
    with limited(1000), pytest.raises(OSError, match="File too large"):
        plot(run, tmp_path / "out.png")
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_nothing_is_left_of_a_picture_whose_place_is_taken(tmp_path):
    run = run_of(tmp_path / "run", 2)
    (tmp_path / "out.png").mkdir()
    with pytest.raises(OSError, match="Is a directory"):
        plot(run, tmp_path / "out.png")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.png", "run"]


def test_half_a_line_does_not_matter(tmp_path):
    run = run_of(tmp_path, 2)
    whole = read_curves(run, "run")
    with (run / FILE).open("ab") as file:
        file.write(b'{"step": 4, "lo')
    assert read_curves(run, "run") == whole


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'pip install "zoo\[report\]"'):
        plot(run_of(tmp_path / "run", 4), tmp_path / "out.png")
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (950, "950"), (1000, "1k"), (12500, "12.5k"), (2e6, "2M")]
)
def test_thousands_are_short(value, text):
    assert thousands(float(value), 0) == text

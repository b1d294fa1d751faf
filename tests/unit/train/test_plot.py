"""Panels as they are laid out; the picture itself is integration's."""

import math

import pytest
from matplotlib.figure import Figure

from zoo.train.plot import COLOURS, FEW, Curves, draw_panel, heading, reach_of, smooth, title

NAN = math.nan


def panel_of(kind, *runs):
    axis = Figure().subplots()
    draw_panel(axis, kind, runs)
    return axis


def drawn(axis):
    """Give each line's label, colour, style, width, marker, opacity and number of points."""
    return [
        (
            line.get_label(), line.get_color(), line.get_linestyle(), line.get_linewidth(),
            line.get_marker(), line.get_alpha(), len(line.get_xdata()),
        )
        for line in axis.lines
    ]  # fmt: skip


def curves_of(count, name="run", valid=2):
    """Give a run of so many steps that fall from 3 to 2."""
    steps = list(range(count))
    losses = [2.0 + 1 / (step + 1) for step in steps]
    train = dict.fromkeys(("loss", "rate", "norm", "speed"), (steps, losses))
    held = {"loss": (steps[-valid:], losses[-valid:]), "accuracy": (steps[-1:], [0.5])}
    return Curves(name, last=count, unit="tokens", train=train, valid=held if valid else {})


FIRST, SECOND = COLOURS[:2]
DRAWN = {
    "few points": (
        "loss",
        [curves_of(FEW)],
        [
            ("training", FIRST, "-", 1.5, "None", None, FEW),
            ("validation", SECOND, "-", 1.5, "o", None, 2),
        ],
    ),
    "many points": (
        "loss",
        [curves_of(FEW + 1, valid=FEW + 1)],
        [
            ("_child0", FIRST, "-", 0.7, "None", 0.25, FEW + 1),
            ("training, smoothed", FIRST, "-", 1.5, "None", None, FEW + 1),
            ("validation", SECOND, "-", 1.5, "None", None, FEW + 1),
        ],
    ),
    "a rate": (
        "rate", [curves_of(FEW + 1)], [("training", FIRST, "-", 1.5, "None", None, FEW + 1)],
    ),
    "two runs": (
        "loss",
        [curves_of(FEW + 1), curves_of(3, valid=1)],
        [
            ("training, smoothed", FIRST, "-", 1.5, "None", None, FEW + 1),
            ("validation", FIRST, ":", 1.5, "o", None, 2),
            ("training", SECOND, "-", 1.5, "None", None, 3),
            ("validation", SECOND, ":", 1.5, "o", None, 1),
        ],
    ),
    "what is validated alone": (
        "accuracy", [curves_of(3)], [("validation", FIRST, "-", 1.5, "o", None, 1)],
    ),
    "of two runs": (
        "accuracy",
        [curves_of(3), curves_of(3)],
        [("validation", c, "-", 1.5, "o", None, 1) for c in (FIRST, SECOND)],
    ),
    "one point": (
        "norm",
        [Curves("run", train={"norm": ([5], [2.0])})],
        [("training", FIRST, "-", 1.5, "o", None, 1)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", DRAWN)
def test_lines_of_a_panel(what):
    kind, runs, wanted = DRAWN[what]
    axis = panel_of(kind, *runs)
    assert [(*line[:4], str(line[4]) or "None", *line[5:]) for line in drawn(axis)] == wanted
    assert axis.get_title(loc="left") == heading(kind, runs)
    assert axis.get_xlabel() == "step"
    assert axis.get_xlim() == pytest.approx(reach_of(runs), rel=1e-12)
    assert axis.xaxis.get_major_formatter()(12345.0) == "12,345"
    legend = axis.get_legend()
    alone = kind == "loss" and len(runs) == 1
    said = None if legend is None else [text.get_text() for text in legend.get_texts()]
    assert said == ([line[0] for line in wanted if line[0][0] != "_"] if alone else None)


def test_smoothed_lines_are_smoothed_and_the_faint_ones_as_they_were():
    run = curves_of(60)
    faint, line, _ = panel_of("loss", run).lines
    steps, losses = run.train["loss"]
    assert [*faint.get_xdata()] == [*line.get_xdata()] == steps
    assert [*faint.get_ydata()] == losses
    assert [*line.get_ydata()] == smooth(losses)


def test_a_panel_without_numbers_says_so():
    axis = panel_of("norm", Curves("run", train={"loss": ([5], [2.0]), "norm": ([5], [NAN])}))
    (text,) = axis.texts
    assert (text.get_text(), text.get_position(), text.get_ha(), text.get_color()) == (
        "nothing to draw", (0.5, 0.5), "center", "#888888",
    )  # fmt: skip
    assert text.get_transform() is axis.transAxes
    assert [*axis.get_yticks()] == []


SCALES = {
    "a loss": ("loss", [4.0, 1.0], "linear", None),
    "a loss that falls by a hundred": ("loss", [100.0, 1.0], "linear", None),
    "a loss that falls further": ("loss", [100.1, 1.0], "log", None),
    "a loss that reaches 0": ("loss", [400.0, 0.0], "linear", None),
    "a norm": ("norm", [4.0, 1.0], "log", None),
    "a norm of 0": ("norm", [4.0, 0.0], "linear", None),
    "a rate": ("rate", [4.0, 0.01], "linear", "4.0e+00"),
    "a speed": ("speed", [4000.0, 1.0], "linear", "4k"),
    "another": ("accuracy", [0.01, 4.0], "linear", None),
}


@pytest.mark.parametrize("what", SCALES)
def test_a_scale_is_as_the_numbers_ask_for_it(what):
    kind, values, scale, text = SCALES[what]
    part = "valid" if kind == "accuracy" else "train"
    axis = panel_of(kind, Curves("run", **{part: {kind: ([0, 1], values)}}))
    assert axis.get_yscale() == scale
    low, high = axis.get_ylim()
    if kind in ("rate", "speed"):
        assert low == 0.0
        assert axis.yaxis.get_major_formatter()(max(values), 0) == text
    if kind == "speed":
        assert high == 1.08 * 4000.0
    assert high > max(values)


def test_a_picture_has_the_name_of_its_run_or_all_names_beside_their_colours():
    figure = Figure()
    title(figure, [Curves("a$b")])
    assert (figure.get_suptitle(), figure.legends) == (r"a\$b", [])
    figure = Figure()
    title(figure, [Curves(name) for name in "abcd"])
    (legend,) = figure.legends
    assert figure.get_suptitle() == ""
    assert [text.get_text() for text in legend.get_texts()] == [*"abcd"]
    assert [line.get_color() for line in legend.get_lines()] == [*COLOURS[:4]]

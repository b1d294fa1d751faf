"""The progress of a run: true numbers, few lines, and a bar only where it can be seen."""

import io
import itertools
import os
import sys
import termios

import pytest

from zoo.train.progress import Pace, Progress, has_room, hours, open_bar, short


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    """A clock that goes on by so many seconds a step."""

    def __init__(self, seconds):
        self.now, self.seconds = 100.0, seconds

    def __call__(self):
        self.now += self.seconds
        return self.now


def lines_of(total, seconds, *, start=0, **options):
    """Give what is printed of a run whose steps take so long, 8 tokens each."""
    stream = io.StringIO()
    with Progress(total, start=start, stream=stream, clock=Clock(seconds), **options) as progress:
        for step in range(start, total):
            progress.step(step, 2.0, 4e-4, 8 * (step + 1))
    return stream.getvalue().splitlines()


def test_a_line_says_where_the_run_is_how_it_does_and_how_long_it_takes():
    lines = lines_of(1000, 2.5)
    # 8 tokens in 2.5 seconds
    assert lines[3] == (
        "step   300 of 1,000   30%   loss 2.0000   rate 4.0e-04   3.20 tokens/s   29:10 left"
    )
    assert lines[-1].startswith("step 1,000 of 1,000  100%") and lines[-1].endswith("0:00 left")


@pytest.mark.parametrize(
    ("total", "seconds", "start", "steps"),
    [
        (1000, 2.5, 0, [1, *range(100, 1001, 100)]),
        (1000, 2.5, 350, [351, *range(400, 1001, 100)]),
        (10, 3.0, 0, [*range(1, 11)]),
        (3, 3.0, 0, [1, 2, 3]),
        (1, 1.0, 0, [1]),
        (40, 0.125, 0, [1, 17, 33, 40]),
        (20, 350.0, 0, [1, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20]),
        (100, 250.0, 0, [1, 4, 7, 10, 13, 16, 19, 20, 23, 26, 29, 30]),
    ],
    ids=["tenths", "resumed", "ten", "three", "one", "fast", "slow-tenths", "ten-minutes"],
)
def test_lines_come_at_tenths_not_too_often_and_not_too_seldom(total, seconds, start, steps):
    said = [int(line.split()[1].replace(",", "")) for line in lines_of(total, seconds, start=start)]
    assert said[: len(steps)] == steps
    assert len(said) == len(steps) or total == 100


def test_quiet_says_nothing():
    stream = Terminal()
    with Progress(3, quiet=True, stream=stream) as progress:
        progress.step(0, 1.0, 1.0, 1)
        progress.say("a word")
    assert stream.getvalue() == ""


def shown(monkeypatch, total=9, start=0, **environment):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    stream = Terminal()
    with Progress(total, start=start, unit="images", stream=stream, clock=Clock(1.0)) as progress:
        for step in range(start, total):
            progress.step(step, 2.0, 1e-3, 7 * (step + 1))
            if step == 5:
                progress.say("saved step 5")
    return stream.getvalue()


def test_a_terminal_has_a_bar_that_begins_at_the_start(monkeypatch):
    text = shown(monkeypatch, start=4)
    assert "4/9" in text and "3/9" not in text
    assert "100%" in text and "9/9" in text
    assert "loss 2.0000  rate 1.0e-03  7.00 images/s  0:03 left" in text


def test_what_is_said_meanwhile_has_a_line_of_its_own(monkeypatch):
    text = shown(monkeypatch)
    before, after = text.split("saved step 5")
    assert before.endswith("\r") and after.startswith("\n")


@pytest.mark.parametrize(
    ("environment", "bar"),
    [({}, True), ({"TQDM_DISABLE": "0"}, True), ({"TQDM_DISABLE": "1"}, False)],
    ids=["bar", "not-disabled", "disabled"],
)
def test_a_bar_that_is_not_wanted_is_lines(monkeypatch, environment, bar):
    text = shown(monkeypatch, **environment)
    assert ("|" in text, "step 9 of 9" in text) == (bar, not bar)


@pytest.mark.parametrize(
    ("size", "room"), [((0, 0), False), ((24, 0), False), ((0, 80), False), ((24, 80), True)]
)
def test_a_terminal_without_a_size_has_no_room_for_a_bar(size, room):
    ends = os.openpty()
    termios.tcsetwinsize(ends[1], size)
    with os.fdopen(ends[0]), os.fdopen(ends[1], "w") as terminal:
        assert has_room(terminal) == room
        assert (open_bar(terminal, 3, 0) is not None) == room


def test_a_bar_has_no_colour(monkeypatch):
    assert "\x1b[" not in shown(monkeypatch)


def test_without_tqdm_there_are_lines(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    assert "step 9 of 9" in shown(monkeypatch)


def test_the_loss_is_the_mean_of_the_latest_weighted_by_age():
    pace, losses = Pace(0), [4.0, 1.0, 3.0]
    for step, loss in enumerate(losses):
        pace.step(float(step), step + 1, loss, step)
    weights = [0.81, 0.9, 1.0]
    expected = sum(w * x for w, x in zip(weights, losses, strict=True)) / sum(weights)
    assert pace.loss == pytest.approx(expected, rel=1e-12)


def test_a_loss_that_is_no_number_leaves_the_others():
    pace = Pace(0)
    for step, loss in enumerate([2.0, float("nan"), 2.0]):
        pace.step(float(step), step + 1, loss, step)
    assert pace.loss == pytest.approx(2.0, rel=1e-12)


def test_speed_is_that_of_the_latest_steps_without_the_first():
    pace = Pace(10)
    assert pace.left(30) is None
    pace.step(50.0, 11, 1.0, 5000)  # took long, and says nothing of the next
    assert (pace.speed, pace.left(30)) == (None, None)
    now = itertools.count(52, 2)
    for step in range(12, 15):
        pace.step(float(next(now)), step, 1.0, 5000 + 6 * (step - 11))
    assert pace.speed == pytest.approx(3.0)
    assert pace.left(30) == pytest.approx(2.0 * 16)
    for step in range(15, 80):  # and then faster: the slow ones are forgotten
        pace.step(56.0 + (step - 14) * 0.5, step, 1.0, 5018 + 6 * (step - 14))
    assert pace.speed == pytest.approx(12.0)
    assert pace.left(100) == pytest.approx(0.5 * 21)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0.00"),
        (7.254, "7.25"),
        (9.996, "10.0"),
        (81.26, "81.3"),
        (99.96, "100"),
        (812.4, "812"),
        (999.4, "999"),
        (999.6, "1.00k"),
        (12345.0, "12.3k"),
        (999_600.0, "1.00M"),
        (1.2e6, "1.20M"),
        (3.4e9, "3.40G"),
    ],
)
def test_a_speed_has_three_digits(number, text):
    assert short(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0:00"), (6.6, "0:07"), (59.6, "1:00"), (754.0, "12:34"), (3723.0, "1:02:03")],
)
def test_a_duration_is_read_at_a_glance(seconds, text):
    assert hours(seconds) == text

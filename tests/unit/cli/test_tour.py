"""The tour's parts that need no learning: what is missing, how long, what a sheet shows."""

import numpy as np
import pytest
import torch
from PIL import Image

from zoo.cli import UsageError
from zoo.cli.lesson_digits import Scans
from zoo.cli.tour import PACKAGES, check_packages
from zoo.cli.tour_vision import (
    CARD,
    SHOWN,
    card,
    digits_sheet,
    drawings_sheet,
    emptied,
    steps_of,
    taken,
)
from zoo.tasks import Label


def test_what_is_not_installed_is_said_at_once():
    check_packages(PACKAGES)
    with pytest.raises(UsageError, match=r"needs no-such, nor-this: pip install .zoo\[tour\]"):
        check_packages({"no_such": "no-such", "json": "json", "nor_this": "nor-this"})


@pytest.mark.parametrize(
    ("seconds", "steps"), [(60.0, 300), (600.0, 300), (30.0, 150), (2.0, 10), (0.1, 1)]
)
def test_a_shorter_lesson_has_fewer_steps_and_a_longer_one_no_more(seconds, steps):
    assert steps_of(300, seconds) == steps


@pytest.mark.parametrize(
    ("steps", "seconds", "said"), [(0, 0.0, "0 steps"), (12, 3.4, "12 steps, 3 s")]
)
def test_steps_are_said_with_their_seconds(steps, seconds, said):
    assert taken(steps, seconds) == said


def test_what_another_seed_left_is_taken_out_and_nothing_else(tmp_path):
    folder = tmp_path / "scans"
    assert emptied(folder, "??-is-?.png") == folder
    for name in ("00-is-6.png", "mine.png", "b.png"):
        (folder / name).write_bytes(b"")
    emptied(folder, "??-is-?.png", "b.png", "c.png")
    assert [file.name for file in folder.iterdir()] == ["mine.png"]


def is_red(sheet, row, column, cell=112):
    """Tell whether the paper of a cell is reddish: between its left edge and the ink."""
    x, y = 14 + column * (cell + 9) + 12, 43 + row * (cell + 33) + 12
    red, _, blue = np.asarray(sheet)[y, x].tolist()
    return red > blue + 20


def digits(count, wrong):
    """Give blank scans of the digit 1, read as 7 where they are `wrong`."""
    pictures = [Image.new("L", (80, 80), 255) for _ in range(count)]
    scans = Scans(pictures, torch.ones(count, 1, 20, 20), torch.ones(count, dtype=torch.int64))
    return scans, [Label("7" if i in wrong else "1", 0.9) for i in range(count)]


@pytest.mark.parametrize("wrong", [(), (4,), (0, 11, 12)], ids=["none", "one", "three"])
def test_misread_digits_come_first_and_red(wrong):
    sheet = digits_sheet(*digits(25, wrong))
    found = [is_red(sheet, 0, column) for column in range(10)]
    assert found == [column < len(wrong) for column in range(10)]


def test_a_reader_of_nothing_right_fills_half_of_the_sheet():
    few, many = (digits_sheet(*digits(50, range(wrong))) for wrong in (0, 50))
    assert few.height - many.height == 2 * (112 + 33)  # 40 cells, and 20
    assert SHOWN == 40


def test_a_row_begins_with_its_querys_card():
    pictures = [Image.new("RGB", (128, 128), colour) for colour in ("red", "lime")]
    sheet = drawings_sheet({"a word": [1, 0], "two": [0, 1]}, pictures, ["red", "green"], "By me.")
    seen = {tuple(p) for p in np.asarray(sheet).reshape(-1, 3)[::3].tolist()}
    assert {CARD, (255, 0, 0), (0, 255, 0)} <= seen
    words = np.asarray(card("cat face"))
    assert (words[0, 0] == CARD).all()
    assert words.max() == 255

"""Sheets, heat and strips: what is drawn where. What is pleasant is for eyes, not for tests."""

from itertools import count

import numpy as np
import pytest
import torch
from PIL import Image

from unit.images.pictures import RGB, RGBA, saved
from zoo.images import ImageError, contact_sheet, heat, token_heat
from zoo.images.draw import INFERNO, INK, LINE, PAPER, REDS, coloured, contained
from zoo.images.lettering import MISSING, drawable, font_of, line_height, wrapped

RED, GREEN, BLUE = (Image.new("RGB", (40, 40), name) for name in ("red", "lime", "blue"))


def where(image, colour):
    """Give the box (left, top, right, bottom) that holds a colour."""
    there = (np.asarray(image) == colour).all(-1)
    rows, columns = np.nonzero(there)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def test_a_sheet_is_filled_row_by_row():
    sheet = contact_sheet([RED, GREEN, BLUE], ["one", "two", "three"], columns=2, cell=80)
    red, green, blue = (where(sheet, c) for c in [(255, 0, 0), (0, 255, 0), (0, 0, 255)])
    assert red[1] == green[1] and red[0] == blue[0]
    assert green[0] > red[2] and blue[1] > red[3]
    for left, top, right, bottom in (red, green, blue):
        assert (right - left, bottom - top) == (80, 80)
    assert red[0] == sheet.width - green[2]  # margins are even


def test_a_sheet_has_no_more_columns_than_pictures():
    assert (
        contact_sheet([RED], ["one"], columns=9, cell=80).width
        == contact_sheet([RED], ["one"], columns=1, cell=80).width
    )


def test_captions_stand_below_their_pictures_and_do_not_cross():
    long = "a very long caption " * 20
    sheet = np.asarray(contact_sheet([RED, GREEN], [long, long], columns=2, cell=80))
    red, green = where(sheet, (255, 0, 0)), where(sheet, (0, 255, 0))
    below = (sheet[red[3] + 2 :] != PAPER).any(-1)
    assert below.any(0)[red[0] : red[2]].any() and below.any(0)[green[0] : green[2]].any()
    assert not below.any(0)[red[2] + 1 : green[0] - 1].any()
    assert not below[-5:].any()


def test_a_row_is_as_high_as_its_longest_caption():
    sheet = contact_sheet([RED, GREEN, BLUE], ["a\nb", "", "c"], columns=1, cell=80)
    red, green, blue = (where(sheet, c) for c in [(255, 0, 0), (0, 255, 0), (0, 0, 255)])
    line = line_height(font_of(11))
    assert (green[1] - red[1]) - (blue[1] - green[1]) == 2 * line


def test_a_picture_stands_in_the_middle_of_its_square():
    for size in ((40, 80), (80, 40)):
        sheet = contact_sheet([Image.new("RGB", size, "red")], [""], columns=1, cell=80)
        left, top, right, bottom = where(sheet, (255, 0, 0))
        assert (right - left, bottom - top) == size
        assert left == sheet.width - right
        square = where(sheet, LINE)
        assert top - square[1] == square[3] - bottom


def test_a_title_and_lines_make_room_for_themselves():
    low = contact_sheet([RED], ["x"], columns=1, cell=80)
    assert contact_sheet([RED], ["x"], columns=1, cell=80, title="T").height > low.height
    assert contact_sheet([RED], ["x\ny"], columns=1, cell=80).height > low.height
    assert contact_sheet([RED], ["x\ny"], columns=1, cell=80, lines=1).height == low.height
    assert contact_sheet([RED], [""], columns=1, cell=80).height < low.height


@pytest.mark.parametrize(
    ("size", "side", "want"),
    [
        ((8, 8), 72, (72, 72)),
        ((8, 6), 70, (64, 48)),
        ((30, 20), 60, (60, 40)),
        ((40, 20), 60, (60, 30)),
        ((90, 30), 60, (60, 20)),
        ((30, 90), 60, (20, 60)),
        ((900, 1), 60, (60, 1)),
    ],
    ids=count(),
)
def test_a_picture_is_scaled_to_fit(size, side, want):
    assert contained(Image.new("RGB", size), side).size == want


def test_a_small_picture_keeps_its_pixels_square():
    shown = contained(Image.fromarray(RGB), 17)
    np.testing.assert_array_equal(np.asarray(shown), RGB.repeat(3, axis=0).repeat(3, axis=1))


@pytest.mark.parametrize("image", [RGBA, saved(RGBA), Image.fromarray(RGBA)], ids=count())
def test_what_is_transparent_is_white_on_a_sheet(image):
    sheet = np.asarray(contact_sheet([image], [""], columns=1, cell=20))
    row, column = 12 + 4, 12 + 10  # the first row of RGBA shows nothing; it is four pixels high
    assert tuple(sheet[row + 1, column]) == (255, 255, 255)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("café naïve Ærø", f"cafe naive {MISSING}r{MISSING}"),
        ("2 × 3 → 6", "2 x 3 -> 6"),
        ("日本", MISSING * 2),
        ("a\tb\0c\u200bd", "a bcd"),
        ("two\nlines", "two\nlines"),
        ("half \ud800 of one", f"half {MISSING} of one"),
        ("e\u0301", "e"),
    ],
    ids=count(),
)
def test_text_is_in_letters_that_can_be_drawn(text, shown):
    assert drawable(text) == shown


@pytest.mark.parametrize(
    ("text", "width", "lines", "want"),
    [
        ("", 100, 2, []),
        ("one two", 1000, 2, ["one two"]),
        ("one two", 40, 2, ["one", "two"]),
        ("one two three", 42, 2, ["one", "tw..."]),
        ("one\ntwo", 1000, 2, ["one", "two"]),
        ("one\ntwo\nthree", 1000, 2, ["one", "two..."]),
        ("iiiiiiiiiiiii", 20, 9, ["iiiii", "iiiii", "iii"]),
        ("W", 1, 2, ["W"]),
    ],
    ids=count(),
)
def test_text_is_broken_into_lines(text, width, lines, want):
    assert wrapped(text, font_of(20), width, lines) == want


def test_no_line_is_wider_than_asked():
    font = font_of(17)
    draw = np.random.default_rng(0)
    for _ in range(200):
        text = "".join(draw.choice(list("iWm .e\n"), draw.integers(1, 90)))
        lines = wrapped(text, font, 70, 3)
        assert len(lines) <= 3
        assert all(font.getlength(line) <= 70 for line in lines), lines


def test_heat_is_brightest_where_the_weight_is():
    weights = np.zeros((2, 3))
    weights[1, 2] = 1
    grey = Image.new("RGB", (300, 240), (120, 120, 120))
    out = np.asarray(heat(grey, weights)).astype(int)
    assert out.shape == (240, 300, 3)
    brightness = out.sum(-1)
    row, column = np.unravel_index(brightness.argmax(), brightness.shape)
    assert row >= 120 and column >= 200  # in the cell of the 1
    assert (out[:100, :90].max(-1) - out[:100, :90].min(-1)).max() <= 8  # grey where there is none


def test_heat_grows_with_the_weight():
    grey = Image.new("RGB", (224, 224), (90, 90, 90))
    steps = [np.asarray(heat(grey, np.full((2, 2), w)))[0, 0] for w in np.linspace(0, 1, 11)]
    luma = [int(r) * 299 + int(g) * 587 + int(b) * 114 for r, g, b in steps]
    assert luma[-1] > 1.5 * luma[0] and luma[2:] == sorted(luma[2:])


def test_heat_takes_a_tensor_and_enlarges_a_small_picture():
    image = Image.new("RGB", (8, 6), "white")
    weights = torch.rand(3, 5, requires_grad=True)
    out = heat(image, weights)
    assert out.size == (8 * 38, 6 * 38)
    same = heat(image, weights.detach().numpy())
    assert out.tobytes() == same.tobytes()
    assert heat(image, weights, smallest=6).size == (8, 6)


def test_colours_are_a_tables_stations():
    for table in (INFERNO, REDS):
        weights = np.linspace(0, 1, len(table))
        np.testing.assert_allclose(coloured(weights, table), table, atol=1e-9)
        half = coloured(weights[:-1] + weights[1] / 2, table)
        np.testing.assert_allclose(half, (np.array(table[1:]) + table[:-1]) / 2, atol=1e-9)


def test_tokens_stand_on_their_colours_in_order():
    strip = token_heat(["a", "b", "c"], [0.0, 0.5, 1.0], width=300)
    first, last = where(strip, REDS[2]), where(strip, REDS[4])
    assert first[2] <= last[0] and first[1] == last[1]


def test_tokens_are_wrapped():
    one = token_heat(["word"] * 3, [0.2] * 3, width=300)
    more = token_heat(["word"] * 30, [0.2] * 30, width=300)
    assert one.width == more.width == 300 and more.height > 3 * one.height
    paper = np.asarray(more)
    assert (paper[:, :19] == PAPER).all() and (paper[:, -18:] == PAPER).all()


@pytest.mark.parametrize(
    "token", ["", " ", "\n", "Ġthe", "▁a", "日", "\ud800", "x" * 5000], ids=count()
)
def test_any_token_can_be_drawn(token):
    strip = token_heat([token], torch.tensor([1.0]), width=300)
    left, top, right, bottom = where(strip, REDS[4])
    assert right - left >= 10 and right <= 280 and bottom > top


def test_letters_are_light_on_dark_and_dark_on_light():
    light, dark = (np.asarray(token_heat(["MMM"], [w], width=300)) for w in (0.3, 1.0))
    inside = np.s_[30:40, 30:60]
    assert (light[inside] == INK).all(-1).any() and not (dark[inside] == INK).all(-1).any()
    assert (dark[inside] == PAPER).all(-1).any() and not (light[inside] == PAPER).all(-1).any()


def test_no_token_crosses_the_margin():
    for length in range(1, 30):
        strip = np.asarray(
            token_heat(["i" * length, "mm", "m" * length] * 5, [1.0] * 15, width=300)
        )
        assert (strip[:, -19:] == PAPER).all(), length


def test_no_tokens_are_an_empty_strip():
    assert token_heat([], [], width=300, title="nothing").width == 300


def big():
    return Image.new("RGB", (10_000, 1))


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: contact_sheet([RED], [], columns=1), "1 pictures and 0 captions"),
        (lambda: contact_sheet([], [], columns=1), "0 pictures in 1 columns"),
        (lambda: contact_sheet([RED], ["x"], columns=0), "1 pictures in 0 columns"),
        (lambda: contact_sheet([RED], ["x"], columns=1, cell=9), "of 9 pixels"),
        (lambda: contact_sheet([RED], ["x"], columns=1, cell=20_000), "draw fewer things"),
        (lambda: contact_sheet([b"x"], ["x"], columns=1), "the picture of 1 bytes is damaged"),
        (lambda: heat(RED, [[0.0, 1.1]]), r"weights reach from 0 to 1.1; scale them to 0\.\.1"),
        (lambda: heat(RED, [[-0.1]]), r"from -0.1 to -0.1; scale"),
        (lambda: heat(RED, [[float("nan")]]), "from nan to nan"),
        (lambda: heat(RED, [0.5]), r"weights of shape \(1,\); expected 2 axes"),
        (lambda: heat(RED, np.zeros((0, 3))), r"weights of shape \(0, 3\) are no grid"),
        (lambda: heat(big(), [[0.5]]), "would be 2240000 x 224"),
        (lambda: token_heat(["a"], [0.1, 0.2]), "1 tokens and 2 weights"),
        (lambda: token_heat(["a"], [[0.1]]), r"weights of shape \(1, 1\); expected 1 axes"),
        (lambda: token_heat(["a"], [0.1], width=100), "width 100 is too little"),
        (lambda: token_heat(["a"], [0.1], size=5), "letters of 5"),
    ],
    ids=count(),
)
def test_what_cannot_be_drawn_is_refused(draw, message):
    with pytest.raises(ImageError, match=message):
        draw()

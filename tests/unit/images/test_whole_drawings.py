"""Sheets, heat and strips drawn a second time by hand: every pixel of both is the same."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from zoo.images import contact_sheet, heat, token_heat
from zoo.images.draw import GROUND, INFERNO, INK, LINE, PAPER, REDS, SOFT, contained
from zoo.images.lettering import fitting, font_of, line_height, shortened

RED, GREEN, BLUE = (Image.new("RGB", size, name) for size, name in zip(
    ((40, 40), (30, 20), (7, 90)), ("red", "lime", "blue"), strict=True
))  # fmt: skip

# cell -> margin, gap, the font of captions, the font of the title
SHEETS = {16: (12, 8, 11, 16), 80: (12, 8, 11, 16), 160: (20, 13, 12, 20), 300: (37, 25, 18, 30)}


@pytest.mark.parametrize("title", [None, "T\nU"], ids=["bare", "titled"])
@pytest.mark.parametrize("cell", SHEETS)
def test_a_sheet_is_drawn_where_it_should_be(cell, title):
    margin, gap, small, large = SHEETS[cell]
    font, head = font_of(small), font_of(large)
    tall = line_height(font)
    captions = ["o", "a\nb", ""]
    sheet = contact_sheet([RED, GREEN, BLUE], captions, columns=2, cell=cell, title=title)
    top = margin + (2 * line_height(head) + gap if title else 0)
    below = top + cell + gap + 2 * tall + gap
    width = 2 * margin + 2 * cell + gap
    expected = Image.new("RGB", (width, below + cell + gap + margin - gap // 2), PAPER)
    draw = ImageDraw.Draw(expected)
    if title:
        draw.text((margin, margin), "T", INK, head)
        draw.text((margin, margin + line_height(head)), "U", INK, head)
    second = margin + cell + gap
    places = ((margin, top), (second, top), (margin, below))
    for image, text, (x, y) in zip((RED, GREEN, BLUE), captions, places, strict=True):
        draw.rectangle((x - 1, y - 1, x + cell, y + cell), GROUND, LINE)
        shown = contained(image, cell)
        left, above = (cell - shown.width) // 2, (cell - shown.height) // 2
        expected.paste(shown, (x + left, y + above))
        for number, line in enumerate(text.splitlines()):
            middle = x + (cell - font.getlength(line)) / 2
            place = (middle, y + cell + gap // 2 + number * tall)
            draw.text(place, line, SOFT, font)
    assert sheet.size == expected.size
    np.testing.assert_array_equal(np.asarray(sheet), np.asarray(expected))


def test_a_sheet_is_of_192_pixels_a_picture_and_two_lines_unless_told():
    found = contact_sheet([RED, RED], ["a\nb\nc", "d"], columns=2)
    told = contact_sheet([RED, RED], ["a\nb\nc", "d"], columns=2, cell=192, lines=2, title=None)
    assert found.tobytes() == told.tobytes()
    for changes in ({"cell": 193}, {"lines": 3}, {"lines": 1}, {"columns": 1}):
        other = contact_sheet([RED, RED], ["a\nb\nc", "d"], **{"columns": 2} | changes)
        assert other.size != found.size


def test_a_title_takes_two_lines_at_most():
    head = font_of(16)
    heights = [
        contact_sheet([RED], [""], columns=1, cell=80, title=title).height
        for title in ("a", "a\nb", "a\nb\nc", "")
    ]
    assert heights[1] - heights[0] == line_height(head)
    assert heights[2] == heights[1]
    assert heights[3] == heights[0] - line_height(head) - 8


CONTAINED = {
    (30, 30): ((60, 60), True),
    (31, 31): ((60, 60), False),
    (1, 90): ((1, 60), False),
    (90, 1): ((60, 1), False),
    (2, 90): ((1, 60), False),
    (7, 20): ((21, 60), True),
    (60, 45): ((60, 45), False),
    (45, 100): ((27, 60), False),
}


@pytest.mark.parametrize("size", CONTAINED, ids=str)
def test_a_picture_is_enlarged_by_steps_and_else_scaled(size):
    want, steps = CONTAINED[size]
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    filter_ = Image.Resampling.NEAREST if steps else Image.Resampling.LANCZOS
    found = contained(image, 60)
    assert found.size == want
    assert found.tobytes() == image.resize(want, filter_).tobytes()


def colours(weights, table):
    at = np.asarray(weights, dtype=np.float64) * (len(table) - 1)
    low = np.floor(at).astype(int).clip(0, len(table) - 2)
    table = np.asarray(table, dtype=np.float64)
    part = (at - low)[..., None]
    return (1 - part) * table[low] + part * table[low + 1]


@pytest.mark.parametrize(
    ("options", "step", "strength"),
    [({"smallest": 16}, 2, 0.7), ({"smallest": 8, "strength": 0.5}, 1, 0.5), ({}, 28, 0.7),
     ({"smallest": 17}, 3, 0.7)],
    ids=["twice", "as it is", "usual", "a step more"],
)  # fmt: skip
def test_heat_is_laid_over_grey_as_much_as_there_is(options, step, strength):
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (8, 10, 3), dtype=np.uint8))
    weights = np.array([[0.0, 1.0, 0.25], [0.5, 0.125, 0.75]])
    large = image.resize((10 * step, 8 * step), Image.Resampling.NEAREST)
    smooth = Image.fromarray(weights.astype(np.float32)).resize(large.size, 3)
    smooth = np.asarray(smooth).clip(0, 1)
    share = strength * (0.4 + 0.6 * smooth)[..., None]
    grey = np.asarray(large.convert("L"), dtype=np.float64)[..., None]
    expected = (1 - share) * grey + share * colours(smooth, INFERNO)
    found = np.asarray(heat(image, weights, **options)).astype(float)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 0.5 + 1e-6


# size -> padding, gap, the title's font
STRIPS = {6: (3, 2, 7), 20: (5, 3, 24), 33: (8, 5, 40)}
TOKENS = ["a", "word", " ", "", "longer ones", "\n", "x" * 50, "z", "y"]
WEIGHTS = [0.0, 0.5, 1.0, 0.75, 0.25, 0.9, 0.1, 0.6, 0.7]


@pytest.mark.parametrize("title", [None, "T\nU"], ids=["bare", "titled"])
@pytest.mark.parametrize("size", STRIPS)
def test_a_strip_is_drawn_where_it_should_be(size, title):
    pad, gap, large = STRIPS[size]
    width, inner = 10 * size, 8 * size
    font, head = font_of(size), font_of(large)
    tall = line_height(font) + pad
    texts = ["a", "word", "", "", "longer ones", "\\n", "x" * 50, "z", "y"]
    texts = [shortened(text, font, inner - 2 * pad) for text in texts]
    assert texts[6].endswith("...")
    top = size + (2 * line_height(head) + size // 2 if title else 0)
    x, y, boxes = 0.0, 0, []
    for text in texts:
        wide = max(font.getlength(text), size / 3) + 2 * pad
        if x > 0 and x + wide > inner:
            x, y = 0.0, y + tall + 2 * gap
        boxes.append((size + x, top + y, wide))
        x += wide + gap
    expected = Image.new("RGB", (width, top + y + tall + size), PAPER)
    draw = ImageDraw.Draw(expected)
    if title:
        draw.text((size, size), "T", INK, head)
        draw.text((size, size + line_height(head)), "U", INK, head)
    for text, weight, (left, above, wide) in zip(texts, WEIGHTS, boxes, strict=True):
        colour = tuple(round(float(part)) for part in colours(weight, REDS))
        draw.rounded_rectangle((left, above, left + wide, above + tall), pad, colour, LINE)
        ink = PAPER if sum(colour) < 384 else INK
        draw.text((left + pad, above + pad / 2), text, ink, font)
    found = token_heat(TOKENS, WEIGHTS, width=width, size=size, title=title)
    assert found.size == expected.size
    np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))


def test_a_strip_is_720_wide_in_letters_of_20_unless_told():
    found = token_heat(["a", "b"], [0.1, 0.2])
    assert found.tobytes() == token_heat(["a", "b"], [0.1, 0.2], width=720, size=20).tobytes()
    assert found.width == 720


def test_as_many_letters_fit_as_do_and_one_always():
    font = font_of(20)
    for text in ("iiiiiiiiii", "Wi" * 20, "W"):
        for width in (0, 5, 17.5, 40, 41, 1000):
            lengths = [font.getlength(text[: n + 1]) for n in range(len(text))]
            expected = max(1, sum(length <= width for length in lengths))
            assert fitting(text, font, width) == expected
    exact = font.getlength("Wii")
    assert fitting("Wiii", font, exact) == 3
    assert shortened("Wii", font, exact) == "Wii"
    assert shortened("Wiii and", font, exact + font.getlength("...")) == "Wii..."
    assert shortened("W i and", font, font.getlength("W ...")) == "W..."
    assert shortened("Wiiii...", font, exact + font.getlength("..."), always=True) == "Wii..."


def test_a_line_is_a_little_higher_than_its_letters():
    for size in (11, 20, 30):
        up, down = font_of(size).getmetrics()
        assert line_height(font_of(size)) == round(1.05 * (up + down))

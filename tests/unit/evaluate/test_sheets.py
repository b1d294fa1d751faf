"""Pictures of golden rows: tiles, files, and what is held in memory; what is not there is named."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from zoo.evaluate import sheets
from zoo.evaluate.sheets import Picture, SheetError, name_of, picture, sheets_of, tile
from zoo.images import ImageError

GREY = np.arange(6 * 9, dtype=np.uint8).reshape(6, 9) * 4
SHEETS = {"sheet.png": 3}


@pytest.fixture
def folder(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "sheet.png")
    Image.fromarray(np.stack([GREY, 255 - GREY, GREY // 2], -1)).save(tmp_path / "colour.png")
    (tmp_path / "below").mkdir()
    Image.fromarray(GREY[:2]).save(tmp_path / "below" / "small.png")
    return tmp_path


def grey(image):
    """Give one channel of a picture whose channels are alike."""
    pixels = np.asarray(image)
    assert image.mode == "RGB"
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0].tolist()


@pytest.mark.parametrize("number", range(6))
def test_tiles_are_counted_row_by_row(folder, number):
    down, across = divmod(number, 3)
    expected = [line[3 * across : 3 * across + 3].tolist() for line in GREY[3 * down :][:3]]
    assert grey(tile(f"sheet.png#{number}", folder, 3)) == expected
    assert grey(picture(f"sheet.png#{number}", folder, SHEETS)) == expected


def test_a_tile_keeps_its_colours(folder):
    pixels = np.asarray(tile("colour.png#1", folder, 3))
    assert pixels[0, 0].tolist() == [12, 243, 6]


def test_a_name_without_a_number_is_a_whole_file(folder):
    assert grey(picture("below/small.png", folder, SHEETS)) == GREY[:2].tolist()


@pytest.mark.parametrize("make", [np.asarray, Image.fromarray, lambda a: a[..., None]])
def test_pixels_in_memory_are_taken_as_they_are(folder, make):
    assert grey(picture(make(GREY), folder, SHEETS)) == GREY.tolist()


def test_a_picture_in_memory_goes_by_its_name(folder):
    held = Picture("sheet.png#4", Image.new("RGB", (2, 2), (7, 7, 7)))
    assert picture(held, folder, {}) is held.image
    assert (str(held), name_of(held), name_of("a.png")) == ("sheet.png#4", "sheet.png#4", "a.png")
    assert name_of(GREY) == "a ndarray"


def test_a_sheet_is_read_once_and_again_when_it_changes(folder):
    sheets.kept.cache_clear()
    for number in range(6):
        tile(f"sheet.png#{number}", folder, 3)
    assert sheets.kept.cache_info().misses == 1
    Image.fromarray(255 - np.vstack([GREY, GREY])).save(folder / "sheet.png")
    assert grey(tile("sheet.png#0", folder, 3))[0] == [255, 251, 247]
    assert sheets.kept.cache_info().misses == 2


def test_drawing_on_a_picture_leaves_the_next_one_alone(folder):
    for name in ("sheet.png#0", "below/small.png"):
        first = picture(name, folder, SHEETS)
        first.paste((255, 255, 255), (0, 0, *first.size))
        assert grey(picture(name, folder, SHEETS))[0][0] == 0


FAULTS = {
    "a tile too many": ("sheet.png#6", "'sheet.png#6': the sheet has 6 tiles, 0 to 5"),
    "a number below": ("sheet.png#-1", "names no tile; expected a number behind #: sheet.png#0"),
    "no number": ("sheet.png#", "names no tile"),
    "a number of another script": ("sheet.png#²", "names no tile"),
    "a word": ("sheet.png#one", "names no tile"),
    "a sheet that is not stated": (
        "colour.png#0",
        r"colour.png is no sheet of .*; its manifest names \['sheet.png'\]",
    ),
    "a file that is not there": ("gone.png", "holds no picture 'gone.png'"),
    "a folder": ("below", "holds no picture 'below'"),
    "a way out": ("below/../sheet.png", re.escape("holds no picture 'below/../sheet.png'")),
    "an absolute path": ("/dev/null", "holds no picture '/dev/null'"),
    "nothing": ("", "holds no picture ''"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_is_not_there_is_named(folder, case):
    name, sentence = FAULTS[case]
    with pytest.raises(SheetError, match=sentence):
        picture(name, folder, SHEETS)


@pytest.mark.parametrize("side", [2, 4, 5])
def test_tiles_must_fill_their_sheet(folder, side):
    with pytest.raises(SheetError, match=f"has 9 x 6 pixels, no multiple of tiles of {side}"):
        tile("sheet.png#0", folder, side)


def test_a_damaged_picture_is_named(folder):
    (folder / "poor.png").write_bytes(b"\x89PNG\r\n\x1a\nnot one")
    with pytest.raises(ImageError, match=r"poor\.png"):
        picture("poor.png", folder, SHEETS)


def test_a_manifest_names_the_sheets(folder):
    assert sheets_of(folder) == {}
    (folder / "manifest.json").write_text(json.dumps({"name": "x"}))
    assert sheets_of(folder) == {}
    (folder / "manifest.json").write_text(json.dumps({"sheets": SHEETS}))
    assert sheets_of(folder) == SHEETS


@pytest.mark.parametrize("side", [0, -3, "3", 3.0, True, None], ids=repr)
def test_a_side_is_a_whole_number_of_pixels(folder, side):
    (folder / "manifest.json").write_text(json.dumps({"sheets": {"a.png": side}}))
    with pytest.raises(SheetError, match=r"sheet 'a\.png' has tiles of .*; expected pixels"):
        sheets_of(folder)

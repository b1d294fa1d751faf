"""golden/scans and golden/drawings: what their rows and sheets must be for answers to mean much."""

import hashlib
import tomllib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zoo.evaluate.rows import read_rows, stated

ROOT = Path(__file__).parents[2] / "golden"
SETS = ("scans", "drawings")
ROWS = {name: read_rows(ROOT / name) for name in SETS}
LISTS = {name: tomllib.loads((ROOT / name / f"{name}.toml").read_text("utf-8")) for name in SETS}
BY_ID = {row.id: row for rows in ROWS.values() for row in rows}
VARIANTS = [row for rows in ROWS.values() for row in rows if row.of is not None]


def tiles_of(name):
    """Give the tiles of a set's sheets by name."""
    found = {}
    for sheet, side in stated(ROOT / name)["sheets"].items():
        with Image.open(ROOT / name / sheet) as image:
            pixels = np.asarray(image)
        grid = [
            pixels[y : y + side, x : x + side]
            for y in range(0, pixels.shape[0], side)
            for x in range(0, pixels.shape[1], side)
        ]
        found |= {f"{sheet}#{number}": tile for number, tile in enumerate(grid)}
    return found


TILES = {name: tiles_of(name) for name in SETS}


def pictures_of(row):
    return [row.fields["image"]] if "image" in row.fields else row.fields["images"]


def known(name, *segments):
    """Give the rows of a set whose answer is known, of all these segments."""
    rows = [row for row in ROWS[name] if row.test == "mft"]
    return [row for row in rows if {*segments} <= {*row.segments}]


@pytest.mark.parametrize("name", SETS)
def test_every_tile_is_asked_about(name):
    """What is left over at a sheet's end is black."""
    named = {picture for row in ROWS[name] for picture in pictures_of(row)}
    assert [tile for tile in TILES[name].keys() - named if TILES[name][tile].any()] == []


@pytest.mark.parametrize("name", SETS)
def test_no_tile_lies_twice_on_a_sheet(name):
    seen = Counter(
        (tile.partition("#")[0], pixels.tobytes())
        for tile, pixels in TILES[name].items()
        if pixels.any()
    )
    assert max(seen.values()) == 1


@pytest.mark.parametrize("row", VARIANTS, ids=lambda row: row.id)
def test_a_variant_differs_in_its_picture_or_its_words(row):
    base = BY_ID[row.of]
    changed = {name for name in row.fields if row.fields[name] != base.fields[name]}
    assert len(changed) == 1
    assert changed <= {"image", "text"}


@pytest.mark.parametrize("digit", range(10))
def test_plain_scans_are_a_hundred_of_each_digit_in_the_order_of_their_digests(digit):
    rows = known("scans", "plain", f"digit-{digit}")
    sums = [
        hashlib.sha256(TILES["scans"][row.fields["image"]].tobytes()).hexdigest() for row in rows
    ]
    assert len(rows) == LISTS["scans"]["plain"]["each"]
    assert sums == sorted(sums)
    assert all("robust" in row.flags for row in rows[: LISTS["scans"]["plain"]["robust"]])


@pytest.mark.parametrize("style", LISTS["scans"]["chosen"])
def test_chosen_scans_are_those_of_the_list(style):
    listed = LISTS["scans"]["chosen"][style]
    asked = {int(row.id.rpartition("-")[2]) for row in known("scans", style)}
    assert asked == {*listed}
    assert len(listed) == len({*listed})


def test_a_digit_that_is_also_a_segment_is_the_label():
    for row in known("scans"):
        assert f"digit-{row.fields['label']}" in row.segments, row.id


@pytest.mark.parametrize(("task", "offered"), [("caption", "captions"), ("picture", "images")])
def test_no_place_among_what_is_offered_is_a_hint(task, offered):
    rows = [row for row in known("drawings") if row.task == task]
    four = [row.fields for row in rows if len(row.fields[offered]) == 4]
    places = Counter(fields[offered].index(fields["answer"]) for fields in four)
    assert all(0.15 <= places[place] / len(four) <= 0.35 for place in range(4))


def test_what_is_unseen_lies_on_its_own_sheet():
    """The picture of a caption or retrieve row: kept back, or seen."""
    for row in known("drawings"):
        image = row.fields["answer"] if row.task == "picture" else row.fields["image"]
        kept_back = bool({"unseen", "fresh"} & {*row.segments})
        assert image.startswith("unseen.png#") == kept_back, row.id


def test_three_hundred_unseen_drawings_are_ranked_together_half_of_each_style():
    rows = known("drawings", "retrieve", "unseen")
    styles = Counter(style for row in rows for style in row.segments if style.startswith("in-"))
    assert {row.fields["group"] for row in rows} == {"unseen"}
    assert styles == {"in-colours": 150, "in-lines": 150}

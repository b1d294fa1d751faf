"""Copies that splits share end up in one; nothing else moves."""

import pandas as pd
import pytest

from zoo.data import from_frame
from zoo.data.check import inspect
from zoo.data.together import together

LONG = " ".join(f"word{i}" for i in range(60))
OTHER = " ".join(f"thing{i}" for i in range(60))


def rows_of(*texts):
    splits, said = zip(*texts, strict=True)
    frame = pd.DataFrame({"id": [str(i) for i in range(len(said))], "text": said, "split": splits})
    return from_frame(frame, "text")


MOVED = {
    "a copy in valid": (
        [("train", "one text here"), ("valid", "one text here"), ("valid", "another one")],
        ["train", "train", "valid"],
    ),
    "a copy in other letters": (
        [("train", "One  text HERE"), ("valid", "one text here"), ("valid", "another one")],
        ["train", "train", "valid"],
    ),
    "nearly a copy": (
        [("train", LONG), ("valid", LONG + " and more"), ("valid", OTHER)],
        ["train", "train", "valid"],
    ),
    "a chain of three": (
        [("valid", LONG), ("valid", LONG + " a b c"), ("train", LONG + " a b c d e f")],
        ["train", "train", "train"],
    ),
    "valid and test": (
        [("train", OTHER), ("valid", LONG), ("test", LONG)],
        ["train", "test", "test"],
    ),
}


@pytest.mark.parametrize("what", MOVED)
def test_copies_share_a_split(what):
    texts, expected = MOVED[what]
    rows = rows_of(*texts)
    moved = together(rows)
    assert list(moved.frame["split"]) == expected
    assert inspect(moved).passed
    assert moved.version != rows.version  # another split is other data
    assert list(moved.frame["text"]) == list(rows.frame["text"])
    assert list(rows.frame["split"]) == [split for split, _ in texts]  # the given ones stay


def test_rows_without_copies_are_as_they_were():
    rows = rows_of(("train", LONG), ("valid", OTHER), ("valid", "short"))
    assert together(rows) is rows

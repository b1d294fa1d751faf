"""The record of rows: small, the same for any order, and true."""

import json
from datetime import date

import numpy as np
import pytest

from unit.data.seen import kept, labelled, rows_of, scene, words
from zoo.data.check import inspect, statistics
from zoo.data.reference import check_reference
from zoo.data.rows import Rows
from zoo.data.statistics import POINTS, describe, label_counts, spread, type_of, within

MOST = 64 * 1024


def texts(count):
    return [words(20 + seed % 13, seed, of=50) for seed in range(count)]


def test_the_record_is_json_and_says_what_the_rows_are():
    rows = labelled("ttv", ["One two two", "two, thrée", "four"], ["a", "b", "a"])
    record = statistics(rows)
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    check_reference(record)
    assert record["rows"] == 3 and record["splits"] == {"train": 2, "valid": 1}
    assert record["labels"] == {"rows": 3, "counts": {"a": 2.0, "b": 1.0}, "more": 0}
    assert record["words"] == {
        "texts": 3,
        "tokens": 6,
        "list": [["two", 2, 3], ["four", 1, 1], ["one", 1, 1], ["thrée", 1, 1]],
    }
    features = record["features"]
    assert features["letters"]["points"] == [
        [4.0, 0.0, 0.333333],
        [10.0, 0.333333, 0.666667],
        [11.0, 0.666667, 1.0],
    ]
    assert features["words"]["mean"] == 2.0
    assert features["bytes a letter"]["points"][-1] == [1.1, 0.666667, 1.0]
    assert features["share outside ASCII"]["points"][-1] == [0.1, 0.666667, 1.0]


def test_the_record_of_pictures(tmp_path):
    paths = kept(tmp_path, [scene(1).resize((40, 20)), scene(2).convert("L")])
    features = statistics(rows_of("images", "tt", image=paths))["features"]
    assert [row[0] for row in features["width"]["points"]] == [40.0, 96.0]
    assert [row[0] for row in features["width / height"]["points"]] == [1.0, 2.0]
    assert features["greyness"]["mean"] == 0.5
    pixels = np.asarray(scene(1).resize((40, 20)), dtype=np.float64)
    assert features["mean green"]["points"][0][0] == pytest.approx(pixels[..., 1].mean(), 1e-8)
    assert pixels[..., 2].std() == pytest.approx(features["deviation blue"]["points"][1][0], 1e-8)


def test_the_order_of_rows_changes_nothing():
    rows = labelled("t" * 60, texts(60), score=[float(k % 7) / 3 for k in range(60)])
    turned = rows.frame.iloc[::-1].reset_index(drop=True)
    other = Rows(rows.kind, turned, None, rows.version)
    assert json.dumps(statistics(rows)) == json.dumps(statistics(other))


def test_the_record_stays_small():
    # many long labels, many columns, a large vocabulary in letters of which each is 6 bytes of JSON
    rng = np.random.default_rng(1)
    names = ["".join(map(chr, rng.integers(0x4E00, 0x9000, 23))) for _ in range(200)]
    greek = ["".join(map(chr, rng.integers(0x3B1, 0x3C9, 23))) for _ in range(200)]
    more = {f"{name} {k}": [name] * 200 for k, name in enumerate(names[:100])}
    record = statistics(labelled("t" * 200, greek, names, **more))
    assert len(json.dumps(record)) < MOST
    assert record["labels"]["more"] == 200 - len(record["labels"]["counts"]) > 0
    check_reference(record)


def test_rows_are_like_their_own_record():
    rows = labelled("t" * 40, texts(40), score=[k / 3 for k in range(40)])
    reference = json.loads(json.dumps(statistics(rows)))
    checks = {f.check for f in inspect(rows, reference=reference).findings}
    assert not checks & {"schema", "gaps", "balance", "features", "words"}


def test_quantiles_hold_the_shares_below_and_up_to_them():
    values = np.array([5.0, 1.0, 1.0, 1.0, 9.0])
    assert spread(values)["points"] == [[1.0, 0.0, 0.6], [5.0, 0.6, 0.8], [9.0, 0.8, 1.0]]
    assert spread(values)["mean"] == 3.4 and spread(values)["deviation"] == 3.2
    many = spread(np.linspace(0, 1, 1001))["points"]
    assert len(many) == POINTS and many[20][0] == 0.5
    assert spread(np.array([]))["points"] == []


def test_letters_outside_ascii_are_counted_and_not_their_bytes():
    features = statistics(rows_of("text", "t", text=["a€汉é"]))["features"]
    assert features["share outside ASCII"]["mean"] == 0.75
    assert features["bytes a letter"]["mean"] == 2.25


def test_texts_of_a_row_are_one_and_an_answer_is_a_part_of_its_context():
    rows = rows_of("answers", "t", question=["who"], context=["ann was"], answer=["ann"], start=[0])
    assert statistics(rows)["features"]["letters"]["mean"] == len("who\nann was")


def test_a_row_of_many_tags_counts_as_one():
    assert label_counts([("A", "B", "B", "B"), ("A",), ()]) == {"A": 1.25, "B": 0.75}


TYPES = [
    (["a", "b"], "text"),
    (["2024-01-01", "a text of 2024-01-01"], "text"),
    (["2024-01-01", "1970-01-01"], "time"),
    ([date(2024, 1, 1)], "time"),
    ([1, 2], "whole number"),
    ([1.0, 2.0], "whole number"),
    ([1, 2.5], "number"),
    ([True, False], "true or false"),
    ([np.int64(3), np.float64(2.5)], "number"),
    ([["a"], ["b", "c"]], "list"),
    ([{"a": 1}], "record"),
    ([1, "a"], "mixed"),
    ([1, "2"], "whole number"),
    (["1", "-20", "3.0"], "whole number"),
    (["1", "2.5", ".5", "1e-3"], "number"),
    (["1", "two"], "text"),
    (["True", "false"], "true or false"),
    (["nan", "inf"], "text"),
    ([10**400, 1], "whole number"),
    ([], "empty"),
]


@pytest.mark.parametrize(("values", "name"), TYPES, ids=range(len(TYPES)))
def test_a_type_has_one_name_in_every_format(values, name):
    assert type_of(values) == name


def test_a_column_is_described():
    assert describe([1, None, 4.0]) == {
        "type": "whole number",
        "missing": 1,
        "low": 1.0,
        "high": 4.0,
    }
    assert describe(["b", "a", "", "b"]) == {
        "type": "text",
        "missing": 1,
        "distinct": 2,
        "values": {"a": 1, "b": 2},
    }
    assert describe(["2", "10"]) == {"type": "whole number", "missing": 0, "low": 2.0, "high": 10.0}
    assert describe([float("inf"), 10**400, 3])["high"] == 3.0
    many = describe([f"n{k}" for k in range(13)])
    assert many == {"type": "text", "missing": 0, "distinct": 13}


def test_as_many_are_kept_as_fit():
    assert within(["aa", "bb", "cc"], 12, lambda name: name) == ["aa", "bb"]
    assert within(["aa", "bb", "cc"], 18, lambda name: name) == ["aa", "bb", "cc"]

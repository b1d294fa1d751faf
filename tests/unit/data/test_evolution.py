"""Columns that came, went, were renamed, changed type or lost cells."""

import pytest

from unit.data.seen import found, labelled, words
from zoo.data.check import inspect, statistics

N = 24
TEXTS = [words(12, seed, of=40) for seed in range(N)]
BASE = {
    "sender": [("ann", "bob", "eve")[k % 3] for k in range(N)],
    "price": [k / 7 for k in range(N)],
    "count": list(range(N)),
}


def rows(**columns):
    return labelled("t" * N, TEXTS, **{k: v for k, v in columns.items() if v is not None})


CHANGES = [
    ("added", {"colour": ["red", "blue"] * 12}, "error", "column 'colour' (text) is new"),
    ("removed", {"price": None}, "error", "column 'price' (number) is gone"),
    ("renamed, by its name", {"price": None, "Price_": BASE["price"]}, "error",
     "column 'price' is called 'Price_' now; rename it, or pass --columns price=Price_"),
    ("renamed, by its values", {"sender": None, "who": BASE["sender"]}, "error",
     "column 'sender' is called 'who' now"),
    ("of another type", {"count": [f"{k} pieces" for k in range(N)]}, "error",
     "column 'count' held whole number and holds text"),
    ("of finer numbers", {"count": [k + 0.5 for k in range(N)]}, "warning",
     "column 'count' held whole number and holds number"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "level", "text"), [r[1:] for r in CHANGES], ids=[r[0] for r in CHANGES]
)
def test_a_column_that_changed_is_told(change, level, text):
    report = inspect(rows(**(BASE | change)), reference=statistics(rows(**BASE)))
    (finding,) = found(report, "schema")
    assert finding.level == level and text in finding.text


def test_another_column_in_place_of_one_is_no_renaming():
    # like neither in name nor in values; a range alone is many things'
    change = {"price": None, "zeal": [k / 7 for k in range(N)]}
    report = inspect(rows(**(BASE | change)), reference=statistics(rows(**BASE)))
    assert {f.numbers["change"] for f in found(report, "schema")} == {"added", "removed"}


def test_each_column_is_renamed_once():
    change = {"sender": None, "price": None, "sender_name": BASE["sender"], "prices": BASE["price"]}
    report = inspect(rows(**(BASE | change)), reference=statistics(rows(**BASE)))
    assert [f.numbers for f in found(report, "schema")] == [
        {"column": "price", "change": "renamed"},
        {"column": "sender", "change": "renamed"},
    ]


def test_one_new_column_is_not_two_old_ones():
    base = {"price_net": BASE["price"], "price_set": BASE["price"]}
    report = inspect(rows(price_nett=BASE["price"]), reference=statistics(rows(**base)))
    assert [f.numbers for f in found(report, "schema")] == [
        {"column": "price_net", "change": "renamed"},
        {"column": "price_set", "change": "removed"},
    ]


def test_the_order_of_columns_is_no_change():
    turned = dict(reversed(BASE.items()))
    assert not found(inspect(rows(**turned), reference=statistics(rows(**BASE))), "schema")


def test_a_column_that_is_empty_for_once_lacks_cells_and_keeps_its_type():
    change = {"price": [None] * N}
    report = inspect(rows(**(BASE | change)), reference=statistics(rows(**BASE)))
    assert not found(report, "schema")
    (finding,) = found(report, "gaps")
    assert finding.level == "error"
    assert finding.text == "column 'price' lacks 100.0% of its cells; in the record it was 0.0%"


@pytest.mark.parametrize(("gaps", "told"), [(0, False), (8, False), (20, True)])
def test_cells_that_lack_are_told_past_chance(gaps, told):
    # chance reaches sqrt(ln(2 / (0.001 / 4 / 5)) / 2 x (1 / 24 + 1 / 24)) = 0.66, of 24: 16 cells
    change = {"sender": [None] * gaps + BASE["sender"][gaps:]}
    report = inspect(rows(**(BASE | change)), reference=statistics(rows(**BASE)))
    assert bool(found(report, "gaps")) == told


def test_columns_of_one_value_are_noted():
    report = inspect(rows(same=["x"] * N, one=[1.0] * N, none=[None] * N, most=["x"] * 23 + [None]))
    assert [f.text for f in found(report, "constants", "note")] == [
        "column 'same' is 'x' in all 24 rows",
        "column 'one' is 1.0 in all 24 rows",
        "column 'none' is empty",
    ]


def test_a_few_rows_of_one_value_say_nothing():
    few = labelled("t" * 19, TEXTS[:19], same=["x"] * 19)
    assert not found(inspect(few), "constants")

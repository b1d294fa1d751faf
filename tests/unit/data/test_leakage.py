"""Entities in two splits, and rows of train later than what they are tested on."""

from datetime import UTC, date, datetime

import pandas as pd
import pytest

from unit.data.seen import found, labelled, words
from zoo.data import DataError
from zoo.data.check import inspect

TEXTS = [words(30, seed) for seed in range(4)]


def test_an_entity_in_two_splits_is_a_leak():
    report = inspect(labelled("ttve", TEXTS, author=["ann", "bob", "ann ", "eve"]), entity="author")
    (finding,) = found(report, "entities")
    assert (finding.level, finding.rows) == ("error", ("r0", "r2"))
    assert finding.text.startswith(
        "1 of 3 values of 'author' stand in more than one split (2 rows)"
    )
    assert finding.examples == ("'ann': train 1, valid 1",)


@pytest.mark.parametrize(
    "authors",
    [["ann", "ann", "eve", "eva"], [None, "ann", None, ""], [1, 2, float("nan"), float("nan")]],
    ids=["each in one", "nobody is nobody's double", "no number is none"],
)
def test_entities_of_one_split_each_are_no_leak(authors):
    report = inspect(labelled("ttve", TEXTS, author=authors), entity="author")
    assert not found(report, "entities", "error")


def test_rows_without_an_entity_are_noted():
    report = inspect(labelled("ttve", TEXTS, author=["ann", "", None, "eve"]), entity="author")
    (finding,) = found(report, "entities")
    assert (finding.level, finding.rows) == ("note", ("r1", "r2"))


LATER = [
    ("dates as texts", ["2024-03-02", "2024-03-05", "2024-03-04", "2024-03-09"]),
    ("a moment of a day", ["2024-03-02", "2024-03-04T00:00:01", "2024-03-04", "2024-03-09"]),
    ("zones", ["2024-03-01", "2024-03-04T01:30+01:00", "2024-03-04T00:29Z", "2024-03-09"]),
    ("numbers", [1, 5, 4.5, 9]),
    ("numbers as texts", ["1", "10", "9", "11"]),
    ("dates", [date(2024, 3, 2), date(2024, 3, 5), date(2024, 3, 4), date(2024, 3, 9)]),
    ("pandas' own", list(pd.to_datetime(["2024-03-02", "2024-03-05", "2024-03-04", "2024-03-09"]))),
    ("mixed with and without zone",
     [datetime(2024, 3, 2), datetime(2024, 3, 5, tzinfo=UTC), datetime(2024, 3, 4),
      datetime(2024, 3, 9)]),
]  # fmt: skip


@pytest.mark.parametrize("times", [row[1] for row in LATER], ids=[row[0] for row in LATER])
def test_a_row_of_train_later_than_valid_is_a_leak(times):
    report = inspect(labelled("ttve", TEXTS, when=times), time="when")
    (finding,) = found(report, "times")
    assert (finding.level, finding.rows) == ("error", ("r1",))
    assert finding.text.startswith("1 row of train (50.0%) are later than the first of valid")


def test_it_is_the_first_row_of_valid_that_counts():
    report = inspect(labelled("tvvt", TEXTS, when=[5, 9, 4, 3]), time="when")
    assert [f.rows for f in found(report, "times")] == [("r0",)]


@pytest.mark.parametrize(
    "times", [[1, 3, 3, 4], [1, None, 2, 3], [9, None, None, None]], ids=["equal", "gap", "alone"]
)
def test_a_past_before_its_future_is_sound(times):
    report = inspect(labelled("ttve", TEXTS, when=times), time="when")
    assert not found(report, "times", "error")


@pytest.mark.parametrize("bad", ["soon", True, [1]], ids=["word", "flag", "list"])
def test_what_is_no_time_is_told(bad):
    rows = labelled("ttve", TEXTS, when=["2024-03-02", bad, "2024-03-03", "2024-03-04"])
    with pytest.raises(DataError, match=r"column .when. holds .*all ISO dates"):
        inspect(rows, time="when")


@pytest.mark.parametrize("name", ["entity", "time"])
def test_a_column_that_is_not_there_is_told_with_the_nearest(name):
    rows = labelled("ttve", TEXTS, author=["ann"] * 4)
    with pytest.raises(DataError, match="no column 'autor'; did you mean 'author'"):
        inspect(rows, **{name: "autor"})
    with pytest.raises(DataError, match="no column 'q'; there are 'id', 'split', 'text'"):
        inspect(rows, **{name: "q"})

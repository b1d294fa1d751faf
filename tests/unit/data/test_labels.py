"""Labels written in two ways, and labels that a split lacks."""

import pytest

from unit.data.seen import found, rows_of, words
from zoo.data.check import inspect, statistics

TEXTS = [words(30, seed) for seed in range(40)]


def of(splits, labels, named=None):
    return rows_of("labelled_text", splits, named, text=TEXTS[: len(splits)], label=labels)


@pytest.mark.parametrize("other", ["Spam", " spam", "spam ", "SPAM", "ｓｐａｍ"], ids=range(5))
def test_one_label_in_two_spellings_is_an_error(other):
    report = inspect(of("tttv", ["spam", "ham", other, "ham"]))
    (finding,) = found(report, "labels")
    assert finding.level == "error" and "are one label written in 2 ways" in finding.text
    assert sorted(finding.numbers["labels"]) == sorted(["spam", other])


def test_tags_in_two_spellings_are_an_error():
    rows = rows_of("tagged_text", "t", tokens=[["a", "b"]], tags=[["B-PER", "b-per"]])
    assert found(inspect(rows), "labels", "error")


def test_a_spelling_that_the_record_has_otherwise_is_an_error():
    reference = statistics(of("tt", ["Spam", "ham"]))
    report = inspect(of("tt", ["spam", "ham"]), reference=reference)
    assert "'Spam' and 'spam' are one label" in found(report, "labels", "error")[0].text


def test_labels_that_differ_are_two():
    assert inspect(of("tttt", ["spam", "ham", "spam1", "hâm"])).findings == ()


def test_rows_without_a_label_are_told():
    (finding,) = found(inspect(of("tttt", ["spam", "ham", None, "ham"])), "labels")
    assert (finding.level, finding.rows) == ("warning", ("r2",))


def test_a_label_that_train_never_shows_is_an_error():
    report = inspect(of("ttvve", ["a", "b", "c", "a", "b"]))
    (finding,) = found(report, "splits", "error")
    assert finding.rows == ("r2",) and "valid has labels that train never shows" in finding.text


def test_every_tag_of_a_row_counts():
    tags = [["A", "B", "C"], ["B", "D"], ["D", "B", "A", "C", "B"]]
    tokens = [[f"t{i}{k}" for k in range(len(row))] for i, row in enumerate(tags)]
    report = inspect(rows_of("tagged_text", "tve", tokens=tokens, tags=tags))
    assert [(f.rows, f.numbers["labels"]) for f in found(report, "splits", "error")] == [
        (("r1",), ["D"]),
        (("r2",), ["D"]),
    ]


def test_train_with_one_label_is_an_error_and_valid_a_warning():
    report = inspect(of("ttvv", ["a", "a", "a", "a"]))
    assert [f.level for f in found(report, "splits")] == ["error", "warning"]


@pytest.mark.parametrize(("rare", "told"), [(7, True), (6, False)], ids=["likely", "chance"])
def test_a_label_that_valid_lacks_is_told_unless_it_may_be_chance(rare, told):
    # train and valid have 20 rows each: valid should have as many of the label as train
    labels = ["a"] * (20 - rare - 1) + ["c"] + ["b"] * rare + ["a", "c"] * 10
    report = inspect(of("t" * 20 + "v" * 20, labels))
    assert [f.numbers["labels"] for f in found(report, "splits")] == ([["b"]] if told else [])


def test_rows_that_are_all_to_be_tested_lack_no_train():
    assert not found(inspect(of("ee", ["a", "b"])), "splits")


def test_a_kind_without_labels_has_none_to_lack():
    assert inspect(rows_of("text", "tv", text=TEXTS[:2])).findings == ()


def test_variants_are_found_in_the_classes_that_were_named():
    report = inspect(of("tt", ["spam", "ham"], ("Ham", "ham", "spam")))
    assert found(report, "labels", "error")

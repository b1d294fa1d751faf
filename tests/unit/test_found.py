"""How a failing property becomes a row, and the rows that there are."""

import json
import os
from pathlib import Path

import pytest

from unit.found_rows import ROOT, argument_names, rows
from zoo_pytest import found

NOTES = """Failing test case: test_it(
    # The test always failed when commented parts were varied together.
    kind='a',
    tmp_path_factory=TempPathFactory(_given_basetemp=None,
     _trace=<pluggy._tracing.TagTracerSub object at 0x7f6deed5fdd0>,
     _policy='all'),
    n=51,
    text='a=\\n),',  # or any other generated value
    rows=[(True, None),
     (False, -0.5)],
)"""
BLOB = "\nYou can reproduce this test case by temporarily adding " + (
    "@reproduce_failure('6.170.15', b'AEEA==') as a decorator"
)


def error_with(*notes, kind=KeyError):
    error = kind("n is 51\nand more")
    for note in notes:
        error.add_note(note)
    return error


def row_of(**changes):
    row = {"test": "a.py::test_it", "arguments": {"n": "1"}, "blob": None, "hypothesis": None}
    return row | {"date": "2026-01-02", "error": "KeyError: 1"} | changes


def test_drawn_arguments_are_kept_as_literals_and_others_are_left_out():
    (row,) = found.found("a.py::test_it", error_with(NOTES, BLOB), ["n", "text", "rows"])
    assert row["arguments"] == {
        "n": "51", "text": r"'a=\n),'", "rows": "[(True, None), (False, -0.5)]",
    }  # fmt: skip
    assert (row["blob"], row["hypothesis"]) == (None, None)
    assert row["error"] == "KeyError: 'n is 51\\nand more'"
    assert set(row) == set(found.FIELDS)


@pytest.mark.parametrize(
    "call",
    [
        "test_y(\n    data=data(...),\n)",
        "test_y(\n    data=nan,\n)",
        "test_y(\n    other=3,\n)",
        "test_y(\n    data=<object at 0x1>,\n)",
    ],
    ids=["data", "nan", "absent", "object"],
)
@pytest.mark.parametrize("head", ["Failing test case: ", "Falsifying example: "])
def test_what_has_no_literal_is_kept_as_hypothesis_encodes_it(head, call):
    (row,) = found.found("t", error_with(head + call, "Draw 1: 3", BLOB), ["data"])
    assert (row["arguments"], row["blob"], row["hypothesis"]) == (None, "AEEA==", "6.170.15")
    assert list(found.found("t", error_with(head + call), ["data"])) == []


def test_each_failure_of_a_group_is_a_row_and_one_that_was_given_is_none():
    first, second = error_with(NOTES), error_with(NOTES.replace("51", "52"), kind=ValueError)
    group = ExceptionGroup("two", [first, second])
    made = list(found.found("t", group, ["n", "text", "rows"]))
    assert [row["arguments"]["n"] for row in made] == ["51", "52"]
    assert made[1]["error"].startswith("ValueError: n is 51")
    given = error_with(NOTES.replace("Failing test case", "Failing explicit example"))
    assert list(found.found("t", given, ["n"])) == []
    assert list(found.found("t", error_with("something else"), ["n"])) == []


def test_a_row_is_written_once(tmp_path):
    path = tmp_path / "deep" / "found.jsonl"
    one, other = row_of(), row_of(arguments=None, blob="AEEA", hypothesis="6")
    assert found.added(path, [one, one, other]) == 2
    assert found.added(path, [row_of(date="2027-01-01", error="another")]) == 0
    assert found.added(path, [row_of(test="b.py::test_it")]) == 1
    assert found.parsed(path.read_text(), "x") == [one, other, row_of(test="b.py::test_it")]
    assert found.added(tmp_path / "none.jsonl", []) == 0
    assert not (tmp_path / "none.jsonl").exists()


@pytest.mark.parametrize("line", ["", "{", "[]", json.dumps({"test": "a"}), "null"])
def test_a_line_that_is_no_row_is_named(line):
    with pytest.raises(pytest.UsageError, match=r"^f.jsonl:2 is .*expected a JSON object of test,"):
        found.parsed(json.dumps(row_of()) + "\n" + line + "\n", "f.jsonl")


class Config:
    """What the plugin asks of pytest's."""

    rootpath = ROOT

    def __init__(self, **options):
        self.options = {"--found": "rows.jsonl", "--found-record": False} | options

    def getoption(self, name):
        return self.options[name]


def test_rows_are_written_when_asked_or_in_a_random_search(monkeypatch):
    monkeypatch.delenv("ZOO_HYPOTHESIS", raising=False)
    assert not found.recording(Config())
    assert found.recording(Config(**{"--found-record": True}))
    monkeypatch.setenv("ZOO_HYPOTHESIS", "zoo")
    assert not found.recording(Config())
    monkeypatch.setenv("ZOO_HYPOTHESIS", "fuzz")
    assert found.recording(Config())
    assert found.place(Config()) == ROOT / "rows.jsonl"
    elsewhere = Path(os.sep, "rows.jsonl")
    assert found.place(Config(**{"--found": str(elsewhere)})) == elsewhere


def test_rows_become_examples_in_their_order():
    held = [row_of(), row_of(arguments=None, blob="A"), row_of(arguments={"n": "'x'", "m": "[1]"})]
    assert [e.kwargs for e in found.examples(held)] == [{"n": 1}, {"n": "x", "m": [1]}]
    assert found.rows_of([*held, row_of(test="b")], "b") == [row_of(test="b")]


def test_the_names_of_a_tests_arguments_are_read_from_its_file(tmp_path):
    (tmp_path / "t.py").write_text(
        "def test_a(kind, n): ...\nclass TestB:\n    def test_c(self, m): ...\n"
    )
    assert argument_names("t.py::test_a[x::y]", tmp_path) == ["kind", "n"]
    assert argument_names("t.py::TestB::test_c", tmp_path) == ["self", "m"]
    for gone in ("t.py::test_c", "t.py::TestB::test_a", "u.py::test_a"):
        assert argument_names(gone, tmp_path) is None


def test_every_row_that_was_found_belongs_to_a_test():
    """A row of a test that was renamed would never be tried again: rename it too."""
    lost = []
    for row in rows():
        names = argument_names(row["test"], ROOT)
        if names is None or not set(row["arguments"] or {}) <= set(names):
            lost.append(row["test"])
    assert lost == []

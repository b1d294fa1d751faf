"""A rows set on disk: what is read, what is refused, and files that are written whole."""

import json

import pytest

from unit.evaluate.golden_rows import CHOICE, TEXT, write_rows
from zoo.evaluate.golden import GoldenError, find_sets, open_set, verify
from zoo.evaluate.outcome import Outcome
from zoo.evaluate.sets import (
    GoldenRows,
    describe,
    files_of,
    lines_of,
    manifest_bytes,
    next_version,
    outcome_line,
    read_outcomes,
    write_files,
)

MANIFEST = {
    "schema": 1,
    "name": "small",
    "kind": "rows",
    "version": 1,
    "history": [{"version": 1, "date": "2026-11-21", "why": "the first of its kind"}],
    "source": {},
    "subject": "tiny",
    "sheets": {"scans.png": 4},
    "files": {},
}
FULL = Outcome(
    id="a",
    answer=" are",
    value=1.25,
    passed=True,
    right=True,
    confidence=0.75,
    weight=3.0,
    scores={" are": -1.5, " is": -2.75},
)


@pytest.fixture
def folder(tmp_path):
    place = write_rows(tmp_path / "small", [CHOICE, TEXT], sheets=False)
    (place / "gate.toml").write_text("")
    record(place)
    return place


def record(place, **changes):
    """Write the manifest of what lies there."""
    made = MANIFEST | {"files": files_of(place)} | changes
    (place / "manifest.json").write_bytes(manifest_bytes(made))


def test_a_set_gives_its_rows_gate_and_subject(folder):
    held = GoldenRows.open(folder)
    assert [row.id for row in held.rows] == ["agreement-001", "text-001"]
    assert (held.name, held.subject, held.gate) == ("small", "tiny", folder / "gate.toml")
    assert (held.sheets, held.perturbations) == ({"scans.png": 4}, ())
    assert (held.accepted(), held.history()) == ({}, [])


OTHERWISE = {
    "kind": ({"kind": "tokenizer"}, "is of kind 'tokenizer'; a set of kind 'rows' is asked for"),
    "subject": ({"subject": 7}, '"subject", the name of the model'),
    "version": ({"version": 2}, r"version 2, but its history is of \[1\]"),
    "version as text": ({"version": "1"}, "needs a whole number as version"),
    "history of words": ({"history": ["first"]}, "and a list as history"),
    "blank reason": ({"history": [{"version": 1, "why": " "}]}, "version 1 has no reason"),
    "no reason": ({"history": [{"version": 1}]}, "version 1 has no reason; state `why`"),
    "schema": ({"schema": 2}, "has schema 2, not 1"),
    "file": ({"files": {"rows.jsonl": 7}}, "'rows.jsonl' needs bytes and sha256"),
    "half a file": ({"files": {"rows.jsonl": {"bytes": 7}}}, "'rows.jsonl' needs bytes"),
    "list of files": ({"files": []}, "needs bytes and sha256"),
}


@pytest.mark.parametrize(("changes", "sentence"), OTHERWISE.values(), ids=OTHERWISE.keys())
def test_a_manifest_that_says_something_else_is_refused(folder, changes, sentence):
    record(folder, **changes)
    with pytest.raises(GoldenError, match=sentence):
        GoldenRows.open(folder)


@pytest.mark.parametrize("name", ["subject", "files", "history", "source", "kind"])
def test_a_manifest_that_lacks_a_key_is_refused(folder, name):
    left = {key: value for key, value in MANIFEST.items() if key != name}
    (folder / "manifest.json").write_bytes(manifest_bytes(left))
    with pytest.raises(GoldenError, match=f"needs .*'{name}'"):
        open_set(folder)


@pytest.mark.parametrize("name", ["recipe", "config", "data", "machine"])
def test_a_checkpoint_says_what_made_it(folder, name):
    facts = {"kind": "checkpoint", "recipe": "a", "config": {}, "data": None, "machine": {}}
    record(folder, **facts)
    assert open_set(folder).kind == "checkpoint"
    del facts[name]
    record(folder, **facts)
    with pytest.raises(GoldenError, match=f"needs .*'{name}'"):
        open_set(folder)


def test_sub_folders_are_verified(folder):
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "a.txt").write_text("a")
    with pytest.raises(GoldenError, match=r"too many are \['deep/er/a.txt'\]"):
        verify(open_set(folder))
    record(folder)
    assert "deep/er/a.txt" in open_set(folder).manifest["files"]
    verify(open_set(folder))
    (folder / "deep" / "er" / "a.txt").write_text("b")
    with pytest.raises(GoldenError, match=r"a.txt is not the file that was recorded.*zoo golden"):
        verify(open_set(folder))
    (folder / "deep" / "er" / "a.txt").unlink()
    with pytest.raises(GoldenError, match=r"not there are \['deep/er/a.txt'\]"):
        verify(open_set(folder))


def test_a_set_that_was_never_accepted_is_no_sound_one(folder):
    record(folder, version=0, history=[])
    with pytest.raises(GoldenError, match="was never accepted: zoo golden accept small"):
        verify(open_set(folder))


def test_a_folder_that_is_being_written_is_no_set(folder):
    folder.rename(folder.with_name(".small.new"))
    assert find_sets(folder.parent) == []


@pytest.mark.parametrize(
    "outcome",
    [FULL, Outcome(id="b", answer="", value=7.0), Outcome(id="c", answer="x", value=-0.5)],
    ids=lambda outcome: outcome.id,
)
def test_an_outcome_is_read_as_it_was_written(tmp_path, outcome):
    (tmp_path / "accepted.jsonl").write_bytes(lines_of([outcome_line(outcome)]))
    assert read_outcomes(tmp_path / "accepted.jsonl") == {outcome.id: outcome}


def test_letters_are_written_as_they_are_and_what_is_no_number_not_at_all():
    assert lines_of([{"a": "é\n"}, {"b": 1.5}]) == '{"a": "é\\n"}\n{"b": 1.5}\n'.encode()
    with pytest.raises(ValueError, match="JSON"):
        lines_of([{"a": float("nan")}])


def test_numbers_of_an_outcome_are_kept_to_six_decimals():
    made = Outcome(id="a", answer="", value=1 / 3, confidence=2 / 3, scores={"x": -1e-9})
    line = outcome_line(made)
    assert line == {
        "id": "a",
        "answer": "",
        "value": 0.333333,
        "confidence": 0.666667,
        "scores": {"x": 0.0},
    }
    assert json.dumps(line["scores"]) == '{"x": 0.0}'  # no -0.0


@pytest.mark.parametrize(
    "lines",
    ['{"id": "a", "answer": "x"}\n', '{"id": "a", "answer": "x", "value": 1.0, "more": 1}\n'],
    ids=["too-few", "too-many"],
)
def test_a_line_that_is_no_outcome_is_refused(tmp_path, lines):
    (tmp_path / "accepted.jsonl").write_text(lines)
    with pytest.raises(GoldenError, match=r"accepted.jsonl:1 is no outcome; `zoo golden accept`"):
        read_outcomes(tmp_path / "accepted.jsonl")


def test_two_outcomes_of_a_row_are_refused(tmp_path):
    (tmp_path / "accepted.jsonl").write_bytes(lines_of([outcome_line(FULL)] * 2))
    with pytest.raises(GoldenError, match=r"accepted.jsonl:2 is no outcome"):
        read_outcomes(tmp_path / "accepted.jsonl")


def test_files_are_written_whole_or_not_at_all(tmp_path):
    """The second cannot be staged: the first is what it was, and nothing is left beside it."""
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(OSError, match="no"):
        write_files(tmp_path, {"a": b"new", "no/folder/b": b"new"})
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"a": b"old"}


def test_files_are_put_in_place(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    write_files(tmp_path, {"a": b"new", "b": b"more"})
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"a": b"new", "b": b"more"}


def test_a_manifest_describes_files_that_are_about_to_be_written(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "draft.json").write_bytes(b"{}")
    (tmp_path / "manifest.json").write_bytes(b"{}")
    found = files_of(tmp_path, {"a": b"new", "b": b""})
    assert found == {"a": describe(b"new"), "b": describe(b"")}
    assert describe(b"new") == {
        "bytes": 3,
        "sha256": "11507a0e2f5e69d5dfa40a62a1bd7b6ee57e6bcd85c67c9b8431b36fff21c437",
    }


def test_a_version_has_its_reason_on_top_of_the_older_ones():
    facts = {"name": "small", "kind": "rows"}
    first = next_version(None, "the first", "2026-11-21", **facts, files={"a": 1})
    second = next_version(first, "a label was wrong", "2026-11-22", files={"b": 2}, subject="tiny")
    assert second == {
        "schema": 1,
        "name": "small",
        "kind": "rows",
        "version": 2,
        "history": [
            {"version": 2, "date": "2026-11-22", "why": "a label was wrong"},
            {"version": 1, "date": "2026-11-21", "why": "the first"},
        ],
        "subject": "tiny",
        "files": {"b": 2},
    }
    assert [*second][:3] == ["schema", "name", "kind"]
    assert [*second][-1] == "files"

"""What `zoo golden` and `zoo evaluate` say, and where they look."""

import os

import pytest
import torch
from safetensors.torch import save_file

from zoo.cli import UsageError, evaluate, golden
from zoo.cli.golden_reproduce import elsewhere, first_difference
from zoo.cli.golden_root import chosen, finite, names_in, root_of, rows_folder
from zoo.evaluate.accept_checkpoint import machine
from zoo.evaluate.gate_file import Guard

SOUND = {
    "set": "mails",
    "kind": "rows",
    "ok": True,
    "compared": 60,
    "faults": [],
    "changes": [],
    "seconds": 0.42,
}


def test_a_sound_set_is_one_line():
    assert golden.said(SOUND) == "mails: sound, as accepted (0.4 s)"
    numbers = SOUND | {"kind": "model"}
    assert golden.said(numbers) == "mails: sound, 60 comparisons (0.4 s)"


def test_every_fault_is_a_line_and_many_changes_are_counted():
    changes = [f"row-{i} answers 'a'" for i in range(15)]
    lines = golden.said(SOUND | {"ok": False, "faults": ["a", "b"], "changes": changes})
    assert lines.splitlines() == [
        "mails: a",
        "mails: b",
        *(f"mails: changed: row-{i} answers 'a'" for i in range(12)),
        "mails: changed: 3 rows more (--json lists all)",
    ]


def test_twelve_changes_are_all_listed():
    changes = [f"row-{i}" for i in range(12)]
    assert "more" not in golden.said(SOUND | {"changes": changes})


@pytest.mark.parametrize(
    ("rows", "metrics", "line"),
    [
        (None, {}, "a                    model      version 2"),
        (
            7,
            {"accuracy": 0.5, "accuracy[cats]": 0.25, "ece": 0.125},
            "a                    model      version 2   7 rows for b; accuracy 0.500, ece 0.125",
        ),
        (7, {}, "a                    model      version 2   7 rows for b"),
    ],
    ids=["parity", "rows", "never-accepted"],
)
def test_a_set_is_listed_in_a_line(rows, metrics, line):
    record = {"set": "a", "kind": "model", "version": 2, "rows": rows, "subject": "b", "why": "c"}
    assert golden.line_of(record | {"metrics": metrics}) == line


def test_a_checkpoint_is_listed_with_why_it_was_accepted():
    record = {"set": "a", "kind": "checkpoint", "version": 2, "rows": None, "subject": None}
    line = golden.line_of(record | {"metrics": {}, "why": "98 % of scans"})
    assert line == "a                    checkpoint version 2   98 % of scans"


@pytest.fixture
def root(tmp_path):
    for name in ("cats", "dogs", ".dogs.new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text("{}")
    (tmp_path / "draft").mkdir()
    (tmp_path / "draft" / "rows.jsonl").write_text("")
    return tmp_path


def test_sets_are_folders_with_a_manifest(root):
    assert names_in(root) == ["cats", "dogs"]
    assert chosen(root, []) == [root / "cats", root / "dogs"]
    assert chosen(root, ["dogs", "cats", "dogs"]) == [root / "dogs", root / "cats"]


@pytest.mark.parametrize("name", ["dgos", "draft", ".dogs.new", ""])
def test_a_set_that_is_not_there_is_refused_with_those_that_are(root, name):
    with pytest.raises(UsageError, match="there are cats, dogs"):
        chosen(root, [name])


def test_a_root_without_sets_is_refused(tmp_path):
    with pytest.raises(UsageError, match="holds no golden set"):
        chosen(tmp_path, [])


def test_rows_are_found_by_name_and_by_folder(root):
    assert rows_folder(root, "draft") == root / "draft"
    assert rows_folder(root / "cats", str(root / "draft")) == root / "draft"
    with pytest.raises(UsageError, match="no set 'cats' of rows in "):
        rows_folder(root, "cats")


def test_the_root_is_the_one_named_or_the_one_here(root):
    assert root_of(str(root)) == root
    with pytest.raises(UsageError, match="there is no such folder"):
        root_of(str(root / "none"))
    (root / "golden").mkdir()
    before = os.getcwd()
    os.chdir(root)
    try:
        assert root_of(None).resolve() == (root / "golden").resolve()
    finally:
        os.chdir(before)


def weights(place, **tensors):
    made = {"b": torch.ones(2, 3), "a": torch.zeros(4)} | tensors
    save_file({name: t for name, t in made.items() if t is not None}, place)
    return place


@pytest.mark.parametrize(
    ("tensors", "told"),
    [
        ({}, "all tensors are equal, what the file says beside them is not"),
        ({"b": torch.full((2, 3), 1.25)}, "b differs first, by at most 0.25; 1 of 2 do"),
        (
            {"a": torch.tensor([0.0, 0.5, 0.0, -1.0]), "b": torch.zeros(2, 3)},
            "a differs first, by at most 1; 2 of 2 do",
        ),
        ({"b": torch.ones(3, 2)}, r"b is (3, 2), torch.float32, not (2, 3), torch.float32"),
        ({"a": torch.zeros(4).double()}, "a is (4,), torch.float64, not (4,), torch.float32"),
        ({"a": None}, "a is in one of them"),
        ({"c": torch.zeros(1)}, "c is in one of them"),
    ],
    ids=["header", "one", "both", "shape", "dtype", "gone", "more"],
)
def test_the_first_tensor_that_differs_is_named_with_how_far(tmp_path, tensors, told):
    old = weights(tmp_path / "old.safetensors")
    assert first_difference(old, weights(tmp_path / "new.safetensors", **tensors)) == told


def test_another_machine_is_told_by_what_differs():
    here = machine()
    assert elsewhere(here) == ""
    assert elsewhere(here | {"threads": 99}) == ""  # those are set as they were
    assert elsewhere(here | {"cpu": "abacus"}) == f"cpu 'abacus' and here is {here['cpu']!r}"
    assert elsewhere({}).count(" and here is ") == 3


RECORD = {"metric": "accuracy", "value": 0.5, "low": 0.25, "high": 0.75, "rows": 8}


@pytest.mark.parametrize(
    ("accepted", "end"),
    [(None, " 50 %  (25 % to 75 %; 8 rows)"), (0.625, "8 rows)  accepted: 62.5 %")],
    ids=["first", "accepted"],
)
def test_a_metric_is_told_beside_the_accepted_one(accepted, end):
    assert evaluate.line_of(RECORD | {"accepted": accepted}).endswith(end)


@pytest.mark.parametrize(
    ("record", "lines"),
    [
        ({"least_rows": 300}, ["to tell 5 points with 0.8: 300 rows are needed"]),
        ({"least_rows": None}, ["to tell 5 points with 0.8: no number of rows is enough"]),
        (
            {"rows": 9, "least_drop": 0.125},
            ["9 rows tell a fall by 12.5 points with probability 0.8"],
        ),
        ({"rows": 9, "least_drop": None}, ["9 rows tell no fall with probability 0.8"]),
        (
            {"rows": 9, "power": 0.25, "least_rows": 300, "least_drop": 0.125},
            [
                "9 rows tell a fall by 5 points with probability 0.25",
                "to tell 5 points with 0.8: 300 rows are needed",
                "9 rows tell a fall by 12.5 points with probability 0.8",
            ],
        ),
    ],
    ids=["rows", "no-rows", "drop", "no-drop", "all"],
)
def test_what_rows_can_see_is_told(record, lines):
    assert evaluate.told_of(record, Guard(drop=0.05)).splitlines() == lines


def test_an_interval_without_ends_is_told():
    ends = {"low": None, "high": None, "accepted": None}
    assert evaluate.line_of(RECORD | ends).endswith(" 50 %  (- to -; 8 rows)")
    assert [finite(v) for v in (0.5, float("nan"), float("inf"), None)] == [0.5, None, None, None]

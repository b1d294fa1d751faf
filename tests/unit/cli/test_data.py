"""`zoo data check`: what it prints, and how it leaves."""

import argparse
import json

import pytest

from unit.data.seen import words
from zoo.cli import UsageError
from zoo.cli.data import arguments, named, run
from zoo.data import DataError

N = 24


def mails(folder, name="mails.jsonl", **change):
    """Write mails as JSON lines with splits of their own."""
    folder.mkdir(exist_ok=True)
    columns = {
        "text": [words(12, seed, of=40) for seed in range(N)],
        "label": ["ham", "spam"] * (N // 2),
        "split": (["train"] * 4 + ["valid"] * 2) * (N // 6),
        "author": [f"a{k}" for k in range(N)],
    } | change
    rows = [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]
    (folder / name).write_text("\n".join(map(json.dumps, rows)) + "\n")
    return str(folder / name)


def called(*given):
    parser = argparse.ArgumentParser()
    arguments(parser)
    parser.add_argument("--json", action="store_true")
    return run(parser.parse_args(["check", *given, "--kind", "labelled_text"]))


def test_sound_data_leave_with_0(tmp_path, capsys):
    assert called(mails(tmp_path)) == 0
    out = capsys.readouterr().out
    assert out.startswith("24 rows of labelled_text (train 16, valid 8)\n")
    assert out.endswith("sound: 0 errors, 0 warnings, 0 notes from 8 checks\n")


def test_a_leak_leaves_with_1(tmp_path, capsys):
    texts = [words(12, seed, of=40) for seed in range(N)]
    texts[4] = texts[0]
    assert called(mails(tmp_path, text=texts)) == 1
    assert "error    duplicates: 12.5% of valid is not new" in capsys.readouterr().out


def test_the_report_is_one_json_object(tmp_path, capsys):
    assert called(mails(tmp_path), "--json") == 0
    record = json.loads(capsys.readouterr().out)
    assert record["format"] == "zoo data report 1" and record["passed"] is True


def test_what_is_recorded_is_compared_with(tmp_path, capsys):
    record = str(tmp_path / "record.json")
    assert called(mails(tmp_path), "--record", record) == 0
    assert "compare others with --reference" in capsys.readouterr().err
    assert called(mails(tmp_path), "--reference", record) == 0
    assert "from 13 checks" in capsys.readouterr().out
    changed = mails(tmp_path, "new.jsonl", sender=["x"] * N)
    assert called(changed, "--reference", record) == 1
    assert "column 'sender' (text) is new" in capsys.readouterr().out


def test_entities_times_and_columns_are_passed_on(tmp_path, capsys):
    authors = [f"a{k}" for k in range(N)]
    authors[4] = "a0"
    file = mails(tmp_path, author=authors)
    assert called(file, "--entity", "author") == 1
    assert called(file, "--columns", "writer=author", "--entity", "writer") == 1
    with pytest.raises(DataError, match="no column 'autor'; did you mean 'author'"):
        called(file, "--entity", "autor")
    with pytest.raises(DataError, match="column 'author' holds 'a0'"):
        called(file, "--time", "author")


def test_labels_are_those_that_may_occur(tmp_path):
    with pytest.raises(DataError, match="spam"):
        called(mails(tmp_path), "--labels", "ham,lure")


@pytest.mark.parametrize(
    "text", ["text", "text=", "=body"], ids=["no sign", "no theirs", "no ours"]
)
def test_a_column_is_named_with_both_names(text):
    with pytest.raises(UsageError, match="expected OURS=THEIRS"):
        named(text)


def test_a_bad_reference_is_told_before_data_are_read(tmp_path):
    (tmp_path / "record.json").write_text("{}")
    with pytest.raises(DataError, match="no record of statistics"):
        called("no/such/mails.csv", "--reference", str(tmp_path / "record.json"))

"""`zoo bench`: which option is for what, and what is refused before anything is measured."""

import json
import sys
from pathlib import Path

import pytest

from zoo.cli import main
from zoo.cli.bench import WHAT
from zoo.cli.bench_speed import names

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT))  # the benchmarks are no package of the wheel

from benchmarks.speed import trend  # noqa: E402
from benchmarks.speed.items import TABLE  # noqa: E402
from benchmarks.speed.stats import summary  # noqa: E402


@pytest.fixture(autouse=True)
def checkout(monkeypatch):
    monkeypatch.chdir(ROOT)


def line(ratio):
    key = {"processor": "P", "threads": 1, "size": "full", "item": "load", "ours": "zoo"}
    return key | {"peer": "hf", "commit": "abc", "of_limit": None, "ratio": summary([ratio] * 6)}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("testers --rounds 3", "--rounds is for `zoo bench speed`"),
        ("speed --jobs 2", "--jobs is for `zoo bench testers`"),
        ("list --against hf", "--against is for `zoo bench speed`"),
        ("speed --correct", "--correct is for `zoo bench testers`"),
        ("speed results.json", "zoo bench speed takes no file; found 'results.json'"),
        ("trend", "zoo bench trend takes the files of --trend"),
        ("compare one.json", "zoo bench compare takes two results.json: before and after"),
        ("testers --tools nobody", "--tools 'nobody'; expected some of zoo, torchtest2, "),
        ("speed --items nope", "no item and no group is called 'nope'"),
        ("speed --items load --against hff", "no peer 'hff'"),
        ("speed --items load --modes int8", "no mode 'int8'; there are zoo, "),
        ("speed --items load --rounds 0", "0 rounds, 1 threads; expected at least 1 of each"),
        ("trend no/such.jsonl", "no/such.jsonl: No such file"),
    ],
)
def test_what_makes_no_sense_is_one_line(words, said, capsys, tmp_path):
    more = ["--out", str(tmp_path / "out")] if words.startswith("speed") else []
    assert main(["bench", *words.split(), *more]) == 2
    told = capsys.readouterr()
    assert told.out == "" and said in told.err and told.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("what", WHAT)
def test_outside_of_a_checkout_there_is_nothing_to_measure(what, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = {"trend": ["a"], "compare": ["a", "b"]}.get(what, [])
    assert main(["bench", what, *files]) == 2
    assert "run it in a checkout of zoo" in capsys.readouterr().err


def test_the_list_has_a_line_an_item(capsys):
    assert main(["bench", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [text.split()[:2] for text in lines] == [[item.group, item.name] for item in TABLE]
    assert main(["bench", "list", "--json"]) == 0
    records = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert [record["item"] for record in records] == [item.name for item in TABLE]


def test_a_trend_says_what_changed(capsys, tmp_path):
    file = tmp_path / "trend.jsonl"
    trend.append(file, [line(1.2), line(1.4)])
    assert main(["bench", "trend", str(file)]) == 0
    assert "| faster |" in capsys.readouterr().out
    assert main(["bench", "trend", str(file), str(file), "--json"]) == 0
    (row,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (row["change"], row["runs"]) == ("faster", 4)


def test_a_comparison_needs_results(capsys, tmp_path):
    file = tmp_path / "results.json"
    file.write_text('{"machine": 1}')
    assert main(["bench", "compare", str(file), str(file)]) == 2
    assert "is no results.json of `zoo bench speed`" in capsys.readouterr().err


def test_names_are_parted_by_commas():
    assert names(None) is None
    assert names("hf,ctranslate2") == ("hf", "ctranslate2")
    assert names("") == ()

"""What the verb says before, around and after a run; the run itself is tested elsewhere."""

import json
from itertools import count
from pathlib import Path

import pytest

from zoo.cli import main
from zoo.cli.train import bounds, list_of, told
from zoo.train import Outcome, RunConfig, recipes
from zoo.train.config import Reached
from zoo.train.settings import parsed


def test_recipes_are_listed_with_what_they_say(capsys):
    assert main(["train", "--list", "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["recipe"] for record in records] == [*recipes()]
    assert all(record["says"] for record in records)


def test_a_config_is_shown_with_its_changes(capsys):
    assert main(["train", "vit-digits", "--show", "--set", "train.steps=70", "--json"]) == 0
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    shown = {record["key"]: record["value"] for record in records}
    assert shown["train.steps"] == 70 and shown["data.source"] == "digits"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "no recipe: name one of `zoo train --list`"),
        ("vit-digit", "did you mean vit-digits?"),
        ("vit-digits --set train.stps=3", "no key train.stps; did you mean train.steps?"),
        ("vit-digits --set train.steps", "expected key=value"),
        ("gpt2-text", "no data: name files or folders (text) with --data"),
        ("gpt2-text --data no/such/file", "no/such/file is not there"),
        ("gpt2-text --set model.family=gpt3", "did you mean gpt2?"),
        ("gpt2-text --set model.head=image", "gpt2 is trained with one of"),
        ("vit-digits --set data.source=digit", "Did you mean 'digits'?"),
        ("gpt2-lora", "runs/gpt2-english/model does not exist"),
    ],
    ids=count(),
)
def test_what_cannot_be_begun_is_told_in_a_line(tmp_path, monkeypatch, capsys, line, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ZOO_DEBUG", raising=False)
    assert main(["train", *line.split()]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert said in err


@pytest.mark.parametrize("name", ["a.txt", "b c.txt", 'q"uote.txt', "back\\slash"], ids=count())
def test_names_of_files_come_through(name):
    assert parsed(f"data.files={list_of([name, 'x'])}") == (["data", "files"], [name, "x"])


GOAL = Reached(metric="accuracy", at_least=0.9)
ENDS = {
    "stopped": (
        Outcome(Path("r"), 3, True, {}),
        "r: stopped after 3 of 1000 steps; the same command",
    ),
    "reached": (
        Outcome(Path("r"), 9, False, {"accuracy": 0.95}, True),
        "accuracy 0.95. It reaches",
    ),
    "not reached": (
        Outcome(Path("r"), 9, False, {"accuracy": 0.5}, False),
        "at least 0.9: it was not",
    ),
    "no claim": (Outcome(Path("r"), 9, False, {"loss": 2.0}), "rows kept back: loss 2."),
    "no rows": (Outcome(Path("r"), 9, False, {}), "r/model: 9 steps. No rows were kept back."),
}


@pytest.mark.parametrize("how", ENDS)
def test_the_end_is_told(how):
    outcome, said = ENDS[how]
    assert said in told(outcome, RunConfig(reaches=GOAL))


def test_bounds_are_told():
    assert bounds(Reached(metric="a", at_least=0.5, at_most=2.0)) == "at least 0.5 and at most 2"

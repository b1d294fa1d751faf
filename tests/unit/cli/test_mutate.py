"""`zoo mutate`: what it refuses, lists, draws and says at the end."""

import argparse
import json

import pytest

from zoo.cli import UsageError, mutate, verb_parser
from zoo.pyramid.mutate import Result, mutants_of


def arguments(*given):
    return verb_parser("mutate", mutate).parse_args([*given])


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "m.py"
    path.write_text("def f(a, b):\n    x = a < b\n    return a > b, x[1:]\n")
    return path


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--sample", "0"], "--sample 0; expected 1 or more"),
        (["--jobs", "0"], "--jobs 0"),
        (["--floor", "101"], "--floor 101"),
        (["--only", "nonsense"], "no operator or family 'nonsense'"),
        (["--only", "detach"], "nothing to mutate of detach"),
        (["--functions", "g"], "nothing to mutate in functions like 'g'"),
        ([], "say what runs the tests"),
        (["--command", "no-such-program"], "there is no 'no-such-program'"),
    ],
)
def test_what_makes_no_sense_is_refused(file, given, said):
    with pytest.raises(UsageError, match=said):
        mutate.run(arguments(str(file), *given))


def test_a_file_with_a_syntax_error_is_named(tmp_path):
    path = tmp_path / "bad.py"
    path.write_text("x = (\n")
    with pytest.raises(UsageError, match=r"bad\.py:1: this is no Python"):
        mutate.run(arguments(str(path), "--list"))


def test_the_list_gives_each_mutant_with_its_diff(file, capsys):
    assert mutate.run(arguments(str(file), "--list", "--json")) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["id"] for row in rows] == [m.id for m in mutants_of(file)]
    assert all(row["diff"].count("@@") == 2 and row["line"] in (2, 3) for row in rows)
    assert mutate.run(arguments(str(file), "--list")) == 0
    assert "a < b has become <=" in capsys.readouterr().out


def test_a_sample_is_drawn_by_its_seed(file):
    ids = [[m.id for m in mutate.wanted(arguments(str(file), "--sample", "3", "--seed", s))]
           for s in "001"]  # fmt: skip
    assert ids[0] == ids[1] != ids[2]
    assert len(ids[0]) == 3
    assert len(mutate.wanted(arguments(str(file), "--sample", "999"))) == len(mutants_of(file))


def test_the_end_names_survivors_and_the_score(file, capsys):
    args = argparse.Namespace(json=False, floor=100.0)
    one, two = mutants_of(file)[:2]
    results = [Result(mutant=one, verdict="killed"), Result(mutant=two, verdict="survived")]
    mutate.conclude(args, results, 3)
    said = capsys.readouterr().out
    assert two.says in said and one.id not in said
    assert "stopped after 2 of 3 mutants" in said
    assert "1 of 2 mutants killed: 50.0 %" in said
    assert said.splitlines()[-1] == "the floor is 100.0 %"

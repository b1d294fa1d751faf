"""The tour from its first line to the commands that it ends with."""

import os
import subprocess
import sys

import pytest

from e2e.door import SECONDS, call, environment


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("tour")


@pytest.fixture(scope="module")
def records(place):
    answer = call("tour", "--seconds", "3", "--out", "school", "--json", cwd=place)
    assert answer.code == 0, answer.err
    assert len(answer.err.splitlines()) <= 14  # how the lesson goes: a line every tenth
    return answer.records


def parts(records, name):
    return [record for record in records if record["part"] == name]


def test_the_bert_finds_what_each_query_means(records):
    ranked = parts(records, "rank")
    assert len(ranked) >= 2
    for record in ranked:
        scores = [found["score"] for found in record["found"]]
        assert scores == sorted(scores, reverse=True)
    (insects,) = (r for r in ranked if "insects" in r["query"])
    assert "Bees" in insects["found"][0]["text"]


def test_the_gpt2_knows_more_after_than_before(records):
    before, after = parts(records, "learn")
    assert (before["when"], after["when"]) == ("before", "after")
    assert before["steps"] == 0 < after["steps"]
    assert after["bits_a_byte"] < before["bits_a_byte"]
    assert before["prompt"] == after["prompt"]
    assert before["text"] != after["text"]


def test_the_commands_that_it_ends_with_work(records, place):
    (record,) = parts(records, "next")
    assert len(record["commands"]) >= 3
    for command in record["commands"]:
        done = subprocess.run(
            ["bash", "-euc", command],
            capture_output=True,
            encoding="utf-8",
            env=environment(PATH=f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"),
            timeout=SECONDS,
            cwd=place,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        assert done.stdout


def test_for_people_it_tells_a_story(tmp_path):
    answer = call("tour", "--seconds", "1", "--out", tmp_path / "out")
    assert answer.code == 0, answer.err
    assert "Before" in answer.out
    assert "After" in answer.out
    assert "zoo generate --model" in answer.out
    assert max(map(len, answer.out.splitlines()[:40])) <= 100

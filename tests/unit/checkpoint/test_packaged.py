"""Names of checkpoints: golden ones, packaged ones, folders, and what is none of these."""

import json

import pytest

from zoo.checkpoint import CheckpointError, packaged


@pytest.fixture
def home(tmp_path, monkeypatch):
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
    monkeypatch.setattr(packaged, "HOMES", (tmp_path / "not-here", tmp_path / "golden"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    return tmp_path / "golden"


def test_golden_checkpoints_are_those_with_such_a_manifest(home):
    assert packaged.golden() == {"large": home / "large", "small": home / "small"}


def test_a_golden_checkpoint_is_found_by_its_name(home):
    assert packaged.find("small") == home / "small"


def test_a_folder_that_is_here_goes_before_a_name(home, tmp_path):
    (tmp_path / "small").mkdir()
    assert packaged.find("small").resolve() == (tmp_path / "small").resolve()


@pytest.mark.parametrize("name", ["rows", "broken", "list", "bare", "nothing"])
def test_what_is_no_checkpoint_is_not_found(name, home):
    with pytest.raises(CheckpointError, match=name):
        packaged.find(name)


def test_without_golden_sets_there_are_no_names(home, monkeypatch, tmp_path):
    monkeypatch.setattr(packaged, "HOMES", (tmp_path / "not-here",))
    assert packaged.golden() == {}
    with pytest.raises(CheckpointError, match="small"):
        packaged.find("small")

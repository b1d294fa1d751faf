"""Names: a folder wins, a hub name is looked up in the cache, the network only when allowed."""

import pytest

from zoo.checkpoint import CheckpointError, resolve


def test_an_existing_folder_is_taken_as_it_is(tmp_path, monkeypatch):
    assert resolve(tmp_path) == tmp_path
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org").mkdir()
    assert resolve("org").samefile(tmp_path / "org")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("/no/such/folder", "/no/such/folder does not exist; expected a folder with config.json"),
        ("../up", r"\.\./up does not exist"),
        ("a/b/c", "a/b/c does not exist"),
        ("", "does not exist|no folder"),
        ("file.txt", "file.txt is a file; expected a folder"),
        ("org/none", r"no folder 'org/none', and it was not found in the local cache \(offline"),
    ],
    ids=range(6),
)
def test_what_is_not_there_is_said(tmp_path, monkeypatch, name, sentence):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    (tmp_path / "file.txt").write_text("")
    with pytest.raises(CheckpointError, match=sentence):
        resolve(name, offline=True) if name else resolve(tmp_path / "none")

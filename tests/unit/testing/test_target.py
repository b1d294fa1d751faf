"""From a name to a spec, and what is said when there is none."""

import sys

import pytest

from zoo.testing.spec import ModelSpec
from zoo.testing.subject import SpecError
from zoo.testing.target import importable, load_targets, split

TEXT = """
import torch
from zoo.testing.spec import ModelSpec
class Net(torch.nn.Linear):
    def __init__(self):
        super().__init__(2, 3)
    made = 1
one = ModelSpec(build=Net)
two = ModelSpec(build=Net)
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path, modules = list(sys.path), set(sys.modules)
    (tmp_path / "mine_for_targets.py").write_text(TEXT)
    (tmp_path / "broken_for_targets.py").write_text("import zoo_is_not_here_at_all")
    (tmp_path / "raising_for_targets.py").write_text("raise RuntimeError('not today')")
    (tmp_path / "empty_for_targets.py").write_text("")
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        del sys.modules[name]


SPLITS = {
    "pkg.mod:spec": ("pkg.mod", "spec"),
    "pkg.mod": ("pkg.mod", ""),
    "dir/file.py:Net.made": ("dir/file.py", "Net.made"),
    "dir/file.py": ("dir/file.py", ""),
    "C:/dir/file.py": ("C:/dir/file.py", ""),
    "C:\\dir\\file.py:spec": ("C:\\dir\\file.py", "spec"),
}


@pytest.mark.parametrize("text", SPLITS, ids=range(len(SPLITS)))
def test_a_target_is_cut_at_its_name(text):
    assert split(text) == SPLITS[text]


IMPORTS = {
    "pkg.mod:spec": "pkg.mod:spec",
    "pkg.mod": "pkg.mod",
    "net.py:spec": "net:spec",
    "dir/net.py:Net.made": "net:Net.made",
    "dir\\net.py:spec": "net:spec",
    "dir/net.py": "net",
    "": "",
}


@pytest.mark.parametrize("text", IMPORTS, ids=range(len(IMPORTS)))
def test_a_file_is_imported_by_its_stem(text):
    assert importable(text) == IMPORTS[text]


def test_a_file_may_be_called_as_a_module_that_is_loaded(place):
    import copy

    (place / "copy.py").write_text(TEXT)
    ((_, spec),) = load_targets("copy.py:one")
    assert isinstance(spec, ModelSpec)
    assert sys.modules["copy"] is copy


@pytest.mark.parametrize("text", ["mine_for_targets:one", "mine_for_targets.py:one"])
def test_a_spec_is_loaded_by_name(place, text):
    ((origin, spec),) = load_targets(text)
    assert origin == text
    assert isinstance(spec, ModelSpec)


def test_a_module_gives_all_its_specs(place):
    assert [origin for origin, _ in load_targets("mine_for_targets")] == [
        "mine_for_targets:one",
        "mine_for_targets:two",
    ]


REFUSED = {
    "no_such_module_here:spec": r"no module 'no_such_module_here'; run from the folder",
    "broken_for_targets:spec": r"imports 'zoo_is_not_here_at_all', which is not installed",
    "raising_for_targets:spec": r"raised RuntimeError: not today",
    "mine_for_targets:three": r"has no 'three'; it has Net, one, two",
    "empty_for_targets": r"has no ModelSpec; write spec = zoo.testing.ModelSpec",
    "nowhere.py:spec": r"there is no file nowhere.py",
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda t: t)
def test_a_target_that_is_not_there_is_told(place, text):
    with pytest.raises(SpecError, match=REFUSED[text]):
        load_targets(text)

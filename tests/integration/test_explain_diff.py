"""zoo explain-diff: files of tensors, and modules of a package, in words and as JSON."""

import argparse
import json

import numpy
import pytest
import torch
from safetensors.torch import save_file

from zoo.cli import UsageError, explain_diff
from zoo.testing.subject import SpecError

MODULE = """
import torch
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    def __init__(self, eps):
        super().__init__()
        self.norm, self.drop = nn.LayerNorm(8, eps=eps), nn.Dropout(0.5)
        self.body = nn.Linear(8, 8)

    def forward(self, x):
        return self.body(self.drop(F.gelu(self.norm(x))))


def build():
    return Net(1e-5)


def fast():
    return Net(1e-5).bfloat16()


def wrong():
    return Net(1e-6)


def batch(size):
    return {"x": torch.randn(size, 8)}


class SPEC:
    build = staticmethod(build)
    batch = staticmethod(batch)


NUMBER = 3
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    name = f"nets_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return name


def asked(*arguments):
    parser = argparse.ArgumentParser()
    explain_diff.arguments(parser)
    parser.add_argument("--json", action="store_true")
    return explain_diff.run(parser.parse_args([str(x) for x in arguments]))


@pytest.mark.parametrize(
    ("other", "code", "word"),
    [("build", 0, "equal"), ("fast", 0, "rounding"), ("wrong", 1, "bug"), ("SPEC", 0, "equal")],
)
def test_two_modules_of_a_package(package, capsys, other, code, word):
    assert asked(f"{package}:build", f"{package}:{other}") == code
    assert capsys.readouterr().out.startswith(f"{word}: ")


def test_a_bug_names_the_module(package, capsys):
    asked(f"{package}:build", f"{package}:wrong", "--batch", f"{package}:batch", "--json")
    record = json.loads(capsys.readouterr().out)
    assert record["verdict"] == "bug"
    assert record["where"] == "norm"
    assert record["typical"] > 0


def tensors():
    generator = torch.Generator().manual_seed(0)
    return {"a": torch.randn(5, 4, generator=generator), "b": torch.randn(3, generator=generator)}


def test_files_of_tensors(tmp_path, capsys):
    one = tensors()
    torch.save(one, tmp_path / "one.pt")
    torch.save({n: x.bfloat16() for n, x in one.items()}, tmp_path / "coarse.pt")
    torch.save(one | {"a": one["a"] / 2**0.5}, tmp_path / "scaled.pt")
    assert asked(tmp_path / "one.pt", tmp_path / "one.pt") == 0
    assert asked(tmp_path / "one.pt", tmp_path / "coarse.pt") == 0
    assert asked(tmp_path / "one.pt", tmp_path / "scaled.pt") == 1
    said = capsys.readouterr().out
    assert "rounding: " in said
    assert "bug: a: b is a times 0.707" in said


def test_a_file_of_numpy_beside_one_of_torch(tmp_path):
    one = tensors()["a"]
    numpy.save(tmp_path / "one.npy", one.numpy())
    torch.save(one, tmp_path / "two.pt")
    torch.save(one.T.contiguous(), tmp_path / "three.pt")
    assert asked(tmp_path / "one.npy", tmp_path / "two.pt") == 0
    assert asked(tmp_path / "one.npy", tmp_path / "three.pt") == 1


def test_a_file_of_safetensors(tmp_path):
    save_file(tensors(), tmp_path / "one.safetensors")
    torch.save(tensors(), tmp_path / "two.pt")
    assert asked(tmp_path / "one.safetensors", tmp_path / "two.pt") == 0


def test_the_declared_dtype_decides(tmp_path):
    one = tensors()["a"]
    torch.save(one, tmp_path / "one.pt")
    torch.save(one * (1 + 1e-3 * torch.tensor([1.0, -1, 1, -1])), tmp_path / "two.pt")
    assert asked(tmp_path / "one.pt", tmp_path / "two.pt", "--dtype", "bfloat16") == 0
    assert asked(tmp_path / "one.pt", tmp_path / "two.pt", "--dtype", "float32") == 1


class Plain:
    pass


REFUSED = {
    "a file and a module": ("one.pt", "nets:build", "two files"),
    "a batch for files": ("one.pt", "one.pt", "--batch", "nets:batch", "--batch is for modules"),
    "no such file": ("none.pt", "one.pt", "no file"),
    "a file that holds an object": ("object.pt", "one.pt", "cannot be read as tensors"),
    "a file without a tensor": ("words.pt", "one.pt", "without a tensor"),
    "no such module": ("nowhere.at_all:build", "nowhere.at_all:build", "no module 'nowhere'"),
    "no such name": ("nets:nothing", "nets:build", "has no 'nothing'"),
    "no module at all": ("nets:NUMBER", "nets:build", "gives int"),
    "neither": ("nets", "nets", "expected pkg.mod:name"),
    "no batch": ("torch.nn:Identity", "torch.nn:Identity", "no batch"),
}


@pytest.mark.parametrize("given", REFUSED.values(), ids=REFUSED)
def test_what_makes_no_sense_is_refused(package, tmp_path, given):
    torch.save(tensors(), tmp_path / "one.pt")
    torch.save(Plain(), tmp_path / "object.pt")
    torch.save({"a": "words"}, tmp_path / "words.pt")
    *words, said = given
    places = [str(tmp_path / w) if w.endswith(".pt") else w.replace("nets", package) for w in words]
    with pytest.raises((UsageError, SpecError), match=said):
        asked(*places)

"""Pickles: tensors and plain numbers come out, and everything else is one clear error."""

import builtins
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from zoo.checkpoint import CheckpointError
from zoo.checkpoint.pickles import (
    is_number,
    is_plain,
    nanogpt_of,
    read_nanogpt,
    state_of,
    unpickle,
)

HERE = Path("some/ckpt.pt")
ONES, WHOLE = torch.ones(2, 3), torch.arange(3)
GOOD = {"model": {"w": ONES}, "model_args": {"n_layer": 1}}


class Odd(torch.Tensor):
    """A tensor by another name, which may do anything when it is used."""


# what it is -> (the value, whether it is a dense tensor with all its data, or one whole number)
VALUES = {
    "floats": (ONES, True, False),
    "halves": (ONES.half(), True, False),
    "bfloat16": (ONES.bfloat16(), True, False),
    "one float": (torch.tensor(1.5), True, False),
    "a parameter": (nn.Parameter(ONES), True, False),
    "turned": (ONES.T, True, False),
    "a part of a larger one": (ONES[1], True, False),
    "no numbers": (torch.empty(0, 3), True, False),
    "unfolded": (torch.ones(1, 3).expand(2, 3), False, False),
    "unfolded by one element": (torch.ones(6).as_strided((7,), (0,)), False, False),
    "sparse": (torch.eye(2).to_sparse(), False, False),
    "without data": (ONES.to("meta"), False, False),
    "a subclass": (ONES.as_subclass(Odd), False, False),
    "complex": (ONES.to(torch.complex64), False, False),
    "whole numbers": (WHOLE, False, False),
    "truths": (WHOLE > 1, False, False),
    "one whole number": (torch.tensor(7), False, True),
    "one truth": (torch.tensor(True), False, True),
    "one of a subclass": (torch.tensor(7).as_subclass(Odd), False, False),
    "one parameter that is whole": (
        nn.Parameter(torch.tensor(7), requires_grad=False),
        False,
        False,
    ),
    "a number": (7, False, False),
    "a list": ([1.0], False, False),
    "nothing": (None, False, False),
}


@pytest.mark.parametrize("row", VALUES)
def test_only_dense_tensors_with_all_their_data_are_plain(row):
    value, plain, number = VALUES[row]
    assert (is_plain(value), is_number(value)) == (plain, number)


def test_arguments_and_tensors_of_a_nanogpt_come_out_without_wrapper_or_gradients():
    weight = nn.Parameter(ONES)
    state = {"_orig_mod.w": weight, "v": ONES.T, "a._orig_mod.b": ONES[0]}
    arguments = {"n_layer": 1, "dropout": 0.5, "bias": False}
    content = {"model": state, "model_args": arguments, "optimizer": object()}
    given, tensors = nanogpt_of(HERE, content)
    assert given == arguments and given is not arguments
    assert [*tensors] == ["w", "v", "a._orig_mod.b"]
    assert all(type(t) is torch.Tensor and not t.requires_grad for t in tensors.values())
    assert tensors["w"].data_ptr() == weight.data_ptr()
    assert torch.equal(tensors["v"], ONES.T) and torch.equal(tensors["a._orig_mod.b"], ONES[0])


KEYS = "is not nanoGPT's: it needs 'model' and 'model_args'"
ARGUMENTS = ": model_args is not a table of numbers"
TABLE = ": model is not a table of floating point tensors"
NOT_NANO = {
    "a list": ([1], " " + KEYS),
    "names alone": (["model", "model_args"], " " + KEYS),
    "a state": ({"w": ONES}, " " + KEYS),
    "without arguments": ({"model": {}}, " " + KEYS),
    "without a model": ({"model_args": {}}, " " + KEYS),
    "no arguments": (GOOD | {"model_args": None}, ARGUMENTS),
    "a list of arguments": (GOOD | {"model_args": ["n_layer"]}, ARGUMENTS),
    "a text for a number": (GOOD | {"model_args": {"a": 1, "n_layer": "1"}}, ARGUMENTS),
    "a number for a name": (GOOD | {"model_args": {1: 1}}, ARGUMENTS),
    "no model": (GOOD | {"model": None}, TABLE),
    "a list of tensors": (GOOD | {"model": [ONES]}, TABLE),
    "whole numbers": (GOOD | {"model": {"w": ONES, "v": WHOLE}}, TABLE),
    "a size": (GOOD | {"model": {"v": torch.tensor(7)}}, TABLE),
    "a number for a tensor's name": (GOOD | {"model": {1: ONES}}, TABLE),
    "one name twice": (
        GOOD | {"model": {"w": ONES, "_orig_mod.w": ONES}},
        ": model holds a name both with and without '_orig_mod.'",
    ),
}


@pytest.mark.parametrize("row", NOT_NANO)
def test_what_is_no_nanogpt_is_refused(row):
    content, said = NOT_NANO[row]
    with pytest.raises(CheckpointError) as caught:
        nanogpt_of(HERE, content)
    assert str(caught.value) == f"{HERE}{said}"


def test_the_least_that_a_nanogpt_holds_is_taken():
    assert nanogpt_of(HERE, {"model": {}, "model_args": {}}) == ({}, {})


STATE = {"module.a": nn.Parameter(ONES), "b.module.c": ONES[0], "size": torch.tensor(7)}
STATES = {
    "bare": STATE,
    "under state_dict": {"state_dict": STATE, "epoch": 3},
    "under model": {"model": STATE, "optimizer": None},
    "under both": {"state_dict": {"model": STATE, "more": 1}, "model": None},
}


@pytest.mark.parametrize("row", STATES)
def test_a_state_is_found_where_training_scripts_put_it(row):
    found = state_of(HERE, STATES[row])
    assert [*found] == ["a", "b.module.c"]
    assert all(type(t) is torch.Tensor and not t.requires_grad for t in found.values())
    assert torch.equal(found["a"], ONES) and torch.equal(found["b.module.c"], ONES[0])


NO_STATES = {
    "a tensor": ONES,
    "a list": [ONES],
    "a name": "state_dict",
    "a text": {"w": "1"},
    "whole numbers": {"w": ONES, "v": WHOLE},
    "a number for a name": {1: ONES},
    "a state beside others": {"weights": {"w": ONES}},
    "too deep": {"model": {"state_dict": {"w": ONES}}},
    "a model that is no table": {"model": [ONES]},
    "unfolded": {"w": torch.ones(1).expand(9)},
}


@pytest.mark.parametrize("row", NO_STATES)
def test_what_is_no_state_is_refused(row):
    with pytest.raises(CheckpointError) as caught:
        state_of(HERE, NO_STATES[row])
    assert str(caught.value) == f"{HERE} is not a table of floating point tensors"


def saved(place, content):
    torch.save(content, place)
    return place


def changed(place, change, *, compression=zipfile.ZIP_STORED):
    """Write a saved file's entries again: `change` gives an entry's new bytes, or None for same."""
    with zipfile.ZipFile(place) as archive:
        entries = [(i.filename, archive.read(i)) for i in archive.infolist()]
    with zipfile.ZipFile(place, "w") as archive:
        for name, data in entries:
            new = change(name, data)
            kind = zipfile.ZIP_STORED if new is None else compression
            archive.writestr(name, data if new is None else new, compress_type=kind)
    return place


def pickled(data):
    """Make a change that puts other bytes where a saved file holds its pickle."""
    return lambda name, _: data if name.endswith("/data.pkl") else None


def test_a_file_gives_what_was_saved(tmp_path):
    place = saved(tmp_path / "ckpt.pt", GOOD | {"iter_num": 5, "config": {"device": "cuda"}})
    for path in (place, str(place)):
        arguments, tensors = read_nanogpt(path)
        assert arguments == {"n_layer": 1}
        assert [*tensors] == ["w"] and torch.equal(tensors["w"], ONES)


def test_a_tensor_that_was_saved_on_a_gpu_is_read_on_the_processor(tmp_path):
    place = saved(tmp_path / "ckpt.pt", {"w": ONES})
    here, there = b"X\3\0\0\0cpu", b"X\6\0\0\0cuda:0"

    def moved(name, data):
        return data.replace(here, there) if here in data else None

    found = unpickle(changed(place, moved))
    assert there in zipfile.ZipFile(place).read("ckpt/data.pkl")
    assert found["w"].device.type == "cpu" and torch.equal(found["w"], ONES)


class Calls:
    """What calls a function when it is unpickled."""

    def __init__(self, function, *arguments):
        self.said = function, arguments

    def __reduce__(self):
        return self.said


class Strange:
    """A class that torch does not know."""


# name -> what is pickled; whoever builds it makes a folder, or holds an object of any class
HOSTILE = {
    "a call of the system": lambda made: Calls(os.mkdir, made),
    "a call of eval": lambda made: Calls(builtins.eval, f"__import__('os').mkdir({made!r})"),
    "a call of exec": lambda made: Calls(builtins.exec, f"__import__('os').mkdir({made!r})"),
    "a way to an attribute": lambda made: Calls(getattr, os, "mkdir"),
    "a pickle in a pickle": lambda made: Calls(pickle.loads, pickle.dumps(Calls(os.mkdir, made))),
    "a call among tensors": lambda made: GOOD | {"optimizer": Calls(os.mkdir, made)},
    "a class": lambda made: {"w": Strange()},
    "a whole module": lambda made: nn.Linear(1, 1),
}


@pytest.mark.parametrize("row", HOSTILE)
@pytest.mark.parametrize("read", [unpickle, read_nanogpt])
def test_nothing_that_is_no_tensor_is_built(tmp_path, row, read):
    made = tmp_path / "made"
    place = saved(tmp_path / "x.pt", {})
    if row == "a way to an attribute":
        data = b"\x80\x02cbuiltins\ngetattr\ncos\nsystem\nX\x04\0\0\0argsd."  # never gets as far
    else:
        data = pickle.dumps(HOSTILE[row](str(made)), protocol=2)
    changed(place, pickled(data))
    with pytest.raises(pickle.UnpicklingError) as plain:
        torch.load(place, weights_only=True)
    with pytest.raises(CheckpointError) as caught:
        read(place)
    first = str(plain.value).splitlines()[0]
    assert str(caught.value) == f"{place} cannot be read as tensors: {first[:200]}"
    assert not made.exists()


SCRIPT = (
    " is a TorchScript archive, which holds code that is not run here; "
    "where you trust it, save its tensors: "
    "torch.save(torch.jit.load(path).state_dict(), 'model.pt')"
)
PACKED = " holds compressed entries, which torch.save does not write"


def whole_compressed(place):
    changed(place, lambda _, data: data, compression=zipfile.ZIP_DEFLATED)


def with_code(place):
    with zipfile.ZipFile(place, "a") as archive:
        archive.writestr("x/code/__torch__.py", "raise SystemExit")


def one_compressed(place):
    changed(place, pickled(bytes(10**6)), compression=zipfile.ZIP_DEFLATED)


def code_and_compressed(place):
    whole_compressed(place)
    with_code(place)


def emptied(place):
    changed(place, pickled(b""))


# name -> (what is done to a saved file, what is said of it)
DAMAGED = {
    "gone": (os.unlink, " is not a file"),
    "a folder": (lambda p: (p.unlink(), p.mkdir()), " is not a file"),
    "code": (with_code, SCRIPT),
    "compressed": (whole_compressed, PACKED),
    "one entry compressed": (one_compressed, PACKED),
    "code and compressed": (code_and_compressed, SCRIPT),
    "no bytes": (
        lambda p: p.write_bytes(b""),
        " cannot be read as tensors: File is not a zip file",
    ),
    "other bytes": (
        lambda p: p.write_bytes(b"x" * 100),
        " cannot be read as tensors: File is not a zip file",
    ),
    "a bare pickle": (
        lambda p: p.write_bytes(pickle.dumps(Calls(os.mkdir, f"{p}.made"))),
        " cannot be read as tensors: File is not a zip file",
    ),
    "cut off": (
        lambda p: p.write_bytes(p.read_bytes()[:300]),
        " cannot be read as tensors: File is not a zip file",
    ),
    "an error without a word": (emptied, " cannot be read as tensors: EOFError"),
}


@pytest.mark.parametrize("row", DAMAGED)
def test_a_file_that_cannot_be_read_is_one_clear_error(tmp_path, row):
    damage, said = DAMAGED[row]
    place = saved(tmp_path / "x.pt", GOOD)
    damage(place)
    with pytest.raises(CheckpointError) as caught:
        unpickle(place)
    assert str(caught.value) == f"{place}{said}"
    assert not Path(f"{place}.made").exists()


def test_an_environment_that_would_run_pickles_changes_nothing(tmp_path, monkeypatch):
    """torch has a variable that lets every caller unpickle anything who does not say otherwise."""
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    place = saved(tmp_path / "x.pt", {})
    changed(place, pickled(pickle.dumps(Calls(os.mkdir, str(tmp_path / "made")), protocol=2)))
    with pytest.raises(CheckpointError, match=r"x\.pt cannot be read as tensors: Weights only"):
        unpickle(place)
    assert not (tmp_path / "made").exists()


def test_an_error_of_what_a_file_holds_names_the_file(tmp_path):
    place = saved(tmp_path / "x.pt", {"w": ONES})
    with pytest.raises(CheckpointError) as caught:
        read_nanogpt(str(place))
    assert str(caught.value) == f"{place} {KEYS}"


def test_the_older_form_of_torchs_files_is_not_read(tmp_path):
    """It has no list of entries, so what unfolds in it cannot be seen before it is read."""
    torch.save(GOOD, tmp_path / "x.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match=r"x\.pt cannot be read as tensors: File is not a z"):
        read_nanogpt(tmp_path / "x.pt")


def test_a_file_of_which_a_name_only_ends_in_code_is_read(tmp_path):
    place = saved(tmp_path / "code.pt", GOOD)  # its entries are code/data.pkl and so on
    assert any(i.filename.startswith("code/") for i in zipfile.ZipFile(place).infolist())
    assert unpickle(place).keys() == GOOD.keys()

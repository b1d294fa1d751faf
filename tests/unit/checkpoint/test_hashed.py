import hashlib
import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from zoo.checkpoint import CheckpointError
from zoo.checkpoint.hashed import hash_file, read_hashed, write_bytes, write_hashed
from zoo.checkpoint.safetensors import DTYPES, PIECE

SIZES = {"small": 3, "a piece": PIECE // 4, "several pieces": PIECE // 2 + 5}


def sha256(place):
    return hashlib.sha256(place.read_bytes()).hexdigest()


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_what_is_written_comes_back_with_the_files_hash(tmp_path, size):
    tensors = {"b": torch.randn(2, size).t(), "a.c": torch.arange(size), "none": torch.empty(0, 2)}
    place = tmp_path / "x.safetensors"
    assert write_hashed(place, tensors) == sha256(place) == hash_file(tmp_path, place.name)
    found, digest = read_hashed(tmp_path, place.name)
    assert digest == sha256(place)
    for other in (found, load_file(place)):
        assert other.keys() == tensors.keys()
        assert all(torch.equal(other[name], tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize("code", DTYPES)
def test_every_dtype_keeps_its_bits(tmp_path, code):
    tensor = torch.tensor([0, 1, 1, 0, 1]).to(DTYPES[code])
    write_hashed(tmp_path / "x", {"t": tensor})
    (found,) = read_hashed(tmp_path, "x")[0].values()
    assert found.dtype == tensor.dtype
    assert torch.equal(found, tensor)


def test_no_tensor_is_a_file_too(tmp_path):
    digest = write_hashed(tmp_path / "x", {})
    assert read_hashed(tmp_path, "x") == ({}, digest)
    assert digest == sha256(tmp_path / "x")


def test_a_file_of_the_library_is_read(tmp_path):
    tensors = {"w": torch.randn(3, 4), "n": torch.tensor(5)}
    save_file(tensors, tmp_path / "x", metadata={"format": "pt"})
    found, digest = read_hashed(tmp_path, "x")
    assert digest == sha256(tmp_path / "x")
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def flip(place, at):
    data = bytearray(place.read_bytes())
    data[at] ^= 1
    place.write_bytes(data)


@pytest.mark.parametrize("at", [-1, -20])
def test_a_flipped_bit_of_the_data_gives_another_hash(tmp_path, at):
    place = tmp_path / "x"
    before = write_hashed(place, {"w": torch.arange(5.0)})
    flip(place, at)
    assert read_hashed(tmp_path, "x")[1] == hash_file(tmp_path, "x") == sha256(place) != before


@pytest.mark.parametrize("at", [0, 9])
def test_a_flipped_bit_of_the_header_is_refused(tmp_path, at):
    write_hashed(tmp_path / "x", {"w": torch.arange(5.0)})
    flip(tmp_path / "x", at)
    with pytest.raises(CheckpointError, match=rf"{tmp_path}/x"):
        read_hashed(tmp_path, "x")


@pytest.mark.parametrize("size", [5, PIECE + 5])
def test_a_file_that_is_there_is_not_written_over(tmp_path, size):
    place = tmp_path / "x"
    place.write_bytes(b"mine")
    with pytest.raises(CheckpointError, match=rf"cannot write {place}: File exists"):
        write_bytes(place, b"0" * size)
    assert place.read_bytes() == b"mine"


def test_parts_are_written_in_their_order(tmp_path):
    parts = [b"ab", memoryview(b"c"), b"", b"d" * PIECE]
    assert write_bytes(tmp_path / "x", *parts) == sha256(tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == b"".join(parts)


@pytest.mark.parametrize(
    ("tensors", "sentence"),
    [
        ({"w": torch.zeros(2, dtype=torch.complex64)}, "w is torch.complex64"),
        ({"w": torch.zeros(2, device="meta")}, "w is torch.float32, torch.strided, on meta"),
        ({"w": torch.eye(2).to_sparse()}, "w is torch.float32, torch.sparse_coo"),
        ({"__metadata__": torch.zeros(2)}, "a tensor cannot be called '__metadata__'"),
    ],
    ids=["dtype", "meta", "sparse", "name"],
)
def test_what_a_file_cannot_hold_is_refused(tmp_path, tensors, sentence):
    with pytest.raises(CheckpointError, match=sentence):
        write_hashed(tmp_path / "x", tensors)
    assert os.listdir(tmp_path) == []

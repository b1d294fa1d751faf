"""Shares written and read by one process, and folders that are not whole; many: integration."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from zoo.checkpoint import CheckpointError
from zoo.train.shards import read_shards, write_shards

KINDS = {
    "matrix": torch.arange(6.0).view(2, 3),
    "transposed": torch.arange(6.0).view(2, 3).T,
    "half": torch.arange(3).bfloat16(),
    "double": torch.tensor([1 / 3], dtype=torch.float64),
    "step": torch.tensor(7.0),
    "count": torch.tensor(3),
    "generator": torch.arange(256).to(torch.uint8),
    "flags": torch.tensor([True, False]),
    "no.rows": torch.empty(0, 3),
    "a.b.c": torch.ones(1),
}


def zeros(tensors):
    return {name: torch.zeros_like(x) for name, x in tensors.items()}


def bits(tensors):
    return {name: x.clone() for name, x in tensors.items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def write_share(folder, number, tensors, places):
    """Write a file as one of several processes does: each tensor's first row and column in it."""
    folder.mkdir(exist_ok=True)
    about = json.dumps({name: {"saved_offsets": places[name]} for name in tensors})
    save_file(
        tensors,
        folder / f"shard-{number:05}-model-00001-of-00001.safetensors",
        metadata={"DCP_SHARDING_INFO": about, "DCP_VERSION": "1.0", "format": "pt"},
    )


def test_what_is_written_is_read_to_the_bit(tmp_path):
    write_shards(tmp_path, KINDS)
    into = zeros(KINDS)
    read_shards(tmp_path, into)
    assert same(into, KINDS)


def test_one_file_holds_it_and_nothing_is_a_pickle(tmp_path):
    write_shards(tmp_path, KINDS)
    (file,) = tmp_path.iterdir()
    assert file.suffix == ".safetensors"
    assert same(load_file(file), KINDS)


def test_tensors_are_filled_where_they_are(tmp_path):
    write_shards(tmp_path, {"x": torch.arange(3.0), "y": torch.ones(2)})
    weight = torch.nn.Parameter(torch.zeros(3))
    read_shards(str(tmp_path), {"x": weight})  # y may stay
    assert weight.tolist() == [0, 1, 2]


def test_a_file_without_shares_is_read(tmp_path):
    save_file({"x": torch.arange(3.0)}, tmp_path / "model.safetensors")
    into = {"x": torch.zeros(3)}
    read_shards(tmp_path, into)
    assert into["x"].tolist() == [0, 1, 2]


def test_shares_are_put_together(tmp_path):
    for rank in range(3):
        rows = torch.arange(5.0)[2 * rank : 2 * rank + 2]
        write_share(tmp_path, rank + 1, {"x": rows}, {"x": [2 * rank]})
    into = {"x": torch.zeros(5)}
    read_shards(tmp_path, into)
    assert into["x"].tolist() == [0, 1, 2, 3, 4]


def test_a_process_without_rows_is_no_fault(tmp_path):
    for rank in range(3):
        write_share(tmp_path, rank + 1, {"x": torch.ones(2)[rank : rank + 1]}, {"x": [rank]})
    into = {"x": torch.zeros(2)}
    read_shards(tmp_path, into)
    assert into["x"].tolist() == [1, 1]


def three_shares(folder):
    for rank in range(3):
        rows = torch.arange(12.0).view(6, 2)[2 * rank : 2 * rank + 2]
        write_share(folder, rank + 1, {"x": rows}, {"x": [2 * rank, 0]})


def without(number):
    def act(folder):
        three_shares(folder)
        (folder / f"shard-{number:05}-model-00001-of-00001.safetensors").unlink()

    return act


def without_the_end(folder):
    """Lose the last rows, while a process without rows still tells how many there were."""
    three_shares(folder)
    (folder / "shard-00003-model-00001-of-00001.safetensors").unlink()
    write_share(folder, 4, {"x": torch.zeros(0, 2)}, {"x": [6, 0]})


def mixed(folder):
    """Leave a share of a save by two processes among those of a save by three."""
    three_shares(folder)
    write_share(folder, 4, {"x": torch.zeros(3, 2)}, {"x": [0, 0]})


def swapped(folder):
    """Put the first share in the place of the second: as many numbers, not those."""
    three_shares(folder)
    write_share(folder, 2, {"x": torch.zeros(2, 2)}, {"x": [0, 0]})


def narrow(folder):
    """Let a share hold one column of two."""
    three_shares(folder)
    write_share(folder, 2, {"x": torch.zeros(2, 1)}, {"x": [2, 0]})


def cut(folder):
    three_shares(folder)
    file = folder / "shard-00002-model-00001-of-00001.safetensors"
    file.write_bytes(file.read_bytes()[:-3])


def nothing(folder):
    folder.mkdir()


def no_folder(folder):
    pass


FAULTS = [
    ("first-share-lost", without(1), "x goes wrong at row 0 of 6: a share is missing, or"),
    ("middle-share-lost", without(2), "x goes wrong at row 2 of 6: a share is missing, or"),
    ("last-share-lost", without(3), r"x is torch.float32 \(4, 2\); expected torch.float32 \(6, 2"),
    ("end-lost", without_the_end, "x goes wrong at row 4 of 6"),
    ("shares-mixed", mixed, "x goes wrong at row 2 of 6"),
    ("share-twice", swapped, "x goes wrong at row 2 of 6"),
    ("share-narrow", narrow, "x goes wrong at row 2 of 6"),
    ("share-cut", cut, r"cannot read .*x: SafetensorError"),
    ("no-files", nothing, r"x has no x"),
    ("no-folder", no_folder, r"cannot read .*x: \[Errno 2\]"),
]


@pytest.mark.parametrize(("act", "says"), [row[1:] for row in FAULTS], ids=[r[0] for r in FAULTS])
def test_a_folder_that_is_not_whole_is_told_and_nothing_changes(tmp_path, act, says):
    act(tmp_path / "x")
    into = {"x": torch.full((6, 2), 7.0)}
    with pytest.raises(CheckpointError, match=says):
        read_shards(tmp_path / "x", into)
    assert into["x"].unique().tolist() == [7]


WANTED = [
    ("absent", {"x": torch.zeros(3), "b": torch.zeros(2), "a": torch.zeros(1)}, "has no a, b$"),
    ("shape", {"x": torch.zeros(3, 1)}, r"x is torch.float32 \(3,\); expected .* \(3, 1\)"),
    ("dtype", {"x": torch.zeros(3).double()}, r"x is torch.float32 \(3,\); expected torch.float64"),
]


@pytest.mark.parametrize(("into", "says"), [w[1:] for w in WANTED], ids=[w[0] for w in WANTED])
def test_what_does_not_fit_is_told_and_nothing_changes(tmp_path, into, says):
    write_shards(tmp_path, {"x": torch.ones(3), "y": torch.ones(2)})
    before = bits(into)
    with pytest.raises(CheckpointError, match=says):
        read_shards(tmp_path, into)
    assert same(into, before)


def test_a_long_list_of_names_is_cut(tmp_path):
    write_shards(tmp_path, {"x": torch.ones(3)})
    with pytest.raises(CheckpointError, match=r"has no 0, 1, 2, 3, 4, 5, 6, 7$"):
        read_shards(tmp_path, {str(n): torch.ones(1) for n in range(9)})


def test_a_folder_with_shares_is_not_written_into(tmp_path):
    write_shards(tmp_path, {"x": torch.ones(3)})
    with pytest.raises(CheckpointError, match=r"already holds shard-00001.*: shares of two saves"):
        write_shards(tmp_path, {"x": torch.zeros(3)})
    into = {"x": torch.zeros(3)}
    read_shards(tmp_path, into)
    assert into["x"].tolist() == [1, 1, 1]


def test_what_cannot_be_written_is_told(tmp_path):
    place = tmp_path / "file"
    place.touch()
    with pytest.raises(CheckpointError, match=r"cannot write .*file: process 0: \[Errno 17\]"):
        write_shards(place, {"x": torch.ones(3)})


def test_tied_tensors_are_given_once(tmp_path):
    table = torch.ones(3)
    with pytest.raises(CheckpointError, match=r"cannot write .*: process 0: RuntimeError: .*share"):
        write_shards(tmp_path, {"x": table, "y": table})

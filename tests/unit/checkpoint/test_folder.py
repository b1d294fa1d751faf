"""Reading folders: what is damaged is one clear error, and nothing else."""

import time
from pathlib import Path

import pytest
import torch

from unit.checkpoint.fuzz import fuzz, same
from unit.checkpoint.hostile import EMPTY, ROWS, TENSORS, put, read_all, sound
from unit.checkpoint.shards import SHARD_ROWS
from zoo.checkpoint import CheckpointError, LazyTensor, read_folder
from zoo.checkpoint.files import read_json


@pytest.mark.parametrize("row", ROWS)
def test_a_damaged_folder_is_one_clear_error(tmp_path, row):
    damage, sentence = ROWS[row]
    damage(sound(tmp_path / "model"))
    start = time.process_time()
    with pytest.raises(CheckpointError, match=sentence):
        read_all(tmp_path / "model")
    assert time.process_time() - start < 1


@pytest.mark.parametrize("row", SHARD_ROWS)
def test_a_damaged_set_of_shards_is_one_clear_error(tmp_path, row):
    damage, sentence = SHARD_ROWS[row]
    damage(sound(tmp_path / "model", max_shard_bytes=60))
    with pytest.raises(CheckpointError, match=sentence):
        read_all(tmp_path / "model")


def test_links_within_the_folder_and_within_a_hub_cache_are_followed(tmp_path):
    sound(tmp_path / "one")
    (tmp_path / "one" / "model.safetensors").rename(tmp_path / "one" / "weights")
    (tmp_path / "one" / "model.safetensors").symlink_to("weights")
    assert same(read_all(tmp_path / "one")[1], TENSORS)

    cache = tmp_path / "models--org--name"
    snapshot = cache / "snapshots" / "0123"
    sound(snapshot)
    (cache / "blobs").mkdir()
    for name in ("config.json", "model.safetensors"):
        (snapshot / name).rename(cache / "blobs" / name)
        (snapshot / name).symlink_to(f"../../blobs/{name}")
    assert same(read_all(snapshot)[1], TENSORS)


@pytest.mark.parametrize(
    "target",
    ["../../../models--org--other/blobs/x", "../../../../secret", "/etc/hostname"],
)
def test_a_link_out_of_a_models_own_cache_is_refused(tmp_path, target):
    snapshot = tmp_path / "hub" / "models--org--name" / "snapshots" / "0123"
    sound(snapshot)
    other = tmp_path / "hub" / "models--org--other" / "blobs"
    other.mkdir(parents=True)
    for place in (other / "x", tmp_path / "secret"):
        place.write_text("{}")
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").symlink_to(target)
    with pytest.raises(CheckpointError, match=r"config\.json is a link that leads out"):
        read_folder(snapshot)


def test_a_file_that_changes_after_it_was_opened_is_seen(tmp_path):
    tensors = read_folder(sound(tmp_path)).tensors
    file = tmp_path / "model.safetensors"
    data = file.read_bytes()
    file.write_bytes(data[:-1])
    with pytest.raises(CheckpointError, match=r"model\.safetensors: 'c' is cut off"):
        tensors["c"].read()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(CheckpointError, match=r"model\.safetensors: 'c' is damaged"):
        tensors["c"].read()
    file.unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors: No such file"):
        tensors["c"].read()


def test_a_tensor_larger_than_memory_is_refused(tmp_path):
    sound(tmp_path)
    tensor = LazyTensor(tmp_path, "model.safetensors", "a", torch.uint8, (2**62,), 0, None)
    with pytest.raises(CheckpointError, match="'a' does not fit into memory"):
        tensor.read()


def test_a_read_error_is_a_checkpoint_error():
    """/proc/self/mem is a plain file whose first bytes cannot be read."""
    with pytest.raises(CheckpointError, match="mem: Input/output error"):
        read_json(Path("/proc/self"), "mem")


def test_metadata_of_others_is_given_and_ours_is_not(tmp_path):
    sound(tmp_path / "ours", metadata={"by": "us"})
    assert read_folder(tmp_path / "ours").metadata == {"format": "pt", "by": "us"}
    put(sound(tmp_path / "theirs"), {"__metadata__": {"a": "b"}, "x": EMPTY}, b"")
    assert read_folder(tmp_path / "theirs").metadata == {"a": "b"}
    assert read_folder(tmp_path / "theirs").tensors["x"].shape == (0,)


def test_damage_by_chance_is_refused_or_harmless(tmp_path):
    refused, slowest = fuzz(tmp_path / "base", tmp_path, 100, seed=1)
    assert refused > 60 and slowest < 1

"""Folders: what is written comes back; what is damaged is one clear error, and nothing else."""

import json
import random
import shutil
import time

import pytest
import torch
from safetensors.torch import load_file

from unit.checkpoint.hostile import CONFIG, ROWS, SHARD_ROWS, TENSORS, mutate, read_all, sound
from zoo.checkpoint import CheckpointError, read_folder, write_folder


def same(one, other):
    return one.keys() == other.keys() and all(
        torch.equal(one[n], other[n]) and one[n].dtype == other[n].dtype for n in one
    )


@pytest.mark.parametrize("limit", [10**9, 60, 1], ids=["whole", "shards", "a-shard-each"])
def test_what_is_written_comes_back(tmp_path, limit):
    sound(tmp_path, max_shard_bytes=limit)
    config, tensors = read_all(tmp_path)
    assert config == CONFIG and same(tensors, TENSORS)


def test_other_tools_read_what_is_written(tmp_path):
    sound(tmp_path)
    assert same(load_file(tmp_path / "model.safetensors"), TENSORS)
    assert json.loads((tmp_path / "config.json").read_text()) == CONFIG


@pytest.mark.parametrize("first", [10**9, 60], ids=["whole", "shards"])
@pytest.mark.parametrize("second", [10**9, 60], ids=["whole", "shards"])
def test_a_new_checkpoint_replaces_the_old_and_leaves_other_files(tmp_path, first, second):
    sound(tmp_path, max_shard_bytes=first)
    (tmp_path / "tokenizer.json").write_text("mine")
    new = {name: tensor + 1 for name, tensor in TENSORS.items()}
    write_folder(tmp_path, {"model_type": "new"}, new, max_shard_bytes=second)
    config, tensors = read_all(tmp_path)
    assert config == {"model_type": "new"} and same(tensors, new)
    assert (tmp_path / "tokenizer.json").read_text() == "mine"
    used = {read_folder(tmp_path).tensors[n].file for n in new} | {
        "config.json",
        "tokenizer.json",
    }
    if second == 60:
        used.add("model.safetensors.index.json")
    assert {p.name for p in tmp_path.iterdir()} == used


@pytest.mark.parametrize("stop", range(4))
def test_a_write_cut_at_any_file_leaves_the_old_or_the_new(tmp_path, stop):
    """Carry out the first `stop` renames of a write, as a crash there would."""
    sound(tmp_path)
    other = tmp_path / "other"
    new = {name: tensor + 1 for name, tensor in TENSORS.items()}
    write_folder(other, {"model_type": "new"}, new)
    for name in ("model.safetensors", "config.json"):
        shutil.copy(other / name, tmp_path / f"{name}.partial")
    shutil.rmtree(other)
    for name in ("model.safetensors", "config.json")[:stop]:
        (tmp_path / f"{name}.partial").replace(tmp_path / name)
    config, tensors = read_all(tmp_path)
    assert (config == CONFIG and same(tensors, TENSORS)) or (
        config == {"model_type": "new"} and same(tensors, new)
    )


def test_a_folder_that_cannot_be_written_says_so_and_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot write to"):
        sound(tmp_path / "file" / "folder")
    (tmp_path / "model.safetensors.partial").mkdir()
    with pytest.raises(CheckpointError, match="cannot write to"):
        sound(tmp_path)
    assert not (tmp_path / "config.json").exists()


@pytest.mark.parametrize("row", ROWS)
def test_a_damaged_folder_is_one_clear_error(tmp_path, row):
    damage, sentence = ROWS[row]
    damage(sound(tmp_path / "model"))
    with pytest.raises(CheckpointError, match=sentence):
        read_all(tmp_path / "model")


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


def fuzz(base, work, cases, seed):
    """Damage a sound folder `cases` times: the same tensors come back, or a CheckpointError."""
    draw = random.Random(seed)
    for limit in (10**9, 60):
        sound(base / str(limit), max_shard_bytes=limit)
    refused, slowest = 0, 0.0
    for case in range(cases):
        folder = work / "case"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(base / draw.choice(["1000000000", "60"]), folder)
        what = mutate(folder, draw)
        start = time.process_time()
        try:
            _, tensors = read_all(folder)
        except CheckpointError:
            refused += 1
        except BaseException as error:
            raise AssertionError(f"case {case} (seed {seed}): {what}: {error!r}") from error
        else:
            assert checksums_gone(folder) or same(tensors, TENSORS), f"case {case}: {what}"
        slowest = max(slowest, time.process_time() - start)
    return refused, slowest


def checksums_gone(folder):
    """Tell whether the damage took the checksums along, so that data cannot be judged."""
    return not all(
        "zoo.crc32" in f.read_bytes().decode("latin-1") for f in folder.glob("model*.safetensors")
    )


def test_damage_by_chance_is_refused_or_harmless(tmp_path):
    refused, slowest = fuzz(tmp_path / "base", tmp_path, 100, seed=1)
    assert refused > 60 and slowest < 1


@pytest.mark.scheduled
@pytest.mark.parametrize("seed", range(2, 12))
def test_damage_by_chance_is_refused_or_harmless_10_000_times(tmp_path, seed):
    refused, slowest = fuzz(tmp_path / "base", tmp_path, 1000, seed=seed)
    assert refused > 600 and slowest < 1

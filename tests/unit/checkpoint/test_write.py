"""Writing folders: what is written comes back, and what cannot be written harms nothing."""

import hashlib
import json
import resource
import shutil
from contextlib import contextmanager

import pytest
import torch
from safetensors.torch import load_file

from unit.checkpoint.fuzz import same
from unit.checkpoint.hostile import CONFIG, TENSORS, parts, read_all, sound
from zoo.checkpoint import CheckpointError, read_folder, write_folder
from zoo.checkpoint.safetensors import DTYPES


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


@contextmanager
def largest_file(size):
    """Let no file grow past `size` bytes, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("limit", [10**9, 60], ids=["whole", "shards"])
@pytest.mark.parametrize("place", ["old", "new"])
def test_a_full_disk_is_said_and_leaves_what_was_there(tmp_path, limit, place):
    sound(tmp_path / "old")
    before = sorted(p.name for p in (tmp_path / "old").iterdir())
    with largest_file(300), pytest.raises(CheckpointError, match=r"cannot write to .*: File too l"):
        write_folder(tmp_path / place, {"n": 1}, TENSORS, max_shard_bytes=limit)
    config, tensors = read_all(tmp_path / "old")
    assert config == CONFIG and same(tensors, TENSORS)
    assert sorted(p.name for p in (tmp_path / "old").iterdir()) == before
    assert [p.name for p in tmp_path.iterdir()] == ["old"]


@pytest.mark.parametrize("name", ["model.safetensors.partial", "config.json.partial"])
def test_a_link_in_the_way_is_not_written_through(tmp_path, name):
    (tmp_path / "outside").write_text("mine")
    folder = sound(tmp_path / "model")
    (folder / name).symlink_to(tmp_path / "outside")
    sound(folder)
    assert (tmp_path / "outside").read_text() == "mine"
    assert not (folder / name).exists()


def test_writing_over_a_snapshot_leaves_the_blobs_of_the_cache(tmp_path):
    folder = sound(tmp_path / "model")
    shutil.move(folder / "model.safetensors", tmp_path / "blob")
    (folder / "model.safetensors").symlink_to(tmp_path / "blob")
    before = (tmp_path / "blob").read_bytes()
    write_folder(folder, CONFIG, {"x": torch.ones(3)})
    assert (tmp_path / "blob").read_bytes() == before
    assert same(read_all(folder)[1], {"x": torch.ones(3)})


def test_the_same_checkpoint_gives_the_same_bytes(tmp_path):
    names = ("model.safetensors", "config.json")
    one, other = sound(tmp_path / "one"), sound(tmp_path / "other")
    assert [(one / n).read_bytes() for n in names] == [(other / n).read_bytes() for n in names]


@pytest.mark.parametrize("code", DTYPES)
def test_every_dtype_keeps_its_bits(tmp_path, code):
    """The bits are chosen by chance: NaNs of every kind are among them."""
    size = DTYPES[code].itemsize
    bits = torch.randint(0, 2 if code == "BOOL" else 256, (6 * 35 * size,), dtype=torch.uint8)
    tensor = bits.view(DTYPES[code]).view(5, 6, 7)
    held = {"t": tensor.transpose(0, 2), "part": tensor[1:3, 2], "one": tensor[0, 0, 0]}
    write_folder(tmp_path, {}, held)
    expected = {name: t.contiguous() for name, t in held.items()}
    assert same(read_all(tmp_path)[1], expected)
    assert same(load_file(tmp_path / "model.safetensors"), expected)


@pytest.mark.parametrize("size", [2**20 - 1, 2**20, 2**20 + 1, 3 * 2**20 + 5])
def test_tensors_of_several_pieces_come_back_and_their_damage_is_seen(tmp_path, size):
    tensors = {"a": torch.randint(0, 256, (size,), dtype=torch.uint8), "b": torch.arange(3)}
    write_folder(tmp_path, {}, tensors)
    assert same(read_all(tmp_path)[1], tensors)
    assert same(load_file(tmp_path / "model.safetensors"), tensors)
    for at in (-1, -size // 2, -size):
        data = bytearray((tmp_path / "model.safetensors").read_bytes())
        data[at] ^= 1
        (tmp_path / "damaged").write_bytes(data)
        (tmp_path / "damaged").rename(tmp_path / "model.safetensors")
        with pytest.raises(CheckpointError, match="'a' is damaged"):
            read_all(tmp_path)
        write_folder(tmp_path, {}, tensors)


def test_what_was_read_can_be_written_again(tmp_path):
    sound(tmp_path / "one", metadata={"by": "us"})
    read = read_folder(tmp_path / "one")
    tensors = {name: t.read() for name, t in read.tensors.items()}
    write_folder(tmp_path / "two", {"n": 1}, tensors, metadata=read.metadata)
    assert read_folder(tmp_path / "two").metadata == {"format": "pt", "by": "us"}


def test_metadata_does_not_replace_what_the_reader_relies_on(tmp_path):
    sound(tmp_path, metadata={"zoo.config.sha256": "0", "zoo.crc32": "{}", "format": "np"})
    held = parts(tmp_path)[0]["__metadata__"]
    text = (tmp_path / "config.json").read_bytes()
    assert held["zoo.config.sha256"] == hashlib.sha256(text).hexdigest()
    assert held["format"] == "pt"
    assert same(read_all(tmp_path)[1], TENSORS)


ONE = torch.ones(2, 3)
REFUSED = {
    "tied": ({"a": ONE, "b": ONE}, "a and b are one tensor; give tied tensors once"),
    "tied-view": ({"a": ONE, "b": ONE.view(2, 3)}, "a and b are one tensor"),
    "sparse": ({"a": ONE.to_sparse()}, "a is torch.float32, torch.sparse_coo"),
    "complex": ({"a": ONE.to(torch.complex64)}, "a is torch.complex64"),
    "float8": ({"a": ONE.to(torch.float8_e5m2)}, "a is torch.float8_e5m2"),
    "meta": ({"a": ONE.to("meta")}, "a is torch.float32, torch.strided, on meta"),
    "reserved": ({"__metadata__": ONE}, "a tensor cannot be called '__metadata__'"),
    "half": ({"\ud800": ONE}, r"a tensor cannot be called '\\ud800'"),
}


@pytest.mark.parametrize("row", REFUSED)
def test_tensors_that_a_file_cannot_hold_are_refused(tmp_path, row):
    tensors, sentence = REFUSED[row]
    with pytest.raises(CheckpointError, match=sentence):
        write_folder(tmp_path / "model", CONFIG, tensors)
    assert not (tmp_path / "model").exists()


def test_parts_of_one_tensor_and_empty_ones_are_written(tmp_path):
    empty = torch.zeros(0)
    held = {"a": ONE[0], "b": ONE[1], "all": ONE, "e": empty, "f": empty}
    write_folder(tmp_path, {}, held)
    assert same(read_all(tmp_path)[1], held)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (float("nan"), "the config is not plain JSON: Out of range float"),
        ({1, 2}, "the config is not plain JSON: Object of type set"),
    ],
    ids=["nan", "set"],
)
def test_a_config_that_is_no_json_is_refused(tmp_path, value, sentence):
    with pytest.raises(CheckpointError, match=sentence):
        write_folder(tmp_path / "model", {"a": value}, TENSORS)
    assert not (tmp_path / "model").exists()

"""Damage by chance: mutants of a small sound folder, and what must be true of each."""

import json
import random
import shutil
import struct
import time

import torch
from safetensors.torch import load_file

from unit.checkpoint.hostile import CONFIG, TENSORS, parts, put, read_all, sound, without_checksums
from zoo.checkpoint import CheckpointError, read_folder

VALUES = [
    *(None, True, -1, 0, 1.5, 1e300, 2**31, 2**63, 10**30, "", "F32", "BOOL", "x" * 300, "\ud800"),
    *([], {}, [[]], [0, 8], [2**62, 4], [0, 2**62, 4], [-1, -5], {"a": {"a": {}}}),
]
PIECES = [
    *(b"{}", b'"', b"NaN", b"1e999", b"-1", b"\\u0000", b"\\ud83d", b"\xff", b"9" * 5000),
    *(b"[" * 5000, b'{"a":' * 2000, b'{"a":1,"a":2}', b'"dtype":"F32",'),
]


def fuzz(base, work, cases, seed):
    """Damage a sound folder `cases` times; give how many were refused, and the slowest's seconds.

    A mutant is refused by CheckpointError, or it loads: then with the tensors that were written if
    its checksums are still there, and always with those that the published library finds.
    """
    draw = random.Random(seed)
    for limit in (10**9, 60):
        sound(base / str(limit), max_shard_bytes=limit)
    refused, slowest = 0, 0.0
    for case in range(cases):
        folder = work / "case"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(base / draw.choice(["1000000000", "60"]), folder)
        what = f"case {case} of seed {seed}: {mutate(folder, draw)}"
        start = time.process_time()
        try:
            config, tensors = read_all(folder)
        except CheckpointError:
            refused += 1
        except BaseException as error:
            raise AssertionError(f"{what}: {error!r}") from error
        else:
            assert same(tensors, by_the_library(folder)), what
            assert not is_summed(folder) or same(tensors, TENSORS), what
            assert "config.json" in what or config == CONFIG, what
        slowest = max(slowest, time.process_time() - start)
    return refused, slowest


def same(one, other):
    """Tell whether two tables hold the same tensors, bit by bit."""
    return one.keys() == other.keys() and all(
        one[n].dtype == other[n].dtype
        and one[n].shape == other[n].shape
        and torch.equal(one[n].view(-1).view(torch.uint8), other[n].view(-1).view(torch.uint8))
        for n in one
    )


def by_the_library(folder):
    """Read the files that our reader took its tensors from, with the published library."""
    result = {}
    for file in {tensor.file for tensor in read_folder(folder).tensors.values()}:
        result |= load_file(folder / file)
    return result


def is_summed(folder):
    """Tell whether all checksums are still there, without which data cannot be judged."""
    files = {tensor.file for tensor in read_folder(folder).tensors.values()}
    if not all("zoo.crc32" in parts(folder, f)[0].get("__metadata__", {}) for f in files):
        return False
    if "model.safetensors" in files:
        return True
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    return "zoo.crc32" in index.get("metadata", {})


def mutate(folder, draw):
    """Damage one file of a sound folder in a random way; give what was done."""
    name = draw.choice(sorted(p.name for p in folder.iterdir()))
    kind = draw.choice(sorted(KINDS))
    return f"{kind} in {name}: {KINDS[kind](folder, name, draw)}"


def on_bytes(edit):
    """Make a mutation of a file's bytes by `edit(data, draw)`."""

    def apply(folder, name, draw):
        data = bytearray((folder / name).read_bytes())
        edit(data, draw)
        (folder / name).write_bytes(data)

    return apply


def flip(data, draw):
    for _ in range(draw.randint(1, 8)):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)


def cut(data, draw):
    del data[draw.randrange(len(data)) :]


def grow(data, draw):
    data += draw.randbytes(draw.randint(1, 64))


def length(data, draw):
    (now,) = struct.unpack("<Q", data[:8])
    choices = [0, 1, now - 1, now + 1, 2**32, 2**63, 2**64 - 1, draw.randrange(4000)]
    data[:8] = struct.pack("<Q", draw.choice(choices) % 2**64)


def exchange(data, draw):
    a, b = draw.randrange(len(data)), draw.randrange(len(data))
    data[a], data[b] = data[b], data[a]


def zero(data, draw):
    a = draw.randrange(len(data))
    data[a : a + 16] = bytes(len(data[a : a + 16]))


def splice(data, draw):
    a, b = sorted(draw.randrange(len(data)) for _ in range(2))
    data[a : draw.choice([a, a + 1, b])] = draw.choice(PIECES)


def splice_json(folder, name, draw):
    """Put a piece into the JSON of a file; the header's length is made to fit."""
    if not name.endswith(".safetensors"):
        return on_bytes(splice)(folder, name, draw)
    tree, data = parts(folder, name)
    text = bytearray(json.dumps(tree).encode())
    splice(text, draw)
    return put(folder, bytes(text), data, name)


def surgery(folder, name, draw):
    """Replace, drop or add one value anywhere in the JSON of a file."""
    tree, data = read_tree(folder, name, draw)
    holder, key = draw.choice(list(walk(tree)))
    act = draw.choice(["put", "put", "drop", "add"])
    if act == "put":
        holder[key] = draw.choice(VALUES)
    elif act == "drop":
        del holder[key]
    elif isinstance(holder, dict):
        holder[draw.choice(["a.weight", "__metadata__", "new", "dtype"])] = draw.choice(VALUES)
    write_tree(folder, name, tree, data)
    return f"{act} {key}"


def graft(folder, name, draw):
    """Give one place in the JSON of a file the value of another: overlaps, wrong shards."""
    tree, data = read_tree(folder, name, draw)
    (holder, key), (other, of) = (draw.choice(list(walk(tree))) for _ in range(2))
    holder[key] = json.loads(json.dumps(other[of]))
    write_tree(folder, name, tree, data)
    return f"{of} to {key}"


def offsets(folder, name, draw):
    """Move one number of a header a little."""
    if not name.endswith(".safetensors"):
        return surgery(folder, name, draw)
    tree, data = read_tree(folder, name, draw)
    entry = draw.choice([about for key, about in tree.items() if key != "__metadata__"])
    numbers = draw.choice([entry["data_offsets"], entry["shape"] or entry["data_offsets"]])
    numbers[draw.randrange(len(numbers))] += draw.choice([-8, -4, -1, 1, 4, 8, 2**40])
    return write_tree(folder, name, tree, data)


def rename(folder, name, draw):
    """Let two files change places, or put one in the other's."""
    other = draw.choice(sorted(p.name for p in folder.iterdir()))
    first, second = (folder / name).read_bytes(), (folder / other).read_bytes()
    (folder / other).write_bytes(first)
    if draw.random() < 0.7:
        (folder / name).write_bytes(second)
    return f"to {other}"


def lose(folder, name, draw):
    (folder / name).unlink()


def read_tree(folder, name, draw):
    if not name.endswith(".safetensors"):
        return json.loads((folder / name).read_text()), None
    tree, data = parts(folder, name)
    return (without_checksums(tree) if draw.random() < 0.7 else tree), data


def write_tree(folder, name, tree, data):
    if data is None:
        (folder / name).write_text(json.dumps(tree))
    else:
        put(folder, tree, data, name)


def walk(tree):
    """Yield every (holder, key) of a JSON tree."""
    items = list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree))
    for key, value in items:
        yield tree, key
        if isinstance(value, dict | list):
            yield from walk(value)


KINDS = {
    **{f.__name__: on_bytes(f) for f in (flip, cut, grow, length, exchange, zero, splice)},
    **{f.__name__: f for f in (splice_json, surgery, graft, offsets, rename, lose)},
}

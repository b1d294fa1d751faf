"""Files of tensors: any set comes back bit by bit and as the library reads it; headers that lie."""

import itertools
import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.torch import load as load_by_the_library

from unit.property_rows import drawn, examples, seeds
from zoo.checkpoint.errors import CheckpointError
from zoo.checkpoint.safetensors import (
    CODES,
    DTYPES,
    bytes_of,
    check_tiling,
    lay_out,
    read_header,
    write_file,
)

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6).filter(
    lambda name: name != "__metadata__"
)
dtypes = st.sampled_from(sorted(DTYPES))
shapes = st.lists(st.integers(0, 3), max_size=3)
tables = st.dictionaries(names, st.tuples(dtypes, shapes), max_size=4)


def tensors_of(table, seed):
    """Tensors of random bytes: infinities and other oddities among them; booleans are 0 and 1."""
    result = {}
    for i, (name, (code, shape)) in enumerate(table.items()):
        dtype = DTYPES[code]
        count = math.prod(shape) * dtype.itemsize
        raw = torch.randint(256, (count,), generator=torch.Generator().manual_seed(seed + i))
        raw = raw % 2 if dtype == torch.bool else raw
        result[name] = raw.to(torch.uint8).view(dtype).reshape(shape)
    return result


def same(one, other):
    return (
        one.dtype == other.dtype
        and one.shape == other.shape
        and bytes_of(one.contiguous()).tobytes() == bytes_of(other.contiguous()).tobytes()
    )


def folder_of(tmp_path_factory):
    folder = tmp_path_factory.mktemp("file")
    return folder, folder / "a.safetensors"


@examples(5)
@given(
    table=tables,
    metadata=st.dictionaries(names, st.text(st.characters(codec="utf-8"), max_size=5), max_size=2),
    seed=seeds,
)
def test_tensors_come_back_bit_by_bit_here_and_in_the_library(
    table, metadata, seed, tmp_path_factory
):
    folder, file = folder_of(tmp_path_factory)
    tensors = tensors_of(table, seed)
    metadata = {k: v for k, v in metadata.items() if k != "zoo.crc32"}
    write_file(file, tensors, metadata)
    found, said = read_header(folder, file.name)
    assert said == metadata and found.keys() == tensors.keys()
    assert all(same(found[name].read(), tensor) for name, tensor in tensors.items())
    theirs = load_by_the_library(file.read_bytes())
    assert theirs.keys() == tensors.keys()
    assert all(same(theirs[name], tensor) for name, tensor in tensors.items())


@examples(16)
@given(table=tables, seed=seeds)
def test_a_layout_tiles_its_data_with_every_tensor_aligned(table, seed):
    tensors = tensors_of(table, seed)
    head, *rest = lay_out(tensors, {})
    length = int.from_bytes(head[:8], "little")
    assert length == len(head) - 8 and len(head) % 8 == 0
    header = json.loads(bytes(head[8:]))
    assert header.pop("__metadata__") == {}
    reached = 0
    for name, entry in header.items():
        start, stop = entry["data_offsets"]
        assert start == reached and start % DTYPES[entry["dtype"]].itemsize == 0
        assert entry["dtype"] == CODES[tensors[name].dtype]
        assert entry["shape"] == list(tensors[name].shape) and stop - start == tensors[name].nbytes
        reached = stop
    assert sum(map(len, rest)) == reached


fields = st.sampled_from(["dtype", "shape", "data_offsets"])
lies = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 2**64), st.floats(allow_nan=False),
    st.text(max_size=3), st.sampled_from(sorted(DTYPES)),
    st.lists(st.integers(-3, 2**63), max_size=3),
    st.lists(st.booleans(), max_size=2), st.lists(st.integers(0, 4), max_size=40),
)  # fmt: skip


@examples(13)
@given(field=fields, lie=lies, extra=st.booleans(), seed=seeds)
def test_a_header_that_lies_is_refused_or_the_library_reads_the_same(
    field, lie, extra, seed, tmp_path_factory
):
    folder, file = folder_of(tmp_path_factory)
    tensors = {"a": drawn(seed, 2, 3), "b": drawn(seed, 4, dtype=torch.float32)}
    head, *data = lay_out(tensors, {})
    header = json.loads(bytes(head[8:]))
    header["a"][field] = lie
    if extra:
        header["a"]["more"] = 1
    text = json.dumps(header).encode()
    content = len(text).to_bytes(8, "little") + text + b"".join(data)
    file.write_bytes(content)
    try:
        found = {n: t.read() for n, t in read_header(folder, file.name)[0].items()}
    except CheckpointError:
        return
    theirs = load_by_the_library(content)
    assert all(same(found[name], theirs[name]) for name in theirs) and found.keys() == theirs.keys()


@examples(16)
@given(place=st.integers(0, 10**6), act=st.sampled_from(["flip", "cut", "add"]), seed=seeds)
def test_damage_of_any_byte_of_our_file_is_refused_or_changes_no_tensor(
    place, act, seed, tmp_path_factory
):
    """Every tensor has a checksum; what is left is blanks, and texts that are the file's own."""
    folder, file = folder_of(tmp_path_factory)
    tensors = {"a": drawn(seed, 2, 3), "bb": drawn(seed, 4, dtype=torch.float32)}
    write_file(file, tensors, {"note": "x"})
    data = bytearray(file.read_bytes())
    place %= len(data)
    if act == "flip":
        data[place] ^= 1 << (seed % 8)
    elif act == "cut":
        del data[place:]
    else:
        data[place:place] = bytes([seed % 256])
    file.write_bytes(data)
    try:
        found = {n: t.read() for n, t in read_header(folder, file.name)[0].items()}
    except CheckpointError:
        return
    if found.keys() == tensors.keys():
        assert all(same(found[name], tensors[name]) for name in tensors)
    else:  # the sums' own name was hit: the file looks like another tool's
        with pytest.raises((SafetensorError, AssertionError)):
            assert load_by_the_library(bytes(data)).keys() == tensors.keys()


@examples(40)
@given(
    cuts=st.lists(st.integers(0, 9), max_size=5),
    move=st.none() | st.integers(0, 4),
    by=st.integers(-2, 2),
    size=st.integers(0, 10),
)
def test_spans_tile_or_the_first_that_does_not_is_named(cuts, move, by, size):
    edges = sorted([0, *cuts])
    made = [(a, b, f"t{i}") for i, (a, b) in enumerate(itertools.pairwise(edges))]
    if move is not None and move < len(made):
        a, b, name = made[move]
        made[move] = (max(0, a + by), b, name)
    made.sort()
    holes = [n for (a, _, n), b in zip(made, [0, *(s for _, s, _ in made)], strict=False) if a != b]
    reached = made[-1][1] if made else 0
    if holes:
        with pytest.raises(CheckpointError, match=f"^x: '{holes[0]}' (overlaps|follows a hole)"):
            check_tiling("x", made, size)
    elif reached != size:
        with pytest.raises(CheckpointError, match=f"tensors take {reached} bytes, the file holds"):
            check_tiling("x", made, size)
    else:
        check_tiling("x", made, size)

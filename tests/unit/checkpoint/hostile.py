"""Damaged and hostile checkpoint folders: named ones by hand, any number by a seeded generator."""

import json
import random
import shutil
import struct

import torch

from zoo.checkpoint import read_folder, write_folder

TENSORS = {
    "a.weight": torch.arange(12, dtype=torch.float32).view(3, 4),
    "b": torch.arange(5, dtype=torch.int64),
    "c": torch.tensor(1.5, dtype=torch.bfloat16),
    "empty": torch.zeros(0, 7),
}
CONFIG = {"model_type": "gpt2", "n_embd": 8, "nested": {"x": [1, 2, {"y": None}]}}


def sound(folder, **options):
    """Write a small sound checkpoint."""
    write_folder(folder, CONFIG, TENSORS, **options)
    return folder


def parts(folder, name="model.safetensors"):
    """Give a file's header as a dict, and its data."""
    raw = (folder / name).read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    return json.loads(raw[8 : 8 + length]), raw[8 + length :]


def put(folder, header, data, name="model.safetensors", length=None):
    """Write a file of this header (a dict, or raw bytes) and data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    (folder / name).write_bytes(
        struct.pack("<Q", len(text) if length is None else length) + text + data
    )


def without_checksums(header):
    """Drop our own metadata, so that a change is not seen by its checksum alone."""
    header["__metadata__"] = {"format": "pt"}
    return header


def edited(edit):
    """Make a row that changes the header by `edit(header)`, checksums dropped."""

    def apply(folder):
        header, data = parts(folder)
        changed = edit(without_checksums(header))
        put(folder, header if changed is None else changed, data)

    return apply


def entry(name, **changes):
    return edited(lambda h: h[name].update(changes))


def raw(header, data=b"", length=None):
    return lambda folder: put(folder, header, data, length=length)


def shift(h):
    """Move every tensor four bytes on, so that the data begins with a hole."""
    for name, about in h.items():
        if name != "__metadata__":
            about["data_offsets"] = [n + 4 for n in about["data_offsets"]]


def overlap(h):
    h["d"] = dict(h["b"])


def link_out(folder):
    outside = folder.parent / "outside.safetensors"
    shutil.move(folder / "model.safetensors", outside)
    (folder / "model.safetensors").symlink_to(outside)


def link_round(folder):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(folder / "model.safetensors")


def pipe(name):
    def apply(folder):
        import os

        (folder / name).unlink()
        os.mkfifo(folder / name)

    return apply


def directory(folder):
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()


def config(text):
    data = text if isinstance(text, bytes) else text.encode()
    return lambda folder: (folder / "config.json").write_bytes(data)


def gone(name):
    return lambda folder: (folder / name).unlink()


def cut(name, keep):
    def apply(folder):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[:keep])

    return apply


def flip_data(folder):
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-9] ^= 4
    (folder / "model.safetensors").write_bytes(bytes(data))


def pickle_only(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


# name -> (what is done to a sound folder, the sentence the error must say)
ROWS = {
    "no-folder": (shutil.rmtree, "is not a folder"),
    "no-weights": (gone("model.safetensors"), "holds no model.safetensors and no"),
    "no-config": (gone("config.json"), "holds no config.json"),
    "pickle-only": (pickle_only, "pytorch_model.bin is a pickle"),
    "config-not-json": (config("{"), "is not valid JSON"),
    "config-empty": (config(""), "is not valid JSON"),
    "config-list": (config("[]"), "holds a list, not a JSON object"),
    "config-nan": (config('{"a": NaN}'), "NaN is not a JSON number"),
    "config-infinity": (config('{"a": -Infinity}'), "-Infinity is not a JSON number"),
    "config-twice": (config('{"a": 1, "a": 2}'), r"\['a'\] stands there twice"),
    "config-twice-deep": (config('{"x": [{"a": 1, "a": 1}]}'), "stands there twice"),
    "config-utf16": (config("{}".encode("utf-16")), "is not UTF-8"),
    "config-nested": (config('{"a":' * 100_000), "nested too deeply"),
    "config-digits": (config('{"a": ' + "9" * 5000 + "}"), "is not valid JSON"),
    "config-directory": (directory, "is not a plain file"),
    "config-pipe": (pipe("config.json"), "is not a plain file"),
    "weights-pipe": (pipe("model.safetensors"), "is not a plain file"),
    "link-out": (link_out, "is a link that leads out of its folder"),
    "link-round": (link_round, "is a link|symbolic links|No such file"),
    "file-empty": (cut("model.safetensors", 0), "cut short or no safetensors"),
    "file-7-bytes": (cut("model.safetensors", 7), "cut short or no safetensors"),
    "file-header-cut": (cut("model.safetensors", 60), "cut short or no safetensors"),
    "file-data-cut": (cut("model.safetensors", -1), "the file holds"),
    "length-huge": (raw(b"{}", length=2**63), "cut short or no safetensors"),
    "length-small": (raw(b"{}", length=1), "is not valid JSON"),
    "header-zeros": (raw(bytes(40)), "is not valid JSON"),
    "header-list": (raw(b"[]"), "holds a list"),
    "header-nested": (raw(b'{"a":' * 50_000), "nested too deeply"),
    "header-twice": (raw(b'{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":1}'), "twice"),
    "metadata-numbers": (edited(lambda h: h.update(__metadata__={"a": 1})), "not a table of texts"),
    "metadata-list": (edited(lambda h: h.update(__metadata__=[])), "not a table of texts"),
    "entry-number": (edited(lambda h: h.update(b=3)), "not described by dtype, shape"),
    "entry-key-missing": (edited(lambda h: h["b"].pop("shape") and None), "not described by"),
    "entry-key-more": (entry("b", extra=1), "not described by dtype"),
    "dtype-unknown": (entry("b", dtype="F8_E4M3"), "dtype 'F8_E4M3'; known are"),
    "dtype-list": (entry("b", dtype=["F32"]), "known are"),
    "dtype-size": (entry("b", dtype="I32"), r"has 40 bytes; its shape \(5,\) needs 20"),
    "shape-negative": (entry("b", shape=[-5]), r"has shape \[-5\]"),
    "shape-two-negative": (entry("b", shape=[-5, -1]), r"has shape \[-5, -1\]"),
    "shape-float": (entry("b", shape=[5.0]), "has shape"),
    "shape-true": (entry("b", shape=[True, 5]), "has shape"),
    "shape-text": (entry("b", shape="5"), "has shape"),
    "shape-2^63": (entry("b", shape=[2**63]), "has shape"),
    "shape-overflow": (entry("b", shape=[2**62, 4, 5]), "its strides overflow"),
    "shape-zero-overflow": (entry("empty", shape=[2**62, 0, 2**10]), "its strides overflow"),
    "bool-two": (
        lambda f: put(f, {"x": {"dtype": "BOOL", "shape": [2], "data_offsets": [0, 2]}}, b"\1\2"),
        "is BOOL and holds bytes other than 0 and 1",
    ),
    "half-a-character": (config('{"a": "\\ud800"}'), "holds half a character"),
    "config-1e999": (config('{"a": 1e999}'), "1e999 is out of range"),
    "config-101-deep": (config('{"a":' * 101 + "1" + "}" * 101), "nested too deeply"),
    "shape-deep": (entry("b", shape=[1] * 33), "has shape"),
    "offsets-negative": (entry("b", data_offsets=[-40, 0]), "has data_offsets"),
    "offsets-one": (entry("b", data_offsets=[0]), "has data_offsets"),
    "offsets-backwards": (entry("b", data_offsets=[40, 0]), "has -40 bytes"),
    "offsets-far": (entry("b", data_offsets=[10**9, 10**9 + 40]), "follows a hole"),
    "overlap": (edited(overlap), "overlaps the tensor before it"),
    "hole": (edited(shift), "follows a hole"),
    "bytes-appended": (edited(lambda h: h.pop("empty") and h.pop("b") and None), "hole|bytes"),
    "data-flipped": (flip_data, "is damaged: its checksum differs"),
}

SHARD_ROWS = {
    "shard-gone": (gone("model-00002-of-00002.safetensors"), "No such file"),
    "shard-cut": (cut("model-00001-of-00002.safetensors", -1), "the file holds"),
    "index-list": (lambda f: put_index(f, []), "not a table of tensor to file"),
    "index-missing-map": (lambda f: put_index(f, None), "not a table of tensor to file"),
    "index-numbers": (lambda f: put_index(f, {"a.weight": 1}), "not a table of tensor to file"),
    "index-up": (lambda f: redirect(f, "../model.safetensors"), "is not a plain file name"),
    "index-absolute": (lambda f: redirect(f, "/etc/passwd"), "is not a plain file name"),
    "index-hidden": (lambda f: redirect(f, ".hidden"), "is not a plain file name"),
    "index-zero-byte": (lambda f: redirect(f, "a\0b"), "is not a plain file name"),
    "index-elsewhere": (lambda f: swap_index(f), "the index says"),
    "index-ghost": (
        lambda f: edit_map(f, ghost="model-00001-of-00002.safetensors"),
        "no shard holds",
    ),
    "index-forgets-a-shard": (
        lambda f: put_index(f, {"a.weight": weight_map(f)["a.weight"]}, **{"zoo.crc32": 4}),
        "these are not the shards that it was written with",
    ),
    "index-forgets": (lambda f: edit_map(f, c=None), "the index says None"),
}


def put_index(folder, table, **about):
    index = {"metadata": about} if table is None else {"metadata": about, "weight_map": table}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def weight_map(folder):
    return json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"]


def edit_map(folder, **changes):
    table = weight_map(folder) | changes
    put_index(folder, {name: file for name, file in table.items() if file is not None})


def redirect(folder, file):
    put_index(folder, dict.fromkeys(weight_map(folder), file))


def swap_index(folder):
    files = sorted(set(weight_map(folder).values()))
    other = {files[0]: files[1], files[1]: files[0]}
    put_index(folder, {name: other[file] for name, file in weight_map(folder).items()})


def mutate(folder, draw: random.Random) -> str:
    """Damage one file of a sound folder in a random way; give what was done."""
    files = sorted(p.name for p in folder.iterdir())
    name = draw.choice(files)
    path = folder / name
    data = bytearray(path.read_bytes())
    kind = draw.choice(
        ["flip", "flip", "cut", "grow", "length", "surgery", "swap", "zero", "splice"]
    )
    if kind == "flip":
        for _ in range(draw.randint(1, 8)):
            data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    elif kind == "cut":
        del data[draw.randrange(len(data)) :]
    elif kind == "grow":
        data += draw.randbytes(draw.randint(1, 64))
    elif kind == "length" and name.endswith("safetensors"):
        data[:8] = struct.pack(
            "<Q", draw.choice([0, 1, 2**32, 2**63, 2**64 - 1, draw.randrange(4000)])
        )
    elif kind == "surgery":
        return surgery(folder, name, draw)
    elif kind == "swap":
        a, b = draw.randrange(len(data)), draw.randrange(len(data))
        data[a], data[b] = data[b], data[a]
    elif kind == "zero":
        a = draw.randrange(len(data))
        data[a : a + 16] = bytes(len(data[a : a + 16]))
    else:
        a, b = sorted(draw.randrange(len(data)) for _ in range(2))
        data[a:b] = draw.choice([b"{}", b"[[[[", b'"', b"NaN", b"1e999", b"-1", b"\\u0000"])
    path.write_bytes(bytes(data))
    return f"{kind} in {name}"


VALUES = [
    None,
    True,
    -1,
    0,
    1.5,
    2**31,
    2**63,
    10**30,
    "",
    "F32",
    "x" * 300,
    [],
    {},
    [[]],
    [0, 8],
    [2**62, 4],
]


def surgery(folder, name, draw):
    """Replace, drop or add one value anywhere in the JSON of a file."""
    if name.endswith("safetensors"):
        tree, data = parts(folder, name)
        if draw.random() < 0.7:
            tree = without_checksums(tree)
    else:
        tree, data = json.loads((folder / name).read_text()), None
    places = list(walk(tree))
    holder, key = draw.choice(places)
    act = draw.choice(["put", "put", "drop", "add"])
    if act == "put":
        holder[key] = draw.choice(VALUES)
    elif act == "drop":
        del holder[key]
    elif isinstance(holder, dict):
        holder[draw.choice(["a.weight", "__metadata__", "new", "dtype"])] = draw.choice(VALUES)
    if data is None:
        (folder / name).write_text(json.dumps(tree))
    else:
        put(folder, tree, data, name)
    return f"{act} {key} in {name}"


def walk(tree):
    """Yield every (holder, key) of a JSON tree."""
    items = list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree))
    for key, value in items:
        yield tree, key
        if isinstance(value, dict | list):
            yield from walk(value)


def read_all(folder):
    """Open a folder and read every tensor, as loading a model does."""
    opened = read_folder(folder)
    return opened.config, {name: tensor.read() for name, tensor in opened.tensors.items()}

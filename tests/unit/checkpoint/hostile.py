"""Damaged and hostile checkpoint folders, each by its name; `shards.py` has those of shards."""

import json
import os
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
    del header["__metadata__"]["zoo.crc32"]
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


def link_round(folder):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(folder / "model.safetensors")


def pipe(name):
    def apply(folder):
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return apply


def directory(name):
    def apply(folder):
        (folder / name).unlink()
        (folder / name).mkdir()

    return apply


def large(name, size):
    def apply(folder):
        with open(folder / name, "r+b") as file:
            file.truncate(size)

    return apply


def append(name, data):
    def apply(folder):
        with open(folder / name, "ab") as file:
            file.write(data)

    return apply


def linked_out(name):
    """Move a file out of the folder and leave a link to it."""

    def apply(folder):
        outside = folder.parent / "outside"
        (folder / name).rename(outside)
        (folder / name).symlink_to(outside)

    return apply


def to_device(folder):
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to("/dev/zero")


def partial_out(folder):
    """Let the config that a cut-off write may leave be a link to outside."""
    (folder.parent / "outside").write_text("{}")
    (folder / "config.json.partial").symlink_to(folder.parent / "outside")


def partial_pipe(folder):
    os.mkfifo(folder / "config.json.partial")


def sums(change):
    """Make a row that changes the table of checksums, or the text that holds it."""

    def apply(folder):
        header, data = parts(folder)
        held = header["__metadata__"]
        changed = change(json.loads(held["zoo.crc32"]))
        held["zoo.crc32"] = changed if isinstance(changed, str) else json.dumps(changed)
        put(folder, header, data)

    return apply


EMPTY = {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}


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
    "config-bom": (config(b"\xef\xbb\xbf{}"), "is not valid JSON"),
    "config-comment": (config('{"a": 1} // one'), "is not valid JSON"),
    "config-two": (config("{}{}"), "is not valid JSON"),
    "config-comma": (config('{"a": 1,}'), "is not valid JSON"),
    "config-null": (config("null"), "holds a NoneType, not a JSON object"),
    "config-200000-twice": (config('{"a":1' + ',"a":1' * 200_000 + "}"), "stands there twice"),
    "config-large": (large("config.json", 2**34), "config.json is larger than 16777216 bytes"),
    "config-link-out": (linked_out("config.json"), "config.json is a link that leads out"),
    "config-device": (to_device, "config.json is a link that leads out"),
    "partial-link-out": (partial_out, "config.json.partial is a link that leads out"),
    "partial-pipe": (partial_pipe, "config.json.partial is not a plain file"),
    "pickle-pt": (lambda f: (f / "model.safetensors").rename(f / "a.pt"), "zoo convert --unpickle"),
    "config-directory": (directory("config.json"), "is not a plain file"),
    "config-pipe": (pipe("config.json"), "is not a plain file"),
    "weights-pipe": (pipe("model.safetensors"), "is not a plain file"),
    "weights-directory": (directory("model.safetensors"), "is not a plain file"),
    "link-out": (linked_out("model.safetensors"), "is a link that leads out of its folder"),
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
    "byte-appended": (append("model.safetensors", b"x"), "tensors take .* the file holds"),
    "file-sparse": (large("model.safetensors", 2**40), "tensors take .* the file holds"),
    "length-max": (raw(b"{}", length=2**64 - 1), "a header of 18446744073709551615 is announced"),
    "metadata-null": (edited(lambda h: h.update(__metadata__=None)), "not a table of texts"),
    "name-half": (raw(b'{"\\ud800":' + json.dumps(EMPTY).encode() + b"}"), "half a character"),
    "dtype-null": (entry("b", dtype=None), "dtype 'None'; known are"),
    "dtype-lower": (entry("b", dtype="i64"), "dtype 'i64'; known are"),
    "shape-null": (entry("b", shape=None), "has shape None"),
    "shape-huge": (entry("b", shape=[10**400]), "has shape"),
    "offsets-null": (entry("b", data_offsets=None), "has data_offsets None"),
    "offsets-three": (entry("b", data_offsets=[0, 40, 40]), "has data_offsets"),
    "offsets-float": (entry("b", data_offsets=[0.0, 40.0]), "has data_offsets"),
    "offsets-true": (entry("b", data_offsets=[False, 40]), "has data_offsets"),
    "offsets-2^63": (entry("b", data_offsets=[2**63, 2**63 + 40]), "has data_offsets"),
    "sums-list": (sums(lambda s: []), "zoo.crc32 holds a list"),
    "sums-no-json": (sums(lambda s: "{"), "zoo.crc32 is not valid JSON"),
    "sums-half": (sums(lambda s: "\ud800"), "half a character"),
    "sums-fewer": (sums(lambda s: {"b": s["b"]}), "does not belong to these tensors"),
    "sums-text": (sums(lambda s: dict.fromkeys(s, "1")), "does not belong to these tensors"),
    "sums-other": (sums(lambda s: s | {"c": s["c"] ^ 1}), "'c' is damaged: its checksum differs"),
    "data-flipped": (flip_data, "is damaged: its checksum differs"),
}


def read_all(folder):
    """Open a folder and read every tensor, as loading a model does."""
    opened = read_folder(folder)
    return opened.config, {name: tensor.read() for name, tensor in opened.tensors.items()}

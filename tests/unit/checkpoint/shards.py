"""Damaged and hostile sets of shards, each by its name."""

import json
import shutil

from unit.checkpoint.hostile import (
    CONFIG,
    EMPTY,
    TENSORS,
    cut,
    gone,
    large,
    linked_out,
    parts,
    pipe,
    put,
    without_checksums,
)
from zoo.checkpoint import write_folder


def of_two_writes(folder, **changes):
    """Take one shard of another checkpoint with the same names and shapes."""
    other = folder.parent / "other"
    tensors = {name: tensor + 1 for name, tensor in TENSORS.items()}
    write_folder(other, CONFIG | changes, tensors, max_shard_bytes=60)
    shutil.copy(other / "model-00001-of-00002.safetensors", folder)


def shard_linked_out(folder):
    linked_out("model-00002-of-00002.safetensors")(folder)


def in_both_shards(folder):
    """Let a second shard hold a tensor of the first as well."""
    second = "model-00002-of-00002.safetensors"
    held = without_checksums(parts(folder, second)[0])["__metadata__"]
    put(folder, {"__metadata__": held, "a.weight": EMPTY}, b"", second)


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
    "index-large": (large("model.safetensors.index.json", 2**34), "is larger than 67108864 bytes"),
    "index-pipe": (pipe("model.safetensors.index.json"), "is not a plain file"),
    "index-parent": (lambda f: redirect(f, ".."), "is not a plain file name"),
    "index-within": (lambda f: redirect(f, "sub/a.safetensors"), "is not a plain file name"),
    "index-back-slash": (lambda f: redirect(f, "..\\a"), "is not a plain file name"),
    "index-empty-name": (lambda f: redirect(f, ""), "is not a plain file name"),
    "index-long-name": (lambda f: redirect(f, "a" * 5000), "File name too long"),
    "index-of-config": (lambda f: redirect(f, "config.json"), "cut short or no safetensors"),
    "index-metadata-list": (lambda f: set_about(f, []), "metadata is not a table"),
    "total-negative": (lambda f: set_about(f, {"total_size": -1}), "total_size -1 is no number"),
    "total-text": (lambda f: set_about(f, {"total_size": "9"}), "total_size 9 is no number"),
    "total-true": (lambda f: set_about(f, {"total_size": True}), "total_size True is no number"),
    "total-2^63": (lambda f: set_about(f, {"total_size": 2**63}), "is no number of bytes"),
    "total-other": (lambda f: set_about(f, about(f) | {"total_size": 9}), "total_size 9; the sha"),
    "shard-pipe": (pipe("model-00002-of-00002.safetensors"), "is not a plain file"),
    "shard-link-out": (shard_linked_out, "is a link that leads out"),
    "shard-of-another": (of_two_writes, "these are not the shards that it was written with"),
    "shard-of-another-config": (
        lambda f: of_two_writes(f, n_embd=9),
        "model-00002-of-00002.safetensors was written with another config than the rest",
    ),
    "tensor-twice": (in_both_shards, "'a.weight' is in model-00002"),
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


def about(folder):
    return json.loads((folder / "model.safetensors.index.json").read_text())["metadata"]


def set_about(folder, about):
    index = {"metadata": about, "weight_map": weight_map(folder)}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def redirect(folder, file):
    put_index(folder, dict.fromkeys(weight_map(folder), file))


def swap_index(folder):
    files = sorted(set(weight_map(folder).values()))
    other = {files[0]: files[1], files[1]: files[0]}
    put_index(folder, {name: other[file] for name, file in weight_map(folder).items()})

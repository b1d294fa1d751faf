"""A checkpoint folder in Hugging Face's layout: config.json and safetensors, whole or in shards.

A write that was cut between weights and config leaves `config.json.partial`, which is taken when it
is the one that the weights were written with: see `write.py`.
"""

import hashlib
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.checkpoint.errors import CheckpointError
from zoo.checkpoint.files import LARGEST_JSON, exists, read_bytes, read_json
from zoo.checkpoint.jsons import parse_json
from zoo.checkpoint.safetensors import LazyTensor, read_header

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PARTIAL = ".partial"
LARGEST_INDEX = 8 * LARGEST_JSON  # bytes
TENSOR_SUM = "zoo.crc32"  # in the index of our own files: a lost line or a shard of another is seen
CONFIG_SUM = "zoo.config.sha256"  # metadata: which config the weights were written with


@dataclass(frozen=True)
class Folder:
    """An opened checkpoint; its tensors are read one by one."""

    path: Path
    config: dict[str, Any]
    tensors: Mapping[str, LazyTensor]
    metadata: dict[str, str]


def read_folder(path: str | Path) -> Folder:
    """Open a checkpoint: config and all headers are checked, no tensor is read.

    Raises CheckpointError for whatever is missing, damaged or out of place.
    """
    path = Path(path)
    if not path.is_dir():
        raise CheckpointError(f"{path} is not a folder; give one with {CONFIG} and {WEIGHTS}")
    if exists(path, WEIGHTS):
        tensors, metadata = read_header(path, WEIGHTS)
    elif exists(path, INDEX):
        tensors, metadata = read_shards(path)
    else:
        raise CheckpointError(f"{path} holds no {WEIGHTS}{hint(path)}")
    return Folder(path, read_config(path, metadata), tensors, metadata)


def hint(path: Path) -> str:
    """Say what to do with weights that are not safetensors."""
    pickles = sorted(p.name for p in path.glob("*") if p.suffix in (".bin", ".pt", ".pth", ".ckpt"))
    if not pickles:
        return f" and no {INDEX}"
    return (
        f"; {pickles[0]} is a pickle, which can run code when read. Only nanoGPT's ckpt.pt can be "
        "converted, with zoo convert --unpickle; for others, save as safetensors where they are "
        "trusted"
    )


def read_config(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    """Read config.json, or the one that a cut-off write had not renamed yet."""
    partial = path / (CONFIG + PARTIAL)
    if CONFIG_SUM in metadata and partial.is_file() and not partial.is_symlink():
        data = read_bytes(path, partial.name, LARGEST_JSON)
        if hashlib.sha256(data).hexdigest() == metadata[CONFIG_SUM]:
            return parse_json(data, str(partial))
    if not exists(path, CONFIG):
        raise CheckpointError(f"{path} holds no {CONFIG}")
    return read_json(path, CONFIG)


def read_shards(path: Path) -> tuple[dict[str, LazyTensor], dict[str, str]]:
    """Read the headers of all shards; the index must name each tensor's."""
    index = read_json(path, INDEX, LARGEST_INDEX)
    where = path / INDEX
    table = index.get("weight_map")
    if not isinstance(table, dict) or not all(isinstance(v, str) for v in table.values()):
        raise CheckpointError(f"{where}: weight_map is not a table of tensor to file")
    tensors: dict[str, LazyTensor] = {}
    metadata: dict[str, str] = {}
    for file in sorted(set(table.values())):
        found, about = read_header(path, file)
        metadata.update(about)
        for name, tensor in found.items():
            if table.get(name) != file:
                raise CheckpointError(
                    f"{where}: {name[:80]!r} is in {file}, the index says {table.get(name)}"
                )
            tensors[name] = tensor
    missing = sorted(set(table) - set(tensors))
    if missing:
        raise CheckpointError(f"{where}: no shard holds {missing[:5]}")
    about_all = index.get("metadata")
    stated = about_all.get(TENSOR_SUM) if isinstance(about_all, dict) else None
    sums = {name: t.checksum for name, t in tensors.items() if t.checksum is not None}
    if stated is not None and stated != sum_up(sums):
        raise CheckpointError(
            f"{where}: {len(table)} tensors are named, but not those that were written together"
        )
    return tensors, metadata


def sum_up(checksums: Mapping[str, int]) -> int:
    """Sum up the names and checksums of all tensors of a checkpoint."""
    return zlib.crc32(json.dumps(checksums, sort_keys=True).encode())

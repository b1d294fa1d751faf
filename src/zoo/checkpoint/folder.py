"""A checkpoint folder in Hugging Face's layout: config.json and safetensors, whole or in shards.

`write.py` says in which states a cut-off write can leave a folder; each of them is read here as the
old checkpoint or as the new one.
"""

import hashlib
import math
import os
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
LARGEST_INDEX = 64 * 2**20  # bytes
CONFIG_SUM = "zoo.config.sha256"  # metadata: which config the weights were written with
TENSOR_SUM = "zoo.crc32"  # in an index of our own: the checksum of all tensors' checksums


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
    if not os.path.isdir(path):
        raise CheckpointError(f"{path} is not a folder; give one with {CONFIG} and {WEIGHTS}")
    tensors, metadata = read_headers(path)
    config = read_config(path, metadata.pop(CONFIG_SUM, None))
    return Folder(path, config, tensors, metadata)


def read_headers(path: Path) -> tuple[dict[str, LazyTensor], dict[str, str]]:
    """Find tensors and metadata in one file or in shards; one file has the last word."""
    if exists(path, WEIGHTS):
        return read_header(path, WEIGHTS)
    if exists(path, INDEX):
        return read_shards(path)
    raise CheckpointError(f"{path} holds no {WEIGHTS}{hint(path)}")


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


def read_config(path: Path, expected: str | None) -> dict[str, Any]:
    """Read config.json, or the one that a cut-off write had not renamed yet."""
    pending = pending_config(path, expected)
    if pending is not None:
        return parse_json(pending, str(path / (CONFIG + PARTIAL)))
    if not exists(path, CONFIG):
        raise CheckpointError(f"{path} holds no {CONFIG}")
    return read_json(path, CONFIG)


def pending_config(path: Path, expected: str | None) -> bytes | None:
    """Give config.json.partial when it is the one that the weights were written with.

    config.json itself may have been edited since, and is not compared.
    """
    if expected is None or not exists(path, CONFIG + PARTIAL):
        return None
    data = read_bytes(path, CONFIG + PARTIAL, LARGEST_JSON)
    return data if hashlib.sha256(data).hexdigest() == expected else None


def read_shards(path: Path) -> tuple[dict[str, LazyTensor], dict[str, str]]:
    """Read the headers of all shards; the index must name each tensor's."""
    where = path / INDEX
    index = read_json(path, INDEX, LARGEST_INDEX)
    about = check_about(where, index.get("metadata", {}))
    table = index.get("weight_map")
    if not isinstance(table, dict) or not all(isinstance(v, str) for v in table.values()):
        raise CheckpointError(f"{where}: weight_map is not a table of tensor to file")
    tensors: dict[str, LazyTensor] = {}
    metadata: dict[str, str] = {}
    for file in sorted(set(table.values())):
        found, said = read_header(path, file)
        if said.get(CONFIG_SUM) != metadata.setdefault(CONFIG_SUM, said.get(CONFIG_SUM, "")):
            raise CheckpointError(f"{where}: {file} was written with another config than the rest")
        metadata |= said
        for name, tensor in found.items():
            if table.get(name) != file:
                said_file = str(table.get(name))[:80]
                raise CheckpointError(
                    f"{where}: {name[:80]!r} is in {file}, the index says {said_file}"
                )
            tensors[name] = tensor
    missing = sorted(table.keys() - tensors.keys())
    if missing:
        raise CheckpointError(f"{where}: no shard holds {[name[:80] for name in missing[:5]]}")
    if TENSOR_SUM in about:
        check_sum(where, about, tensors)
    return tensors, metadata


def check_about(where: Path, about: Any) -> dict[str, Any]:
    """Check an index's metadata; published total sizes may count tied tensors twice."""
    if not isinstance(about, dict):
        raise CheckpointError(f"{where}: metadata is not a table")
    total = about.get("total_size", 0)
    if isinstance(total, bool) or not isinstance(total, int | float) or not 0 <= total < 2**63:
        raise CheckpointError(f"{where}: total_size {str(total)[:40]} is no number of bytes")
    return about


def check_sum(where: Path, about: Mapping[str, Any], tensors: Mapping[str, LazyTensor]) -> None:
    """Require that the shards are those which our own index was written with."""
    if about[TENSOR_SUM] != sum_up({name: t.checksum for name, t in tensors.items()}):
        raise CheckpointError(
            f"{where}: these are not the shards that it was written with. If another tool changed "
            f"them, it should have dropped {TENSOR_SUM!r} from the index"
        )
    held = sum(math.prod(t.shape) * t.dtype.itemsize for t in tensors.values())
    if about.get("total_size") != held:
        raise CheckpointError(
            f"{where}: total_size {about.get('total_size')}; the shards hold {held} bytes"
        )


def sum_up(checksums: Mapping[str, int | None]) -> int:
    """Sum up all tensors' checksums, in whatever order they stand."""
    return zlib.crc32("\n".join(sorted(f"{n} {c}" for n, c in checksums.items())).encode())

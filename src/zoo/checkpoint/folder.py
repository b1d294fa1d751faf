"""A checkpoint folder in Hugging Face's layout: config.json and safetensors, whole or in shards.

Writing never leaves half a checkpoint: every file is written beside its place and renamed when all
are complete, weights first. Shards get names that no older file has, and the index that names them
is what switches over. A run cut between weights and config leaves `config.json.partial`, which
the reader takes when it is the one that the weights were written with.
"""

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from zoo.checkpoint.errors import CheckpointError
from zoo.checkpoint.files import exists, parse_json, read_json
from zoo.checkpoint.safetensors import CHECKSUMS, LazyTensor, checksums_of, read_header

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PARTIAL = ".partial"
TENSOR_COUNT = "zoo.tensors"  # in the index of our own files, so that a lost line is seen
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
        data = partial.read_bytes()
        if hashlib.sha256(data).hexdigest() == metadata[CONFIG_SUM]:
            return parse_json(data, str(partial))
    if not exists(path, CONFIG):
        raise CheckpointError(f"{path} holds no {CONFIG}")
    return read_json(path, CONFIG)


def read_shards(path: Path) -> tuple[dict[str, LazyTensor], dict[str, str]]:
    """Read the headers of all shards; the index must name each tensor's."""
    index = read_json(path, INDEX)
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
    count = about_all.get(TENSOR_COUNT) if isinstance(about_all, dict) else None
    if count is not None and count != len(table):
        raise CheckpointError(f"{where}: {len(table)} tensors are named, {count} were written")
    return tensors, metadata


def write_folder(
    path: str | Path,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    *,
    metadata: Mapping[str, str] | None = None,
    max_shard_bytes: int = 5_000_000_000,
) -> None:
    """Write config.json and the weights; other files of an existing folder stay as they are.

    After a crash or a full disk the folder holds the old checkpoint or the new one.
    Raises CheckpointError when it cannot be written.
    """
    path = Path(path)
    text = json.dumps(config, indent=2, sort_keys=True, allow_nan=False).encode() + b"\n"
    about = {"format": "pt", CONFIG_SUM: hashlib.sha256(text).hexdigest(), **(metadata or {})}
    shards = list(split(tensors, max_shard_bytes))
    staged: list[Path] = []
    try:
        path.mkdir(parents=True, exist_ok=True)
        names = shard_names(path, len(shards))
        for name, shard in zip(names, shards, strict=True):
            place = path / (name + PARTIAL)
            staged.append(place)
            save_file(shard, place, metadata=about | {CHECKSUMS: checksums_of(shard)})
            synchronise(place)
        if len(shards) > 1:
            total = sum(t.nbytes for t in tensors.values())
            weight_map = {n: f for f, shard in zip(names, shards, strict=True) for n in shard}
            index = {
                "metadata": {"total_size": total, TENSOR_COUNT: len(weight_map)},
                "weight_map": weight_map,
            }
            staged.append(stage(path, INDEX, json.dumps(index, indent=2).encode() + b"\n"))
        staged.append(stage(path, CONFIG, text))
        for place in staged:  # shards, then the index that names them, then the config
            place.replace(place.with_name(place.name.removesuffix(PARTIAL)))
        sweep(path, names)
    except (OSError, SafetensorError) as error:
        for place in staged:
            with contextlib.suppress(OSError):
                place.unlink(missing_ok=True)
        raise CheckpointError(f"cannot write to {path}: {error}") from None


def split(tensors: Mapping[str, Tensor], limit: int) -> Iterator[dict[str, Tensor]]:
    """Cut into shards of at most `limit` bytes; a larger tensor is a shard of its own."""
    shard: dict[str, Tensor] = {}
    held = 0
    for name, tensor in tensors.items():
        if shard and held + tensor.nbytes > limit:
            yield shard
            shard, held = {}, 0
        shard[name] = tensor.detach().cpu().contiguous()
        held += tensor.nbytes
    yield shard


def shard_names(path: Path, count: int) -> list[str]:
    """Name the weight files; shards never take the name of a file that an old index points to."""
    if count == 1:
        return [WEIGHTS]
    names = [f"model-{i + 1:05}-of-{count:05}.safetensors" for i in range(count)]
    if any((path / name).exists() for name in names):
        tag = secrets.token_hex(4)
        names = [f"model-{tag}-{i + 1:05}-of-{count:05}.safetensors" for i in range(count)]
    return names


def stage(path: Path, name: str, data: bytes) -> Path:
    place = path / (name + PARTIAL)
    place.write_bytes(data)
    synchronise(place)
    return place


def synchronise(place: Path) -> None:
    """Wait until the file is on disk: a rename must not overtake its contents."""
    with place.open("rb") as file:
        os.fsync(file.fileno())


def sweep(path: Path, names: list[str]) -> None:
    """Remove weight files that the checkpoint just written does not use."""
    for old in path.glob("model*.safetensors"):
        if old.name not in names:
            old.unlink()
    if names == [WEIGHTS]:
        (path / INDEX).unlink(missing_ok=True)

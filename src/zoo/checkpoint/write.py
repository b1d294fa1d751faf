"""Writing a checkpoint folder: after a crash or on a full disk there is the old one or the new one.

A new folder is built beside its place and renamed. Into an existing one every file is written under
a name that no reader looks at, and then:

    shards get names that the old index does not use, and nothing reads them yet
    the switch: model.safetensors is replaced; or the index is; or the index is put beside an old
        model.safetensors, which has the last word until it is removed
    config.json follows; until then the reader takes config.json.partial, which the weights name
    what is left of the old checkpoint is removed
"""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.checkpoint.errors import CheckpointError
from zoo.checkpoint.folder import (
    CONFIG,
    CONFIG_SUM,
    INDEX,
    PARTIAL,
    TENSOR_SUM,
    WEIGHTS,
    pending_config,
    read_headers,
    sum_up,
)
from zoo.checkpoint.safetensors import CODES, write_file, write_parts


def write_folder(
    path: str | Path,
    config: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    *,
    metadata: Mapping[str, str] | None = None,
    max_shard_bytes: int = 5_000_000_000,
) -> None:
    """Write config.json and the weights; other files of an existing folder stay as they are.

    Tied tensors are given once. After a crash or on a full disk the folder holds the old
    checkpoint or the new one. Raises CheckpointError when it cannot be written.
    """
    path = Path(path)
    text = config_text(config)
    check_tensors(tensors)
    ours = {"format": "pt", CONFIG_SUM: hashlib.sha256(text).hexdigest()}
    about = check_metadata(metadata or {}) | ours
    shards = split(tensors, max_shard_bytes)
    try:
        if os.path.lexists(path):
            write_into(path, text, tensors, shards, about)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PARTIAL}")
        try:
            beside.mkdir()
            write_into(beside, text, tensors, shards, about)
            beside.rename(path)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
        synchronise(path.parent)
    except OSError as error:
        raise CheckpointError(f"cannot write to {path}: {error.strerror or error}") from None


def write_into(
    path: Path,
    text: bytes,
    tensors: Mapping[str, Tensor],
    shards: list[list[str]],
    about: Mapping[str, str],
) -> None:
    """Stage all files in an existing folder, then switch over."""
    finish(path)
    names = shard_names(path, len(shards))
    staged = [path / (name + PARTIAL) for name in (*names, INDEX, CONFIG)]
    try:
        for place in staged:  # a link, put there or left there, would be written through
            place.unlink(missing_ok=True)
        sums: dict[str, int] = {}
        for place, shard in zip(staged, shards, strict=False):
            held = {name: tensors[name].detach().cpu().contiguous() for name in shard}
            sums |= write_file(place, held, about)
        if len(shards) > 1:
            weight_map = {name: f for f, shard in zip(names, shards, strict=True) for name in shard}
            total = sum(tensor.nbytes for tensor in tensors.values())
            index = {
                "metadata": {"total_size": total, TENSOR_SUM: sum_up(sums)},
                "weight_map": weight_map,
            }
            write_new(path / (INDEX + PARTIAL), json.dumps(index, indent=2).encode() + b"\n")
        write_new(path / (CONFIG + PARTIAL), text)
    except BaseException:
        for place in staged:
            if place.is_file():
                place.unlink(missing_ok=True)
        raise
    switch(path, names)


def finish(path: Path) -> None:
    """Give config.json its name when an earlier write was cut off just before."""
    try:
        _, metadata = read_headers(path)
        pending = pending_config(path, metadata.get(CONFIG_SUM))
    except CheckpointError:  # nothing there, or nothing that this write could make worse
        return
    if pending is not None:
        put_in_place(path, CONFIG)
        synchronise(path)


def switch(path: Path, names: list[str]) -> None:
    """Give the staged files their names, in the order that the head of this file explains.

    What is staged stays when this is cut off: it may be needed already.
    """
    for name in names:
        put_in_place(path, name)
    if names != [WEIGHTS]:
        synchronise(path)
        put_in_place(path, INDEX)
        synchronise(path)
        (path / WEIGHTS).unlink(missing_ok=True)
    synchronise(path)
    put_in_place(path, CONFIG)
    synchronise(path)
    for old in (*path.glob("model*.safetensors"), *path.glob("model*.safetensors.partial")):
        if old.name not in names:
            old.unlink()
    if names == [WEIGHTS]:
        (path / INDEX).unlink(missing_ok=True)


def put_in_place(path: Path, name: str) -> None:
    (path / (name + PARTIAL)).replace(path / name)


def write_new(place: Path, data: bytes) -> None:
    """Write a file that is not there yet, and wait until it is on disk."""
    write_parts(place, [memoryview(data)])


def synchronise(path: Path) -> None:
    """Wait until a folder's names, or a file, are on disk; not every system can. Errors name it."""
    if os.name == "posix":
        descriptor = os.open(path, os.O_RDONLY)
        try:
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from None


def split(tensors: Mapping[str, Tensor], limit: int) -> list[list[str]]:
    """Cut the names into shards of at most `limit` bytes; a larger tensor is a shard of its own."""
    shards: list[list[str]] = [[]]
    held = 0
    for name, tensor in tensors.items():
        if shards[-1] and held + tensor.nbytes > limit:
            shards.append([])
            held = 0
        shards[-1].append(name)
        held += tensor.nbytes
    return shards


def shard_names(path: Path, count: int) -> list[str]:
    """Name the weight files; shards never take the name of a file that an old index points to."""
    if count == 1:
        return [WEIGHTS]
    names = [f"model-{i + 1:05}-of-{count:05}.safetensors" for i in range(count)]
    if any(os.path.lexists(path / name) for name in names):
        tag = secrets.token_hex(4)
        names = [f"model-{tag}-{i + 1:05}-of-{count:05}.safetensors" for i in range(count)]
    return names


def config_text(config: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(config, indent=2, sort_keys=True, allow_nan=False).encode() + b"\n"
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"the config is not plain JSON: {error}") from None


def check_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    for key, value in metadata.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise CheckpointError(f"metadata {key!r}: {value!r} is not text; write str(value)")
    return dict(metadata)


def check_tensors(tensors: Mapping[str, Tensor]) -> None:
    """Raise CheckpointError for what the format cannot hold."""
    owner: dict[tuple[Any, ...], str] = {}
    for name, tensor in tensors.items():
        check_tensor(name, tensor)
        place = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        first = owner.setdefault(place, name) if tensor.numel() else name
        if first != name:
            raise CheckpointError(f"{first} and {name} are one tensor; give tied tensors once")


def check_tensor(name: str, tensor: Tensor) -> None:
    if name == "__metadata__" or not is_text(name):
        raise CheckpointError(f"a tensor cannot be called {name!r}")
    if tensor.layout != torch.strided or tensor.dtype not in CODES or tensor.is_meta:
        raise CheckpointError(
            f"{name} is {tensor.dtype}, {tensor.layout}, on {tensor.device}; "
            f"a file can hold dense tensors of {sorted(CODES.values())} that have data"
        )


def is_text(name: str) -> bool:
    """Tell whether UTF-8 can hold the name: half a character it cannot."""
    return name.encode(errors="ignore").decode() == name

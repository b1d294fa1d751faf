"""One checkpoint folder: what its manifest says, written last and checked first.

    {"format", "step", "score", "sharded", "files": {name: {"size", "sha256"}}, "sha256"}

The last is the manifest's own: SHA-256 of the rest, keys sorted. A folder without a manifest, with
a safetensors file that it does not list, or with a file of another size or hash, is damaged.
"""

import hashlib
import json
import math
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from zoo.checkpoint import CheckpointError
from zoo.checkpoint.files import LARGEST_JSON, read_bytes, read_json
from zoo.checkpoint.hashed import hash_file, read_hashed, write_bytes, write_hashed
from zoo.checkpoint.write import config_text, split, synchronise

FORMAT = "zoo checkpoint 1"
MANIFEST = "manifest.json"
FACTS = "state.json"
LARGEST_FILE = 10**9  # bytes: what a save holds of a card's tensors at a time
THREADS = 8  # that hash a sharded folder


@dataclass(frozen=True)
class Manifest:
    """A checked manifest; `score` is None where none was given."""

    step: int
    score: float | None
    sharded: bool
    files: dict[str, dict[str, Any]]


def write_tensors(
    folder: Path, tensors: Mapping[str, Tensor], limit: int = LARGEST_FILE
) -> dict[str, str]:
    """Write tensors into one file, or several of about `limit` bytes; give each file's SHA-256."""
    spread = [name for name, tensor in tensors.items() if hasattr(tensor, "placements")]
    if spread:
        raise CheckpointError(f"{spread[0]} is spread over processes: save with write=write_shards")
    parts = split(tensors, limit)
    names = [f"state-{i + 1:05}-of-{len(parts):05}.safetensors" for i in range(len(parts))]
    if len(parts) == 1:
        names = ["state.safetensors"]
    return {
        name: write_hashed(folder / name, {n: tensors[n] for n in part})
        for name, part in zip(names, parts, strict=True)
    }


def hash_folder(folder: Path) -> dict[str, str]:
    """Give the SHA-256 of every file that others have put there, once it is on disk."""
    names = sorted(os.listdir(folder))
    strange = [name for name in names if not name.endswith(".safetensors")]
    if strange:
        raise CheckpointError(f"{folder / strange[0]}: a writer may put only *.safetensors here")
    for name in names:
        settle(folder / name)
    return dict(zip(names, hash_files(folder, names), strict=True))


def settle(place: Path) -> None:
    """Wait until a file that somebody else wrote is on disk."""
    try:
        synchronise(place)
    except OSError as error:
        raise CheckpointError(f"cannot write {place}: {error.strerror}") from None


def write_papers(
    folder: Path,
    *,
    step: int,
    score: float | None,
    facts: bytes,
    sums: Mapping[str, str],
    sharded: bool,
) -> None:
    """Write the facts, and last the manifest over all files."""
    sums = dict(sums) | {FACTS: write_bytes(folder / FACTS, facts)}
    content = {
        "format": FORMAT,
        "step": step,
        "score": score if score is not None and math.isfinite(score) else None,
        "sharded": sharded,
        "files": {
            name: {"size": os.path.getsize(folder / name), "sha256": digest}
            for name, digest in sums.items()
        },
    }
    write_bytes(folder / MANIFEST, config_text(content | {"sha256": own_sum(content)}))


def own_sum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_manifest(folder: Path, step: int) -> Manifest:
    """Read and check a manifest, and that the files are there in their sizes."""
    if not os.path.isdir(folder):
        raise CheckpointError(f"{folder} is missing")
    where = folder / MANIFEST
    if not where.exists():
        raise CheckpointError(f"{where} is missing")
    content = read_json(folder, MANIFEST)
    if content.get("format") != FORMAT:
        raise CheckpointError(f"{where} has format {content.get('format')!r}; expected {FORMAT!r}")
    if content.pop("sha256", None) != own_sum(content):
        raise CheckpointError(f"{where} is damaged: its own SHA-256 differs")
    if content["step"] != step:
        raise CheckpointError(f"{where} is of step {content['step']}, in the folder of step {step}")
    manifest = Manifest(step, content["score"], content["sharded"], content["files"])
    check_files(folder, manifest)
    return manifest


def check_files(folder: Path, manifest: Manifest) -> None:
    """Raise CheckpointError for a file that is missing, of another size, or too many."""
    for name, said in manifest.files.items():
        try:
            size = os.path.getsize(folder / name)
        except OSError as error:
            raise CheckpointError(f"{folder / name} is missing ({error.strerror})") from None
        if size != said["size"]:
            raise CheckpointError(
                f"{folder / name} has {size} bytes; its manifest says {said['size']}"
            )
    strange = {p.name for p in folder.glob("*.safetensors")} - manifest.files.keys()
    if strange:
        raise CheckpointError(f"{folder / min(strange)} is not in the manifest")


def read_facts(folder: Path, manifest: Manifest) -> dict[str, Any]:
    """Read the facts, checked."""
    check_sum(folder, manifest, FACTS, hash_file(folder, FACTS))
    return read_json(folder, FACTS)


def read_tensors(folder: Path, manifest: Manifest) -> dict[str, Tensor]:
    """Read all tensors into fresh memory, checked in the same pass."""
    result: dict[str, Tensor] = {}
    for name in tensor_files(manifest):
        tensors, digest = read_hashed(folder, name)
        check_sum(folder, manifest, name, digest)
        result |= tensors
    return result


def check_tensors(folder: Path, manifest: Manifest) -> None:
    """Check all tensor files without keeping them."""
    names = tensor_files(manifest)
    for name, digest in zip(names, hash_files(folder, names), strict=True):
        check_sum(folder, manifest, name, digest)


def hash_files(folder: Path, names: list[str]) -> list[str]:
    """Give each file's SHA-256; many are hashed side by side."""
    if len(names) == 1:
        return [hash_file(folder, names[0])]
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(lambda name: hash_file(folder, name), names))


def tensor_files(manifest: Manifest) -> list[str]:
    return [name for name in manifest.files if name != FACTS]


def check_sum(folder: Path, manifest: Manifest, name: str, digest: str) -> None:
    if digest != manifest.files[name]["sha256"]:
        raise CheckpointError(
            f"{folder / name} is damaged: its SHA-256 differs from its manifest's"
        )


def remove_folder(path: Path) -> None:
    """Remove a folder; an OSError names the file with its folder, as shutil's does not."""
    for entry in sorted(path.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            remove_folder(entry)
        else:
            entry.unlink()
    path.rmdir()


def is_same(folder: Path, name: str, text: bytes) -> bool:
    """Tell whether a file holds this text; one that cannot be read does not."""
    try:
        return read_bytes(folder, name, LARGEST_JSON) == text
    except CheckpointError:
        return False

"""From a name to a folder: a local path as it is, a hub name through `huggingface_hub`."""

import importlib.util
import os
import re
from pathlib import Path

from zoo.checkpoint.errors import CheckpointError

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.\-]{0,95}(/[A-Za-z0-9][\w.\-]{0,95})?", re.ASCII)
PATTERNS = ["*.json", "*.safetensors", "*.txt"]  # never code, never a pickle
OFFLINE = ("ZOO_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


def resolve(name_or_folder: str | Path, *, offline: bool | None = None) -> Path:
    """Find a checkpoint's folder: an existing one, or a hub name's in the cache or downloaded.

    The network is never touched with `offline=True`, or when `ZOO_OFFLINE`, `HF_HUB_OFFLINE` or
    `TRANSFORMERS_OFFLINE` is set. Raises CheckpointError when there is no such folder.
    """
    path = Path(name_or_folder)
    if path.is_dir():
        return path
    name = str(name_or_folder)
    if isinstance(name_or_folder, Path) or path.exists() or not HUB_NAME.fullmatch(name):
        fault = "is a file" if path.exists() else "does not exist"
        raise CheckpointError(f"{name} {fault}; expected a folder with config.json, or a hub name")
    if importlib.util.find_spec("huggingface_hub") is None:
        raise CheckpointError(
            f'there is no folder {name!r}; to load it from the hub, pip install "zoo[hub]"'
        )
    return from_hub(name, is_offline() if offline is None else offline)


def is_offline() -> bool:
    return any(os.environ.get(name, "").lower() in ("1", "true", "yes", "on") for name in OFFLINE)


def from_hub(name: str, offline: bool) -> Path:
    """Find a hub name's snapshot in the cache, or download it when that is allowed."""
    from huggingface_hub import snapshot_download  # an extra, and slow to import

    try:
        return Path(snapshot_download(name, allow_patterns=PATTERNS, local_files_only=offline))
    except (OSError, ValueError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        where = "in the local cache (offline is set)" if offline else "on the hub"
        raise CheckpointError(
            f"there is no folder {name!r}, and it was not found {where}: {first[:200]}"
        ) from None

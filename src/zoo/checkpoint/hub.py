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

    The network is never touched with `offline=True`, nor when `ZOO_OFFLINE`, `HF_HUB_OFFLINE` or
    `TRANSFORMERS_OFFLINE` is set, whatever `offline` is. Raises CheckpointError when there is no
    such folder.
    """
    name = str(name_or_folder)
    if os.path.isdir(name):
        return Path(name)
    found = os.path.lexists(name) if "\0" not in name else False
    if isinstance(name_or_folder, Path) or found or not HUB_NAME.fullmatch(name):
        fault = "is a file" if found else "does not exist"
        raise CheckpointError(
            f"{name[:200]} {fault}; expected a folder with config.json, or a hub name: owner/name"
        )
    if importlib.util.find_spec("huggingface_hub") is None:
        raise CheckpointError(
            f'there is no folder {name!r}; to load it from the hub, pip install "zoo[hub]"'
        )
    return from_hub(name, bool(offline) or is_offline())


def is_offline() -> bool:
    """Tell whether the environment forbids the network; any value but a plain no does."""
    no = ("", "0", "false", "no", "off")
    return any(os.environ.get(name, "").strip().lower() not in no for name in OFFLINE)


def from_hub(name: str, offline: bool) -> Path:
    """Find a hub name's snapshot in the cache, or download it when that is allowed."""
    from huggingface_hub import snapshot_download  # an extra, and slow to import

    try:
        return Path(snapshot_download(name, allow_patterns=PATTERNS, local_files_only=offline))
    except Exception as error:  # of several libraries; whatever they say, there is no folder
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        if offline:
            raise CheckpointError(
                f"there is no folder {name!r}, and it is not in the local cache. The network is "
                f"off: give a folder, or download it once with {', '.join(OFFLINE)} unset"
            ) from None
        raise CheckpointError(
            f"there is no folder {name!r}, and the hub did not give it: {first}"
        ) from None

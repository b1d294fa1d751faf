"""Sets of rows before their first accept: a manifest of version 0, a draft, or rows alone."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zoo.evaluate.golden import MANIFEST, SCHEMA, GoldenError, GoldenSet, open_set
from zoo.evaluate.rows import read_rows, stated
from zoo.evaluate.sets import GoldenRows, manifest_bytes


def manifest_of(folder: Path, subject: str | None = None) -> dict[str, Any]:
    """Give the manifest that a rows set has, or would have at version 0.

    `subject` names the model that is asked; raises GoldenError where none is named.
    """
    old = open_set(folder).manifest if (folder / MANIFEST).exists() else stated(folder)
    base = {"schema": SCHEMA, "name": folder.resolve().name, "kind": "rows"}
    made = base | {"version": 0, "history": [], "source": {}, "files": {}} | old
    made |= {} if subject is None else {"subject": subject}
    if not isinstance(made.get("subject"), str):
        raise GoldenError(
            f"{folder.name} was never accepted: name the model that its rows are put to (--subject)"
        )
    return made


def _opened(folder: Path, manifest: Mapping[str, Any]) -> Iterator[GoldenRows]:
    """Give a rows set as it would be with a manifest; nothing in its folder changes."""
    rows = read_rows(folder, manifest.get("sheets", {}))
    if stated(folder) == manifest:
        yield GoldenRows(GoldenSet(folder, dict(manifest)), rows)
        return
    with tempfile.TemporaryDirectory() as place:  # who reads of sheets reads the manifest
        staged = Path(place, folder.resolve().name)
        shutil.copytree(folder, staged)
        (staged / MANIFEST).write_bytes(manifest_bytes(manifest))
        yield GoldenRows(GoldenSet(staged, dict(manifest)), rows)


opened = contextmanager(_opened)

"""Rows written as a table, beside and then in place, so that reading gives the same rows again.

A csv holds text alone: lists are written as JSON, and columns that the kind does not know come
back as text. Pictures are named from the table's folder.
"""

import csv
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zoo.data.errors import DataError, shown
from zoo.data.kinds import KINDS
from zoo.data.rows import Rows
from zoo.data.rules import is_missing


def write_table(rows: Rows, path: Path) -> Path:
    """Write rows as the path's ending says; give the path."""
    ending = path.suffix.lower()
    if ending not in WRITERS:
        raise DataError(f"{path} is not written; expected a file that ends in {' '.join(WRITERS)}")
    frame = with_relative_pictures(rows, Path(os.path.abspath(path)).parent)
    draft = path.with_name(f"{path.name}.partial")
    try:
        WRITERS[ending](frame, draft)
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)
    return path


def with_relative_pictures(rows: Rows, folder: Path) -> pd.DataFrame:
    frame = rows.frame.copy()
    for name in KINDS[rows.kind].of_form("image"):
        frame[name] = [relative(path, folder) for path in frame[name]]
    return frame


def relative(path: str, folder: Path) -> str:
    """Name a picture from a folder; a table may name none outside of it."""
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise DataError(f"{path} is not below {folder}: write the table to a folder above it")
    return os.path.relpath(os.path.realpath(path), os.path.realpath(folder))


def write_separated(frame: pd.DataFrame, path: Path, separator: str) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        # every cell in quotes: a lone carriage return or an empty cell is then as good as any
        writer = csv.writer(file, delimiter=separator, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerow(frame.columns)
        writer.writerows(zip(*([as_cell(v) for v in frame[name]] for name in frame), strict=True))


def as_cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list | dict | np.ndarray):
        return json.dumps(plain(value), ensure_ascii=False)
    return "" if is_missing(value) else str(value)


def write_objects(frame: pd.DataFrame, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        for row in frame.itertuples(index=False, name=None):
            made = {name: plain(cell) for name, cell in zip(frame.columns, row, strict=True)}
            file.write(json.dumps(made, ensure_ascii=False) + "\n")


def plain(value: Any) -> Any:
    """Give a value as JSON holds it."""
    if isinstance(value, str | bool | int):
        return value
    if isinstance(value, dict):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(part) for part in value]
    if is_missing(value):
        return None
    if isinstance(value, float):
        return value
    if isinstance(value, np.generic):
        return plain(value.item())
    if hasattr(value, "isoformat"):
        return value.isoformat()
    raise DataError(f"{shown(value)} cannot be written as JSON; write .parquet")


def write_parquet(frame: pd.DataFrame, path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        parquet.write_table(pa.Table.from_pandas(frame, preserve_index=False), path)
    except (pa.ArrowException, TypeError, OverflowError) as error:
        raise DataError(f"{path} cannot hold these columns ({error}); write .jsonl") from None


WRITERS: dict[str, Callable[[pd.DataFrame, Path], None]] = {
    ".csv": partial(write_separated, separator=","),
    ".tsv": partial(write_separated, separator="\t"),
    ".jsonl": write_objects,
    ".parquet": write_parquet,
}

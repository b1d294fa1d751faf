"""From files to rows: found, read, checked once by the schema of their kind, split, and versioned.

read(["mails.csv"], "labelled_text")             a table
read(["speeches/"], "text")                      a text file is a document
read(["pets/"], "labelled_images")               a folder a class: pets/cat/1.png
read(["train.jsonl", "valid.jsonl"], "answers")  splits by name, or by a column, or drawn
"""

import os
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import pandas as pd

from zoo.data.cells import fit_columns
from zoo.data.errors import DataError, listed
from zoo.data.files import Source, find_sources
from zoo.data.gather import check_classes, gather
from zoo.data.kinds import KINDS, TRAIN
from zoo.data.pictures import find_picture, read_pictures
from zoo.data.rows import Rows
from zoo.data.schemas import check_frame
from zoo.data.splits import check_options, column_splits, draw, named_splits
from zoo.data.tables import LONGEST, Table, same_columns
from zoo.data.version import cells_of, digests, text_cells, version_of


def read(
    paths: Sequence[str | Path] | str | Path,
    kind: str,
    *,
    labels: Sequence[str] | None = None,
    columns: Mapping[str, str] | None = None,
    valid: float = 0.1,
    test: float = 0.0,
    group: str | None = None,
    names: bool = True,
    folder: str | Path | None = None,
    lines: bool = False,
    longest: int = LONGEST,
    decode: bool = True,
) -> Rows:
    """Read files and folders as checked rows of one of KINDS.

    `labels` are the classes that may occur, in their order; `columns` maps our names of columns to
    the files'. A `split` column says the splits, else names of files and folders do (unless
    `names` is False), and what they do not say is drawn: shares `valid` and `test` of the rows,
    those with one value in the column `group` together. Pictures are named from their table's
    folder, or from `folder`, and are decoded, or with `decode=False` only opened. With `lines` a
    line of a .txt is a text, else a file is. A text in a table has `longest` bytes at most.
    Raises DataError for whatever cannot be used.
    """
    if kind not in KINDS:
        raise DataError(f"there is no kind of data {kind!r}; expected one of {', '.join(KINDS)}")
    check_options(valid, test, labels)
    given = [paths] if isinstance(paths, str | Path) else list(paths)
    if not given:
        raise DataError(f"no files to read {kind} from: name files or folders")
    found = gather(find_sources(given), kind, lines, longest)
    check_classes(found, labels)
    tables = [renamed(table, columns or {}) for table in found.tables]
    for table in tables:
        fit_columns(table, kind)
    same_columns(tables)
    if not sum(len(table.frame) for table in tables):
        raise DataError(f"{listed_files(tables)}: no rows; expected at least one")
    base = None if folder is None else Path(os.path.abspath(folder))
    named = named_splits(tables, found.classes) if names else None
    return build(tables, kind, labels, Draw(valid, test, group, named), base, longest, decode)


def from_frame(
    frame: pd.DataFrame,
    kind: str,
    *,
    labels: Sequence[str] | None = None,
    valid: float = 0.1,
    test: float = 0.0,
    group: str | None = None,
    folder: str | Path | None = None,
    decode: bool = True,
) -> Rows:
    """Check a frame as `read` checks files."""
    if kind not in KINDS:
        raise DataError(f"there is no kind of data {kind!r}; expected one of {', '.join(KINDS)}")
    check_options(valid, test, labels)
    source = Source(Path("frame"), "the frame", "row", ())
    table = Table(source, frame.reset_index(drop=True).copy())
    fit_columns(table, kind)
    if not len(frame):
        raise DataError("the frame has no rows; expected at least one")
    base = Path(os.path.abspath(folder or "."))
    return build([table], kind, labels, Draw(valid, test, group), base, LONGEST, decode)


@dataclass(frozen=True)
class Draw:
    """How splits are drawn."""

    valid: float
    test: float
    group: str | None
    named: list[str] | None = None  # what names of files say of each row


def listed_files(tables: Sequence[Table]) -> str:
    names = [table.source.where for table in tables]
    return ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if names[3:] else "")


def renamed(table: Table, columns: Mapping[str, str]) -> Table:
    """Give a table with our names for columns."""
    has = list(table.frame.columns)
    for ours, theirs in columns.items():
        where = table.source.where
        if theirs not in has:
            raise DataError(
                f"{where}: columns says that {ours} is {theirs!r}, which is not there; "
                f"it has {listed(has)}"
            )
        if ours in has and ours != theirs:
            raise DataError(
                f"{where}: columns says that {ours} is {theirs!r}, and there is a column {ours!r}, "
                "too; take one of them out"
            )
    back = {theirs: ours for ours, theirs in columns.items()}
    if len(back) < len(columns):
        raise DataError(f"columns names one column for two of ours: {dict(columns)}")
    return replace(table, frame=table.frame.rename(columns=back))


class Places:
    """Where the rows of all tables come from."""

    def __init__(self, tables: Sequence[Table]) -> None:
        self.tables = tables
        self.ends = list(accumulate(len(table.frame) for table in tables))

    def find(self, row: int) -> tuple[Table, int]:
        """Give the table that a row came from, and its number there."""
        number = bisect_right(self.ends, row)
        return self.tables[number], row - (self.ends[number - 1] if number else 0)

    def name(self, row: int) -> str:
        table, own = self.find(row)
        return table.place(own)

    def ids(self) -> list[str]:
        return [name for table in self.tables for name in table.ids()]

    def picture(self, row: int, value: Any, base: Path | None) -> Any:
        """Give the path of a picture: a file that was found, or one that a table names."""
        table, own = self.find(row)
        if table.files is not None:
            return str(table.files[own].path)
        return find_picture(value, base or table.source.path.parent, table.place(own))


def build(
    tables: Sequence[Table],
    kind: str,
    labels: Sequence[str] | None,
    how: Draw,
    base: Path | None,
    longest: int,
    decode: bool,
) -> Rows:
    """Join tables to rows: ids and splits are given, the schema checks, the content is hashed."""
    places = Places(tables)
    frame = joined(tables)
    if "id" not in frame:
        frame["id"] = places.ids()
    said = column_splits(frame["split"]) if "split" in frame else None
    frame["split"] = said or TRAIN
    for name in KINDS[kind].of_form("image"):
        frame[name] = [
            places.picture(row, value, base) for row, value in enumerate(frame[name].tolist())
        ]
    bound = None if all(table.source.ending() == ".txt" for table in tables) else longest
    check_frame(kind, frame, places.name, labels=labels, longest=bound)
    pictures = checked_pictures(kind, frame, places, decode)
    cells = cells_of(kind, frame, pictures)
    if said is None:
        keys = keys_of(kind, frame, cells, how.group)
        frame["split"] = draw(keys, how.named, how.valid, how.test)
    rows = digests(list(cells.values()))
    version = version_of(kind, rows, frame["split"])
    return Rows(kind, ordered(frame, kind), classes(kind, frame, labels), version, rows)


def joined(tables: Sequence[Table]) -> pd.DataFrame:
    frames = [table.frame for table in tables if len(table.frame)]
    return frames[0].copy() if len(frames) == 1 else pd.concat(frames, ignore_index=True)


def ordered(frame: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Put `id`, `split` and the kind's own columns first."""
    first = ["id", "split", *(name for name in KINDS[kind].columns if name in frame)]
    return frame[[*first, *(name for name in frame.columns if name not in first)]]


def checked_pictures(
    kind: str, frame: pd.DataFrame, places: Places, decode: bool
) -> dict[str, bytes]:
    """Read the pictures of rows; give their digests, none where a kind has no pictures."""
    names = KINDS[kind].of_form("image")
    if not names:
        return {}
    first: dict[str, int] = {}
    for row, path in enumerate(frame[names[0]]):
        first.setdefault(path, row)
    return read_pictures(first, lambda path: places.name(first[path]), decode)


def keys_of(
    kind: str, frame: pd.DataFrame, cells: Mapping[str, list[bytes]], group: str | None
) -> list[bytes]:
    """Give what must not be shared by two splits, of each row."""
    if group is None:
        return [b"".join(key) for key in zip(*(cells[n] for n in KINDS[kind].key), strict=True)]
    if group not in frame:
        raise DataError(f"there is no column {group!r} to group by; there are {listed(frame)}")
    return text_cells(frame[group].map(str))


def classes(kind: str, frame: pd.DataFrame, labels: Sequence[str] | None) -> tuple[str, ...] | None:
    """Give the classes: those that were given, else those that occur, numbers by their size."""
    if labels is not None:
        return tuple(labels)
    found: set[Any] = set()
    for name in KINDS[kind].of_form("label"):
        found.update(frame[name].unique())
    for name in KINDS[kind].of_form("labels"):
        found.update(*frame[name])
    if not found:
        return None
    whole = all(label.isascii() and label.isdigit() for label in found)
    return tuple(sorted(found, key=(lambda label: (int(label), label)) if whole else None))

"""Which rows are learnt from, judged by and tested on: said by a column, by names, or drawn.

A drawn split depends on the row's key alone: rows that share a text, a context or a picture share
a split, and a row stays where it is when others are added.
"""

import hashlib
from collections.abc import Sequence

import pandas as pd

from zoo.data.errors import DataError
from zoo.data.files import Source
from zoo.data.kinds import SPLIT_NAMES, TEST, TRAIN, VALID
from zoo.data.tables import Table
from zoo.data.version import share_of, split_of


def check_options(valid: float, test: float, labels: Sequence[str] | None) -> None:
    """Raise DataError for shares that leave nothing, and for classes that cannot be told apart."""
    twice = [label for label in labels or () if list(labels or ()).count(label) > 1]
    if twice:
        raise DataError(f"labels names {twice[0]!r} twice: name each class once")
    if not (0 <= valid < 1 and 0 <= test < 1 and valid + test < 1):
        raise DataError(
            f"valid is {valid} and test {test}; expected shares from 0 that leave rows to train"
        )


def column_splits(values: pd.Series) -> list[str]:
    """Give our names for those in a `split` column; strange ones are the schema's to refuse."""
    known = {value: SPLIT_NAMES.get(str(value).strip().lower(), value) for value in values.unique()}
    return [known[value] for value in values]


def named_splits(tables: Sequence[Table], classes: bool) -> list[str] | None:
    """Give each row the split that its file's names say; None when no file's do.

    Where the folder that a file is in is its class, that says no split. Raises DataError when some
    files' names do and some do not.
    """
    files: list[tuple[Source, int]] = []
    for table in tables:
        rows = [(table.source, len(table.frame))]
        files += rows if table.files is None else [(file, 1) for file in table.files]
    said = [file.split(classes) for file, _ in files]
    if not any(said):
        return None
    if None in said:
        silent = files[said.index(None)][0].where
        other = next(number for number, split in enumerate(said) if split)
        raise DataError(
            f"{files[other][0].where} is called {said[other]} by its names, and {silent} says no "
            "split: name all files or none, or read with names=False"
        )
    return [str(split) for split, (_, rows) in zip(said, files, strict=True) for _ in range(rows)]


def draw(
    keys: Sequence[bytes], named: Sequence[str] | None, valid: float, test: float
) -> list[str]:
    """Draw the splits that names do not say out of the rows to train on, all without names."""
    if named is not None:
        valid = 0.0 if VALID in named else valid
        test = 0.0 if TEST in named else test
    splits = list(named) if named is not None else [TRAIN] * len(keys)
    hashed = [hashlib.sha256(b"split" + key).digest() for key in keys]
    chosen = [row for row, split in enumerate(splits) if split == TRAIN]
    drawn = {row: split_of(hashed[row], valid, test) for row in chosen}
    if chosen and TRAIN not in drawn.values():  # few rows: those in the middle are left to train
        shares = {row: share_of(hashed[row]) for row in chosen}
        middle = min(shares.values(), key=lambda share: abs(share - (1 + valid - test) / 2))
        drawn.update({row: TRAIN for row, share in shares.items() if share == middle})
    for row, split in drawn.items():
        splits[row] = split
    return splits

"""What a row is, as bytes; which version of the data rows make; which split a row falls into.

    cell = length ":" bytes ","   (a netstring)      missing = "~"      tokens = cells in a cell
    row = sha256(cells of its own columns)           version = sha256(kind, sorted (row, split))

Names of files, ids, the order of rows and columns that the kind does not know are no content, so
the same rows have the same version in any format.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from zoo.data.kinds import KINDS, TEST, TRAIN, VALID

FORMAT = b"zoo rows 1"
MISSING = b"~"


def netstring(data: bytes) -> bytes:
    return b"%d:%b," % (len(data), data)


def text_cells(values: Any) -> list[bytes]:
    """Encode a column of texts; what is no text is missing."""
    values = values.tolist()  # iterating a column of pandas takes five times as long
    return [netstring(value.encode()) if isinstance(value, str) else MISSING for value in values]


def list_cells(values: Iterable[Sequence[str]]) -> list[bytes]:
    """Encode a column of lists of texts."""
    return [netstring(b"".join(netstring(part.encode()) for part in value)) for value in values]


def number_cells(values: Iterable[int]) -> list[bytes]:
    return [netstring(b"%d" % value) for value in values]


CELLS: dict[str, Callable[[Any], list[bytes]]] = {
    "text": text_cells,
    "label": text_cells,
    "tokens": list_cells,
    "labels": list_cells,
    "number": number_cells,
}


def cells_of(kind: str, frame: Any, pictures: Mapping[str, bytes]) -> dict[str, list[bytes]]:
    """Give the content of a kind's own columns, each row's as bytes; of pictures their digests."""
    cells = {}
    for name, form in KINDS[kind].columns.items():
        if name not in frame.columns:
            cells[name] = [MISSING] * len(frame)
        elif form == "image":
            cells[name] = [pictures[path] for path in frame[name]]
        else:
            cells[name] = CELLS[form](frame[name])
    return cells


def digests(columns: Sequence[Sequence[bytes]]) -> list[bytes]:
    """Give each row's SHA-256."""
    return [hashlib.sha256(b"".join(row)).digest() for row in zip(*columns, strict=True)]


def version_of(kind: str, rows: Iterable[bytes], splits: Iterable[str]) -> str:
    """Give the version of rows, named by their digests, in their splits."""
    total = hashlib.sha256(FORMAT + netstring(kind.encode()))
    named = [row + split.encode() for row, split in zip(rows, splits, strict=True)]
    total.update(b"".join(map(netstring, sorted(named))))
    return f"sha256:{total.hexdigest()}"


def order_of(version: str, rows: Iterable[bytes]) -> str:
    """Give the digest of rows in their order: what a run that goes on must find again."""
    return f"sha256:{hashlib.sha256(version.encode() + b''.join(rows)).hexdigest()}"


def share_of(key: bytes) -> float:
    """Give a number in [0, 1) that depends on the key alone."""
    return int.from_bytes(key[:6], "big") / 2**48


def split_of(key: bytes, valid: float, test: float) -> str:
    """Draw the split of a row from its key's digest: it stays there when others are added."""
    share = share_of(key)
    if share < valid:
        return VALID
    return TEST if share >= 1 - test else TRAIN

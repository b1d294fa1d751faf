"""Files of a checkpoint, opened so that nothing outside of its folder is ever read.

A name is a plain file name. A link may stay within the folder, or within a hub cache's own
`models--owner--name` folder, where snapshots are links to blobs; everything else is refused, and so
is what is not a plain file: opening a pipe would wait for ever.
"""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

from zoo.checkpoint.errors import CheckpointError
from zoo.checkpoint.jsons import parse_json

PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*", re.ASCII)
LARGEST_JSON = 16 * 2**20  # bytes; the largest published config is a tenth of it
# without waiting for a pipe's other end, and without following a link that was put there just now
HOW = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)


def _open_inside(folder: Path, name: str) -> Iterator[FileIO]:
    """Open a plain file of the folder for reading; raise CheckpointError for whatever fails."""
    if not PLAIN.fullmatch(name):
        raise CheckpointError(f"{folder}: {name[:80]!r} is not a plain file name")
    root = Path(os.path.realpath(folder))
    real = Path(os.path.realpath(root / name))
    if not real.is_relative_to(allowed_root(root)):
        raise CheckpointError(f"{folder / name} is a link that leads out of its folder")
    try:
        # looked at first, as opening a device may do something; and again once it is open
        require_plain(os.stat(real), folder / name)
        with open(os.open(real, HOW), "rb", buffering=0) as file:
            require_plain(os.fstat(file.fileno()), folder / name)
            yield file
    except OSError as error:
        raise CheckpointError(f"{folder / name}: {error.strerror or error}") from None


open_inside = contextmanager(_open_inside)


def require_plain(found: os.stat_result, where: Path) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise CheckpointError(f"{where} is not a plain file")


def allowed_root(root: Path) -> Path:
    """Give the folder that links may lead to: itself, or its cache's when it is a snapshot."""
    if root.parent.name == "snapshots" and root.parent.parent.name.startswith("models--"):
        return root.parent.parent
    return root


def exists(folder: Path, name: str) -> bool:
    return os.path.lexists(folder / name)


def read_bytes(folder: Path, name: str, limit: int) -> bytes:
    """Read a file of at most `limit` bytes."""
    with open_inside(folder, name) as file:
        size = os.fstat(file.fileno()).st_size
        data = b"" if size > limit else read_up_to(file, limit + 1)
    if max(size, len(data)) > limit:
        raise CheckpointError(f"{folder / name} is larger than {limit} bytes")
    return data


def read_up_to(file: FileIO, count: int) -> bytes:
    """Read on until `count` bytes or the file's end."""
    pieces = []
    while count and (piece := file.read(count)):
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)


def read_json(folder: Path, name: str, limit: int = LARGEST_JSON) -> dict[str, Any]:
    """Read a JSON object from a file of the folder."""
    return parse_json(read_bytes(folder, name, limit), str(folder / name))

"""Files of a checkpoint, opened so that nothing outside of its folder is ever read.

A name is a plain file name. A link may stay within the folder, or within a hub cache's own
`models--owner--name` folder, where snapshots are links to blobs; everything else is refused, and so
is what is not a plain file: opening a pipe would wait for ever.
"""

import json
import os
import re
import stat
from pathlib import Path
from typing import Any, BinaryIO

from zoo.checkpoint.errors import CheckpointError

PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*")
LARGEST_JSON = 64 * 2**20  # bytes


def open_inside(folder: Path, name: str) -> BinaryIO:
    """Open a plain file of the folder for reading; raise CheckpointError otherwise."""
    if not PLAIN.fullmatch(name):
        raise CheckpointError(f"{folder}: {name[:80]!r} is not a plain file name")
    root = Path(os.path.realpath(folder))
    real = Path(os.path.realpath(root / name))
    if not real.is_relative_to(allowed_root(root)):
        raise CheckpointError(f"{folder / name} is a link that leads out of its folder")
    try:
        descriptor = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise CheckpointError(f"{folder / name}: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise CheckpointError(f"{folder / name} is not a plain file")
    return os.fdopen(descriptor, "rb")


def allowed_root(root: Path) -> Path:
    """Give the folder that links may lead to: itself, or its cache's when it is a snapshot."""
    if root.parent.name == "snapshots" and root.parent.parent.name.startswith("models--"):
        return root.parent.parent
    return root


def exists(folder: Path, name: str) -> bool:
    return os.path.lexists(folder / name)


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """Read a JSON object from a file of the folder."""
    with open_inside(folder, name) as file:
        data = file.read(LARGEST_JSON + 1)
    if len(data) > LARGEST_JSON:
        raise CheckpointError(f"{folder / name} is larger than {LARGEST_JSON} bytes")
    return parse_json(data, str(folder / name))


def parse_json(data: bytes, where: str) -> dict[str, Any]:
    """Parse strict JSON: UTF-8, one object, no key twice, no NaN, no bottomless nesting."""
    try:
        value = json.loads(
            data.decode("utf-8"), object_pairs_hook=refuse_twice, parse_constant=refuse_constant
        )
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{where} is not UTF-8: byte {error.start}") from None
    except RecursionError:
        raise CheckpointError(f"{where} is nested too deeply") from None
    except ValueError as error:
        raise CheckpointError(f"{where} is not valid JSON: {str(error)[:200]}") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{where} holds a {type(value).__name__}, not a JSON object")
    return value


def refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})[:3]
        raise ValueError(f"{twice} stands there twice")
    return result


def refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")

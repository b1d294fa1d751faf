"""Pictures that golden rows name: files of the folder, and tiles of its sheets."""

import re
import struct
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from zoo.data.errors import shown
from zoo.evaluate.golden import GoldenError


def picture_fault(name: str, folder: Path, tiles: Mapping[str, int]) -> str | None:
    """Say why a picture's name is none of this folder; None where it is."""
    file, hashed, tile = name.partition("#")
    if PurePosixPath(file).is_absolute() or {"..", "\\"} & {*PurePosixPath(file).parts, *file}:
        return f"{shown(name)} leads out of the folder; put the picture into it"
    if not (folder / file).is_file():
        return f"there is no file {shown(file)} in {folder}; put it there, or correct its name"
    if not hashed:
        return f"{shown(name)} is a sheet; name a tile, as {file}#0" if file in tiles else None
    if file not in tiles:
        return f'{shown(file)} is no sheet; state the side of its tiles: "sheets": {{"{file}": 28}}'
    if not re.fullmatch("0|[1-9][0-9]*", tile) or int(tile) >= tiles[file]:
        return f"{shown(name)}: the sheet has tiles 0 to {tiles[file] - 1}"
    return None


def tiles_of(sheet: Path, side: Any) -> int:
    """Count the tiles of a PNG, from its first bytes; raise GoldenError unless they fill it."""
    try:
        with open(sheet, "rb") as file:
            head = file.read(24)
    except OSError as error:
        raise GoldenError(f"{sheet}: {error.strerror}; the set states it as a sheet") from None
    if len(head) < 24 or head[:8] != b"\x89PNG\r\n\x1a\n" or head[12:16] != b"IHDR":
        raise GoldenError(f"{sheet} is no PNG; sheets are")
    wide, high = struct.unpack(">II", head[16:24])
    if type(side) is not int or side < 1 or wide % side or high % side:
        raise GoldenError(
            f"{sheet} is {wide} x {high} pixels, which tiles of side {side!r} do not fill"
        )
    return (wide // side) * (high // side)

"""Pictures of golden rows: a file of the set's folder, a tile of a sheet, or one held in memory.

    "cat.png"         the file
    "scans.png#17"    tile 17, from 0, of a sheet of square tiles, counted row by row
    Picture(...)      a picture made of one of these, under its name: it has no file

A set's manifest names its sheets and the side of their tiles: {"sheets": {"scans.png": 28}}. A
sheet is decoded once, however many of its tiles are asked for.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

MANIFEST = "manifest.json"
SHEETS = 8  # held decoded


class SheetError(ValueError):
    """A picture that a row names and its set does not hold."""


@dataclass(frozen=True)
class Picture:
    """A picture in memory (PIL's) that goes by the name of the one it was made of."""

    name: str
    image: Any

    def __str__(self) -> str:
        return self.name


def tile(name: str, folder: str | Path, side: int) -> Any:
    """Cut a tile, "scans.png#17", of `side` pixels out of its sheet, as a PIL picture in RGB.

    Raises SheetError for a sheet that is not there, is no multiple of the side, or has fewer tiles.
    """
    file, _, number = name.partition("#")
    if not (number.isascii() and number.isdigit()):
        raise SheetError(f"{name!r} names no tile; expected a number behind #: {file}#0")
    path = inside(file, folder)
    sheet = sheet_of(path)
    across, down = sheet.width // side, sheet.height // side
    if (across * side, down * side) != sheet.size:
        raise SheetError(
            f"{path} has {sheet.width} x {sheet.height} pixels, no multiple of tiles of {side}"
        )
    index = int(number)
    if index >= across * down:
        raise SheetError(f"{name!r}: the sheet has {across * down} tiles, 0 to {across * down - 1}")
    left, top = index % across * side, index // across * side
    return sheet.crop((left, top, left + side, top + side))


def picture(source: Any, folder: str | Path, sheets: Mapping[str, int]) -> Any:
    """Give a row's picture, as a PIL picture: a tile, a file's, or the one that is held in memory.

    `source` is a name, a Picture, or what an ImageProcessor reads: PIL's, or a uint8 array. Raises
    SheetError for a name that the set does not hold.
    """
    if isinstance(source, Picture):
        return source.image
    if not isinstance(source, str):
        from zoo.images.processor import as_picture

        return as_picture(source, 3)
    file = source.partition("#")[0]
    if "#" not in source:
        return sheet_of(inside(file, folder)).copy()
    if file not in sheets:
        raise SheetError(
            f"{source!r}: {file} is no sheet of {folder}; its manifest names {sorted(sheets)}"
        )
    return tile(source, folder, sheets[file])


def name_of(source: Any) -> str:
    """Name a row's picture; one without a name goes by what it is."""
    return str(source) if isinstance(source, str | Picture) else f"a {type(source).__name__}"


def sheets_of(folder: str | Path) -> dict[str, int]:
    """Read which sheets a set's manifest names, and their side; none without a manifest."""
    path = Path(folder) / MANIFEST
    if not path.is_file():
        return {}
    sheets = json.loads(path.read_text(encoding="utf-8")).get("sheets", {})
    for name, side in sheets.items():
        if type(side) is not int or side < 1:
            raise SheetError(f"{path}: sheet {name!r} has tiles of {side!r}; expected pixels")
    return dict(sheets)


def inside(name: str, folder: str | Path) -> Path:
    """Give the path of a file of the folder; raise SheetError for a name that leads elsewhere."""
    pure = PurePosixPath(name)
    path = Path(folder, *pure.parts)
    if pure.is_absolute() or ".." in pure.parts or not path.is_file():
        raise SheetError(f"{folder} holds no picture {name!r}")
    return path


def sheet_of(path: Path) -> Any:
    """Read a picture, or give the one that was read of these very bytes."""
    about = path.stat()
    return kept(path, about.st_mtime_ns, about.st_size)


def read_sheet(path: Path, changed: int, size: int) -> Any:
    from zoo.images import read_image  # needs Pillow, which is an extra

    return read_image(path)


kept = lru_cache(maxsize=SHEETS)(read_sheet)

"""Sheets of square tiles, and rows about them: what cutting a golden set of pictures takes.

A set's list (a TOML file of the set) says what is cut; a sheet is only written when its pixels
changed, since the same pixels have other bytes from another compressor.
"""

import json
import tomllib
from pathlib import Path

import numpy as np
from PIL import Image

from zoo.evaluate.rows import read_rows, write_rows


class Sheet:
    """Tiles that are laid row by row; a tile that is there already keeps its number."""

    def __init__(self, name, columns):
        self.name, self.columns = name, columns
        self.tiles, self.numbers = [], {}

    def add(self, tile):
        """Lay a tile and give its name."""
        key = tile.tobytes()
        if key not in self.numbers:
            self.numbers[key] = len(self.tiles)
            self.tiles.append(tile)
        return f"{self.name}#{self.numbers[key]}"

    def pixels(self):
        side, blank = len(self.tiles[0]), np.zeros_like(self.tiles[0])
        missing = -len(self.tiles) % self.columns
        rows = np.stack([*self.tiles, *[blank] * missing])
        rows = rows.reshape(-1, self.columns, *blank.shape)
        return np.concatenate([np.concatenate(list(row), 1) for row in rows]), side


def write_set(folder, subject, sheets, rows, perturbations):
    """Write sheets whose pixels changed, the rows, and the draft of a set not yet accepted."""
    sides = {}
    for sheet in sheets:
        pixels, sides[sheet.name] = sheet.pixels()
        path = folder / sheet.name
        if not path.exists() or not same(path, pixels):
            Image.fromarray(pixels).save(path, optimize=True)
            print(f"{path}: {len(sheet.tiles)} tiles, {path.stat().st_size:,} bytes, written")
    write_rows(folder / "rows.jsonl", rows)
    if not (folder / "manifest.json").exists():
        draft = {"subject": subject, "sheets": sides, "perturbations": perturbations}
        (folder / "draft.json").write_text(json.dumps(draft, indent=2) + "\n", encoding="utf-8")
    print(f"{len(read_rows(folder, sides))} rows of {folder}")


def same(path, pixels):
    with Image.open(path) as image:
        old = np.asarray(image)
    return old.shape == pixels.shape and bool((old == pixels).all())


def read_list(folder):
    """Read the set's list: what a person chose."""
    return tomllib.loads(Path(folder, f"{folder.name}.toml").read_text(encoding="utf-8"))


def row(id, task, segments, flags=(), **fields):
    """Make a line of rows.jsonl, without what is empty."""
    line = {"id": id, "task": task, "segments": list(dict.fromkeys(segments))}
    if flags:
        line["flags"] = sorted(flags)
    return line | fields

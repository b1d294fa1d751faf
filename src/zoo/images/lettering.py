"""Text on pictures: in the one font that Pillow brings along, so a sheet looks alike everywhere.

It has the letters of English. Accents are taken off what it lacks, and what is left stands as a
box.
"""

import unicodedata
from functools import lru_cache

from zoo.images.pillow import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
LONGEST = 2000  # characters of one text that are looked at
MISSING = "\U0010fffe"  # in no font
SPELLED = {"×": "x", "→": "->", "←": "<-", "–": "-", "—": "-", "−": "-", "▁": " ", "Ġ": " "}


@lru_cache(maxsize=64)
def font_of(size: int) -> Font:
    """Give Pillow's own font; an older, smaller one where Pillow came without FreeType."""
    return ImageFont.load_default(size)


@lru_cache(maxsize=4096)
def has(character: str) -> bool:
    """Tell whether the font has a letter: one that it lacks is drawn as one box."""
    font = font_of(20)
    if isinstance(font, ImageFont.ImageFont):
        return character.isascii()
    mask, box = font.getmask(character), font.getmask(MISSING)
    return mask.size != box.size or bytes(mask) != bytes(box)


def drawable(text: str) -> str:
    """Give a text in letters that the font has: no control characters, no half characters."""
    result = []
    for character in text[:LONGEST]:
        if character == "\n" or (character.isprintable() and has(character)):
            result.append(character)
        elif character.isspace():
            result.append(" ")
        else:
            box = MISSING if isinstance(font_of(20), ImageFont.FreeTypeFont) else "?"
            parts = unicodedata.normalize("NFKD", SPELLED.get(character, character))
            known = [part for part in parts if part.isprintable() and has(part)]
            silent = unicodedata.category(character) in ("Mn", "Cc", "Cf", "Me")
            result.append("".join(known) if known or silent else box)
    return "".join(result)


def wrapped(text: str, font: Font, width: int | float, lines: int) -> list[str]:
    """Break a text into at most so many lines of at most `width` pixels; `...` ends one cut short.

    Breaks stay where the text has them; a word that is too long for a line is cut.
    """
    result: list[str] = []
    for paragraph in drawable(text).splitlines():
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}" if line else word
            if font.getlength(longer) <= width:
                line = longer
                continue
            if line:
                result.append(line)
            line = word
            while font.getlength(line) > width and len(line) > 1:
                head = fitting(line, font, width)
                result.append(line[:head])
                line = line[head:]
        result.append(line)
    if len(result) > lines:
        result = result[:lines]
        result[-1] = shortened(result[-1] + "...", font, width, always=True)
    return result


def fitting(line: str, font: Font, width: int | float) -> int:
    """Count how many of a line's characters fit; at least one."""
    low, high = 1, len(line)
    while low < high:
        middle = (low + high + 1) // 2
        if font.getlength(line[:middle]) <= width:
            low = middle
        else:
            high = middle - 1
    return low


def shortened(line: str, font: Font, width: int | float, *, always: bool = False) -> str:
    """Cut a line to `width`, with `...` behind it."""
    if font.getlength(line) <= width:
        return line
    text = line.removesuffix("...") if always else line
    room = width - font.getlength("...")
    return text[: fitting(text, font, room)].rstrip() + "..."


def line_height(font: Font) -> int:
    """Give the distance from one line to the next, in pixels."""
    if isinstance(font, ImageFont.FreeTypeFont):
        return round(1.05 * sum(font.getmetrics()))
    return 13

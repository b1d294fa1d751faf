"""Pictures for people: sheets with captions, and where a model looks.

Colours are tables of a few stations with straight lines between them, taken from scales in which
equal steps look equal: inferno for heat over a picture, a light-to-dark red for heat under text.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from zoo.images.bounds import MAX_PIXELS, ImageError
from zoo.images.lettering import drawable, font_of, line_height, shortened, wrapped
from zoo.images.pillow import Image, ImageDraw
from zoo.images.processor import as_picture
from zoo.images.read import read_image

PAPER, INK, SOFT = (255, 255, 255), (28, 28, 30), (92, 92, 98)
GROUND, LINE = (247, 247, 249), (224, 224, 228)

# matplotlib's inferno (CC0), at ninths
INFERNO = (
    (0, 0, 4),
    (27, 12, 65),
    (74, 12, 107),
    (120, 28, 109),
    (165, 44, 96),
    (207, 68, 70),
    (237, 105, 37),
    (251, 155, 6),
    (247, 209, 61),
    (252, 255, 164),
)
# ColorBrewer's Reds, from white
REDS = ((255, 255, 255), (254, 224, 210), (252, 146, 114), (239, 59, 44), (165, 15, 21))


def contact_sheet(
    images: Sequence[Any],
    captions: Sequence[str],
    *,
    columns: int,
    title: str | None = None,
    cell: int = 192,
    lines: int = 2,
) -> Image.Image:
    """Lay pictures out in rows, each in a square of `cell` pixels with its caption below.

    Pictures are what an ImageProcessor takes; small ones are enlarged by whole steps. A caption has
    at most so many `lines`. Raises ImageError for counts that do not match, and for a sheet of more
    than MAX_PIXELS.
    """
    count = len(images)
    if count != len(captions):
        raise ImageError(f"{count} pictures and {len(captions)} captions; expected one for each")
    if not count or columns < 1 or cell < 16 or lines < 0:
        raise ImageError(
            f"{count} pictures in {columns} columns of {cell} pixels with {lines} lines; expected "
            "at least one picture and column, 16 pixels and no lines"
        )
    columns = min(columns, count)
    font, head = font_of(min(18, max(11, cell // 13))), font_of(min(30, max(16, cell // 8)))
    margin, gap = max(12, cell // 8), max(8, cell // 12)
    width = 2 * margin + columns * cell + (columns - 1) * gap
    texts = [wrapped(caption, font, cell, lines) for caption in captions]
    rows = [texts[start : start + columns] for start in range(0, count, columns)]
    # a row is as high as its longest caption
    heights = [cell + gap + max(map(len, row)) * line_height(font) for row in rows]
    titles = wrapped(title, head, width - 2 * margin, 2) if title else []
    top = margin + len(titles) * line_height(head) + (gap if titles else 0)
    sheet = page(width, top + sum(heights) + gap * (len(rows) - 1) + margin - gap // 2)
    draw = ImageDraw.Draw(sheet)
    write(draw, titles, (margin, margin), head, INK)
    for number, (image, text) in enumerate(zip(images, texts, strict=True)):
        row, column = divmod(number, columns)
        x = margin + column * (cell + gap)
        y = top + sum(heights[:row]) + gap * row
        shown = contained(picture_of(image), cell)
        draw.rectangle((x - 1, y - 1, x + cell, y + cell), GROUND, LINE)
        sheet.paste(shown, (x + (cell - shown.width) // 2, y + (cell - shown.height) // 2))
        for i, line in enumerate(text):
            place = (
                x + (cell - font.getlength(line)) / 2,
                y + cell + gap // 2 + i * line_height(font),
            )
            draw.text(place, line, SOFT, font)
    return sheet


def picture_of(image: Any) -> Image.Image:
    """Give what an ImageProcessor takes as a picture for people: alpha is laid over white."""
    if isinstance(image, Image.Image | np.ndarray):
        return as_picture(image, 3)
    return read_image(image, background=PAPER)


def page(width: int, height: int) -> Image.Image:
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"the picture would be {width} x {height}, more than {MAX_PIXELS:,} pixels; "
            "draw fewer things, or smaller ones"
        )
    return Image.new("RGB", (width, height), PAPER)


def write(draw: Any, lines: Sequence[str], at: tuple[int, int], font: Any, colour: Any) -> None:
    for i, line in enumerate(lines):
        draw.text((at[0], at[1] + i * line_height(font)), line, colour, font)


def contained(image: Image.Image, side: int) -> Image.Image:
    """Scale a picture to fit a square; a small one in whole steps, so its pixels stay square."""
    longest = max(image.size)
    if longest <= side // 2:
        step = side // longest
        return image.resize((image.width * step, image.height * step), Image.Resampling.NEAREST)
    scale = side / longest
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    return image.resize(size, Image.Resampling.LANCZOS)


def coloured(weights: Any, table: Sequence[tuple[int, int, int]]) -> Any:
    """Give the colour of each weight in 0..1, floats (..., 3)."""
    stations = np.linspace(0, 1, len(table))
    columns = np.array(table, dtype=np.float64).T
    return np.stack([np.interp(weights, stations, column) for column in columns], axis=-1)


def as_weights(weights: Any, axes: int) -> Any:
    """Give weights as an array; raise ImageError unless all are in 0..1."""
    if isinstance(weights, torch.Tensor):
        weights = weights.detach().double().cpu().numpy()
    array = np.asarray(weights, dtype=np.float64)
    if array.ndim != axes:
        raise ImageError(f"weights of shape {array.shape}; expected {axes} axes")
    if array.size and not (array.min() >= 0 and array.max() <= 1):
        raise ImageError(
            f"weights reach from {array.min():.4g} to {array.max():.4g}; scale them to 0..1"
        )
    return array


def heat(image: Any, weights: Any, *, smallest: int = 224, strength: float = 0.7) -> Image.Image:
    """Lay weights in 0..1 of a grid (rows, columns) over a picture: dark for 0, bright for 1.

    A picture that is less than `smallest` pixels wide or high is enlarged by a whole step first.
    Raises ImageError for weights that are not such a grid.
    """
    grid = as_weights(weights, 2)
    if not grid.size:
        raise ImageError(f"weights of shape {grid.shape} are no grid")
    picture = picture_of(image)
    step = -(-smallest // min(picture.size))
    if step > 1:
        page(picture.width * step, picture.height * step)
        size = (picture.width * step, picture.height * step)
        picture = picture.resize(size, Image.Resampling.NEAREST)
    small = Image.fromarray(grid.astype(np.float32))
    smooth = np.asarray(small.resize(picture.size, Image.Resampling.BICUBIC)).clip(0, 1)
    # in grey, so that no colour of the picture is taken for heat; the less heat, the clearer
    base = np.asarray(picture.convert("L"), dtype=np.float64)[..., None]
    share = strength * (0.4 + 0.6 * smooth)[..., None]
    mixed = (1 - share) * base + share * coloured(smooth, INFERNO)
    return Image.fromarray(np.round(mixed).astype(np.uint8))


def token_heat(
    tokens: Sequence[str],
    weights: Any,
    *,
    width: int = 720,
    size: int = 20,
    title: str | None = None,
) -> Image.Image:
    """Write tokens in lines of `width` pixels, each on a ground as red as its weight in 0..1.

    `size` is the font's, in pixels. Raises ImageError for counts that do not match.
    """
    each = as_weights(weights, 1)
    if len(tokens) != len(each):
        raise ImageError(f"{len(tokens)} tokens and {len(each)} weights; expected one for each")
    if size < 6 or width < 10 * size:
        raise ImageError(f"width {width} is too little for letters of {size}; expected 10 times it")
    font, head = font_of(size), font_of(round(1.2 * size))
    margin, pad, gap = size, max(3, size // 4), max(2, size // 6)
    inner = width - 2 * margin
    texts = [shortened(visible(token), font, inner - 2 * pad) for token in tokens]
    boxes, x, y = [], 0.0, 0
    tall = line_height(font) + pad
    for text in texts:
        wide = max(font.getlength(text), size / 3) + 2 * pad
        if x and x + wide > inner:
            x, y = 0.0, y + tall + 2 * gap
        boxes.append((x, y, wide))
        x += wide + gap
    titles = wrapped(title, head, inner, 2) if title else []
    top = margin + len(titles) * line_height(head) + (margin // 2 if titles else 0)
    strip = page(width, top + y + tall + margin)
    draw = ImageDraw.Draw(strip)
    write(draw, titles, (margin, margin), head, INK)
    for text, weight, (left, above, wide) in zip(texts, each, boxes, strict=True):
        colour = tuple(round(float(part)) for part in coloured(weight, REDS))
        corner = margin + left, top + above
        draw.rounded_rectangle((*corner, corner[0] + wide, corner[1] + tall), pad, colour, LINE)
        dark = sum(colour) < 384
        draw.text((corner[0] + pad, corner[1] + pad / 2), text, PAPER if dark else INK, font)
    return strip


def visible(token: str) -> str:
    """Give a token as one sees it: a break or a tab by its name, a space as nothing."""
    return drawable(token.replace("\n", "\\n").replace("\t", "\\t").replace("Ċ", "\\n")).strip()

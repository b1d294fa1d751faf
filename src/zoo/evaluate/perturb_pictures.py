"""What may be done to a picture without changing what it shows; grey values x are from 0 to 255.

    shift-1 shift-2   moved so many pixels to one of four sides; the edge behind it is repeated
    turn-10           turned by 10 degrees to one of two sides, bilinear, the edge repeated
    scale-0.9         made smaller, bilinear, in the middle of its own repeated edge
    thick thin        each pixel becomes the most, or least, inked of the 2 x 2 it is the first of
    noise-0.1         x + 0.1 * 255 z, z nearly normal, the same for all channels of a pixel
    blur              Gaussian, of a deviation of 0.8 pixels
    brighter darker   x + 0.15 * 255, x - 0.15 * 255
    contrast          127.5 + 0.6 (x - 127.5)
    jpeg-50           through a JPEG of quality 50
    grey              without colour

Ink is what is not paper: where the border of a picture is light in the mean, dark pixels are ink,
else light ones. All is rounded and kept within 0 to 255. Arrays are uint8 (height, width, 3).
"""

from io import BytesIO
from typing import Any

import numpy as np

from zoo.evaluate.draw import Draw

Pixels = Any  # a uint8 array (height, width, 3)
SIDES = ((0, 1), (0, -1), (1, 0), (-1, 0))  # (down, right)
DEGREES = 10.0
SCALE = 0.9
NOISE = 0.1  # of the range
BLUR = 0.8  # pixels
LIGHT = 0.15  # of the range
CONTRAST = 0.6
QUALITY = 50


def shift(pixels: Pixels, draw: Draw, count: int) -> Pixels:
    down, right = SIDES[draw.below(len(SIDES))]
    height, width = pixels.shape[:2]
    wide = with_edge(pixels, count, count)
    top, left = count - down * count, count - right * count
    return wide[top : top + height, left : left + width]


def shift_1(pixels: Pixels, draw: Draw) -> Pixels:
    return shift(pixels, draw, 1)


def shift_2(pixels: Pixels, draw: Draw) -> Pixels:
    return shift(pixels, draw, 2)


def turn(pixels: Pixels, draw: Draw) -> Pixels:
    from PIL import Image

    height, width = pixels.shape[:2]
    angle = (DEGREES, -DEGREES)[draw.below(2)]
    around = (height // 4 + 1, width // 4 + 1)  # more than a turn by ten degrees can reach
    wide = with_edge(pixels, *around)
    turned = np.asarray(Image.fromarray(wide).rotate(angle, Image.Resampling.BILINEAR))
    return turned[around[0] : around[0] + height, around[1] : around[1] + width]


def scale(pixels: Pixels, draw: Draw) -> Pixels:
    from PIL import Image

    height, width = pixels.shape[:2]
    size = (max(1, round(width * SCALE)), max(1, round(height * SCALE)))
    small = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR))
    top, left = (height - size[1]) // 2, (width - size[0]) // 2
    around = ((top, height - size[1] - top), (left, width - size[0] - left), (0, 0))
    return np.pad(small, around, mode="edge")


def thick(pixels: Pixels, draw: Draw) -> Pixels:
    return inked(pixels, most=True)


def thin(pixels: Pixels, draw: Draw) -> Pixels:
    return inked(pixels, most=False)


def inked(pixels: Pixels, *, most: bool) -> Pixels:
    """Take the most or the least inked of each 2 x 2 pixels."""
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    dark_ink = border.mean() > 127.5
    take = np.minimum if most == dark_ink else np.maximum
    wide = np.pad(pixels, ((0, 1), (0, 1), (0, 0)), mode="edge")
    return take(take(wide[:-1, :-1], wide[1:, :-1]), take(wide[:-1, 1:], wide[1:, 1:]))


def noise(pixels: Pixels, draw: Draw) -> Pixels:
    """Add the sum of four even bytes, made of mean 0 and deviation 1: its tails end at 3.5."""
    height, width = pixels.shape[:2]
    even = np.frombuffer(draw.data(4 * height * width), dtype=np.uint8).reshape(4, height, width)
    deviation = (4 * (256**2 - 1) / 12) ** 0.5
    z = (even.astype(np.float64).sum(0) - 4 * 127.5) / deviation
    return rounded(pixels + 255 * NOISE * z[..., None])


def blur(pixels: Pixels, draw: Draw) -> Pixels:
    from PIL import Image, ImageFilter

    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(BLUR)))


def brighter(pixels: Pixels, draw: Draw) -> Pixels:
    return rounded(pixels + 255 * LIGHT)


def darker(pixels: Pixels, draw: Draw) -> Pixels:
    return rounded(pixels - 255 * LIGHT)


def contrast(pixels: Pixels, draw: Draw) -> Pixels:
    return rounded(127.5 + CONTRAST * (pixels - 127.5))


def jpeg(pixels: Pixels, draw: Draw) -> Pixels:
    from PIL import Image

    held = BytesIO()
    Image.fromarray(pixels).save(held, "JPEG", quality=QUALITY)
    return np.asarray(Image.open(held).convert("RGB"))


def grey(pixels: Pixels, draw: Draw) -> Pixels:
    from PIL import Image

    return np.asarray(Image.fromarray(pixels).convert("L").convert("RGB"))


def with_edge(pixels: Pixels, rows: int, columns: int) -> Pixels:
    return np.pad(pixels, ((rows, rows), (columns, columns), (0, 0)), mode="edge")


def rounded(values: Any) -> Pixels:
    return values.round().clip(0, 255).astype(np.uint8)

"""Scans changed by a rule, and digits that nobody wrote: numbers and pictures only.

A scan is uint8 (28, 28), white on black; `number` is the scan's own, and all that noise depends on.
"""

import hashlib
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIDE = 28
SEGMENTS = {  # of a seven-segment display: top, upper left and right, middle, lower ..., bottom
    0: "abcefg", 1: "cf", 2: "acdeg", 3: "acdfg", 4: "bcdf",
    5: "abdfg", 6: "abdefg", 7: "acf", 8: "abcdefg", 9: "abcdfg",
}  # fmt: skip
BARS = {
    "a": (9, 4, 19, 7), "b": (8, 5, 11, 14), "c": (17, 5, 20, 14), "d": (9, 12, 19, 15),
    "e": (8, 13, 11, 23), "f": (17, 13, 20, 23), "g": (9, 21, 19, 24),
}  # fmt: skip
FONTS = {
    "sans": "DejaVuSans",
    "serif": "DejaVuSerif",
    "mono-bold": "DejaVuSansMono-Bold",
    "oblique": "DejaVuSans-Oblique",
}


def moved(scan, right, down):
    """Shift by whole pixels; black comes in."""
    return np.asarray(Image.fromarray(scan).transform((SIDE, SIDE), 0, (1, 0, -right, 0, 1, -down)))


def tilted(scan, degrees):
    return np.asarray(Image.fromarray(scan).rotate(degrees, Image.Resampling.BICUBIC))


def sized(scan, factor):
    """Scale about the middle."""
    middle = (SIDE - 1) / 2 * (1 - 1 / factor) + 0.5 * (1 - 1 / factor)
    matrix = (1 / factor, 0, middle, 0, 1 / factor, middle)
    size = (SIDE, SIDE)
    return np.asarray(Image.fromarray(scan).transform(size, 0, matrix, Image.Resampling.BILINEAR))


def blurred(scan):
    """Average with (1 2 1) / 4 both ways."""
    grid = np.pad(scan.astype(np.int64), 1)
    grid = grid[:-2] + 2 * grid[1:-1] + grid[2:]
    return ((grid[:, :-2] + 2 * grid[:, 1:-1] + grid[:, 2:] + 8) // 16).astype(np.uint8)


def scaled(scan, percent):
    return np.minimum(255, scan.astype(np.int64) * percent // 100).astype(np.uint8)


def thicker(scan):
    """Give each pixel three quarters of its brightest neighbour at least."""
    near = [moved(scan, *step) for step in ((0, 1), (1, 0), (0, -1), (-1, 0))]
    return np.maximum(scan, (np.max(near, 0).astype(np.int64) * 3 // 4).astype(np.uint8))


def thinner(scan):
    """Give each pixel its own brightness or, where a neighbour is dark, less."""
    near = np.min([moved(scan, *step) for step in ((0, 1), (1, 0), (0, -1), (-1, 0))], 0)
    return ((scan.astype(np.int64) * 3 + near) // 4).astype(np.uint8)


def noise(number, count):
    """Give bytes (28, 28) that depend on a number alone, from 0 to below `count`."""
    seeds = (
        hashlib.sha256(f"{number} {i}".encode()).digest() for i in range(SIDE * SIDE // 32 + 1)
    )
    data = np.frombuffer(b"".join(seeds), np.uint8)[: SIDE * SIDE]
    return (data.astype(np.int64) * count // 256).reshape(SIDE, SIDE)


def grained(scan, number):
    """Add up to 24 of 255 to every pixel, as a poor scanner does."""
    return np.minimum(255, scan + noise(number, 25)).astype(np.uint8)


def peppered(scan, number):
    """Turn a pixel of twenty white, and one of twenty black."""
    chance = noise(number, 20)
    return np.where(chance == 0, 255, np.where(chance == 1, 0, scan)).astype(np.uint8)


def stroke(scan, points, radius=1.1):
    """Draw a pen's line through points x, y, x, y, ..."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float64)
    result = scan.astype(np.float64)
    corners = list(zip(points[::2], points[1::2], strict=True))
    for (x0, y0), (x1, y1) in pairwise(corners):
        length = max(1e-9, (x1 - x0) ** 2 + (y1 - y0) ** 2)
        along = (((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length).clip(0, 1)
        distance = np.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0))
        result = np.maximum(result, 255 * (radius + 0.5 - distance).clip(0, 1))
    return result.astype(np.uint8)


def erased(scan, box):
    left, top, right, bottom = box
    result = scan.copy()
    result[top:bottom, left:right] = 0
    return result


def printed(font, digit):
    """Draw a digit of a font, 20 pixels high, in the middle."""
    from matplotlib import get_data_path

    file = Path(get_data_path(), "fonts", "ttf", f"{FONTS[font]}.ttf")
    image = Image.new("L", (SIDE, SIDE))
    ImageDraw.Draw(image).text((14, 14), str(digit), 255, ImageFont.truetype(file, 26), anchor="mm")
    return np.asarray(image)


def displayed(digit):
    """Draw a digit as a seven-segment display shows it."""
    result = np.zeros((SIDE, SIDE), np.uint8)
    for bar in SEGMENTS[digit]:
        left, top, right, bottom = BARS[bar]
        result[top:bottom, left:right] = 255
    return result


def beside(scan, other):
    """Put two digits side by side, each half as wide."""
    both = Image.fromarray(np.concatenate([scan, other], 1))
    return np.asarray(both.resize((SIDE, SIDE), Image.Resampling.BILINEAR))

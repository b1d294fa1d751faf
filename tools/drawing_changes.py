"""Drawings changed by a rule. A drawing is uint8 (64, 64, 3) on white paper."""

import numpy as np
from PIL import Image

WHITE = 255
COLOURFUL = 40  # difference of a pixel's largest and smallest part, from which it has a colour


def moved(drawing, right, down):
    """Shift by whole pixels; paper comes in."""
    side = len(drawing)
    image = Image.fromarray(drawing)
    matrix = (1, 0, -right, 0, 1, -down)
    return np.asarray(image.transform((side, side), 0, matrix, fillcolor=(WHITE,) * 3))


def smaller(drawing, factor):
    """Scale about the middle."""
    side = len(drawing)
    inner = round(side * factor)
    image = Image.fromarray(drawing).resize((inner, inner), Image.Resampling.BICUBIC)
    paper = Image.new("RGB", (side, side), "white")
    paper.paste(image, ((side - inner) // 2, (side - inner) // 2))
    return np.asarray(paper)


def on_grey(drawing):
    """Draw on paper that is not quite white."""
    return (drawing.astype(np.int64) * 243 // 255).astype(np.uint8)


def flipped(drawing):
    return np.ascontiguousarray(drawing[:, ::-1])


def upside_down(drawing):
    return np.ascontiguousarray(drawing[::-1])


def greyed(drawing):
    grey = drawing.astype(np.int64) @ np.array([299, 587, 114]) // 1000
    return np.repeat(grey[..., None], 3, -1).astype(np.uint8)


def recoloured(drawing, colour):
    """Fill what has a colour with another one, RRGGBB; lines and greys stay."""
    spread = drawing.max(-1).astype(np.int64) - drawing.min(-1)
    share = (spread / COLOURFUL).clip(0, 1)[..., None]
    new = np.array([int(colour[i : i + 2], 16) for i in (0, 2, 4)])
    return np.round(drawing + share * (new - drawing.astype(np.float64))).astype(np.uint8)


def covered(drawing):
    """Lay white paper over the lower half."""
    result = drawing.copy()
    result[len(drawing) // 2 :] = WHITE
    return result


def blank(drawing):
    return np.full_like(drawing, WHITE)

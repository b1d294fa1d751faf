"""Each picture a little other in every epoch: turned, enlarged, moved, mirrored, recoloured.

    place   x_in = larger (mirror cos -sin; mirror sin cos) x_out + shift, bilinear, from -1 to 1
    colour  in pixels from 0 to 1: brightness, then contrast about the picture's mean grey, then
            saturation about each pixel's grey, each times 1 + colour u, cut to 0 to 1

u are draws from -1 to 1, DRAWS of them a picture; the grey is ITU-R 601's.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

DRAWS = 8  # numbers that a view needs
GREY = (0.299, 0.587, 0.114)


@dataclass(frozen=True, kw_only=True)
class View:
    """How far at most a picture is turned (degrees), enlarged or shrunk, moved (shares of its
    side) and recoloured (a share)."""

    turn: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    flip: bool = False  # whether half of them are mirrored
    colour: float = 0.0

    def __post_init__(self) -> None:
        check_view(self)


def check_view(view: View) -> None:
    """Raise ValueError for a distance below 0, or a share above all."""
    for name in ("turn", "scale", "shift", "colour"):
        if not getattr(view, name) >= 0:
            raise ValueError(f"{name} is {getattr(view, name)}; expected 0 or more")
    if view.scale >= 1 or view.colour > 1:
        raise ValueError(
            f"scale {view.scale} and colour {view.colour} are shares; expected below 1"
        )


def viewed(
    images: Float[Tensor, "b c y x"],
    draws: Float[Tensor, "b k"],
    view: View,
    low: Float[Tensor, " c"],
    high: Float[Tensor, " c"],
) -> Float[Tensor, "b c y x"]:
    """Give each image as its draws, from 0 up to 1, say; a view of nothing changes no bit.

    `low` and `high` are what the darkest and the lightest pixel of a channel are here.
    """
    signed = (2 * draws - 1).to(images.dtype)
    if view.turn or view.scale or view.shift or view.flip:
        images = moved(images, signed[:, :5], view)
    if view.colour:
        images = recoloured(images, signed[:, 5:8], view.colour, low, high)
    return images


def moved(
    images: Float[Tensor, "b c y x"], draws: Float[Tensor, "b 5"], view: View
) -> Float[Tensor, "b c y x"]:
    """Turn, enlarge, move and mirror; what comes in from outside is as the nearest pixel inside.

    In a picture that is no square a turn is one of pixels, not of shares of its sides.
    """
    angle, larger, right, down, side = draws.unbind(1)
    angle, larger = angle * math.radians(view.turn), 1 + view.scale * larger
    cos, sin = larger * angle.cos(), larger * angle.sin()
    mirror = torch.where(side < 0, -1.0, 1.0) if view.flip else torch.ones_like(side)
    height, width = images.shape[2:]
    rows = (
        torch.stack([mirror * cos, -sin * height / width, 2 * view.shift * right], 1),
        torch.stack([mirror * sin * width / height, cos, 2 * view.shift * down], 1),
    )
    where = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return F.grid_sample(images, where, padding_mode="border", align_corners=False)


def recoloured(
    images: Float[Tensor, "b c y x"],
    draws: Float[Tensor, "b 3"],
    most: float,
    low: Float[Tensor, " c"],
    high: Float[Tensor, " c"],
) -> Float[Tensor, "b c y x"]:
    """Change brightness, contrast and, of coloured pictures, saturation."""
    scale = (high - low)[:, None, None]
    pixels = (images - low[:, None, None]) / scale
    bright, contrast, colourful = (1 + most * draws)[..., None, None, None].unbind(1)
    pixels = (pixels * bright).clamp(0, 1)
    middle = grey(pixels).mean((2, 3), keepdim=True)
    pixels = (middle + contrast * (pixels - middle)).clamp(0, 1)
    shade = grey(pixels)
    pixels = (shade + colourful * (pixels - shade)).clamp(0, 1)
    return pixels * scale + low[:, None, None]


def grey(pixels: Float[Tensor, "b c y x"]) -> Float[Tensor, "b 1 y x"]:
    if pixels.shape[1] == 1:
        return pixels
    return (pixels * pixels.new_tensor(GREY)[:, None, None]).sum(1, keepdim=True)

"""Each picture a little other whenever a lesson shows it."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class View:
    """How far at most an image is turned (degrees), enlarged and moved (shares of its side)."""

    turn: float
    scale: float
    shift: float
    flip: bool = False  # whether half of them are mirrored


def moved(
    images: Float[Tensor, "b c y x"], size: tuple[int, int], generator: torch.Generator, view: View
) -> Float[Tensor, "b c h w"]:
    """Turn, enlarge and move each image by its own chance, and give it in `size`.

    What comes in from outside is 0.
    """
    angle, larger, right, down, side = 2 * torch.rand(5, len(images), generator=generator) - 1
    angle, larger = angle * math.radians(view.turn), 1 + view.scale * larger
    cos, sin = larger * angle.cos(), larger * angle.sin()
    mirror = torch.where(side < 0, -1.0, 1.0) if view.flip else torch.ones_like(side)
    rows = (
        torch.stack([mirror * cos, -sin, 2 * view.shift * right], 1),
        torch.stack([mirror * sin, cos, 2 * view.shift * down], 1),
    )
    shape = [*images.shape[:2], *size]
    where = torch.nn.functional.affine_grid(torch.stack(rows, 1), shape, align_corners=False)
    return torch.nn.functional.grid_sample(images, where, align_corners=False)

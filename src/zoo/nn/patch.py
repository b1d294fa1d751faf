"""From pixels to tokens: patches through a linear map, tokens before them, positions of any grid.

Positions are a table of the tokens before the patches (some or all of them) and then of the patches
row by row. For another grid the table is resized along each axis by itself: bicubic interpolation
is separable, so it is one matrix for the rows and one for the columns.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from zoo import ops
from zoo.nn.basic import Linear

Pair = tuple[int, int]  # (height, width)


class Patches(Linear):
    """A linear map of each patch (Dosovitskiy et al. 2020, equation 1)."""

    def __init__(self, channels: int, patch: Pair, width: int, *, bias: bool = True) -> None:
        super().__init__(channels * patch[0] * patch[1], width, bias=bias)
        self.patch = patch

    def forward(self, images: Float[Tensor, "b c y x"]) -> Float[Tensor, "b p d"]:
        return super().forward(ops.patches(images, self.patch))

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, patch={self.patch}"


def grid_of(image: Pair, patch: Pair) -> Pair:
    """Count the patches down and across."""
    return image[0] // patch[0], image[1] // patch[1]


def check_pixels(
    pixels: Tensor, *, channels: int, image: Pair, patch: Pair, interpolate: bool
) -> Pair:
    """Give the grid of patches; raise unless `pixels` are images that the model can read."""
    shape = tuple(pixels.shape)
    if pixels.dim() != 4 or shape[1] != channels:
        raise ValueError(
            f"pixel_values has shape {shape}; expected (batch, {channels}, height, width): "
            "for one image, pass pixels[None]"
        )
    if not pixels.is_floating_point():
        raise TypeError(
            f"pixel_values is {pixels.dtype}; expected floating point, scaled and normalised as "
            "the checkpoint's preprocessor_config.json says: see zoo.images.ImageProcessor"
        )
    size = (shape[2], shape[3])
    if size != image and not interpolate:
        raise ValueError(
            f"pixel_values are {size[0]}×{size[1]}, the model reads {image[0]}×{image[1]}: resize "
            "them, or pass interpolate=True to resize the positions"
        )
    if any(side < step or side % step for side, step in zip(size, patch, strict=True)):
        raise ValueError(
            f"pixel_values are {size[0]}×{size[1]}, no multiple of the patch {patch[0]}×{patch[1]}"
        )
    return grid_of(size, patch)


def positions_for(
    table: Float[Tensor, "q d"], held: Pair, wanted: Pair, *, antialias: bool
) -> Float[Tensor, "r d"]:
    """Resize the patches' share of a table of positions, made for the grid `held`, to `wanted`.

    What comes before the patches stays. `antialias` is timm's way (Catmull-Rom, a = -0.5, widened
    when it shrinks); without it Hugging Face's (a = -0.75, four neighbours).
    """
    if held == wanted:
        return table
    before = table.shape[0] - held[0] * held[1]
    down = resizing(held[0], wanted[0], antialias).to(table.device)
    across = resizing(held[1], wanted[1], antialias).to(table.device)
    wide = table[before:].unflatten(0, held)
    wide = wide.float() if wide.dtype in (torch.float16, torch.bfloat16) else wide
    resized = torch.einsum("yh,xw,hwd->yxd", down.to(wide.dtype), across.to(wide.dtype), wide)
    return torch.cat([table[:before], resized.flatten(0, 1).to(table.dtype)])


def resizing(held: int, wanted: int, antialias: bool) -> Float[Tensor, "w h"]:
    """Give the matrix of bicubic interpolation along one axis: it resizes each unit vector."""
    units = torch.eye(held, dtype=torch.float64)[None, None]
    size = (wanted, held)
    return F.interpolate(
        units, size=size, mode="bicubic", align_corners=False, antialias=antialias
    )[0, 0]


def with_prefix(
    patches: Float[Tensor, "b p d"], *prefix: Float[Tensor, "... d"]
) -> Float[Tensor, "b t d"]:
    """Put the same tokens before every row of patches."""
    b, _, d = patches.shape
    tokens = [token.reshape(-1, d).expand(b, -1, -1) for token in prefix]
    return torch.cat([*tokens, patches], 1)

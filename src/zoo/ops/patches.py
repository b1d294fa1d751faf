"""An image as rows of patches, and rows of patches as an image: each is the other's transpose.

    patches     (c, gh ph, gw pw) -> (gh gw, c ph pw)
                y[(i, j), (k, u, v)] = x[k, i ph + u, j pw + v]
    unpatches   the same numbers back

Both only move numbers: a permutation P, whose gradient is its transpose and whose transpose is its
inverse. Inside a row the order is that of a convolution's kernel (c, ph, pw), flattened.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function

from zoo.ops._function import check_float, no_autocast, run

Pair = tuple[int, int]


def patches_forward(x: Tensor, patch: Pair) -> Tensor:
    """Cut (..., c, y, x) into (..., gh gw, c ph pw)."""
    y, w = x.shape[-2], x.shape[-1]
    tiles = x.view(*x.shape[:-2], y // patch[0], patch[0], w // patch[1], patch[1])
    moved = tiles.movedim((-4, -2), (-5, -4))  # (..., gh, gw, c, ph, pw)
    rows, size = moved.shape[-5] * moved.shape[-4], moved.shape[-3] * patch[0] * patch[1]
    return copied(moved).view(*x.shape[:-3], rows, size)


def unpatches_forward(rows: Tensor, patch: Pair, grid: Pair) -> Tensor:
    """Put (..., gh gw, c ph pw) together to (..., c, gh ph, gw pw)."""
    channels = rows.shape[-1] // (patch[0] * patch[1])
    tiles = rows.view(*rows.shape[:-2], *grid, channels, *patch)
    moved = tiles.movedim((-5, -4), (-4, -2))  # (..., c, gh, ph, gw, pw)
    return copied(moved).view(*rows.shape[:-2], channels, grid[0] * patch[0], grid[1] * patch[1])


def copied(x: Tensor) -> Tensor:
    """Copy once into rows that lie one after the other; never a view of what came in."""
    return x.clone(memory_format=torch.contiguous_format)


class Patches(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, patch: Pair) -> Tensor:
        return patches_forward(x, patch)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        x, ctx.patch = inputs
        ctx.grid = (x.shape[-2] // ctx.patch[0], x.shape[-1] // ctx.patch[1])

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        with no_autocast(dy):
            return unpatches_forward(dy, ctx.patch, ctx.grid), None

    @staticmethod
    def tangent(ctx: Any, t: Tensor, _: None) -> Any:
        return patches_forward(t, ctx.patch)


class Unpatches(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(rows: Tensor, patch: Pair, grid: Pair) -> Tensor:
        return unpatches_forward(rows, patch, grid)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        _, ctx.patch, ctx.grid = inputs

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        with no_autocast(dy):
            return patches_forward(dy, ctx.patch), None, None

    @staticmethod
    def tangent(ctx: Any, t: Tensor, *_: None) -> Any:
        return unpatches_forward(t, ctx.patch, ctx.grid)


def patches(images: Float[Tensor, "*b c y x"], patch: Pair) -> Float[Tensor, "*b p k"]:
    """Cut images into patches of (height, width) pixels: rows from the top left, row by row.

    Raises ValueError for an image that is no multiple of the patch.
    """
    check_float("patches", images=images)
    check_pair("patches", "patch", patch, 1)
    if images.ndim < 3:
        shape = tuple(images.shape)
        raise ValueError(f"patches: {shape} is no image; give (..., c, height, width)")
    if images.shape[-2] % patch[0] or images.shape[-1] % patch[1]:
        size = tuple(images.shape[-2:])
        raise ValueError(
            f"patches: images of {size} are no multiple of the patch {tuple(patch)}; "
            "crop or resize them"
        )
    return run(Patches, images, (patch[0], patch[1]))


def unpatches(rows: Float[Tensor, "*b p k"], patch: Pair, grid: Pair) -> Float[Tensor, "*b c y x"]:
    """Put patches of (height, width) pixels together to images of `grid` (down, across) patches.

    Raises ValueError for rows that are no patches, or not as many as the grid has.
    """
    check_float("unpatches", rows=rows)
    check_pair("unpatches", "patch", patch, 1)
    check_pair("unpatches", "grid", grid, 0)
    if rows.ndim < 2 or rows.shape[-2] != grid[0] * grid[1]:
        raise ValueError(
            f"unpatches: rows {tuple(rows.shape)} do not fill the grid {tuple(grid)}; "
            f"give (..., {grid[0] * grid[1]}, c height width)"
        )
    if rows.shape[-1] % (patch[0] * patch[1]):
        raise ValueError(
            f"unpatches: rows of {rows.shape[-1]} hold no patches of {tuple(patch)}; "
            f"give a multiple of {patch[0] * patch[1]}"
        )
    return run(Unpatches, rows, (patch[0], patch[1]), (grid[0], grid[1]))


def check_pair(op: str, name: str, pair: Pair, least: int) -> None:
    """Refuse what is not two sizes."""
    if len(pair) != 2 or any(size < least for size in pair):
        raise ValueError(f"{op}: {name} is {pair}; give (height, width) from {least}")

"""The fixed inputs of a probe, made by formulas from a config: no stream of random numbers is kept.

ids (2, t)              spread over the vocabulary; the second row is shorter and padded
pixels (1, c, y, x)     a wave of unit variance, of a few patches where a picture has many
"""

import math
from typing import Any

import torch
from torch import Tensor

TOKENS, SHORT = 9, 6  # tokens of two rows; the second is padded
PATCHES = 64  # a picture of more is cut to GRID, so that a probe stays cheap
GRID = (5, 7)


def inputs_of(model: Any) -> dict[str, Tensor]:
    """Make the batch that a model reads: ids of two rows, and pixels of one picture, in float64."""
    c = model.config
    batch: dict[str, Tensor] = {}
    if reads(model):
        batch |= texts_for(c)
    if sees(model):
        batch["pixel_values"] = pixels_for(c)
    return batch


def reads(model: Any) -> bool:
    return hasattr(model, "tokens") or hasattr(model, "text")


def sees(model: Any) -> bool:
    return hasattr(model, "patch") or hasattr(model, "image")


def texts_for(config: Any) -> dict[str, Tensor]:
    """Spread ids over the vocabulary; the second row is shorter, and CLIP's end with the end."""
    tokens = min(TOKENS, config.context)
    short = min(SHORT, tokens)
    count = torch.arange(2 * tokens, device="cpu").view(2, tokens)
    ids = (1 + 7919 * count * count + 31 * count) % config.vocab
    mask = torch.ones_like(ids)
    mask[1, short:] = 0
    end, pad = getattr(config, "end", None), getattr(config, "pad", None)
    for special in (end, pad):
        if special is not None:
            ids = torch.where(ids == special, (special + 1) % config.vocab, ids)
    if end is not None:
        ids[0, -1] = ids[1, short - 1] = end
    ids = ids * mask  # what is padding counts for nothing
    batch = {"input_ids": ids, "attention_mask": mask}
    if hasattr(config, "types"):
        batch["token_type_ids"] = (count % tokens > tokens // 2).long() % config.types
    return batch


def pixels_for(config: Any) -> Tensor:
    """Make a picture of unit variance; a large one is cut to a few patches."""
    down, across = config.grid
    if down * across > PATCHES:
        down, across = min(down, GRID[0]), min(across, GRID[1])
    shape = (1, config.channels, down * config.patch[0], across * config.patch[1])
    return wave(math.prod(shape), 0).view(shape)


def wave(count: int, draw: int) -> Tensor:
    """Make numbers of unit variance that no stream of random numbers has to be kept for."""
    place = torch.arange(count, dtype=torch.float64, device="cpu")
    return 2**0.5 * torch.sin(1 + draw + (1.7 + 0.13 * draw) * place)

"""A start for an encoder that shall learn to fill in: heads that look at a word's neighbours.

A masked token knows only what attention brings it, and heads that begin at random look everywhere
alike; a small BERT takes thousands of steps to find out that the next word matters more than the
others. So the heads of the first block may begin by looking at the tokens 1 and 2 places away, left
and right, and training goes on from there. Nothing but fresh weights is touched: the checkpoint is
an ordinary one.

    positions   cos(f_j i), sin(f_j i) in the first n columns, in which tokens begin near 0
    k = x       q = x turned by the offset o:     q_i . k_j ~ sum_f cos(f (i + o - j)), largest at
                                                  j = i + o

The angles f are spread over (0, pi), so that no other offset comes near. The turning is that of
rotary embeddings (Su et al. 2021, arXiv:2104.09864), here as weights that are learnt on.
"""

import math
from typing import Any

import torch

OFFSETS = (-1, 1, -2, 2)  # of a block's heads, again from the first where there are more
SIZE = 0.03  # of a position's waves; tokens have deviation 0.02
QUIET = 0.1  # what is left of other numbers in the columns of the waves
PHASE = 0.618034  # angles are no simple shares of a turn: waves never all meet again


def look_near_(model: Any) -> None:
    """Let the first block's heads begin at the neighbours; all weights must be fresh.

    Raises ValueError for a model without learnt positions for its tokens (`positions`).
    """
    if model.spec.name != "bert":
        raise ValueError(
            f"heads that begin at the neighbours are a BERT's, not a {model.spec.name}'s"
        )
    width, heads = model.config.width, model.config.heads
    size = width // heads // 2 * 2
    waves = size // 2
    angles = math.pi * (torch.arange(waves) + torch.arange(1, waves + 1) * PHASE % 1) / waves
    turns = torch.arange(model.config.context)[:, None] * angles
    block = model.blocks[0]
    with torch.no_grad():
        model.tokens.weight[:, :size] *= QUIET
        model.types.weight[:, :size] = 0
        model.positions.weight *= QUIET
        model.positions.weight[:, :waves] = SIZE * turns.cos()
        model.positions.weight[:, waves:size] = SIZE * turns.sin()
        q, k, v = block.attn.qkv.weight.view(3, heads, width // heads, width)
        for head in range(heads):
            q[head], k[head] = turned(OFFSETS[head % len(OFFSETS)] * angles, q[head].shape)
        for weight in (v, block.attn.out.weight):
            weight *= width**-0.5 / weight.std()


def turned(angles: torch.Tensor, shape: torch.Size) -> tuple[torch.Tensor, torch.Tensor]:
    """Give a head's weights for q, which turn each wave by its angle, and for k, which do not."""
    q, k = torch.zeros(shape), torch.zeros(shape)
    waves = len(angles)
    i = torch.arange(waves)
    k[i, i] = k[waves + i, waves + i] = 1.0
    q[i, i] = q[waves + i, waves + i] = angles.cos()
    q[i, waves + i], q[waves + i, i] = -angles.sin(), angles.sin()
    return q, k

"""The global generators of a step: what it draws depends on nothing before it."""

import random

import numpy as np
import torch

from zoo.data.order import seed_of

DROPS = 1  # seed_of's third number for what a step drops; the loader's draws have another


def seed_all(seed: int, step: int, rank: int) -> None:
    """Seed every global generator: what a step draws depends on nothing before it."""
    mixed = seed_of(seed, step, DROPS, rank)
    torch.manual_seed(mixed)
    np.random.seed(mixed % 2**32)
    random.seed(mixed)

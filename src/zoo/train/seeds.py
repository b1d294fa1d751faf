"""The global generators of a step: what it draws depends on nothing before it."""

from zoo.data.order import seed_of
from zoo.testing import guard

DROPS = 1  # seed_of's third number for what a step drops; the loader's draws have another


def seed_all(seed: int, step: int, rank: int) -> None:
    """Seed every global generator: what a step draws depends on nothing before it."""
    guard.seed_all(seed_of(seed, step, DROPS, rank))

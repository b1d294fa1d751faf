"""Which samples a step takes, and the seeds of everything random: pure functions of the step.

    mix(z)   = SplitMix64's finaliser (Steele, Lea and Flood 2014): a bijection of 64 bits
    seed_of  : h <- mix(h + GOLDEN + n) for each number n in turn, and the upper 63 bits of h
    order    : epoch e takes the samples as randperm(count) gives them, seeded by (seed, e)

Nothing is remembered from step to step, so a run may go on at any step, on any number of processes.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

GOLDEN = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio, SplitMix64's stride
FULL = 2**64 - 1
FACTORS = (30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)

# what a seed is for; large, so that no rank or worker number that others mix in is the same
ORDER, DRAWS = (int.from_bytes(word, "big") for word in (b"order", b"draws"))


def seed_of(seed: int, step: int, *more: int) -> int:
    """Mix numbers, taken as 64 bits each, into one seed of 63 bits.

    Numbers next to each other give unrelated seeds; so do the same numbers in another order, or
    followed by a zero. It is the same on every machine and in every process.
    """
    mixed = 0
    for number in (seed, step, *more):
        mixed = (mixed + GOLDEN + number) & FULL
        for shift, factor in FACTORS:
            mixed = ((mixed ^ (mixed >> shift)) * factor) & FULL
        mixed ^= mixed >> 31
    return mixed >> 1


def uniform(seeds: Int[Tensor, " n"], count: int, skip: int = 0) -> Any:
    """Draw from 0 up to 1: `count` numbers a seed, after the first `skip`; float64 (n, count).

    Each seed has a stream of its own, SplitMix64's, and number i of it is computed from (seed, i)
    alone: a row's draws need not know how long the others are.
    """
    places = np.arange(skip + 1, skip + count + 1, dtype=np.uint64) * np.uint64(GOLDEN)
    mixed = seeds.numpy().astype(np.uint64)[:, None] + places
    for shift, factor in FACTORS:
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(11)) * 2.0**-53


class Order:
    """Endless epochs over `count` samples, each once an epoch, in batches of `batch`.

    A batch may begin in one epoch and end in the next (or later, where it is larger than an epoch).
    With `whole` an epoch's rest that fills no batch is left out, so no batch holds a sample twice.
    Raises ValueError for numbers that make no batch.
    """

    def __init__(self, count: int, batch: int, seed: int, whole: bool = False) -> None:
        if count < 1:
            raise ValueError(f"{count} samples make no batch: give at least one")
        if batch < 1:
            raise ValueError(f"a batch of {batch} is none: give at least 1")
        if whole and batch > count:
            raise ValueError(
                f"a batch of {batch} from {count} samples would hold one twice: take a batch of at "
                f"most {count}, give more samples, or pass whole=False"
            )
        self.count, self.batch, self.seed, self.whole = count, batch, seed, whole
        self.epoch_size = count // batch * batch if whole else count  # samples that an epoch takes
        self.last: tuple[int, Tensor] = (-1, torch.empty(0, dtype=torch.int64))

    def at(self, step: int) -> Int[Tensor, " b"]:
        """Give the sample numbers of a step, counted from 0."""
        epoch, place = self.progress(step)
        parts = []
        left = self.batch
        while left:
            part = self.permutation(epoch)[place : min(place + left, self.epoch_size)]
            parts.append(part)
            left -= len(part)
            epoch, place = epoch + 1, 0
        return torch.cat(parts)

    def progress(self, step: int) -> tuple[int, int]:
        """Give the epoch that a step begins in, and how many of its samples were taken before."""
        if step < 0:
            raise ValueError(f"step {step}: steps are counted from 0")
        return divmod(step * self.batch, self.epoch_size)

    def permutation(self, epoch: int) -> Int[Tensor, " n"]:
        """Give an epoch's order, 8 bytes a sample; the last one is kept."""
        known, order = self.last  # read once: another thread may be asking as well
        if known != epoch:
            generator = torch.Generator().manual_seed(seed_of(self.seed, epoch, ORDER))
            order = torch.randperm(self.count, generator=generator)
            self.last = (epoch, order)
        return order

"""The rows kept back are judged alike on any number of processes."""

import pytest
import torch

from zoo.train.judge import part_of, plain_batches
from zoo.train.world import World


@pytest.mark.parametrize("rows", [1, 4, 7, 12])
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_the_parts_of_all_processes_weigh_each_row_once(rows, size):
    weights = torch.zeros(rows, dtype=torch.float64)
    for rank in range(size):
        own, weight = part_of(rows, World(rank=rank, size=size))
        assert 0 < len(weights[own]) <= rows  # FSDP2 needs all processes in every forward
        weights[own] += weight
    torch.testing.assert_close(weights, torch.ones(rows, dtype=torch.float64))


BATCHES = {
    "all": (10, 4, False, [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]),
    "some": (5, 4, False, [[0, 1, 2, 3], [4]]),
    "whole ones": (10, 4, True, [[0, 1, 2, 3], [4, 5, 6, 7]]),
    "the only one": (3, 4, True, [[0, 1, 2]]),
    "more than there are": (99, 5, False, [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]),
}


@pytest.mark.parametrize("what", BATCHES)
def test_rows_come_in_their_order(what):
    rows, size, whole, expected = BATCHES[what]
    batches = [*plain_batches(range(10), rows=rows, size=size, seed=3, whole=whole)]
    assert [chosen.tolist() for chosen, _ in batches] == expected
    seeds = [generator.initial_seed() for _, generator in batches]
    again = plain_batches(range(10), rows=rows, size=size, seed=3, whole=whole)
    assert [generator.initial_seed() for _, generator in again] == seeds
    assert len({*seeds}) == len(seeds)

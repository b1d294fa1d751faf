"""Pictures against damage, at length: each mutant is read, or refused by one error."""

import pytest

from unit.images.fuzz import fuzz


def test_damage_by_chance_is_read_or_refused():
    read, refused, slowest = fuzz(2000, seed=1)
    assert read > 150 and refused > 1000 and slowest < 1


@pytest.mark.scheduled
@pytest.mark.parametrize("seed", range(2, 12))
def test_damage_by_chance_is_read_or_refused_500_000_times(seed):
    read, refused, slowest = fuzz(50_000, seed=seed)
    assert read > 4000 and refused > 25_000 and slowest < 1

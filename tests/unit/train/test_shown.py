"""What is counted and when something is due."""

import pytest
import torch

from zoo.train.shown import due, units

IDS = torch.ones(2, 5, dtype=torch.long)
MASK = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 0]])
COUNTED = {
    "tokens without padding": ([{"input_ids": IDS}], "tokens", 10),
    "real tokens": ([{"input_ids": IDS, "attention_mask": MASK}] * 2, "tokens", 14),
    "texts": ([{"input_ids": IDS, "attention_mask": MASK}], "texts", 2),
    "images": ([{"pixel_values": torch.ones(3, 1, 2, 2)}] * 2, "images", 6),
    "pairs": ([{"input_ids": IDS, "pixel_values": torch.ones(2, 1, 2, 2)}], "pairs", 2),
}


@pytest.mark.parametrize("what", COUNTED)
def test_units_are_those_of_the_samples(what):
    micros, unit, expected = COUNTED[what]
    assert units(micros, unit) == expected


def test_due_is_after_every_so_many_steps_and_after_the_last():
    assert [number for number in range(8) if due(number, 3, 8)] == [2, 5, 7]

"""What each position of a language model is to predict: the next token, where both are real."""

import pytest
import torch

from zoo.objectives import targets_of, tokens_that_count

IDS = [[5, 6, 7, 8], [9, 5, 6, 7]]
CASES = {
    "the tokens themselves are the labels": ({}, [[6, 7, 8], [5, 6, 7]]),
    "labels of their own are shifted as well": (
        {"labels": [[1, 2, 3, 4], [-100, 2, -100, 4]]},
        [[2, 3, 4], [2, -100, 4]],
    ),
    "padding on the right is no target": (
        {"attention_mask": [[1, 1, 1, 0], [1, 1, 0, 0]]},
        [[6, 7, -100], [5, -100, -100]],
    ),
    "padding on the left makes no guess": (
        {"attention_mask": [[0, 1, 1, 1], [0, 0, 1, 1]]},
        [[-100, 7, 8], [-100, -100, 7]],
    ),
    "nor does padding in between": (
        {"attention_mask": [[1, 0, 1, 1], [1, 1, 0, 1]]},
        [[-100, -100, 8], [5, -100, -100]],
    ),
    "a mask that hides nothing changes nothing": (
        {"attention_mask": [[1, 1, 1, 1], [1, 1, 1, 1]]},
        [[6, 7, 8], [5, 6, 7]],
    ),
    "ids of padding that the mask calls real are learnt": (
        {"input_ids": [[5, 0, 0, 0], [9, 5, 0, 0]], "attention_mask": [[1, 1, 0, 0]] * 2},
        [[0, -100, -100], [5, -100, -100]],
    ),
}


@pytest.mark.parametrize(("given", "expected"), CASES.values(), ids=CASES)
def test_a_position_is_to_predict(given, expected):
    batch = {name: torch.tensor(rows) for name, rows in ({"input_ids": IDS} | given).items()}
    assert targets_of(batch).tolist() == expected
    assert int(tokens_that_count(None, batch)) == sum(x != -100 for row in expected for x in row)

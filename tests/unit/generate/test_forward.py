"""One step of a model: where the rows end, and in which type its logits come."""

from dataclasses import replace

import pytest
import torch

from zoo.generate.forward import last_logits, left_padded
from zoo.models import GPT2, preset


def test_rows_end_in_the_same_column():
    ids, mask = left_padded([[5], [6, 7, 8]])
    assert ids.tolist() == [[0, 0, 5], [6, 7, 8]]
    assert mask.tolist() == [[False, False, True], [True, True, True]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_logits_of_any_model_are_float64_before_anything_is_done_with_them(dtype):
    _, config = preset("gpt2-tiny")
    model = GPT2(replace(config, depth=1)).to(dtype)
    ids, mask = left_padded([[5], [6, 7, 8]])
    logits = last_logits(model, ids, mask, model.new_cache(2, 3))
    assert logits.dtype == torch.float64
    assert torch.equal(logits, logits.to(dtype).double())
    assert model.training

"""One step of a model: where the rows end, and in which type its logits come."""

from dataclasses import replace

import pytest
import torch

from zoo.generate.forward import Step, check_finite, last_logits, left_padded
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
    logits = last_logits(Step(model), ids, mask, model.new_cache(2, 3))
    assert logits.dtype == torch.float64
    assert torch.equal(logits, logits.to(dtype).double())
    assert model.training


def test_steps_in_a_row_leave_a_model_in_the_mode_that_it_has_before_each():
    _, config = preset("gpt2-tiny")
    model = GPT2(replace(config, depth=1)).eval()
    step, cache = Step(model), model.new_cache(1, 3)
    ids, mask = left_padded([[5]])
    step(ids, mask, cache)
    model.drop.train()  # in between: seen, though the modules were listed before
    given = step(ids, mask, cache)
    assert model.drop.training and not model.training
    assert given.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("place", [(0, 0), (1, 4), (1, 6)])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf], ids=str)
def test_a_logit_that_is_not_finite_is_found_anywhere(bad, place, dtype):
    logits = torch.linspace(-9, 9, 14).view(2, 7).to(dtype)
    check_finite(logits)
    check_finite(logits[:0])
    logits[place] = bad
    with pytest.raises(ValueError, match="logits that are not finite"):
        check_finite(logits)

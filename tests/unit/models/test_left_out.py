"""What a model takes an input for that is left out: the plain value, given in words elsewhere."""

import pytest
import torch

from unit.models.tiny import example, tiny

# family, head, what is left out, what it is then taken for, what changes the answer
ROWS = {
    "bert: the first sentence": ("bert", "masked_lm", "token_type_ids", 0, 1),
    "bert: all real": ("bert", "masked_lm", "attention_mask", 1, 0),
    "bert: all real, pooled": ("bert", "sequence", "attention_mask", 1, 0),
    "clip: all real": ("clip", "text_hidden", "attention_mask", 1, 0),
    "gpt2: all real": ("gpt2", "lm", "attention_mask", 1, 0),
    "gpt2: all real, its last token": ("gpt2", "sequence", "attention_mask", 1, 0),
}


@pytest.mark.parametrize(("family", "head", "name", "plain", "other"), ROWS.values(), ids=ROWS)
def test_left_out_is(family, head, name, plain, other):
    model = tiny(family, head).eval()
    given = {key: x for key, x in example(family, head, model).items() if key != name}
    ids = given["input_ids"]
    found = model(**given)
    torch.testing.assert_close(
        model(**given, **{name: torch.full_like(ids, plain)}), found, rtol=1e-12, atol=1e-12
    )
    changed = torch.full_like(ids, plain)
    changed[:, : ids.shape[1] // 2] = other
    assert not torch.allclose(model(**given, **{name: changed}), found, rtol=1e-6, atol=1e-6)


def test_without_a_mask_no_patch_is_hidden():
    model = tiny("vit", "masked_image").eval()
    pixels = example("vit", "masked_image", model)["pixel_values"]
    found = model(pixels)
    patches = model.config.grid[0] * model.config.grid[1]
    hidden = torch.zeros(len(pixels), patches, dtype=torch.bool)
    assert torch.equal(model(pixels, hidden), found)
    assert not torch.equal(model(pixels, ~hidden), found)

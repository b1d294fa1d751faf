"""Looking inside, against Hugging Face's eager attention, which keeps what it looked at.

Weights are large and all is float64, so both differ by rounding only; padding is on either side.
Their eager softmax of ViT and CLIP is rounded to float32 whatever the model's dtype is, so there it
is stated again in float64 and registered with their library, which does all the rest.
"""

from dataclasses import replace

import pytest
import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

from integration.published import LEFT, OURS, cases, random_batch, random_model

BODIES = [
    ("gpt2", None, None),
    ("bert", None, None),
    ("vit", None, None),
    ("clip", "image_hidden", "image"),
    ("clip", "text_hidden", "text"),
]
ROWS = [
    pytest.param(family, head, part, case, id=f"{family}-{part or 'all'}-{case.name}")
    for family, head, part in BODIES
    for case in cases(family, head)
]
EACH = pytest.mark.parametrize(("family", "head", "part", "case"), ROWS)
SEEDS = pytest.mark.parametrize("seed", range(3))


def unrounded(module, q, k, v, mask, scaling=None, **_):
    """Attend as their eager_attention_forward does, in the dtype of q."""
    scores = q @ k.mT * (q.shape[-1] ** -0.5 if scaling is None else scaling)
    weights = (scores if mask is None else scores + mask).softmax(-1)
    return (weights @ v).transpose(1, 2).contiguous(), weights


AttentionInterface.register("unrounded", unrounded)
AttentionMaskInterface.register("unrounded", eager_mask)
EXACT = {"gpt2": "eager", "bert": "eager", "vit": "unrounded", "clip": "unrounded"}


def theirs_look(model, batch, case, attention):
    """Run Hugging Face's model and let it keep its states and maps."""
    batch = dict(batch)
    if case is LEFT:
        batch["position_ids"] = (batch["attention_mask"].cumsum(-1) - 1).clamp_min(0)
    if case.interpolate:
        batch["interpolate_pos_encoding"] = True
    model.set_attn_implementation(attention)
    return model(**batch, output_attentions=True, output_hidden_states=True)


def both(tmp_path, theirs, family, head, part, case, seed, attention=None):
    """Give what theirs shows, our model, its inputs, and the mask of real tokens."""
    theirs.save_pretrained(tmp_path)
    ours = OURS[family].from_pretrained(tmp_path, dtype=torch.float64)
    ours = ours if part is None else getattr(ours, part)
    batch = random_batch(family, head, theirs.config, seed, case)
    if case.interpolate:  # they resize positions without antialiasing
        ours.config = replace(ours.config, antialias=False)
    shown = theirs_look(theirs, batch, case, attention or EXACT[family])
    inputs = batch | ({"interpolate": True} if case.interpolate else {})
    real = batch.get("attention_mask", torch.ones(shown.last_hidden_state.shape[:2])).bool()
    return shown, ours, inputs, real


def near(actual, expected, bound=1e-12):
    torch.testing.assert_close(actual, expected, rtol=bound, atol=bound)


@EACH
@SEEDS
def test_maps_equal_theirs_and_leave_padding_alone(tmp_path, family, head, part, case, seed):
    theirs = random_model(family, head, seed)
    shown, ours, inputs, real = both(tmp_path, theirs, family, head, part, case, seed)
    maps = ours.attention_maps(**inputs)
    assert len(maps) == len(shown.attentions)
    for number, expected in enumerate(shown.attentions):
        rows = maps[number].transpose(1, 2)  # (b, t, h, s)
        near(rows[real], expected.transpose(1, 2)[real])
        assert not rows[~real].any()
        assert not rows.permute(0, 3, 1, 2)[~real].any()


@EACH
def test_maps_equal_their_eager_ones_as_far_as_these_go(tmp_path, family, head, part, case):
    theirs = random_model(family, head, 0)
    shown, ours, inputs, real = both(tmp_path, theirs, family, head, part, case, 0, "eager")
    for mine, expected in zip(
        ours.attention_maps(**inputs).values(), shown.attentions, strict=True
    ):
        near(mine.transpose(1, 2)[real], expected.transpose(1, 2)[real], 1e-5)


@EACH
@SEEDS
def test_states_equal_theirs(tmp_path, family, head, part, case, seed):
    """Theirs starts with what the first block reads; GPT-2's ends with what the last norm gives."""
    theirs = random_model(family, head, seed)
    shown, ours, inputs, real = both(tmp_path, theirs, family, head, part, case, seed)
    found = ours.intermediates(**inputs)
    ours_in_order = list(found.layers.values())
    if family == "gpt2":
        ours_in_order[-1] = found.last
    for mine, expected in zip(ours_in_order, shown.hidden_states[1:], strict=True):
        near(mine[real], expected[real], 1e-10)
    near(found.last[real], shown.last_hidden_state[real], 1e-10)


@pytest.mark.parametrize("case", cases("bert", None), ids=lambda case: case.name)
def test_a_loss_on_maps_has_the_gradient_of_theirs(tmp_path, case):
    """As in distillation: rows of real tokens, down to the table of tokens."""
    theirs = random_model("bert", None, 1)
    shown, ours, inputs, real = both(tmp_path, theirs, "bert", None, None, case, 1)
    maps = ours.attention_maps(**inputs, layers=-1)
    maps[ours.config.depth - 1].transpose(1, 2)[real].square().sum().backward()
    shown.attentions[-1].transpose(1, 2)[real].square().sum().backward()
    expected = theirs.get_input_embeddings().weight.grad
    assert float(expected.abs().max()) > 1e-6
    near(ours.tokens.weight.grad, expected)

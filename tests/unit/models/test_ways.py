"""Every way into a model and out of it: gradients reach every parameter, padding moves nothing."""

import pytest
import torch

from unit.models.tiny import MAIN, example, tiny
from zoo.models import GPT2, MODELS
from zoo.models.clip_config import parameters_of as clip_parameters
from zoo.models.gpt2 import parameters_of as gpt2_parameters
from zoo.models.vit_config import parameters_of as vit_parameters
from zoo.nn.basic import Dropout, DropPath


def images(model):
    return example("clip", "match", model)["pixel_values"]


def texts(model):
    return example("clip", "match", model)["input_ids"]


# way out -> (family, head, what comes out, parameters that it does not read)
WAYS = {
    "bert embed mean": ("bert", None, lambda m, i: m.embed(i["input_ids"]), "pooler"),
    "bert embed max": ("bert", None, lambda m, i: m.embed(i["input_ids"], pooling="max"), "pooler"),
    "bert without types": ("bert", None, lambda m, i: m.encode(i["input_ids"]), "pooler"),
    "bert pooled": ("bert", "sequence", lambda m, i: m.pooled(m.encode(**i), None), "head"),
    "gpt2 encode": ("gpt2", None, lambda m, i: m.encode(**i), "-"),
    "vit embed": ("vit", "image", lambda m, i: m.embed(**i), "head"),
    "vit hidden": ("vit", None, lambda m, i: m(**i), "pooler norm."),
    "vit pooled": ("vit", None, lambda m, i: m.pooled(m.encode(**i)), "norm."),
    "clip image": ("clip", "match", lambda m, i: m.encode_image(images(m)), "text logit"),
    "clip text": ("clip", "match", lambda m, i: m.encode_text(texts(m)), "image logit"),
    "clip scale": ("clip", "match", lambda m, i: m.scale(), "image text logit_bias"),
}


@pytest.mark.parametrize("way", WAYS)
def test_gradients_reach_every_parameter_on_every_way_out(way):
    family, head, out, unread = WAYS[way]
    model = tiny(family, head)
    answer = out(model, example(family, head, model))
    (answer * torch.randn(answer.shape, dtype=answer.dtype)).sum().backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert [n for n in without if not n.startswith(tuple(unread.split()))] == []


@pytest.mark.parametrize("head", ["sequence", "next_sentence"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_a_sentence_head_reads_the_first_real_token(head, side):
    model = tiny("bert", head)
    ids = example("bert", head, model)["input_ids"]
    pad = (2, 0) if side == "left" else (0, 2)
    wider = torch.nn.functional.pad(ids, pad, value=model.config.pad)
    mask = torch.nn.functional.pad(torch.ones_like(ids), pad)
    torch.testing.assert_close(model(wider, mask), model(ids), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("changes", [{}, {"hidden": 12}, {"depth": 1}, {"width": 40, "vocab": 31}])
def test_a_gpt2_is_as_large_as_its_config_says(changes):
    model = tiny("gpt2", "lm", **changes)
    assert gpt2_parameters(model.config) == model.parameter_count()


@pytest.mark.parametrize("changes", [{}, {"image_depth": 1}, {"text_depth": 1}, {"embed": 6}])
def test_a_clip_is_as_large_as_its_config_says(changes):
    model = tiny("clip", "match", **changes)
    assert clip_parameters(model.config) == model.parameter_count()


def test_a_vit_is_as_large_as_its_config_says():
    model = tiny("vit", "image")
    classifier = sum(p.numel() for p in model.head.parameters())
    assert vit_parameters(model.config) == model.parameter_count() - classifier


@pytest.mark.parametrize("layer", [Dropout, DropPath])
def test_a_rate_is_the_share_that_is_left_out(layer):
    rate, count = 0.25, 4000  # a rate that the mask's integers hold exactly
    y = layer(rate).train()(torch.ones(count, 1, dtype=torch.float64))
    zeros = float((y == 0).double().mean())
    # five deviations of a share of so many rows
    assert abs(zeros - rate) < 5 * (rate * (1 - rate) / count) ** 0.5
    torch.testing.assert_close(y[y != 0], torch.full_like(y[y != 0], 1 / (1 - rate)))


def test_a_cache_that_forgets_its_padding_has_none():
    model = MODELS["gpt2"].build(GPT2.spec.presets["gpt2-tiny"])
    cache = model.new_cache(2, 6)
    cache.extend(2, 4, torch.tensor([[True] * 4, [True, True, True, False]]))
    cache.truncate(4)
    assert cache.padded
    cache.truncate(3)
    assert not cache.padded


def test_resized_positions_are_of_their_own_even_where_nothing_changes():
    model = tiny("vit", "image")
    before = model.positions
    model.resize(model.config.image)
    assert torch.equal(model.positions, before)
    assert model.positions.data_ptr() != before.data_ptr()


@pytest.mark.parametrize(
    ("recompute", "gradients", "runs"), [(False, True, 1), (True, True, 2), (True, False, 1)]
)
@pytest.mark.parametrize("family", MAIN)
def test_blocks_run_again_in_the_backward_pass_when_asked_and_only_then(
    family, recompute, gradients, runs
):
    model = tiny(family, MAIN[family])
    model.recompute = recompute
    counted = []
    block = next(m for n, m in model.named_modules() if n.endswith("blocks.0"))
    block.register_forward_pre_hook(lambda module, given: counted.append(1))
    with torch.set_grad_enabled(gradients):
        answer = model(**example(family, MAIN[family], model)).sum()
    if gradients:
        answer.backward()
    assert len(counted) == runs


@pytest.mark.parametrize("family", ["bert", "gpt2", "vit"])
def test_embeddings_and_both_branches_of_each_block_are_dropped_from(family):
    # as in the papers' code: once after the embeddings, after attention and after the MLP
    model = tiny(family, None, dropout=0.2).train()
    counted = []
    for module in model.modules():
        if isinstance(module, Dropout):
            module.register_forward_pre_hook(lambda module, given: counted.append(module.rate))
    model(**example(family, None, model))
    assert counted == [0.2] * (1 + 2 * model.config.depth)


def test_a_clip_drops_attention_weights_alone():
    model = tiny("clip", "match", attention_dropout=0.2)
    assert not [m for m in model.modules() if isinstance(m, Dropout)]
    batch = example("clip", "match", model)
    assert torch.equal(model.eval()(**batch), model(**batch))
    assert not torch.equal(model.train()(**batch), model(**batch))

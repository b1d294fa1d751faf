"""What is particular to CLIP: the end token, the scale, unit vectors, towers alone."""

import dataclasses
import math

import pytest
import torch

from unit.models.tiny import example, tiny
from zoo.models import CLIP, CLIPConfig
from zoo.models.clip_config import parameters_of
from zoo.objectives import OBJECTIVES

END = 96


def texts():
    """Three texts that end at different places; what follows the first end token is noise."""
    generator = torch.Generator().manual_seed(3)
    ids = torch.randint(0, END, (3, 9), generator=generator)
    for row, place in enumerate((2, 5, 8)):
        ids[row, place] = END
    ids[0, 6] = END
    return ids


def test_a_text_is_read_at_its_first_end_token():
    model = tiny("clip", "match")
    ids = texts()
    hidden = model.text.encode(ids)
    places = torch.tensor([2, 5, 8])
    expected = hidden[torch.arange(3), places] @ model.text_projection.weight.T
    torch.testing.assert_close(model.text_features(ids), expected, rtol=1e-12, atol=1e-12)


def test_what_follows_the_end_token_does_not_matter():
    model = tiny("clip", "match")
    ids = texts()[:1]
    for tail in (0, 50, END):
        changed = ids.clone()
        changed[:, 3:] = tail
        there, alone = model.encode_text(changed), model.encode_text(ids[:, :3])
        torch.testing.assert_close(there, alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("pad", [0, END])
@pytest.mark.parametrize("left", [0, 2, 4])
def test_padding_moves_no_text_though_it_be_the_end_token(pad, left):
    model = tiny("clip", "match")
    ids = texts()[1:2, :6]
    padded = torch.nn.functional.pad(ids, (left, 4 - left), value=pad)
    mask = torch.nn.functional.pad(torch.ones_like(ids), (left, 4 - left))
    there, alone = model.encode_text(padded, mask), model.encode_text(ids)
    torch.testing.assert_close(there, alone, rtol=1e-12, atol=1e-12)


def test_a_text_without_its_end_token_is_an_error_that_names_the_row():
    model = tiny("clip", "match")
    ids = texts()
    ids[1, 5] = 0
    with pytest.raises(ValueError, match="row 1 of input_ids has no end token 96"):
        model.encode_text(ids)
    masked = (torch.arange(9) != 8).long().expand(3, 9)
    with pytest.raises(ValueError, match="row 2 of input_ids has no end token 96"):
        model.encode_text(texts(), masked)


def test_vectors_have_length_one_and_logits_are_their_cosines():
    model = tiny("clip", "match")
    batch = example("clip", "match", model)
    images = model.encode_image(batch["pixel_values"])
    words = model.encode_text(batch["input_ids"])
    for vectors in (images, words):
        torch.testing.assert_close(
            vectors.norm(dim=1), torch.ones(4, dtype=torch.float64), rtol=1e-12, atol=1e-12
        )
    expected = model.logit_scale.exp() * images @ words.T
    torch.testing.assert_close(model(**batch), expected, rtol=1e-12, atol=1e-12)


def test_the_scale_never_passes_100_and_comes_back_after_a_step():
    model = tiny("clip", "match")
    with torch.no_grad():
        model.logit_scale.fill_(9.0)
    assert model.scale().item() == pytest.approx(100, rel=1e-6)
    model.after_step()
    assert model.logit_scale.item() == pytest.approx(math.log(100), rel=1e-7)
    model.scale().backward()
    assert model.logit_scale.grad > 0  # it can fall again
    with torch.no_grad():
        model.logit_scale.fill_(1.5)
    model.after_step()
    assert model.logit_scale.item() == 1.5
    assert model.scale().item() == pytest.approx(math.exp(1.5))
    tiny("clip", "image").after_step()  # nothing to bring back


def test_a_fresh_scale_is_the_papers():
    assert CLIP(tiny("clip", "match").config).scale().item() == pytest.approx(1 / 0.07, rel=1e-4)


def test_the_objective_is_the_mean_of_both_directions():
    model = tiny("clip", "match")
    batch = example("clip", "match", model)
    logits, own = model(**batch), torch.arange(4)
    sides = [torch.nn.functional.cross_entropy(x, own) for x in (logits, logits.T)]
    loss = OBJECTIVES["match"](model, batch)
    torch.testing.assert_close(loss, sum(sides) / 2, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(OBJECTIVES["match"](model, batch, reduction="sum"), 4 * loss)


def test_with_a_bias_each_pair_is_judged_by_itself():
    """Zhai et al. 2023, algorithm 1."""
    model = tiny("clip", "match", bias=-2.0)
    batch = example("clip", "match", model)
    logits = model(**batch)
    signs = 2 * torch.eye(4, dtype=torch.float64) - 1
    expected = -torch.nn.functional.logsigmoid(signs * logits).sum() / 4
    loss = OBJECTIVES["match"](model, batch)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)
    loss.backward()
    assert model.logit_bias.grad.abs() > 0


def test_a_bias_is_saved_under_a_name_that_others_do_not_misread(tmp_path):
    model = tiny("clip", "match", bias=-2.0)
    model.save_pretrained(tmp_path)
    assert model.published_config()["model_type"] == "zoo_clip"
    again = CLIP.from_pretrained(tmp_path, dtype=torch.float64)
    assert torch.equal(again.logit_bias, model.logit_bias)
    assert again.config == model.config


def test_a_tower_is_read_out_of_a_whole_clip(tmp_path):
    whole = tiny("clip", "match").eval()
    whole.save_pretrained(tmp_path)
    batch = example("clip", "match", whole)
    for head, name, expected in (
        ("image_features", "pixel_values", whole.image_features(batch["pixel_values"])),
        ("text_features", "input_ids", whole.text_features(batch["input_ids"])),
        ("image_hidden", "pixel_values", whole.image.encode(batch["pixel_values"])),
        ("text_hidden", "input_ids", whole.text.encode(batch["input_ids"])),
    ):
        part = CLIP.from_pretrained(tmp_path, head=head, dtype=torch.float64)
        assert torch.equal(part(**{name: batch[name]}), expected), head
        assert len(part.report.unread) > 0


def test_images_of_another_size_need_a_word():
    model = tiny("clip", "match")
    larger = torch.randn(2, 3, 15, 20, dtype=torch.float64)
    with pytest.raises(ValueError, match="15×20, the model reads 12×10"):
        model.encode_image(larger)
    assert model.encode_image(larger, interpolate=True).shape == (2, 14)


def test_fresh_weights_are_as_published():
    torch.manual_seed(0)
    config = CLIPConfig(
        image_width=64,
        image_depth=4,
        image_heads=4,
        image_hidden=256,
        text_width=96,
        vocab=999,
        text_depth=2,
        text_heads=4,
        text_hidden=384,
        embed=80,
        image=(320, 320),
        end=5,
    )
    model = CLIP(config)
    wanted = {
        "image.patch.weight": 0.02,
        "image.positions": 64**-0.5,
        "image.blocks.0.attn.qkv.weight": 64**-0.5,
        "image.blocks.3.attn.out.weight": 64**-0.5 * 8**-0.5,
        "image.blocks.1.mlp.up.weight": 128**-0.5,
        "image.blocks.2.mlp.down.weight": 64**-0.5 * 8**-0.5,
        "image_projection.weight": 64**-0.5,
        "text.tokens.weight": 0.02,
        "text.positions.weight": 0.01,
        "text.blocks.0.attn.qkv.weight": 96**-0.5,
        "text.blocks.1.mlp.down.weight": 96**-0.5 * 4**-0.5,
        "text.blocks.1.mlp.up.weight": 192**-0.5,
        "text_projection.weight": 96**-0.5,
    }
    held = dict(model.named_parameters())
    for name, std in wanted.items():
        assert held[name].std().item() == pytest.approx(std, rel=0.06), name
    assert held["image.class_token"].std().item() == pytest.approx(64**-0.5, rel=0.4)


REFUSED = [
    (lambda: CLIP(CLIPConfig(), head="lm"), "CLIP has no head 'lm'"),
    (lambda: CLIPConfig(image_heads=5), "image_width 768 is not a multiple of image_heads 5"),
    (lambda: CLIPConfig(text_heads=5), "text_width 512 is not a multiple of text_heads 5"),
    (lambda: CLIPConfig(end=2), "end is 2; expected an id from 0 to 49407, not 2, which published"),
    (lambda: CLIPConfig(end=49408), "end is 49408; expected an id from 0"),
    (lambda: CLIPConfig(scale=math.inf), "scale is inf; expected at most"),
    (lambda: CLIPConfig(bias=math.nan), "bias is nan; expected at most"),
    (lambda: CLIPConfig(image=(30, 32)), r"image \(30, 32\) is not a multiple of patch \(32, 32\)"),
    (lambda: tiny("clip", "match")(texts()), "head 'match' needs pixel_values"),
    (lambda: tiny("clip", "image")(texts(), torch.zeros(1, 3, 12, 10)), "does not read input_ids"),
    (lambda: tiny("clip", "image").encode_text(texts()), "head 'image' does not project texts"),
    (
        lambda: tiny("clip", "text_features").encode_image(torch.zeros(1, 3, 12, 10)),
        "head 'text_features' does not project images",
    ),
    (
        lambda: tiny("clip", "match").encode_text(torch.full((1, 14), END)),
        "14 tokens, but the context is 13",
    ),
]


@pytest.mark.parametrize(("act", "sentence"), REFUSED, ids=range(len(REFUSED)))
def test_what_cannot_be_meant_is_refused(act, sentence):
    with pytest.raises(ValueError, match=sentence):
        act()


@pytest.mark.parametrize("bias", [None, 0.5])
def test_a_config_is_as_large_as_its_model(bias):
    config = dataclasses.replace(tiny("clip", "match").config, bias=bias)
    assert parameters_of(config) == CLIP(config).parameter_count()


def test_the_classifier_reads_the_mean_of_the_patches_alone():
    model = tiny("clip", "image")
    pixels = example("clip", "image", model)["pixel_values"]
    hidden = model.image.encode(pixels)
    expected = hidden[:, 1:].mean(1) @ model.head.weight.T + model.head.bias
    torch.testing.assert_close(model(pixel_values=pixels), expected, rtol=1e-12, atol=1e-12)

"""What is particular to ViT: tokens before the patches, sizes, heads put in place of others."""

import pytest
import torch

from unit.models.tiny import example, tiny
from zoo.models import ViT, ViTConfig
from zoo.models.vit import path_rates
from zoo.models.vit_config import parameters_of
from zoo.objectives import OBJECTIVES

VARIANTS = {
    "plain": {},
    "registers": {"registers": 2},
    "registers-with-positions": {"registers": 2, "prefix_positions": 3},
    "no-position-for-the-class": {"registers": 1, "prefix_positions": 0},
    "no-class-token": {"class_token": False, "prefix_positions": 0, "pooling": "mean"},
    "scaled": {"layer_scale": 0.5},
    "mean": {"pooling": "mean"},
    "norm-after-pooling": {"pooling": "mean", "pooled_norm": True},
    "no-bias": {"qkv_bias": False},
}
EACH = pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)


@EACH
def test_every_variant_counts_saves_and_reads_its_tokens(tmp_path, changes):
    model = tiny("vit", "image", **changes)
    c = model.config
    pixels = example("vit", "image", model)["pixel_values"]
    hidden = model.encode(pixels)
    assert hidden.shape == (4, c.prefix + 8, 20)
    model.save_pretrained(tmp_path)
    again = ViT.from_pretrained(tmp_path, dtype=torch.float64)
    assert again.config == c
    assert torch.equal(again(pixels), model.eval()(pixels))


@EACH
def test_every_parameter_of_a_variant_has_a_gradient(changes):
    model = tiny("vit", "image", **changes)
    model(**example("vit", "image", model)).square().sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_only_what_hugging_face_computes_too_goes_by_its_name():
    kinds = {
        n: tiny("vit", "image", **c).published_config()["model_type"] for n, c in VARIANTS.items()
    }
    assert {n for n, kind in kinds.items() if kind == "vit"} == {"plain", "no-bias"}
    assert set(kinds.values()) == {"vit", "zoo_vit"}


def test_a_mean_leaves_out_class_token_and_registers():
    model = tiny("vit", None, registers=2, pooling="mean")
    hidden = torch.randn(2, 11, 20, dtype=torch.float64)
    torch.testing.assert_close(model.pool(hidden), hidden[:, 3:].mean(1), rtol=1e-12, atol=1e-12)


def test_registers_get_a_position_only_when_told():
    """The position of the last token before the patches moves it or not."""
    for count, moves in ((1, False), (3, True)):
        model = tiny("vit", None, registers=2, prefix_positions=count)
        pixels = example("vit", None, model)["pixel_values"]
        before = model.encode(pixels)
        assert model.positions.shape == (count + 8, 20)
        with torch.no_grad():
            model.positions[count - 1] += 1
        after = model.encode(pixels)
        assert bool((after[:, 2] != before[:, 2]).any())  # attention carries it everywhere
        model.blocks = torch.nn.ModuleList()
        bare = model.encode(pixels)
        with torch.no_grad():
            model.positions[count - 1] -= 1
        assert bool((model.encode(pixels)[:, 2] != bare[:, 2]).any()) == moves


def test_another_size_needs_a_word():
    model = tiny("vit", "image")
    larger = torch.randn(2, 3, 15, 20, dtype=torch.float64)
    with pytest.raises(ValueError, match="15×20, the model reads 12×10"):
        model(larger)
    assert model(larger, interpolate=True).shape == (2, 3)
    assert model.embed(larger, interpolate=True).shape == (2, 20)


def test_a_resized_model_gives_what_resizing_at_call_gives(tmp_path):
    model = tiny("vit", "image").eval()
    pixels = torch.randn(2, 3, 15, 20, dtype=torch.float64)
    at_call = model(pixels, interpolate=True)
    model.save_pretrained(tmp_path)
    loaded = ViT.from_pretrained(tmp_path, dtype=torch.float64, image=(15, 20))
    model.resize((15, 20))
    assert model.config.image == (15, 20)
    for resized in (model, loaded):
        torch.testing.assert_close(resized(pixels), at_call, rtol=1e-12, atol=1e-12)
        assert resized.positions.requires_grad


def test_a_reset_classifier_is_fresh_and_of_the_models_kind(tmp_path):
    model = tiny("vit", "masked_image").float()
    body = {n: p.clone() for n, p in model.named_parameters() if n.startswith("blocks")}
    model.reset_classifier(5, labels=list("abcde"))
    assert (model.head_name, model.config.classes) == ("image", 5)
    assert model.head.weight.dtype == torch.float32
    assert model(torch.zeros(2, 3, 12, 10)).shape == (2, 5)
    assert all(torch.equal(p, body[n]) for n, p in model.named_parameters() if n in body)
    model.save_pretrained(tmp_path)
    assert ViT.from_pretrained(tmp_path).config.labels == ("a", "b", "c", "d", "e")
    model.reset_classifier(2)
    assert model.config.labels is None


def test_a_hidden_patch_cannot_be_seen():
    model = tiny("vit", "masked_image")
    batch = example("vit", "masked_image", model)
    drawn = model(**batch)
    pixels = batch["pixel_values"].clone()
    hidden = batch["bool_masked_pos"].view(4, 1, 4, 1, 2, 1).expand(4, 3, 4, 3, 2, 5)
    pixels.view(4, 3, 4, 3, 2, 5)[hidden] = 7.0
    assert torch.equal(model(pixels, batch["bool_masked_pos"]), drawn)
    assert not torch.equal(model(pixels), drawn)


def test_the_loss_counts_hidden_pixels_alone():
    model = tiny("vit", "masked_image")
    batch = example("vit", "masked_image", model)
    drawn = model(**batch)
    errors = [
        (drawn - batch["pixel_values"])[row, :, 3 * y : 3 * y + 3, 5 * x : 5 * x + 5].abs()
        for row in range(4)
        for y in range(4)
        for x in range(2)
        if batch["bool_masked_pos"][row, 2 * y + x]
    ]
    loss = OBJECTIVES["masked_image"]
    torch.testing.assert_close(loss(model, batch), torch.stack(errors).mean())
    torch.testing.assert_close(loss(model, batch, reduction="sum"), torch.stack(errors).sum())
    nothing = batch | {"bool_masked_pos": torch.zeros(4, 8, dtype=torch.bool)}
    assert loss(model, nothing) == 0


def test_later_blocks_are_left_out_more_often():
    assert path_rates(0.3, 4) == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert path_rates(0.3, 1) == [0.0]
    model = tiny("vit", "image", drop_path=0.4)
    assert [block.path.rate for block in model.blocks] == pytest.approx([0.0, 0.2, 0.4])


def test_a_left_out_block_leaves_whole_rows_as_they_were():
    model = tiny("vit", "image", drop_path=0.5)
    block = model.blocks[-1].train()
    x = torch.randn(64, 5, 20, dtype=torch.float64)
    torch.manual_seed(2)
    kept = (block(x) == x).flatten(1)
    assert set(kept.all(1).tolist()) == {True, False}
    assert torch.equal(kept.any(1), kept.all(1)), "a row moves whole or not at all"


def test_the_pooler_reads_the_class_token():
    model = tiny("vit", None)
    hidden = torch.randn(2, 9, 20, dtype=torch.float64)
    expected = torch.tanh(hidden[:, 0] @ model.pooler.weight.T + model.pooler.bias)
    torch.testing.assert_close(model.pooled(hidden), expected, rtol=1e-12, atol=1e-12)


def test_fresh_weights_are_as_published():
    torch.manual_seed(0)
    model = ViT(ViTConfig(width=64, depth=2, heads=4, hidden=200, registers=9), "masked_image")
    for name, parameter in model.named_parameters():
        if parameter.dim() == 2 and parameter.numel() > 1000:
            assert parameter.abs().max() <= 0.04, name
            assert parameter.std().item() == pytest.approx(0.0176, rel=0.05), name
        if name.endswith("bias") or name == "mask_token":
            assert not parameter.any(), name
    assert model.class_token.abs().max() <= 0.04 and model.class_token.any()


REFUSED = [
    (lambda: ViT(ViTConfig(), head="span"), "ViT has no head 'span'"),
    (lambda: ViTConfig(image=(224, 220)), r"image \(224, 220\) is not a multiple of patch"),
    (lambda: ViTConfig(patch=(16, 0)), r"patch is \(16, 0\); expected two sizes"),
    (lambda: ViTConfig(heads=5), "width 768 is not a multiple of heads 5"),
    (lambda: ViTConfig(registers=-1), "registers is -1; expected a whole number from 0"),
    (lambda: ViTConfig(prefix_positions=2), "prefix_positions is 2; there are 1 tokens"),
    (lambda: ViTConfig(pooling="max"), "pooling is 'max'; expected one of"),
    (lambda: ViTConfig(class_token=False), "pooling is 'class'; expected one of"),
    (lambda: ViTConfig(width=10**6, heads=1, depth=10**4), "a model of"),
    (lambda: tiny("vit", "image").pooled(torch.zeros(1, 9, 20)), "'image' has no pooler"),
    (
        lambda: tiny("vit", "image")(torch.zeros(1, 3, 12, 10).double(), torch.ones(1, 8).bool()),
        "'image' has no mask token",
    ),
    (
        lambda: tiny("vit", "masked_image").hide(
            torch.zeros(1, 8, 20).double(), torch.ones(1, 7).bool()
        ),
        r"bool_masked_pos is torch.bool \(1, 7\); expected bool \(1, 8\)",
    ),
]


@pytest.mark.parametrize(("act", "sentence"), REFUSED, ids=range(len(REFUSED)))
def test_what_cannot_be_meant_is_refused(act, sentence):
    with pytest.raises(ValueError, match=sentence):
        act()


@EACH
def test_a_config_is_as_large_as_its_model(changes):
    model = tiny("vit", "image", **changes)
    head = sum(p.numel() for p in model.head.parameters())
    assert parameters_of(model.config) == model.parameter_count() - head

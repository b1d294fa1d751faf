"""Layers and heads that multiply by packed weights, and the way back."""

import pytest
import torch
from torch import nn

from zoo.models import preset
from zoo.nn import Linear, Patches
from zoo.nn.lora import LoRALinear
from zoo.nn.packed import pack_layers, packable, unpack_layers, unpacked
from zoo.ops.packed import FORMS, Packed, packed_linear, product_of

FAMILIES = ("gpt2", "bert", "vit", "clip")
X = torch.randn(5, 16, generator=torch.Generator().manual_seed(0))


def some_layers():
    torch.manual_seed(1)
    return nn.Sequential(Linear(16, 24), nn.Tanh(), Linear(24, 8, bias=False)).eval()


def tiny(family):
    torch.manual_seed(2)
    spec, config = preset(f"{family}-tiny")
    return spec.build(config).eval(), spec.example(config)


@pytest.mark.parametrize("form", FORMS)
def test_each_layer_multiplies_by_its_own_copy(form):
    layers = some_layers()
    report = pack_layers(layers, form)
    with torch.no_grad():
        y = X
        for layer in layers:
            packs = isinstance(layer, Linear)
            y = packed_linear(y, layer.weight, layer.bias, Packed(form)) if packs else layer(y)
        assert torch.equal(layers(X), y)
    assert (report.weights, report.packed, report.kept) == (form, ("0", "2"), ())


@pytest.mark.parametrize(("form", "share"), [("float32", 4), ("float16", 2), ("int8", 1)])
def test_the_bytes_of_the_copies_are_told(form, share):
    count, outputs = 16 * 24 + 24 * 8, 24 + 8
    channel = product_of(torch.ones(1, 1), form).size - share  # its steps and sums, on this CPU
    assert pack_layers(some_layers(), form).size == share * count + channel * outputs


def test_unpacked_layers_are_what_they_were_to_the_bit():
    layers = some_layers()
    with torch.no_grad():
        expected = layers(X)
        pack_layers(layers, "int8")
        assert not torch.equal(layers(X), expected)
        with unpacked(layers):
            assert torch.equal(layers(X), expected)
        assert not torch.equal(layers(X), expected)
        with pytest.raises(KeyError), unpacked(layers):
            raise KeyError
        assert not torch.equal(layers(X), expected)
        unpack_layers(layers)
        assert torch.equal(layers(X), expected)


def test_a_form_that_does_not_exist_changes_nothing():
    layers = some_layers()
    pack_layers(layers, "float16")
    before = [layer.packed for layer in packable(layers).values()]
    with pytest.raises(ValueError, match="weights 'int4'; expected one of"):
        pack_layers(layers, "int4")
    assert [layer.packed for layer in packable(layers).values()] == before


def test_layers_that_learn_on_top_keep_their_weight_and_are_named():
    layers = some_layers()
    layers[0] = LoRALinear(layers[0], rank=2, alpha=4.0).eval()
    with torch.no_grad():
        layers[0].up.normal_()
        first = layers[0](X)
        report = pack_layers(layers, "int8")
        assert torch.equal(layers[0](X), first)
    assert (report.packed, report.kept) == (("2",), ("0",))


def test_numbers_that_a_form_cannot_hold_stay_and_are_named():
    layers = some_layers()
    with torch.no_grad():
        layers[2].weight[3, 3] = 1e5
        expected = layers[2](torch.ones(5, 24))
        report = pack_layers(layers, "float16")
        assert torch.equal(layers[2](torch.ones(5, 24)), expected)
    assert (report.packed, report.kept) == (("0",), ("2",))
    assert report.size == 2 * 16 * 24


def test_patches_of_an_image_are_packed_like_any_layer():
    torch.manual_seed(3)
    patches = Patches(3, (4, 4), 20).eval()
    images = torch.randn(2, 3, 8, 12)
    with torch.no_grad():
        expected = patches(images)
        assert pack_layers(patches, "int8").packed == ("",)
        y = patches(images)
    assert not torch.equal(y, expected)
    assert float((y - expected).abs().max()) < 0.1 * float(expected.std())


@pytest.mark.parametrize("family", FAMILIES)
def test_every_product_of_a_model_is_packed(family):
    """By name: of what holds a matrix only tables are left, which are read row by row."""
    model, _ = tiny(family)
    packed = set(model.optimize_for_inference("int8").packing.packed)
    matrices = {
        name.rpartition(".")[0]
        for name, parameter in model.named_parameters(remove_duplicate=False)
        if parameter.dim() == 2
    }
    tables = {"tokens", "positions", "types"}
    left = {name for name in matrices - packed if name.rpartition(".")[2] not in tables}
    assert left <= {"", "image", "text"}  # positions and class tokens of the model itself
    assert model.packing.kept == ()


@pytest.mark.parametrize("family", ["gpt2", "bert"])
def test_a_tied_head_is_packed_and_its_table_is_read_in_float32(family):
    model, inputs = tiny(family)
    with torch.no_grad():
        rows = model.tokens(inputs["input_ids"])
        model.optimize_for_inference("int8")
        assert torch.equal(model.tokens(inputs["input_ids"]), rows)
        assert "head" in model.packing.packed
        for name, layer in packable(model).items():
            layer.packed = layer.packed if name == "head" else None
        hidden = X[:, :1] * torch.ones(20) + torch.arange(20)
        packed = model.head(hidden)
        model.restore_weights()
        assert not torch.equal(packed, model.head(hidden))
        assert torch.allclose(packed, model.head(hidden), atol=0.1)
    assert model.head.weight is model.tokens.weight

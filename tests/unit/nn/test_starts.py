"""What a fresh part begins at, before it learns anything: what its config says, not a one or a zero
that happens to serve."""

import dataclasses

import pytest
import torch

from zoo.models import MODELS
from zoo.nn.basic import LayerNorm, LayerScale, Linear
from zoo.nn.lora import LoRALinear

PARTS = {
    "LayerScale at 0.125": (lambda: LayerScale(5, 0.125), {"weight": [0.125] * 5}),
    "LayerScale at 0": (lambda: LayerScale(2, 0.0), {"weight": [0.0, 0.0]}),
    "LayerNorm": (lambda: LayerNorm(3, 1e-5), {"weight": [1.0] * 3, "bias": [0.0] * 3}),
    "a bias": (lambda: Linear(2, 3), {"bias": [0.0] * 3}),
    "an adapter": (lambda: LoRALinear(Linear(2, 3), rank=1, alpha=1.0), {"up": [[0.0]] * 3}),
}


@pytest.mark.parametrize("part", PARTS)
def test_a_part_begins_where_it_is_told_to(part):
    make, wanted = PARTS[part]
    held = dict(make().named_parameters())
    for name, values in wanted.items():
        assert held[name].tolist() == values
        assert held[name].dtype == torch.float32
        assert held[name].requires_grad


@pytest.mark.parametrize("scale", [0.25, 0.5])
def test_a_vit_scales_what_its_blocks_add_as_its_config_says(scale):
    spec = MODELS["vit"]
    config = dataclasses.replace(spec.presets["vit-tiny"], layer_scale=scale)
    model = spec.build(config, "image")
    for block in model.blocks:
        for part in (block.scale1, block.scale2):
            assert part.weight.tolist() == [scale] * config.width


def test_a_scaled_value_is_the_value_times_the_scale():
    x = torch.arange(6.0).view(2, 3)
    assert torch.equal(LayerScale(3, 0.5)(x), 0.5 * x)

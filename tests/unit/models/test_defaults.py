"""What a published config.json means by the keys that it leaves out.

The numbers are those of the configuration classes in transformers 5.23: files of that library's
earlier versions hold only what differs, so another default is another model.
"""

import dataclasses

import pytest

from zoo.config import from_theirs
from zoo.models import MODELS

BOTH = {"labels": None}
PLAIN = {"dropout": 0.1, "attention_dropout": 0.1, "head_dropout": 0.1, "classes": 2, "tied": True}
SIZES = {"width": 768, "depth": 12, "heads": 12, "hidden": 3072}
IMAGE = {"image": (224, 224), "channels": 3, "antialias": True}
MEANT = {
    "bert": SIZES
    | PLAIN
    | {"vocab": 30522, "context": 512, "types": 2, "eps": 1e-12, "gelu": "erf", "pad": 0},
    "clip": IMAGE
    | {f"image_{name}": size for name, size in SIZES.items()}
    | {"text_width": 512, "text_depth": 12, "text_heads": 8, "text_hidden": 2048}
    | {"patch": (32, 32), "embed": 512, "vocab": 49408, "context": 77, "end": 49407}
    | {"attention_dropout": 0.0, "eps": 1e-5, "gelu": "quick", "scale": 2.6592, "bias": None}
    | {"classes": 2},
    "gpt2": SIZES
    | PLAIN
    | {"vocab": 50257, "context": 1024, "eps": 1e-5, "gelu": "tanh", "pad": None},
    "vit": SIZES
    | IMAGE
    | {"patch": (16, 16), "dropout": 0.0, "attention_dropout": 0.0, "drop_path": 0.0}
    | {"eps": 1e-12, "gelu": "erf", "qkv_bias": True, "pooler": True}
    # what that library's ViT cannot be: registers, a mean, LayerScale
    | {"classes": 1000, "pooling": "class", "pooled_norm": False, "class_token": True}
    | {"registers": 0, "prefix_positions": 1, "layer_scale": None},
}


@pytest.mark.parametrize("family", sorted(MODELS))
def test_an_empty_config_is_the_published_base_model(family):
    spec = MODELS[family]
    config = from_theirs(spec.config_keys, spec.config, {})
    assert dataclasses.asdict(config) == MEANT[family] | BOTH

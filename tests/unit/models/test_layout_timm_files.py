"""timm's ViT as files: what is written, word for word, and what comes back of it."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from unit.models.tiny import tiny
from zoo.checkpoint import CheckpointError
from zoo.models.layouts import timm
from zoo.models.vit_config import ViTConfig


def vit(head="image", **changes):
    return tiny("vit", head, eps=1e-6, **changes).float()


PIXELS = {"mean": [0.5], "crop_pct": 0.9}
# name -> (how the model is another, what of the arguments is another)
WRITTEN = {
    "plain": ({}, {}),
    "mean": (
        {"pooling": "mean", "class_token": False, "prefix_positions": 0, "pooled_norm": True},
        {"global_pool": "avg", "class_token": False, "no_embed_class": True, "fc_norm": True},
    ),
    "registers": ({"registers": 2, "prefix_positions": 3}, {"reg_tokens": 2}),
    "no positions": (
        {"registers": 2, "prefix_positions": 0},
        {"reg_tokens": 2, "no_embed_class": True},
    ),
    "scaled": ({"layer_scale": 0.5}, {"init_values": 0.5}),
    "quick": ({"gelu": "quick", "qkv_bias": False}, {"act_layer": "quick_gelu", "qkv_bias": False}),
}


def same(one, other):
    mine, theirs = one.state_dict(), other.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine)


@pytest.mark.parametrize("row", WRITTEN)
def test_what_is_written_says_every_argument_and_comes_back(tmp_path, row):
    changes, arguments = WRITTEN[row]
    model = vit(**changes)
    timm.write(model, tmp_path, PIXELS, approximate=False)
    about = json.loads((tmp_path / "config.json").read_text())
    assert about == {
        "architecture": "vit_base_patch16_224",
        "num_classes": 3,
        "num_features": 20,
        "global_pool": arguments.get("global_pool", "token"),
        "model_args": {
            "img_size": [12, 10],
            "patch_size": [3, 5],
            "in_chans": 3,
            "num_classes": 3,
            "global_pool": "token",
            "embed_dim": 20,
            "depth": 3,
            "num_heads": 4,
            "mlp_ratio": 1.8,
            "qkv_bias": True,
            "init_values": None,
            "class_token": True,
            "no_embed_class": False,
            "reg_tokens": 0,
            "fc_norm": False,
            "act_layer": "gelu",
        }
        | arguments,
        "pretrained_cfg": {
            "input_size": [3, 12, 10],
            "num_classes": 3,
            "classifier": "head",
            "first_conv": "patch_embed.proj",
        }
        | PIXELS,
    }
    back = timm.read(tmp_path, about, unpickle=False, heads=None)
    assert same(back, model) and not back.training
    left = {"layer_scale": model.config.layer_scale, "pooler": model.config.pooler}
    assert replace(back.config, **left) == model.config


def test_features_and_labels_are_written(tmp_path):
    features = vit(None, pooler=True)
    timm.write(features, tmp_path / "bare", {}, approximate=False)
    about = json.loads((tmp_path / "bare" / "config.json").read_text())
    said = about["num_classes"], about["model_args"]["num_classes"]
    assert (*said, about["pretrained_cfg"]["num_classes"]) == (0, 0, 0)
    assert "label_names" not in about
    back = timm.read(tmp_path / "bare", about, unpickle=False, heads=None)
    assert back.head_name is None
    assert [n for n in features.state_dict() if n not in back.state_dict()] == [
        "pooler.weight",
        "pooler.bias",
    ]
    timm.write(vit(labels=("a", "b", "c")), tmp_path / "named", {}, approximate=False)
    about = json.loads((tmp_path / "named" / "config.json").read_text())
    assert about["label_names"] == ["a", "b", "c"]


def test_tensors_have_the_names_and_shapes_of_timm(tmp_path):
    model = vit(registers=2, layer_scale=0.5, prefix_positions=3)
    timm.write(model, tmp_path, {}, approximate=False)
    state = load_file(tmp_path / "model.safetensors")
    others = ("blocks.1.", "blocks.2.")  # as the first
    shapes = {n: tuple(t.shape) for n, t in state.items() if not n.startswith(others)}
    block = {
        "norm1.weight": (20,), "norm1.bias": (20,), "attn.qkv.weight": (60, 20),
        "attn.qkv.bias": (60,), "attn.proj.weight": (20, 20), "attn.proj.bias": (20,),
        "ls1.gamma": (20,), "norm2.weight": (20,), "norm2.bias": (20,),
        "mlp.fc1.weight": (36, 20), "mlp.fc1.bias": (36,), "mlp.fc2.weight": (20, 36),
        "mlp.fc2.bias": (20,), "ls2.gamma": (20,),
    }  # fmt: skip
    assert shapes == {
        "patch_embed.proj.weight": (20, 3, 3, 5),
        "patch_embed.proj.bias": (20,),
        "cls_token": (1, 1, 20),
        "reg_token": (1, 2, 20),
        "pos_embed": (1, 11, 20),
        **{f"blocks.0.{name}": shape for name, shape in block.items()},
        "norm.weight": (20,),
        "norm.bias": (20,),
        "head.weight": (3, 20),
        "head.bias": (3,),
    }
    conv = model.state_dict()["patch.weight"].view(20, 3, 3, 5)
    assert torch.equal(state["patch_embed.proj.weight"], conv)


def test_a_pickle_of_timms_is_read_when_it_may_be(tmp_path):
    model = vit()
    timm.write(model, tmp_path, {}, approximate=False)
    about = json.loads((tmp_path / "config.json").read_text())
    torch.save(load_file(tmp_path / "model.safetensors"), tmp_path / "pytorch_model.bin")
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin is a pickle"):
        timm.read(tmp_path, about, unpickle=False, heads=None)
    assert same(timm.read(tmp_path, about, unpickle=True, heads=None), model)
    assert timm.read(tmp_path, about, unpickle=True, heads=2).config.heads == 2


def test_a_tensor_too_many_and_one_too_few_are_named(tmp_path):
    model = vit()
    timm.write(model, tmp_path, {}, approximate=False)
    about = json.loads((tmp_path / "config.json").read_text())
    state = load_file(tmp_path / "model.safetensors")
    state["norm_pre.bias"] = state.pop("blocks.1.norm2.bias")
    state["norm.bias"] = torch.ones(21)
    with pytest.raises(CheckpointError, match=rf"^{tmp_path}: config\.json: architecture ''"):
        timm.read(tmp_path, {}, unpickle=False, heads=None)
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError) as caught:
        timm.read(tmp_path, about, unpickle=False, heads=None)
    assert str(caught.value) == (
        f"{tmp_path}: blocks.1.norm2.bias is missing; norm.bias is (21,), expected (20,); "
        "norm_pre.bias is unexpected"
    )


MOVED = (
    "timm's ViT computes with eps 1e-06, this model with 0.01: its logits would move a little. "
    "Pass --approximate (approximate=True) to write it all the same"
)
SMALL = ViTConfig(image=(6, 15), patch=(3, 5), width=12, depth=1, heads=3, hidden=20, eps=1e-6)
UNHOLDABLE = {
    "eps": ({"eps": 1e-2}, "image", MOVED),
    "a head": (
        {},
        "masked_image",
        "layout 'timm' holds a classifier or features, not head 'masked_image'",
    ),
    "positions": (
        {"registers": 2, "prefix_positions": 1},
        "image",
        "layout 'timm' gives all tokens before the patches a position, or none, not 1 of 3",
    ),
    "positions resized otherwise": (
        {"antialias": False},
        None,
        "layout 'timm' resizes positions with antialiasing; this model does not",
    ),
    "a size of the MLP": (
        {"width": 49, "heads": 7, "hidden": 1},
        "image",
        "layout 'timm' cannot say 1 as a multiple of 49",
    ),
}


@pytest.mark.parametrize("row", UNHOLDABLE)
def test_what_timm_does_not_compute_is_not_written(row):
    changes, head, said = UNHOLDABLE[row]
    config = replace(SMALL, **changes)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        timm.refuse(config, head, approximate=row != "eps")
    assert str(caught.value) == said
    timm.refuse(replace(SMALL, eps=1e-2), "image", approximate=True)


def test_another_family_is_not_written(tmp_path):
    with pytest.raises(ValueError, match=r"^layout 'timm' holds ViT only, not gpt2$"):
        timm.write(tiny("gpt2", None), tmp_path, {}, approximate=True)
    with pytest.raises(ValueError, match=r"eps 1e-06, this model with 0\.01"):
        timm.write(tiny("vit", "image"), tmp_path, {}, approximate=False)
    assert not any(tmp_path.iterdir())

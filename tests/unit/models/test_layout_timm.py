"""timm's ViT: a config told from shapes, arguments and a name."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from zoo.checkpoint import CheckpointError
from zoo.models.layouts import timm, timm_names
from zoo.models.vit_config import ViTConfig

HERE = Path("some/folder")
# every size another: height 6 and width 15 of 3 x 5 patches are 2 x 3, and a class token
SHAPES = {
    "patch_embed.proj.weight": (12, 2, 3, 5),
    "pos_embed": (1, 7, 12),
    "cls_token": (1, 1, 12),
    "blocks.0.norm1.weight": (12,),
    "blocks.0.attn.qkv.bias": (36,),
    "blocks.0.mlp.fc1.weight": (20, 12),
    "blocks.1.norm1.weight": (12,),
    "norm.weight": (12,),
}
ABOUT = {"architecture": "vit_tiny_patch16_224", "model_args": {"img_size": [6, 15]}}
PLAIN = ViTConfig(
    image=(6, 15), patch=(3, 5), channels=2, width=12, depth=2, heads=3, hidden=20, eps=1e-6,
    classes=1, pooler=False,
)  # fmt: skip


def tensors_of(changes):
    """Make tensors without numbers; a shape of None leaves one out."""
    shapes = {name: shape for name, shape in (SHAPES | changes).items() if shape is not None}
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def args(**changes):
    return ABOUT | {"model_args": {"img_size": [6, 15]} | changes}


def sized(**where):
    """Say the picture's size elsewhere than in the arguments."""
    return {"architecture": "vit_tiny"} | where


HEAD = {"head.weight": (4, 12)}
NAMES = ["a", "b", "c", "d"]
AVERAGE = {"pooling": "mean"}
REGISTERS = {"reg_token": (1, 2, 12), "pos_embed": (1, 9, 12)}
# name -> (what is said, other shapes, what is other than in PLAIN)
READ = {
    "as it is": (ABOUT, {}, {}),
    "said as it is": (
        args(depth=2, embed_dim=12, in_chans=2, reg_tokens=0, class_token=True, num_heads=None),
        {},
        {},
    ),
    "what tensors tell or training reads": (
        args(patch_size=9, mlp_ratio=3, drop_rate=0.5, dynamic_img_size=True, weight_init="jax"),
        {},
        {},
    ),
    "what is off": (args(qk_norm=False, pre_norm=None), {}, {}),
    "no arguments": (sized(pretrained_cfg={"input_size": [2, 6, 15]}), {}, {}),
    "a size of before tables": (sized(input_size=[2, 6, 15]), {}, {}),
    "arguments go before": (args() | {"pretrained_cfg": {"input_size": [2, 3, 30]}}, {}, {}),
    "another size of as many": (args(img_size=[3, 30]), {}, {"image": (3, 30)}),
    "one number for a square": (
        args(img_size=15),
        {"pos_embed": (1, 16, 12)},
        {"image": (15, 15)},
    ),
    "a size of others": (
        args(img_size=[60, 60]),
        {"pos_embed": (1, 10, 12)},
        {"image": (9, 15)},
    ),
    "no size": (sized(), {"pos_embed": (1, 5, 12)}, {"image": (6, 10)}),
    "a size of texts": (args(img_size=["6", "15"]), {"pos_embed": (1, 5, 12)}, {"image": (6, 10)}),
    "a size of one": (args(img_size=[6]), {"pos_embed": (1, 5, 12)}, {"image": (6, 10)}),
    "one patch": (sized(), {"pos_embed": (1, 2, 12)}, {"image": (3, 5)}),
    "patches alone have positions": (
        ABOUT,
        {"pos_embed": (1, 6, 12)},
        {"prefix_positions": 0},
    ),
    "patches alone, so it is said": (
        args(img_size=None, no_embed_class=True),
        {"pos_embed": (1, 4, 12)},
        {"image": (6, 10), "prefix_positions": 0},
    ),
    "all tokens, so it is said": (
        args(img_size=None, no_embed_class=False),
        {"pos_embed": (1, 10, 12)},
        {"image": (9, 15)},
    ),
    "four positions are patches": (
        sized(),
        {"pos_embed": (1, 4, 12)},
        {"image": (6, 10), "prefix_positions": 0},
    ),
    "registers": (ABOUT, REGISTERS, {"registers": 2, "prefix_positions": 3}),
    "registers without a position": (
        args(reg_tokens=2),
        REGISTERS | {"pos_embed": (1, 6, 12)},
        {"registers": 2, "prefix_positions": 0},
    ),
    "no class token": (
        args(class_token=False, global_pool="avg"),
        {"cls_token": None, "pos_embed": (1, 6, 12)},
        {"class_token": False, "prefix_positions": 0} | AVERAGE,
    ),
    "the mean, by an argument": (args(global_pool="avg"), {}, AVERAGE),
    "the mean, by a setting": (ABOUT | {"global_pool": "avg"}, {}, AVERAGE),
    "an argument before a setting": (args(global_pool="token") | {"global_pool": "avg"}, {}, {}),
    "the mean, by a name": (ABOUT | {"architecture": "vit_tiny_patch_gap_6"}, {}, AVERAGE),
    "the mean, by a norm": (
        ABOUT,
        {"fc_norm.weight": (12,), "norm.weight": None},
        {"pooled_norm": True} | AVERAGE,
    ),
    "a norm of what is pooled of a class": (
        args(global_pool="token"),
        {"fc_norm.weight": (12,)},
        {"pooled_norm": True},
    ),
    "a gelu, by an argument": (args(act_layer="gelu_tanh"), {}, {"gelu": "tanh"}),
    "a gelu, by a name": (ABOUT | {"architecture": "vit_tiny_quickgelu"}, {}, {"gelu": "quick"}),
    "an argument before a name": (
        args(act_layer="gelu") | {"architecture": "vit_tiny_quickgelu"},
        {},
        {},
    ),
    "paths that are dropped": (args(drop_path_rate=0.25), {}, {"drop_path": 0.25}),
    "heads, by an argument": (args(num_heads=4), {}, {"heads": 4}),
    "no biases": (ABOUT, {"blocks.0.attn.qkv.bias": None}, {"qkv_bias": False}),
    "a scale": (ABOUT, {"blocks.0.ls1.gamma": (12,)}, {"layer_scale": 1e-5}),
    "a scale that is said": (
        args(init_values=0.1),
        {"blocks.0.ls1.gamma": (12,)},
        {"layer_scale": 0.1},
    ),
    "a whole scale": (args(init_values=1), {"blocks.0.ls1.gamma": (12,)}, {"layer_scale": 1.0}),
    "a scale in words": (
        args(init_values="1"),
        {"blocks.0.ls1.gamma": (12,)},
        {"layer_scale": 1e-5},
    ),
    "a scale without weights": (args(init_values=0.1), {}, {}),
    "a classifier": (ABOUT, HEAD, {"classes": 4}),
    "labels": (ABOUT | {"label_names": NAMES}, HEAD, {"classes": 4, "labels": tuple(NAMES)}),
    "labels of another number": (ABOUT | {"label_names": NAMES[:3]}, HEAD, {"classes": 4}),
    "labels that are numbers": (ABOUT | {"label_names": [1, 2, 3, 4]}, HEAD, {"classes": 4}),
    "labels as a text": (ABOUT | {"label_names": "abcd"}, HEAD, {"classes": 4}),
    "labels without a head": (ABOUT | {"label_names": ["a"]}, {}, {}),
    "no labels without a head": (ABOUT | {"label_names": []}, {}, {}),
}


@pytest.mark.parametrize("row", READ)
def test_a_config_is_told_from_shapes_arguments_and_the_name(row):
    about, shapes, changes = READ[row]
    assert timm.config_of(HERE, about, tensors_of(shapes), None) == replace(PLAIN, **changes)


def test_heads_of_the_caller_go_before_all_others():
    about = args(num_heads=4)
    assert timm.config_of(HERE, about, tensors_of({}), 6).heads == 6


GRID = (
    "{count} positions, {prefix} of them or none before the patches: no grid of {size} pixels and "
    "no square one; model_args must say img_size"
)
REFUSED = {
    "another family": (
        {"architecture": "resnet50"},
        {},
        "config.json: architecture 'resnet50' with {} is no plain ViT of timm's",
    ),
    "no name": ({}, {}, "config.json: architecture '' with {} is no plain ViT of timm's"),
    "arguments": (
        args(qk_norm=True, pre_norm=False, norm_layer="x"),
        {},
        "config.json: architecture 'vit_tiny_patch16_224' with {'qk_norm': True, 'norm_layer': "
        "'x'} is no plain ViT of timm's",
    ),
    "arguments in a list": (
        ABOUT | {"model_args": ["img_size"]},
        {},
        "config.json: model_args is ['img_size'], not a table",
    ),
    "settings of pictures in a list": (
        {"architecture": "vit_tiny", "pretrained_cfg": [1]},
        {},
        "config.json: pretrained_cfg is [1], not a table",
    ),
    "a norm before": (
        ABOUT,
        {"norm_pre.weight": (12,)},
        "'vit_tiny_patch16_224' normalises before its first block, as the towers of CLIP do, and "
        "a ViT here does not: convert the whole CLIP, from open_clip's files",
    ),
    "no patches": (
        ABOUT,
        {"patch_embed.proj.weight": None},
        "patch_embed.proj.weight is missing, empty or has not 4 axes",
    ),
    "patches of no height": (
        ABOUT,
        {"patch_embed.proj.weight": (12, 2, 0, 5)},
        "patch_embed.proj.weight is missing, empty or has not 4 axes",
    ),
    "flat patches": (
        ABOUT,
        {"patch_embed.proj.weight": (12, 30)},
        "patch_embed.proj.weight is missing, empty or has not 4 axes",
    ),
    "flat positions": (
        ABOUT,
        {"pos_embed": (7, 12)},
        "pos_embed is missing, empty or has not 3 axes",
    ),
    "flat registers": (
        ABOUT,
        {"reg_token": (2, 12)},
        "reg_token is missing, empty or has not 3 axes",
    ),
    "no MLP": (
        ABOUT,
        {"blocks.0.mlp.fc1.weight": None},
        "blocks.0.mlp.fc1.weight is missing, empty or has not 2 axes",
    ),
    "a block that is far": (
        ABOUT,
        {"blocks.9.norm1.weight": (12,)},
        "3 of blocks.{}.norm1.weight, and the last has number 9",
    ),
    "no grid": (
        args(img_size=[6, 10]),
        {"pos_embed": (1, 8, 12), "cls_token": None, "reg_token": (1, 2, 12)},
        GRID.format(count=8, prefix=2, size=[6, 10]),
    ),
    "no grid of a number": (
        args(img_size=16),
        {"pos_embed": (1, 8, 12)},
        GRID.format(count=8, prefix=1, size=16),
    ),
    "fewer positions than tokens": (
        sized(),
        {"pos_embed": (1, 2, 12), "reg_token": (1, 9, 12)},
        GRID.format(count=2, prefix=10, size=None),
    ),
    "no patch": (
        sized(model_args={"no_embed_class": False}),
        {"pos_embed": (1, 1, 12)},
        GRID.format(count=1, prefix=1, size=None),
    ),
    "positions for all, so it is said": (
        args(no_embed_class=False),
        {"pos_embed": (1, 6, 12)},
        GRID.format(count=6, prefix=1, size=[6, 15]),
    ),
    "positions for patches, so it is said": (
        args(no_embed_class=True),
        {},
        GRID.format(count=7, prefix=1, size=[6, 15]),
    ),
    "other sizes": (
        args(depth=3, embed_dim=13, in_chans=3, reg_tokens=1, class_token=False),
        {},
        "the config says depth 3, the weights hold 2; embed_dim 13, the weights hold 12; "
        "in_chans 3, the weights hold 2; reg_tokens 1, the weights hold 0; "
        "class_token False, the weights hold True",
    ),
    "a pooling": (args(global_pool="map"), {}, "pooling 'map' with 'gelu' is not supported"),
    "a gelu": (args(act_layer="silu"), {}, "pooling 'token' with 'silu' is not supported"),
    "no heads": (
        {"architecture": "vit_odd", "model_args": {"img_size": [6, 15], "num_heads": "4"}},
        {},
        "'vit_odd' does not tell the number of heads: pass --heads (heads=...)",
    ),
    "heads that do not fit": (args(num_heads=5), {}, "width 12 is not a multiple of heads 5"),
    "pixels beside the patches": (
        args(img_size=[8, 19]),
        {},
        "image (8, 19) is not a multiple of patch (3, 5)",
    ),
    "no rate": (
        args(drop_path_rate="much"),
        {},
        "could not convert string to float: 'much'",
    ),
}


@pytest.mark.parametrize("row", REFUSED)
def test_what_is_no_vit_of_ours_is_refused(row):
    about, shapes, said = REFUSED[row]
    with pytest.raises(CheckpointError) as caught:
        timm.config_of(HERE, about, tensors_of(shapes), None)
    assert str(caught.value) == f"{HERE}: {said}"


# name -> (whether a ViT as ours, heads, gelu, pooling)
NAMED = {
    "vit_tiny_patch16_224": (True, 3, "gelu", "token"),
    "vit_dwee_patch16": (True, 4, "gelu", "token"),
    "deit_small_patch16_224": (True, 6, "gelu", "token"),
    "deit3_base_patch16_224": (True, 12, "gelu", "token"),
    "flexivit_large": (True, 16, "gelu", "token"),
    "vit_base_patch16_gap_224": (True, 16, "gelu", "avg"),
    "vit_base_patch16_plus_240": (True, 14, "gelu", "token"),
    "vit_base_patch32_plus_256": (True, 14, "gelu", "token"),
    "vit_base_patch32_siglip_gap_256": (True, 12, "gelu_tanh", "avg"),
    "vit_base_patch16_siglip_gap_512": (True, 12, "gelu", "avg"),
    "vit_giantopt_patch16_siglip_gap_256": (True, 16, "gelu_tanh", "avg"),
    "vit_large_patch14_clip_quickgelu_224": (True, 16, "quick_gelu", "token"),
    "vit_so150m2_patch16": (True, 13, "gelu", "token"),
    "vit_base_patch16_rpn_224": (False, 12, "gelu", "token"),
    "vit_base_patch8_gap": (True, 12, "gelu", "token"),
    "vit": (True, None, "gelu", "token"),
    "vit_odd_tiny": (True, None, "gelu", "token"),
    "vitamin_tiny": (False, 3, "gelu", "token"),
    "my_vit_tiny": (False, None, "gelu", "token"),
    "": (False, None, "gelu", "token"),
}


@pytest.mark.parametrize("name", NAMED)
def test_a_name_says_what_tensors_do_not(name):
    found = (
        timm_names.is_plain(name),
        timm_names.heads_of(name),
        timm_names.gelu_of(name),
        timm_names.pooling_of(name),
    )
    assert found == NAMED[name]

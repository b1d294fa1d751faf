"""Every architecture of timm's whose tensors are a ViT's: read as timm builds it, by its name.

What timm builds was recorded with tools/timm_names.py; published files of timm's say little more
than the name, and a wrong number of heads or another gelu shows in no shape.
"""

import json
from pathlib import Path

import pytest
import torch

from integration.test_layouts import write_timm
from unit.models.tiny import tiny
from zoo.checkpoint import CheckpointError
from zoo.models.convert import convert, read
from zoo.models.layouts.timm import config_of

RECORDED = json.loads((Path(__file__).parent / "timm_architectures.json").read_text())
ARCHITECTURES = RECORDED["architectures"]
FIELDS = (
    "heads gelu height width patch channels_of_tokens class_token registers prefix_positions "
    "pooling pooled_norm"
).split()


def tensors_of(row, grid):
    """Make what the config is told from, without numbers."""
    d = row["channels_of_tokens"]
    shapes = {
        "patch_embed.proj.weight": (d, 3, row["patch"], row["patch"]),
        "pos_embed": (1, row["prefix_positions"] + grid, d),
        "blocks.0.norm1.weight": (d,),
        "blocks.0.attn.qkv.bias": (3 * d,),
        "blocks.0.mlp.fc1.weight": (4 * d, d),
        "fc_norm.weight" if row["pooled_norm"] else "norm.weight": (d,),
    }
    if row["class_token"]:
        shapes["cls_token"] = (1, 1, d)
    if row["registers"]:
        shapes["reg_token"] = (1, row["registers"], d)
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def as_published(name, row):
    size = [3, row["height"], row["width"]]
    return {"architecture": name, "pretrained_cfg": {"input_size": size}}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_architecture_is_read_as_timm_builds_it(name):
    row = dict(zip(FIELDS, ARCHITECTURES[name], strict=True))
    grid = (row["height"] // row["patch"]) * (row["width"] // row["patch"])
    c = config_of(Path(name), as_published(name, row), tensors_of(row, grid), None)
    found = (
        c.heads, c.gelu, *c.image, c.patch[0], c.width, c.class_token, c.registers,
        c.prefix_positions, c.pooling, c.pooled_norm,
    )  # fmt: skip
    assert dict(zip(FIELDS, found, strict=True)) == row
    assert (c.eps, c.qkv_bias) == (1e-6, True)


@pytest.mark.parametrize("name", RECORDED["look_alikes"])
def test_what_only_looks_like_a_vit_is_refused_by_name(name):
    row = dict(zip(FIELDS, ARCHITECTURES["vit_base_patch16_224"], strict=True))
    with pytest.raises(CheckpointError, match="no plain ViT of timm's"):
        config_of(Path(name), as_published(name, row), tensors_of(row, 196), None)


def test_what_is_written_names_what_timm_knows(tmp_path):
    """timm refuses a name that it has no architecture for, and an unknown argument."""
    model = tiny("vit", "image", eps=1e-6, pooling="mean")
    model.float().save_pretrained(tmp_path / "from")
    convert(tmp_path / "from", tmp_path / "to", to="timm")
    about = json.loads((tmp_path / "to" / "config.json").read_text())
    assert about["architecture"] in ARCHITECTURES
    assert about["model_args"].keys() <= set(RECORDED["arguments"])
    assert about["model_args"]["fc_norm"] is False  # which timm would not guess of a mean


def test_a_config_of_before_tables_is_read(tmp_path):
    """timm of 2022 wrote the settings of pictures beside the architecture."""

    def flat(about, state):
        about |= about.pop("pretrained_cfg") | {"architecture": "vit_small_patch4"}
        del about["model_args"]

    folder = write_timm(tmp_path, flat, image=(12, 24), patch=(4, 4), width=18, heads=6)
    config = read(folder, unpickle=False).config
    assert (config.image, config.heads) == ((12, 24), 6)


def test_positions_before_the_patches_are_timms_usual_where_counts_leave_both(tmp_path):
    """Nine positions are a class token, four registers and 2 x 2 patches, or 3 x 3 patches."""

    def without_sizes(about, state):
        del about["pretrained_cfg"], about["model_args"]
        about["architecture"] = "vit_small_patch4"

    sizes = {"image": (8, 8), "patch": (4, 4), "width": 18, "heads": 6}
    folder = write_timm(tmp_path, without_sizes, registers=4, prefix_positions=5, **sizes)
    config = read(folder, unpickle=False).config
    assert (config.image, config.prefix_positions) == ((8, 8), 5)

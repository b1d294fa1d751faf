"""timm's ViT (VisionTransformer): its config.json names an architecture, not sizes.

Sizes are read off the tensors; what they do not tell (heads, the image's two sides, the pooling)
comes from `model_args`, `pretrained_cfg` and the architecture's name. timm computes with eps 1e-6.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from zoo.checkpoint import CheckpointError, write_folder
from zoo.keymap import KeyTable, Rename, Reshape, affine, to_theirs
from zoo.models.layouts import timm_names
from zoo.models.layouts.assemble import assemble, check_said, depth_of, read_tensors, size_of
from zoo.models.vit import ViT
from zoo.models.vit_config import ViTConfig

EPS = 1e-6
FILES = ("model.safetensors", "pytorch_model.bin")
ARCHITECTURE = "vit_base_patch16_224"  # what is written: every argument is said beside it
POOLINGS = {"token": "class", "avg": "mean"}
GELUS = {"gelu": "erf", "gelu_tanh": "tanh", "quick_gelu": "quick"}

# arguments of a model that change nothing in a forward pass of ours, or that tensors tell
TOLD = frozenset(
    "img_size patch_size in_chans num_classes global_pool embed_dim depth num_heads mlp_ratio "
    "qkv_bias init_values class_token no_embed_class reg_tokens fc_norm act_layer "
    "dynamic_img_size strict_img_size drop_rate drop_path_rate attn_drop_rate proj_drop_rate "
    "pos_drop_rate patch_drop_rate weight_init fix_init".split()
)


def keys_of(config: ViTConfig) -> KeyTable:
    c = config
    kernel = (c.channels, *c.patch)
    count = c.grid[0] * c.grid[1] + (c.prefix_positions or 0)
    conv = "patch_embed.proj"
    return KeyTable(
        prefix="",
        body=(
            Reshape(f"{conv}.weight", "patch.weight", (-1, *kernel), (-1, math.prod(kernel))),
            Rename(f"{conv}.bias", "patch.bias"),
            Reshape("cls_token", "class_token", (1, 1, -1), (-1,)),
            Reshape("reg_token", "registers", (1, c.registers, -1), (c.registers, -1)),
            Reshape("pos_embed", "positions", (1, count, -1), (count, -1)),
            *affine("blocks.{}.norm1", "blocks.{}.norm1"),
            *affine("blocks.{}.attn.qkv", "blocks.{}.attn.qkv"),
            *affine("blocks.{}.attn.proj", "blocks.{}.attn.out"),
            Rename("blocks.{}.ls1.gamma", "blocks.{}.scale1.weight"),
            *affine("blocks.{}.norm2", "blocks.{}.norm2"),
            *affine("blocks.{}.mlp.fc1", "blocks.{}.mlp.up"),
            *affine("blocks.{}.mlp.fc2", "blocks.{}.mlp.down"),
            Rename("blocks.{}.ls2.gamma", "blocks.{}.scale2.weight"),
            *affine("fc_norm" if c.pooled_norm else "norm", "norm"),
        ),
        heads={"image": affine("head", "head"), None: ()},
    )


def read(folder: Path, about: Mapping[str, Any], *, unpickle: bool, heads: int | None) -> ViT:
    """Read a folder of timm's; `heads` is for architectures whose name does not tell."""
    tensors = read_tensors(folder, FILES, unpickle=unpickle)
    config = config_of(folder, about, tensors, heads)
    head = "image" if "head.weight" in tensors else None
    model: ViT = assemble(folder, ViT, config, head, keys_of(config), tensors)
    return model


def config_of(
    where: Path, about: Mapping[str, Any], tensors: Mapping[str, Tensor], heads: int | None
) -> ViTConfig:
    """Tell the config from shapes, arguments and the architecture's name."""
    name = str(about.get("architecture", ""))
    given = table(where, about, "model_args")
    strange = {k: v for k, v in given.items() if k not in TOLD and v}
    if not timm_names.is_plain(name) or strange:
        raise CheckpointError(
            f"{where}: config.json: architecture {name!r} with {strange} is no plain ViT of timm's"
        )
    if "norm_pre.weight" in tensors:
        raise CheckpointError(
            f"{where}: {name!r} normalises before its first block, as the towers of CLIP do, and "
            "a ViT here does not: convert the whole CLIP, from open_clip's files"
        )
    _, channels, *patch = size_of(where, tensors, "patch_embed.proj.weight", 4)
    _, count, width = size_of(where, tensors, "pos_embed", 3)
    hidden = size_of(where, tensors, "blocks.0.mlp.fc1.weight", 2)[0]
    class_token = "cls_token" in tensors
    registers = size_of(where, tensors, "reg_token", 3)[1] if "reg_token" in tensors else 0
    step = (patch[0], patch[1])
    image, prefix = image_of(where, about, given, count, int(class_token) + registers, step)
    pooled_norm = "fc_norm.weight" in tensors
    usual = "avg" if pooled_norm else timm_names.pooling_of(name)
    pool = given.get("global_pool", about.get("global_pool", usual))
    form = given.get("act_layer", timm_names.gelu_of(name))
    depth = depth_of(where, tensors, "blocks.{}.norm1.weight")
    held = {"depth": depth, "embed_dim": width, "in_chans": channels, "reg_tokens": registers}
    check_said(where, given, held | {"class_token": class_token})
    if str(pool) not in POOLINGS or str(form) not in GELUS:
        raise CheckpointError(f"{where}: pooling {pool!r} with {form!r} is not supported")
    told = heads_of(where, name, given, heads)
    try:
        return ViTConfig(
            image=image,
            patch=step,
            channels=channels,
            width=width,
            depth=depth,
            heads=told,
            hidden=hidden,
            drop_path=float(given.get("drop_path_rate", 0.0)),
            eps=EPS,
            gelu=GELUS[form],
            classes=len(tensors["head.weight"]) if "head.weight" in tensors else 1,
            labels=labels_of(about, tensors),
            pooling=POOLINGS[pool],
            pooled_norm=pooled_norm,
            class_token=class_token,
            registers=registers,
            prefix_positions=prefix,
            layer_scale=scale_of(given, tensors),
            qkv_bias="blocks.0.attn.qkv.bias" in tensors,
            pooler=False,
        )
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{where}: {error}") from None


def table(where: Path, about: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = about.get(name) or {}
    if not isinstance(found, Mapping):
        raise CheckpointError(f"{where}: config.json: {name} is {found!r}, not a table")
    return found


def image_of(
    where: Path,
    about: Mapping[str, Any],
    given: Mapping[str, Any],
    count: int,
    prefix: int,
    patch: tuple[int, int],
) -> tuple[tuple[int, int], int]:
    """Find the (height, width) that positions were made for, and how many stand before the patches.

    All `prefix` tokens have a position or none: of the two, the one that leaves a grid of the
    image's size, or else a square one.
    """
    said = given.get("no_embed_class")
    choices = (prefix, 0) if said is None else (0 if said else prefix,)
    # files of before 2023 have no table of their own
    pretrained = table(where, about, "pretrained_cfg") or about
    size = given.get("img_size", pretrained.get("input_size"))
    sizes = [size, size] if isinstance(size, int) else list(size or ())[-2:]
    if len(sizes) == 2 and all(type(side) is int for side in sizes):
        height, width = sizes
        for before in choices:
            if (height // patch[0]) * (width // patch[1]) == count - before:
                return (height, width), before
    for before in choices:
        side = math.isqrt(max(0, count - before))
        if side and side * side == count - before:
            return (side * patch[0], side * patch[1]), before
    raise CheckpointError(
        f"{where}: {count} positions, {prefix} of them or none before the patches: no grid of "
        f"{size} pixels and no square one; model_args must say img_size"
    )


def heads_of(where: Path, name: str, given: Mapping[str, Any], heads: int | None) -> int:
    found = heads or given.get("num_heads") or timm_names.heads_of(name)
    if not isinstance(found, int):
        raise CheckpointError(
            f"{where}: {name!r} does not tell the number of heads: pass --heads (heads=...)"
        )
    return found


def scale_of(given: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> float | None:
    """Give LayerScale's initial value; any serves where its weights are read."""
    if "blocks.0.ls1.gamma" not in tensors:
        return None
    value = given.get("init_values")
    return float(value) if isinstance(value, int | float) else 1e-5


def labels_of(about: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> tuple[str, ...] | None:
    """Give the names of the classes; None where there is no head, or none of its size."""
    names = about.get("label_names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    fits = "head.weight" in tensors and len(names) == len(tensors["head.weight"])
    return tuple(names) if fits else None


def write(model: Any, target: Path, pixels: Mapping[str, Any], *, approximate: bool) -> None:
    """Write a folder that timm.create_model("local-dir:...") reads.

    `pixels` is timm's description of the preprocessing. Raises ValueError for what timm's ViT does
    not compute; `approximate` lets another eps pass.
    """
    if not isinstance(model, ViT):
        raise ValueError(f"layout 'timm' holds ViT only, not {model.spec.name}")
    c = model.config
    refuse(c, model.head_name, approximate=approximate)
    state = {
        name: parameter.detach()
        for name, parameter in model.named_parameters()
        if not name.startswith("pooler.")
    }
    theirs = to_theirs(keys_of(c), model.head_name, state)
    classes = c.classes if model.head_name == "image" else 0
    about: dict[str, Any] = {
        "architecture": ARCHITECTURE,
        "num_classes": classes,
        "num_features": c.width,
        "global_pool": pool_of(c),
        "model_args": arguments_of(c, classes),
        "pretrained_cfg": {
            "input_size": [c.channels, *c.image],
            "num_classes": classes,
            "classifier": "head",
            "first_conv": "patch_embed.proj",
            **pixels,
        },
    }
    if c.labels:
        about["label_names"] = list(c.labels)
    plain = {name: tensor.contiguous() for name, tensor in theirs.items()}
    write_folder(target, json.loads(json.dumps(about)), plain)


def pool_of(config: ViTConfig) -> str:
    return next(theirs for theirs, ours in POOLINGS.items() if ours == config.pooling)


def arguments_of(config: ViTConfig, classes: int) -> dict[str, Any]:
    """Give the arguments of timm's VisionTransformer."""
    c = config
    return {
        "img_size": list(c.image),
        "patch_size": list(c.patch),
        "in_chans": c.channels,
        "num_classes": classes,
        "global_pool": pool_of(c),
        "embed_dim": c.width,
        "depth": c.depth,
        "num_heads": c.heads,
        "mlp_ratio": c.hidden / c.width,
        "qkv_bias": c.qkv_bias,
        "init_values": c.layer_scale,
        "class_token": c.class_token,
        "no_embed_class": c.prefix_positions == 0,
        "reg_tokens": c.registers,
        "fc_norm": c.pooled_norm,
        "act_layer": next(theirs for theirs, ours in GELUS.items() if ours == c.gelu),
    }


def refuse(config: ViTConfig, head: str | None, *, approximate: bool) -> None:
    c = config
    if head not in ("image", None):
        raise ValueError(f"layout 'timm' holds a classifier or features, not head {head!r}")
    if c.prefix_positions not in (0, c.prefix):
        raise ValueError(
            f"layout 'timm' gives all tokens before the patches a position, or none, not "
            f"{c.prefix_positions} of {c.prefix}"
        )
    if not c.antialias:
        raise ValueError("layout 'timm' resizes positions with antialiasing; this model does not")
    if int(c.width * (c.hidden / c.width)) != c.hidden:
        raise ValueError(f"layout 'timm' cannot say {c.hidden} as a multiple of {c.width}")
    if c.eps != EPS and not approximate:
        raise ValueError(
            f"timm's ViT computes with eps {EPS}, this model with {c.eps}: its logits would move a "
            "little. Pass --approximate (approximate=True) to write it all the same"
        )

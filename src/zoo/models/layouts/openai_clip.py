"""CLIP as OpenAI names it, and as open_clip does: the same names, and open_clip's own config.

OpenAI's release has no config: sizes are read off the tensors, heads are 64 wide and the gelu is
the quick one. open_clip says the sizes in open_clip_config.json, and the gelu is exact unless
`quick_gelu` is set there.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from zoo.checkpoint import CheckpointError, write_folder
from zoo.checkpoint.files import read_json
from zoo.checkpoint.safetensors import write_file
from zoo.keymap import Ignore, KeyTable, Rename, Reshape, Rule, affine, to_theirs
from zoo.models.clip import CLIP
from zoo.models.clip_config import CLIPConfig
from zoo.models.layouts.assemble import assemble, check_said, depth_of, side_of, size_of

ABOUT = "open_clip_config.json"
WEIGHTS = "open_clip_model.safetensors"
OPEN_CLIP_FILES = (WEIGHTS, "model.safetensors", "open_clip_pytorch_model.bin")
OPENAI_FILES = ("model.safetensors", "pytorch_model.bin")
MARK = "visual.conv1.weight"  # a name that no other layout has
HEAD = 64  # wide
EPS = 1e-5

# settings of open_clip's towers that ours have too; others must be off
VISION = frozenset("image_size layers width patch_size head_width mlp_ratio".split())
TEXT = frozenset("context_length vocab_size width heads layers mlp_ratio embed_cls".split())
HARMLESS = frozenset(("hf_tokenizer_name", "tokenizer_kwargs", "patch_dropout", "timm_drop"))
# settings that may be spelt out as what they are without
USUAL = {
    "pool_type": ("tok", "argmax"),
    "proj_type": ("linear",),
    "timm_pool": ("avg",),
    "timm_proj": ("linear",),
    "pos_embed_type": ("learnable",),
    "attn_pooler_queries": (256,),
    "attn_pooler_heads": (8,),
    "eos_id": (2,),  # read with another pooling only
}


def tower(theirs: str, ours: str) -> tuple[Rule, ...]:
    block, mine = theirs + "transformer.resblocks.{}", ours + ".blocks.{}"
    return (
        *affine(f"{block}.ln_1", f"{mine}.norm1"),
        Rename(f"{block}.attn.in_proj_weight", f"{mine}.attn.qkv.weight"),
        Rename(f"{block}.attn.in_proj_bias", f"{mine}.attn.qkv.bias"),
        *affine(f"{block}.attn.out_proj", f"{mine}.attn.out"),
        *affine(f"{block}.ln_2", f"{mine}.norm2"),
        *affine(f"{block}.mlp.c_fc", f"{mine}.mlp.up"),
        *affine(f"{block}.mlp.c_proj", f"{mine}.mlp.down"),
    )


def keys_of(config: CLIPConfig) -> KeyTable:
    kernel = (config.channels, *config.patch)
    return KeyTable(
        prefix="",
        body=(
            Reshape(MARK, "image.patch.weight", (-1, *kernel), (-1, math.prod(kernel))),
            Rename("visual.class_embedding", "image.class_token"),
            Rename("visual.positional_embedding", "image.positions"),
            *affine("visual.ln_pre", "image.norm_in"),
            *tower("visual.", "image"),
            *affine("visual.ln_post", "image.norm"),
            Rename("visual.proj", "image_projection.weight", transpose=True),
            Rename("token_embedding.weight", "text.tokens.weight"),
            Rename("positional_embedding", "text.positions.weight"),
            *tower("", "text"),
            *affine("ln_final", "text.norm"),
            Rename("text_projection", "text_projection.weight", transpose=True),
            Rename("logit_scale", "logit_scale"),
            Rename("logit_bias", "logit_bias"),
            Ignore("input_resolution"),  # what OpenAI's archives carry beside the weights
            Ignore("context_length"),
            Ignore("vocab_size"),
            Ignore("attn_mask"),
        ),
        heads={"match": ()},
    )


def read(where: Path, about: Mapping[str, Any] | None, tensors: Mapping[str, Tensor]) -> CLIP:
    """Make a CLIP of OpenAI's names; `about` is open_clip's config where there is one."""
    if any(name.startswith("text.") for name in tensors):
        raise CheckpointError(
            f"{where}: the names of its text tower begin with 'text.', as open_clip's custom ones "
            "do; only its plain CLIP is read here"
        )
    config = config_of(where, about, tensors)
    model: CLIP = assemble(where, CLIP, config, "match", keys_of(config), tensors)
    return model


def read_about(folder: Path) -> Mapping[str, Any]:
    """Read open_clip's config; raise CheckpointError for an architecture that is not ours."""
    path = folder / ABOUT
    try:
        about = read_json(folder, ABOUT)["model_cfg"]
        vision, text = dict(about["vision_cfg"]), dict(about["text_cfg"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} is no config of open_clip's: {error!r}") from None
    known = {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu", "init_logit_bias"}
    strange = {
        name: value
        for part, names in ((about, known), (vision, VISION), (text, TEXT))
        for name, value in part.items()
        if name not in names | HARMLESS | {"init_logit_scale"}
        and value
        and value not in USUAL.get(name, ())
    }
    if strange or text.get("embed_cls"):
        raise CheckpointError(f"{path}: no knowledge of {strange or 'embed_cls'}; it is no CLIP")
    return dict(about)


def config_of(
    where: Path, about: Mapping[str, Any] | None, tensors: Mapping[str, Tensor]
) -> CLIPConfig:
    """Tell the config from shapes, as OpenAI's build_model does, and from open_clip's words."""
    d, channels, *patch = size_of(where, tensors, MARK, 4)
    count = size_of(where, tensors, "visual.positional_embedding", 2)[0] - 1
    vocab, t = size_of(where, tensors, "token_embedding.weight", 2)
    said = about or {"vision_cfg": {}, "text_cfg": {}, "quick_gelu": True}
    vision, text = said["vision_cfg"], said["text_cfg"]
    context = size_of(where, tensors, "positional_embedding", 2)[0]
    embed = size_of(where, tensors, "text_projection", 2)[1]
    layers = depth_of(where, tensors, "visual.transformer.resblocks.{}.ln_1.weight")
    depth = depth_of(where, tensors, "transformer.resblocks.{}.ln_1.weight")
    check_said(where, said, {"embed_dim": embed})
    check_said(where, vision, {"layers": layers, "width": d})
    held = {"context_length": context, "vocab_size": vocab, "width": t, "layers": depth}
    check_said(where, text, held)
    head = vision.get("head_width", HEAD)
    if type(head) is not int or head < 1 or type(said.get("quick_gelu", False)) is not bool:
        raise CheckpointError(
            f"{where}: head_width {head!r} should be a whole number from 1, and quick_gelu "
            f"{said.get('quick_gelu')!r} true or false"
        )
    try:
        return CLIPConfig(
            embed=embed,
            image=image_of(where, vision.get("image_size"), count, (patch[0], patch[1])),
            patch=(patch[0], patch[1]),
            channels=channels,
            image_width=d,
            image_depth=layers,
            image_heads=d // head,
            image_hidden=size_of(where, tensors, first("visual."), 2)[0],
            text_width=t,
            text_depth=depth,
            text_heads=text.get("heads", t // HEAD),
            text_hidden=size_of(where, tensors, first(""), 2)[0],
            vocab=vocab,
            context=context,
            end=vocab - 1,
            gelu="quick" if said.get("quick_gelu") else "erf",
            eps=EPS,
            bias=said.get("init_logit_bias", -10.0) if "logit_bias" in tensors else None,
        )
    except CheckpointError:
        raise
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{where}: {error}") from None


def first(prefix: str) -> str:
    return f"{prefix}transformer.resblocks.0.mlp.c_fc.weight"


def image_of(where: Path, said: Any, count: int, patch: tuple[int, int]) -> tuple[int, int]:
    """Find the (height, width) that the positions were made for."""
    sizes = [said, said] if isinstance(said, int) else list(said or ())
    if len(sizes) == 2 and all(type(side) is int for side in sizes):
        height, width = sizes
        if (height // patch[0]) * (width // patch[1]) == count:
            return height, width
    side = side_of(where, count)
    return side * patch[0], side * patch[1]


def check(model: Any, layout: str) -> CLIPConfig:
    """Give the config of a whole CLIP that either library can hold."""
    if not isinstance(model, CLIP) or model.head_name != "match":
        raise ValueError(f"layout {layout!r} holds a whole CLIP only, not this {model.spec.name}")
    c: CLIPConfig = model.config
    if c.eps != EPS or c.patch[0] != c.patch[1]:
        raise ValueError(
            f"layout {layout!r} has eps {EPS} and square patches; here eps = {c.eps}, "
            f"patch {c.patch}"
        )
    if c.end != c.vocab - 1:
        raise ValueError(
            f"layout {layout!r} reads a text at its largest id; here end = {c.end} of {c.vocab}"
        )
    return c


def published(model: CLIP) -> dict[str, Tensor]:
    state = {name: parameter.detach() for name, parameter in model.named_parameters()}
    theirs = to_theirs(keys_of(model.config), "match", state)
    return {name: tensor.contiguous() for name, tensor in theirs.items()}


def write_openai(model: Any, target: Path) -> None:
    """Write OpenAI's names as safetensors, with transformers' config beside for what they lack."""
    c = check(model, "openai")
    wrong = {
        "gelu": c.gelu != "quick",
        "heads": c.image_width != HEAD * c.image_heads or c.text_width != HEAD * c.text_heads,
        "image": c.image[0] != c.image[1],
        "bias": c.bias is not None,
    }
    if any(wrong.values()):
        named = ", ".join(name for name, is_wrong in wrong.items() if is_wrong)
        raise ValueError(
            f"layout 'openai' means the quick gelu, heads of {HEAD}, square images and no bias; "
            f"this model's {named} cannot be said there: take --to open_clip"
        )
    write_folder(target, model.published_config(), published(model))


def write_open_clip(model: Any, target: Path, pixels: Mapping[str, Any]) -> None:
    """Write what open_clip reads from a local folder; `pixels` is its preprocess_cfg."""
    c = check(model, "open_clip")
    if c.gelu not in ("quick", "erf"):
        raise ValueError(f"open_clip computes the quick or the exact gelu, not the {c.gelu} form")
    about: dict[str, Any] = {
        "embed_dim": c.embed,
        "quick_gelu": c.gelu == "quick",
        "vision_cfg": {
            "image_size": c.image[0] if c.image[0] == c.image[1] else list(c.image),
            "layers": c.image_depth,
            "width": c.image_width,
            "head_width": c.image_width // c.image_heads,
            "patch_size": c.patch[0],
            "mlp_ratio": c.image_hidden / c.image_width,
        },
        "text_cfg": {
            "context_length": c.context,
            "vocab_size": c.vocab,
            "width": c.text_width,
            "heads": c.text_heads,
            "layers": c.text_depth,
            "mlp_ratio": c.text_hidden / c.text_width,
        },
    }
    if c.bias is not None:
        about["init_logit_bias"] = c.bias
    target.mkdir(parents=True, exist_ok=True)
    partial = target / f"{WEIGHTS}.partial"
    write_file(partial, published(model), {"format": "pt"})
    partial.replace(target / WEIGHTS)
    text = json.dumps({"model_cfg": about, "preprocess_cfg": dict(pixels)}, indent=2)
    (target / ABOUT).write_text(text + "\n", encoding="utf-8")

"""Print what timm's architectures are, for tests/integration/timm_architectures.json.

    python tools/timm_names.py > tests/integration/timm_architectures.json

Every ViT that has the parts of ours is built on the meta device, with no weights. A row is
[heads, gelu, height, width, patch, width of tokens, class token, registers, tokens before the
patches that have a position, pooling, whether the norm follows it]. `look_alikes` have the tensors
of such a ViT and compute something else.
"""

import inspect
import json
import re
import sys
import warnings

import torch
from golden_foreign import import_beside
from torch import nn

MODULES = ("timm.models.vision_transformer", "timm.models.deit")
GELUS = {"GELU": "erf", "GELUTanh": "tanh", "QuickGELU": "quick"}
POOLINGS = {"token": "class", "avg": "mean"}
FAMILIES = ("vit_", "deit_", "deit3_", "flexivit_")


def is_cut_off(model):
    """Tell whether images are no whole number of patches: timm drops the rest, zoo refuses them."""
    sides = getattr(model.patch_embed, "img_size", None) or ()
    return any(side % model.patch_embed.patch_size[0] for side in sides)


def is_ours(model, timm):
    """Tell whether a model of timm's computes what a ViT here can."""
    vit = timm.models.vision_transformer
    if type(model) is not vit.VisionTransformer or type(model.patch_embed) is not vit.PatchEmbed:
        return False
    block = model.blocks[0]
    last = model.norm if isinstance(model.fc_norm, nn.Identity) else model.fc_norm
    return (
        type(block) is vit.Block
        and type(block.mlp) is vit.Mlp
        and type(block.attn) is vit.Attention
        and block.attn.proj.bias is not None
        and isinstance(block.attn.q_norm, nn.Identity)
        and isinstance(model.norm_pre, nn.Identity)
        and type(last) is type(block.norm1) is vit.LayerNorm
        and last.eps == block.norm1.eps == 1e-6
        and type(block.mlp.act).__name__ in GELUS
        and model.global_pool in POOLINGS
        and not model.pool_include_prefix
    )


def names_of(model):
    return {re.sub(r"^blocks\.\d+", "blocks", name) for name in model.state_dict()}


def fits(model):
    """Tell whether a block's tensors have the shapes of a plain MLP."""
    tensors = model.state_dict()
    up, down = (tensors.get(f"blocks.0.mlp.{name}.weight") for name in ("fc1", "fc2"))
    return up is not None and down is not None and up.shape == down.shape[::-1]


def has_norm(names):
    return "norm.weight" in names or "fc_norm.weight" in names


def row_of(model):
    height, width = model.patch_embed.img_size
    return [
        model.blocks[0].attn.num_heads,
        GELUS[type(model.blocks[0].mlp.act).__name__],
        height,
        width,
        model.patch_embed.patch_size[0],
        model.embed_dim,
        model.has_class_token,
        model.num_reg_tokens,
        0 if model.no_embed_class else model.num_prefix_tokens,
        POOLINGS[model.global_pool],
        not isinstance(model.fc_norm, nn.Identity),
    ]


def main():
    warnings.simplefilter("ignore")
    timm = import_beside("timm")
    rows, names, others = {}, set(), {}
    for name in timm.list_models():
        made = timm.model_entrypoint(name).__module__ in MODULES and name.startswith(FAMILIES)
        if made:
            with torch.device("meta"):
                model = timm.create_model(name)
            if is_cut_off(model):
                continue
            if is_ours(model, timm):
                rows[name] = row_of(model)
                names |= names_of(model)
            elif fits(model):
                others[name] = names_of(model)
    alike = [name for name, theirs in others.items() if theirs <= names and has_norm(theirs)]
    known = inspect.signature(timm.models.vision_transformer.VisionTransformer).parameters
    table = {"timm": timm.__version__, "arguments": sorted(known), "look_alikes": alike}
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items())
    head = json.dumps(table)[:-1]
    print(f'{head}, "architectures": {{\n{lines}\n}}}}')
    return 0


if __name__ == "__main__":
    sys.exit(main())

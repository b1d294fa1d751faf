"""Golden sets of layouts: timm's ViT and open_clip's CLIP, their own forward passes in float64.

timm and open_clip import torchvision, whose wheels of some torch builds lack its own operators.
Nothing here calls them: `import_beside` says their names to torch and goes on.
"""

import contextlib
import importlib
import json
import re
import sys

import torch
from recording import random_weights
from safetensors.torch import save_file

DEFINED = torch.library.Library("torchvision", "FRAGMENT")

# case -> arguments of timm's VisionTransformer, and the size of its images (None: its own)
TIMM = {
    "plain": ({}, None),
    "rectangles": ({"img_size": (12, 20), "patch_size": (3, 5)}, None),
    "mean": ({"global_pool": "avg", "class_token": False}, None),
    "mean-norm-first": ({"global_pool": "avg", "fc_norm": False, "in_chans": 1}, None),
    "registers": ({"reg_tokens": 3, "no_embed_class": True, "init_values": 0.5}, None),
    "registers-placed": ({"reg_tokens": 2, "qkv_bias": False}, None),
    "features": ({"num_classes": 0, "init_values": 0.1}, None),
    "resized": ({"dynamic_img_size": True, "img_size": (12, 8), "reg_tokens": 1}, (20, 24)),
    "shrunk": ({"dynamic_img_size": True, "img_size": (24, 20)}, (8, 12)),
}
SIZES = {
    "img_size": 12, "patch_size": 4, "embed_dim": 20, "depth": 2, "num_heads": 4,
    "mlp_ratio": 1.8, "num_classes": 7,
}  # fmt: skip

VISION = {
    "layers": 2, "width": 20, "head_width": 5, "patch_size": 4, "image_size": 12, "mlp_ratio": 1.8,
}  # fmt: skip
TEXT = {
    "context_length": 13, "vocab_size": 97, "width": 18, "heads": 3, "layers": 3, "mlp_ratio": 1.5,
}  # fmt: skip
OPEN_CLIP = {
    "exact": {"embed_dim": 14, "vision_cfg": VISION, "text_cfg": TEXT},
    "quick": {"embed_dim": 14, "vision_cfg": VISION, "text_cfg": TEXT, "quick_gelu": True},
    "rectangle": {
        "embed_dim": 9,
        "vision_cfg": VISION | {"image_size": [12, 20]},
        "text_cfg": TEXT | {"heads": 2},
    },
}


def import_beside(name):
    """Import a module that imports torchvision, saying operators' names that are missing."""
    while True:
        try:
            return importlib.import_module(name)
        except RuntimeError as error:
            missing = re.search(r"operator torchvision::(\w+) does not exist", str(error))
            if missing is None:
                raise
            DEFINED.define(f"{missing[1]}(Tensor x) -> Tensor")
            for part in [p for p in sys.modules if p.split(".")[0] in ("torchvision", name)]:
                del sys.modules[part]


@contextlib.contextmanager
def in_float64():
    """Let `.float()` keep float64: timm resizes positions in float32, and that is all one saw."""
    cast = torch.Tensor.float
    torch.Tensor.float = lambda x: x if x.dtype == torch.float64 else cast(x)
    try:
        yield
    finally:
        torch.Tensor.float = cast


def direction(output):
    """Weigh every element of an output differently, without drawing."""
    return torch.arange(output.numel(), dtype=output.dtype).cos().reshape(output.shape)


def keep(folder, case, about, model, inputs, outputs):
    """Write a case: config and weights as its library has them, inputs, outputs and gradients."""
    (outputs["output"] * direction(outputs["output"])).sum().backward()
    weights = {n: p.detach().float().contiguous() for n, p in model.named_parameters()}
    gradients = {f"gradient:{n}": p.grad for n, p in model.named_parameters()}
    found = {n: x.detach().contiguous() for n, x in (outputs | gradients).items()}
    (folder / f"{case}.json").write_text(json.dumps(about, indent=2) + "\n")
    save_file(weights, folder / f"{case}.weights.safetensors")
    save_file({n: x.contiguous() for n, x in inputs.items()}, folder / f"{case}.in.safetensors")
    save_file(found, folder / f"{case}.out.safetensors")


def record_timm(folder):
    timm = import_beside("timm")
    from timm.models.vision_transformer import VisionTransformer

    for seed, (case, (changes, size)) in enumerate(TIMM.items()):
        arguments = SIZES | changes
        model = random_weights(VisionTransformer(**arguments), 10 + seed)
        about = {
            "architecture": "vit_base_patch16_224",
            "num_classes": arguments["num_classes"],
            "global_pool": arguments.get("global_pool", "token"),
            "model_args": {
                n: list(v) if isinstance(v, tuple) else v
                for n, v in (arguments | {"num_heads": 4}).items()
            },
            "pretrained_cfg": {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic"},
        }
        generator = torch.Generator().manual_seed(30 + seed)
        height, width = size or model.patch_embed.img_size
        shape = (3, arguments.get("in_chans", 3), height, width)
        pixels = torch.randn(shape, dtype=torch.float64, generator=generator)
        with in_float64():
            features = model.forward_features(pixels)
        output = model.forward_head(features)
        keep(folder, case, about, model, {"pixel_values": pixels}, {
            "hidden": features, "output": output,
        })  # fmt: skip
    return {
        "layout": "timm",
        "cases": list(TIMM),
        "compare": {"dtype": "float64", "rtol": 1e-10, "atol": 1e-10},
        "source": source(f"timm {timm.__version__}"),
    }


def record_open_clip(folder):
    open_clip = import_beside("open_clip")
    from open_clip.model import CLIP

    for seed, (case, settings) in enumerate(OPEN_CLIP.items()):
        model = random_weights(CLIP(**settings), 50 + seed)
        generator = torch.Generator().manual_seed(60 + seed)
        height, width = model.visual.image_size
        pixels = torch.randn((3, 3, height, width), dtype=torch.float64, generator=generator)
        ids = torch.randint(0, 96, (3, 13), generator=generator)
        for row, length in enumerate((4, 13, 7)):
            ids[row, length - 1] = 96
            ids[row, length:] = 0
        images, texts = model.encode_image(pixels, normalize=True), model.encode_text(ids, True)
        output = model.logit_scale.exp() * images @ texts.T
        about = {"model_cfg": settings, "preprocess_cfg": {"interpolation": "bicubic"}}
        inputs = {"pixel_values": pixels, "input_ids": ids}
        keep(folder, case, about, model, inputs, {
            "images": images, "texts": texts, "output": output,
        })  # fmt: skip
    return {
        "layout": "open_clip",
        "cases": list(OPEN_CLIP),
        "compare": {"dtype": "float64", "rtol": 1e-10, "atol": 1e-10},
        "source": source(f"open_clip {open_clip.__version__}"),
    }


def source(implementation):
    return {
        "implementation": implementation,
        "torch": torch.__version__.partition("+")[0],
        "dtype": "float64",
    }

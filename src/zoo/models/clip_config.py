"""What is published of CLIP: its numbers, and Hugging Face's names for config and tensors."""

import math
from dataclasses import dataclass, replace

from zoo.config import (
    GELUS,
    LARGEST,
    ConfigTable,
    Key,
    check_eps_and_labels,
    check_grid,
    check_heads,
    check_numbers,
    check_size,
    check_switches,
)
from zoo.keymap import Ignore, KeyTable, Rename, Reshape, Rule, Stack, affine
from zoo.nn.patch import Pair, grid_of


@dataclass(frozen=True, kw_only=True)
class CLIPConfig:
    """The numbers in which CLIP checkpoints differ."""

    embed: int = 512  # of the shared space
    image: Pair = (224, 224)  # (height, width) in pixels
    patch: Pair = (32, 32)
    channels: int = 3
    image_width: int = 768
    image_depth: int = 12  # blocks
    image_heads: int = 12
    image_hidden: int = 3072  # of the MLP
    text_width: int = 512
    text_depth: int = 12
    text_heads: int = 8
    text_hidden: int = 2048
    vocab: int = 49408
    context: int = 77  # tokens, start and end among them
    end: int = 49407  # the id that ends a text, from which its vector is taken
    attention_dropout: float = 0.0  # of attention weights
    eps: float = 1e-5
    gelu: str = "quick"
    scale: float = 2.6592  # initial logarithm of the logit scale: 1 / 0.07
    bias: float | None = None  # initial value of what SigLIP adds to logits (Zhai et al. 2023)
    classes: int = 2  # of a classification head
    labels: tuple[str, ...] | None = None
    antialias: bool = True  # when positions are resized; see zoo.nn.patch

    def __post_init__(self) -> None:
        towers = [
            f"{t}_{n}" for t in ("image", "text") for n in ("width", "depth", "heads", "hidden")
        ]
        whole = ("embed", "channels", *towers, "vocab", "context", "classes")
        check_numbers(self, whole=whole, rates=("attention_dropout",))
        check_grid(self)
        check_heads("image_width", self.image_width, "image_heads", self.image_heads)
        check_heads("text_width", self.text_width, "text_heads", self.text_heads)
        check_eps_and_labels(self)
        check_switches(self, "antialias")
        if type(self.end) is not int or not 0 <= self.end < self.vocab or self.end == OLD_END:
            raise ValueError(
                f"end is {self.end!r}; expected an id from 0 to {self.vocab - 1}, not "
                f"{OLD_END}, which published configs write where they mean the last id"
            )
        for name, value in {"scale": self.scale, "bias": self.bias or 0.0}.items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"{name} is {value!r}; expected a number")
            if not abs(value) <= LARGEST:
                raise ValueError(f"{name} is {value}; expected at most {LARGEST}")
        check_size(parameters_of(self))

    @property
    def grid(self) -> Pair:
        return grid_of(self.image, self.patch)


OLD_END = 2


def parameters_of(config: CLIPConfig) -> int:
    """Count the parameters of both towers and their projections."""
    c = config

    def blocks(d: int, m: int, depth: int) -> int:
        return depth * (4 * (d * d + d) + 2 * d * m + m + d + 4 * d)

    d, t = c.image_width, c.text_width
    size = c.channels * c.patch[0] * c.patch[1]
    image = size * d + (c.grid[0] * c.grid[1] + 2) * d + 4 * d + c.embed * d
    text = (c.vocab + c.context) * t + 2 * t + c.embed * t
    image += blocks(d, c.image_hidden, c.image_depth)
    single = 1 if c.bias is None else 2
    return image + text + blocks(t, c.text_hidden, c.text_depth) + single


CLIP_B32 = CLIPConfig()
PRESETS = {
    "clip-vit-base-patch32": CLIP_B32,
    "clip-vit-base-patch16": replace(CLIP_B32, patch=(16, 16)),
    "clip-vit-large-patch14": replace(
        CLIP_B32,
        embed=768,
        patch=(14, 14),
        image_width=1024,
        image_depth=24,
        image_heads=16,
        image_hidden=4096,
        text_width=768,
        text_heads=12,
        text_hidden=3072,
    ),
    # every size another, constants exaggerated: a swapped axis or a dropped argument shows
    "clip-tiny": CLIPConfig(
        embed=14,
        image=(12, 10),
        patch=(3, 5),
        image_width=20,
        image_depth=2,
        image_heads=4,
        image_hidden=36,
        text_width=18,
        text_depth=3,
        text_heads=3,
        text_hidden=28,
        vocab=97,
        context=13,
        end=96,
        eps=1e-2,
    ),
}


def block_keys(theirs: str, ours: str) -> tuple[Rule, ...]:
    layer = theirs + ".encoder.layers.{}"
    block = ours + ".blocks.{}"

    def qkv(part: str) -> Stack:
        names = tuple(f"{layer}.self_attn.{name}_proj.{part}" for name in "qkv")
        return Stack(names, f"{block}.attn.qkv.{part}")

    return (
        *affine(f"{layer}.layer_norm1", f"{block}.norm1"),
        qkv("weight"),
        qkv("bias"),
        *affine(f"{layer}.self_attn.out_proj", f"{block}.attn.out"),
        *affine(f"{layer}.layer_norm2", f"{block}.norm2"),
        *affine(f"{layer}.mlp.fc1", f"{block}.mlp.up"),
        *affine(f"{layer}.mlp.fc2", f"{block}.mlp.down"),
        Ignore(f"{theirs}.embeddings.position_ids"),
    )


TEXT_KEYS: tuple[Rule, ...] = (
    Rename("text_model.embeddings.token_embedding.weight", "text.tokens.weight"),
    Rename("text_model.embeddings.position_embedding.weight", "text.positions.weight"),
    *block_keys("text_model", "text"),
    *affine("text_model.final_layer_norm", "text.norm"),
)


SCALARS = (Rename("logit_scale", "logit_scale"), Rename("logit_bias", "logit_bias"))


def image_keys(config: CLIPConfig) -> tuple[Rule, ...]:
    kernel = (config.channels, *config.patch)
    conv, ours = "vision_model.embeddings.patch_embedding.weight", "image.patch.weight"
    return (
        Reshape(conv, ours, (-1, *kernel), (-1, math.prod(kernel))),
        Rename("vision_model.embeddings.class_embedding", "image.class_token"),
        Rename("vision_model.embeddings.position_embedding.weight", "image.positions"),
        *affine("vision_model.pre_layrnorm", "image.norm_in"),  # so spelt
        *block_keys("vision_model", "image"),
        *affine("vision_model.post_layernorm", "image.norm"),
    )


def keys_of(config: CLIPConfig) -> KeyTable:
    image = image_keys(config)
    to_image = Rename("visual_projection.weight", "image_projection.weight")
    to_text = Rename("text_projection.weight", "text_projection.weight")
    return KeyTable(
        prefix="",
        body=(),
        heads={
            "match": (*image, *TEXT_KEYS, to_image, to_text, *SCALARS),
            "image": (*image, *affine("classifier", "head")),
            "image_features": (*image, to_image),
            "text_features": (*TEXT_KEYS, to_text),
            "image_hidden": image,
            "text_hidden": TEXT_KEYS,
        },
        bare=("image_hidden", "text_hidden"),
        prefixes={"image_hidden": "vision_model.", "text_hidden": "text_model."},
    )


SECTIONS = ("text_config", "vision_config")
SECTION_OF = {"clip_text_model": "text_config", "clip_vision_model": "vision_config"}


def in_sections(key: str) -> Key:
    return Key(tuple(f"{section}.{key}" for section in SECTIONS))


def tower_keys(tower: str, section: str) -> dict[str, Key]:
    names = {
        "width": "hidden_size",
        "depth": "num_hidden_layers",
        "heads": "num_attention_heads",
        "hidden": "intermediate_size",
    }
    return {f"{tower}_{ours}": Key((f"{section}.{theirs}",)) for ours, theirs in names.items()}


EXTENDED = "zoo_clip"  # with a logit bias, which Hugging Face's CLIP would leave out silently
CONFIG_KEYS = ConfigTable(
    model_type="clip",
    aliases=(*SECTION_OF, EXTENDED),
    sections=SECTIONS,
    keys={
        "embed": Key(("projection_dim",)),
        "image": Key(("vision_config.image_size",), pair=True),
        "patch": Key(("vision_config.patch_size",), pair=True),
        "channels": Key(("vision_config.num_channels",)),
        **tower_keys("image", "vision_config"),
        **tower_keys("text", "text_config"),
        "vocab": Key(("text_config.vocab_size",)),
        "context": Key(("text_config.max_position_embeddings",)),
        "end": Key(("text_config.eos_token_id",)),
        "attention_dropout": in_sections("attention_dropout"),
        "eps": in_sections("layer_norm_eps"),
        "gelu": replace(in_sections("hidden_act"), words=GELUS),
        "scale": Key(("logit_scale_init_value",)),
        "bias": Key(("logit_bias_init_value",)),
        "antialias": Key(("position_antialias",)),
    },
    harmless=frozenset(("projection_dim", "pad_token_id")),
    architectures={
        "CLIPModel": "match",
        "CLIPForImageClassification": "image",
        "CLIPVisionModelWithProjection": "image_features",
        "CLIPTextModelWithProjection": "text_features",
        "CLIPVisionModel": "image_hidden",
        "CLIPTextModel": "text_hidden",
    },
)

"""What is published of ViT: its numbers, and Hugging Face's names for config and tensors."""

from dataclasses import dataclass, fields, replace

from zoo.config import (
    GELUS,
    ConfigTable,
    Key,
    check_eps_and_labels,
    check_grid,
    check_heads,
    check_numbers,
    check_size,
    check_switches,
)
from zoo.keymap import KeyTable, Rename, Reshape, Stack, affine
from zoo.nn.patch import Pair, grid_of

POOLINGS = ("class", "mean")


@dataclass(frozen=True, kw_only=True)
class ViTConfig:
    """The numbers in which ViT checkpoints differ."""

    image: Pair = (224, 224)  # (height, width) in pixels
    patch: Pair = (16, 16)
    channels: int = 3
    width: int = 768
    depth: int = 12  # blocks
    heads: int = 12
    hidden: int = 3072  # of the MLP
    dropout: float = 0.0
    attention_dropout: float = 0.0  # of attention weights
    drop_path: float = 0.0  # of the last block; earlier ones have less, the first none
    eps: float = 1e-12
    gelu: str = "erf"
    classes: int = 1000  # of a classification head
    labels: tuple[str, ...] | None = None
    pooling: str = "class"  # what a classifier reads: the class token, or the mean of the patches
    pooled_norm: bool = False  # the last norm acts on what was pooled, not before
    class_token: bool = True
    registers: int = 0  # tokens without a meaning (Darcet et al. 2023)
    prefix_positions: int | None = None  # tokens before the patches that have one; None: the class
    layer_scale: float | None = None  # its initial value (Touvron et al. 2021)
    qkv_bias: bool = True
    pooler: bool = True  # of the bare model: the layer whose answer Hugging Face calls pooled
    antialias: bool = True  # when positions are resized; see zoo.nn.patch

    def __post_init__(self) -> None:
        if self.prefix_positions is None:
            object.__setattr__(self, "prefix_positions", int(self.class_token))
        whole = ("channels", "width", "depth", "heads", "hidden", "classes")
        check_numbers(self, whole=whole, rates=("dropout", "attention_dropout", "drop_path"))
        check_grid(self)
        check_heads("width", self.width, "heads", self.heads)
        check_eps_and_labels(self)
        check_switches(self, "pooled_norm", "class_token", "qkv_bias", "pooler", "antialias")
        if type(self.registers) is not int or self.registers < 0:
            raise ValueError(f"registers is {self.registers!r}; expected a whole number from 0")
        if self.prefix_positions not in range(self.prefix + 1):
            raise ValueError(
                f"prefix_positions is {self.prefix_positions}; there are {self.prefix} tokens "
                "before the patches"
            )
        if self.pooling not in POOLINGS or (self.pooling == "class" and not self.class_token):
            raise ValueError(
                f"pooling is {self.pooling!r}; expected one of {POOLINGS}, and 'mean' without a "
                "class token"
            )
        check_size(parameters_of(self))

    @property
    def prefix(self) -> int:
        return int(self.class_token) + self.registers

    @property
    def grid(self) -> Pair:
        return grid_of(self.image, self.patch)


def parameters_of(config: ViTConfig) -> int:
    """Count the parameters of the encoder."""
    c, d, m = config, config.width, config.hidden
    patches = c.grid[0] * c.grid[1] + (c.prefix_positions or 0)
    scale = 0 if c.layer_scale is None else 2 * d
    block = 4 * d * d + (4 if c.qkv_bias else 1) * d + 2 * d * m + m + d + 4 * d + scale
    first = c.channels * c.patch[0] * c.patch[1] * d + d
    return first + (patches + c.prefix) * d + c.depth * block + 2 * d


VIT_BASE = ViTConfig()
PRESETS = {
    "vit-base-patch16-224": VIT_BASE,
    "vit-base-patch32-224": replace(VIT_BASE, patch=(32, 32)),
    "vit-large-patch16-224": replace(VIT_BASE, width=1024, hidden=4096, depth=24, heads=16),
    # every size another, constants exaggerated: a swapped axis or a dropped argument shows
    "vit-tiny": ViTConfig(
        image=(12, 10), patch=(3, 5), width=20, depth=3, heads=4, hidden=36, classes=7, eps=1e-2
    ),
}


def qkv(part: str) -> Stack:
    where = "vit.encoder.layer.{}.attention.attention"
    theirs = tuple(f"{where}.{name}.{part}" for name in ("query", "key", "value"))
    return Stack(theirs, "blocks.{}.attn.qkv." + part)


def keys_of(config: ViTConfig) -> KeyTable:
    """Give Hugging Face's names; registers and LayerScale have those of its DINOv2."""
    c, layer = config, "vit.encoder.layer.{}"
    kernel = (c.channels, *c.patch)
    size = c.channels * c.patch[0] * c.patch[1]
    count = c.grid[0] * c.grid[1] + (c.prefix_positions or 0)
    tokens, conv = "vit.embeddings", "vit.embeddings.patch_embeddings.projection"
    body = (
        Reshape(f"{conv}.weight", "patch.weight", (-1, *kernel), (-1, size)),
        Rename(f"{conv}.bias", "patch.bias"),
        Reshape(f"{tokens}.cls_token", "class_token", (1, 1, -1), (-1,)),
        Reshape(f"{tokens}.register_tokens", "registers", (1, c.registers, -1), (c.registers, -1)),
        Reshape(f"{tokens}.position_embeddings", "positions", (1, count, -1), (count, -1)),
        *affine(f"{layer}.layernorm_before", "blocks.{}.norm1"),
        qkv("weight"),
        qkv("bias"),
        *affine(f"{layer}.attention.output.dense", "blocks.{}.attn.out"),
        Rename(f"{layer}.layer_scale1.lambda1", "blocks.{}.scale1.weight"),
        *affine(f"{layer}.layernorm_after", "blocks.{}.norm2"),
        *affine(f"{layer}.intermediate.dense", "blocks.{}.mlp.up"),
        *affine(f"{layer}.output.dense", "blocks.{}.mlp.down"),
        Rename(f"{layer}.layer_scale2.lambda1", "blocks.{}.scale2.weight"),
        *affine("vit.layernorm", "norm"),
    )
    decoder = (
        Reshape("decoder.0.weight", "head.weight", (size, -1, 1, 1), (size, -1)),
        Rename("decoder.0.bias", "head.bias"),
        Reshape(f"{tokens}.mask_token", "mask_token", (1, 1, -1), (-1,)),
    )
    heads = {
        "image": affine("classifier", "head"),
        "masked_image": decoder,
        None: affine("vit.pooler.dense", "pooler"),
    }
    return KeyTable(prefix="vit.", body=body, heads=heads)


EXTENDED = "zoo_vit"
CONFIG_KEYS = ConfigTable(
    model_type="vit",
    aliases=(EXTENDED,),
    keys={
        "image": Key(("image_size",), pair=True),
        "patch": Key(("patch_size",), pair=True),
        "channels": Key(("num_channels",)),
        "width": Key(("hidden_size",)),
        "depth": Key(("num_hidden_layers",)),
        "heads": Key(("num_attention_heads",)),
        "hidden": Key(("intermediate_size",)),
        "dropout": Key(("hidden_dropout_prob",)),
        "attention_dropout": Key(("attention_probs_dropout_prob",)),
        "drop_path": Key(("drop_path_rate",)),
        "eps": Key(("layer_norm_eps",)),
        "gelu": Key(("hidden_act",), GELUS),
        "qkv_bias": Key(("qkv_bias",)),
        "pooling": Key(("pooling",)),
        "pooled_norm": Key(("pooled_norm",)),
        "class_token": Key(("class_token",)),
        "registers": Key(("num_register_tokens",)),
        "prefix_positions": Key(("prefix_positions",)),
        "layer_scale": Key(("layerscale_value",)),
        "pooler": Key(("add_pooling_layer",)),
        "antialias": Key(("position_antialias",)),
    },
    fixed={"pooler_act": "tanh"},
    harmless=frozenset(("encoder_stride", "pooler_output_size")),
    architectures={
        "ViTForImageClassification": "image",
        "ViTForMaskedImageModeling": "masked_image",
        "ViTModel": None,
    },
)
# keys of ours, and their values in a model that Hugging Face's ViT computes too
DEFAULTS = {f.name: f.default for f in fields(ViTConfig)} | {"prefix_positions": 1}
OWN = (
    "pooling",
    "pooled_norm",
    "class_token",
    "registers",
    "prefix_positions",
    "layer_scale",
    "pooler",
)
PLAIN = {CONFIG_KEYS.keys[name].theirs[0]: DEFAULTS[name] for name in OWN}

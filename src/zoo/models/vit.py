"""ViT: An Image is Worth 16x16 Words (Dosovitskiy et al. 2020).

An encoder that normalises first and reads patches of an image as if they were words.

    pixels (b, c, y, x) -> patches (b, p, d) -> class token, registers, patches, with positions
        (b, t, d) -> depth x Block (b, t, d) -> norm -> head
    head: image (b, classes), masked_image (b, c, y, x): the image drawn from its unmasked patches,
          None (b, t, d), with the pooler that Hugging Face's bare model carries
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from zoo import ops
from zoo.models.base import Model
from zoo.models.spec import Family
from zoo.models.vit_config import CONFIG_KEYS, EXTENDED, PLAIN, PRESETS, ViTConfig, keys_of
from zoo.nn import MLP, Attention, Dropout, DropPath, LayerNorm, LayerScale, Linear, Patches
from zoo.nn.basic import STD
from zoo.nn.fused import after_norm
from zoo.nn.patch import Pair, check_pixels, grid_of, positions_for, with_prefix
from zoo.nn.stack import through
from zoo.nn.steady import each

V = TypeVar("V", bound="ViT")


class Block(nn.Module):
    """Norm first: attention and MLP add to the stream, scaled and dropped on request."""

    def __init__(self, config: ViTConfig, path: float = 0.0) -> None:
        super().__init__()
        c = config
        self.norm1 = LayerNorm(c.width, c.eps)
        self.attn = Attention(c.width, c.heads, rate=c.attention_dropout, bias=c.qkv_bias)
        self.scale1 = scale_of(c)
        self.norm2 = LayerNorm(c.width, c.eps)
        self.mlp = MLP(c.width, c.hidden, c.gelu)
        self.scale2 = scale_of(c)
        self.drop = Dropout(c.dropout)
        self.path = DropPath(path)

    def forward(self, x: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        x = x + self.path(self.scale1(self.drop(after_norm(self.norm1, self.attn, x))))
        return x + self.path(self.scale2(self.drop(after_norm(self.norm2, self.mlp, x))))


def scale_of(config: ViTConfig) -> nn.Module:
    if config.layer_scale is None:
        return nn.Identity()
    return LayerScale(config.width, config.layer_scale)


def path_rates(rate: float, depth: int) -> list[float]:
    """Let the rate grow evenly from 0 in the first block (Huang et al. 2016, equation 4)."""
    return [rate * number / max(1, depth - 1) for number in range(depth)]


class ViT(Model):
    """ViT with one head: `image`, `masked_image` or None."""

    no_decay = ("positions", "registers")  # as in timm, where accuracies come from

    def __init__(self, config: ViTConfig, head: str | None = "image") -> None:
        super().__init__()
        c = self.config = config
        self.head_name = head
        self.patch = Patches(c.channels, c.patch, c.width)
        self.class_token = token(c.width) if c.class_token else None
        self.registers = token(c.registers, c.width) if c.registers else None
        count = (c.prefix_positions or 0) + c.grid[0] * c.grid[1]
        self.positions = token(count, c.width)
        self.mask_token = token(c.width) if head == "masked_image" else None
        self.drop = Dropout(c.dropout)
        self.blocks = nn.ModuleList(Block(c, rate) for rate in path_rates(c.drop_path, c.depth))
        self.norm = LayerNorm(c.width, c.eps)
        self.pooler = Linear(c.width, c.width) if head is None and c.pooler else None
        self.head = make_head(c, head)
        init_weights(self)

    def encode(
        self,
        pixel_values: Float[Tensor, "b c y x"],
        bool_masked_pos: Bool[Tensor, "b p"] | None = None,
        *,
        interpolate: bool = False,
    ) -> Float[Tensor, "b t d"]:
        """Give the last hidden states: class token, registers, patches row by row.

        `pixel_values` are scaled and normalised as the checkpoint says; `bool_masked_pos` is True
        for a patch that is hidden from the model. `interpolate` lets images of another size in and
        resizes the positions for them.
        Raises ValueError for images of another size or no multiple of the patch.
        """
        c = self.config
        grid = check_pixels(
            pixel_values, channels=c.channels, image=c.image, patch=c.patch, interpolate=interpolate
        )
        x = self.patch(pixel_values)
        if bool_masked_pos is not None:
            x = self.hide(x, bool_masked_pos)
        positions = positions_for(self.positions, c.grid, grid, antialias=c.antialias)
        prefix = [
            t.reshape(-1, c.width) for t in (self.class_token, self.registers) if t is not None
        ]
        if prefix:
            x = with_prefix(x, *prefix)
        without = c.prefix - (c.prefix_positions or 0)  # the last of the tokens before the patches
        if without:
            first, rest = positions.tensor_split([c.prefix_positions or 0])
            positions = torch.cat([first, first.new_zeros(without, c.width), rest])
        x = self.drop(x + positions)
        x = through(self.blocks, x, recompute=self.recompute)
        return x if c.pooled_norm else self.norm(x)

    def hide(self, x: Float[Tensor, "b p d"], masked: Tensor) -> Float[Tensor, "b p d"]:
        """Put the mask token in the place of masked patches."""
        if self.mask_token is None:
            raise ValueError(f"head {self.head_name!r} has no mask token; load with 'masked_image'")
        if masked.shape != x.shape[:2] or masked.dtype != torch.bool:
            raise ValueError(
                f"bool_masked_pos is {masked.dtype} {tuple(masked.shape)}; expected bool "
                f"{tuple(x.shape[:2])}: one entry a patch, True = hidden"
            )
        return torch.where(masked[..., None], self.mask_token.to(x.dtype), x)

    def pool(self, hidden: Float[Tensor, "b t d"]) -> Float[Tensor, "b d"]:
        """Make one vector an image of hidden states, as the config's `pooling` says."""
        c = self.config
        pooled = hidden[:, 0] if c.pooling == "class" else hidden[:, c.prefix :].mean(1)
        return self.norm(pooled) if c.pooled_norm else pooled

    def embed(
        self, pixel_values: Float[Tensor, "b c y x"], *, interpolate: bool = False
    ) -> Float[Tensor, "b d"]:
        """Make one vector an image: what a classifier would read."""
        return each(self.pool, self.encode(pixel_values, interpolate=interpolate))

    def forward(
        self,
        pixel_values: Float[Tensor, "b c y x"],
        bool_masked_pos: Bool[Tensor, "b p"] | None = None,
        *,
        interpolate: bool = False,
    ) -> Float[Tensor, "..."]:
        """Give what the head gives: see the shapes at the top of this file."""
        hidden = self.encode(pixel_values, bool_masked_pos, interpolate=interpolate)
        if self.head_name == "image":
            return each(lambda row: self.head(self.pool(row)), hidden)
        if self.head_name == "masked_image":
            c = self.config
            grid = grid_of((pixel_values.shape[2], pixel_values.shape[3]), c.patch)
            hidden = self.norm(hidden) if c.pooled_norm else hidden
            return ops.unpatches(self.head(hidden[:, c.prefix :]), c.patch, grid)
        return hidden

    def pooled(self, hidden: Float[Tensor, "b t d"]) -> Float[Tensor, "b d"]:
        """Give tanh of an affine map of the class token, Hugging Face's `pooler_output`."""
        if self.pooler is None:
            raise ValueError(f"head {self.head_name!r} has no pooler; load with head=None")
        pooler = self.pooler
        return each(lambda first: torch.tanh(pooler(first)), hidden[:, 0])

    def reset_classifier(self, classes: int, labels: Sequence[str] | None = None) -> None:
        """Put a fresh classifier for other classes in the place of the head."""
        names = None if labels is None else tuple(labels)
        self.config = replace(self.config, classes=classes, labels=names)
        like = self.positions
        self.head_name = "image"
        self.mask_token = self.pooler = None
        self.head = make_head(self.config, "image").to(like.device, like.dtype)

    def resize(self, image: Pair) -> None:
        """Make the model one for images of another size: its positions are resized for good."""
        c = replace(self.config, image=image)
        with torch.no_grad():
            positions = positions_for(
                self.positions, self.config.grid, c.grid, antialias=c.antialias
            )
        wanted = self.positions.requires_grad
        self.positions = nn.Parameter(positions.clone(), requires_grad=wanted)
        self.config = c

    @classmethod
    def from_pretrained(
        cls: type[V], folder_or_name: str | Path, *, image: Pair | None = None, **options: Any
    ) -> V:
        """Read a folder as every model does; `image` resizes the positions for another size."""
        model = super().from_pretrained(folder_or_name, **options)
        if image is not None:
            model.resize(image)
        return model

    @classmethod
    def published(cls, config: dict[str, Any]) -> dict[str, Any]:
        """Say that there are two classes, as Hugging Face means where it says nothing."""
        return config if "num_labels" in config or "id2label" in config else config | TWO_CLASSES

    def published_config(self) -> dict[str, Any]:
        """Give config.json as others know it; what they do not know has a type of its own.

        Hugging Face's ViT would read the weights of such a model and leave the rest out silently.
        """
        theirs = super().published_config()
        theirs["encoder_stride"] = self.config.patch[0]  # of the masked-image head
        if any(theirs[name] != value for name, value in PLAIN.items()):
            return theirs | {"model_type": EXTENDED}
        return {name: value for name, value in theirs.items() if name not in PLAIN}


TWO_CLASSES = {"num_labels": 2}


def token(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(*shape))


def make_head(config: ViTConfig, head: str | None) -> nn.Module:
    if head == "image":
        return Linear(config.width, config.classes)
    if head == "masked_image":
        return Linear(config.width, config.channels * config.patch[0] * config.patch[1])
    if head is None:
        return nn.Identity()
    raise ValueError(f"ViT has no head {head!r}; expected one of {HEADS}")


def init_weights(model: ViT) -> None:
    """Cut the normal weights off at two deviations, as the published code does."""
    for name, parameter in model.named_parameters():
        if parameter.is_meta:
            continue
        if name == "mask_token":
            nn.init.zeros_(parameter)
        elif parameter.dim() == 2 or name in ("class_token", "registers"):
            nn.init.trunc_normal_(parameter, std=STD, a=-2 * STD, b=2 * STD)


def example(config: ViTConfig, seed: int = 0, batch: int = 2) -> dict[str, Tensor]:
    """Make a small batch of noise, from its own generator."""
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, config.channels, *config.image)
    return {"pixel_values": torch.randn(shape, generator=generator)}


HEADS = ("image", "masked_image", None)


SPEC = Family(
    name="vit",
    build=ViT,
    config=ViTConfig,
    presets=PRESETS,
    heads=HEADS,
    example=example,
    keys=keys_of,
    config_keys=CONFIG_KEYS,
    promises={
        "task": "classification",
        "num_classes": 7,
        "reduction": "mean",
        "output_kind": "logits",
        "couples_batch": False,
        "couples_batch_train": False,
        "deterministic": True,
        "train_noise": False,
    },
    refuses={},
)
ViT.spec = SPEC

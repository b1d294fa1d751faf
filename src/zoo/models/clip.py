"""CLIP: Learning Transferable Visual Models From Natural Language Supervision (Radford 2021).

Two encoders that normalise first, one of images and one of texts, whose last vectors are projected
to one space, where a picture and its caption lie near each other.

    pixels (b, c, y, x) -> class token and patches (b, t, d) -> norm -> Blocks -> norm of the class
        token -> projection (b, e)
    ids (b, t) -> tokens + positions (b, t, d) -> causal Blocks -> norm -> the first end token
        -> projection (b, e)
    head: match (images, texts): cosines times the logit scale, plus SigLIP's bias if there is one;
          image_features, text_features (b, e), not normalised;
          image (b, classes), read from the mean of the patches;
          image_hidden, text_hidden (b, t, d)
"""

from typing import Any, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from zoo import ops
from zoo.models.base import Model
from zoo.models.clip_config import (
    CONFIG_KEYS,
    EXTENDED,
    OLD_END,
    PRESETS,
    SECTION_OF,
    SECTIONS,
    CLIPConfig,
    keys_of,
)
from zoo.models.look import Inspectable
from zoo.models.spec import Family
from zoo.nn import MLP, Attention, Embedding, LayerNorm, Linear, Patches
from zoo.nn.basic import fresh_
from zoo.nn.fused import after_norm
from zoo.nn.patch import check_pixels, positions_for, with_prefix
from zoo.nn.ragged import through_real
from zoo.nn.stack import through
from zoo.nn.steady import current, each
from zoo.nn.tokens import check_ids, positions_of, real_tokens, take
from zoo.ops._elementary import readable

SEES = ("match", "image", "image_features", "image_hidden")
READS = ("match", "text_features", "text_hidden")
HEADS = ("match", "image", "image_features", "text_features", "image_hidden", "text_hidden")


LOG_100 = 4.605170249938965  # the logarithm of 100 as float32 has it: where published scales end


class Block(nn.Module):
    """Norm first: attention and MLP add to the stream."""

    def __init__(
        self, config: CLIPConfig, width: int, heads: int, hidden: int, *, causal: bool = False
    ) -> None:
        super().__init__()
        c = config
        self.norm1 = LayerNorm(width, c.eps)
        self.attn = Attention(width, heads, causal=causal, rate=c.attention_dropout)
        self.norm2 = LayerNorm(width, c.eps)
        self.mlp = MLP(width, hidden, c.gelu)

    def forward(self, x: Float[Tensor, "b t d"], padding: Any = None) -> Float[Tensor, "b t d"]:
        x = x + after_norm(self.norm1, self.attn, x, padding)
        return x + after_norm(self.norm2, self.mlp, x)


class ImageTower(Inspectable, nn.Module):
    """A ViT whose stream is normalised before the first block too."""

    def __init__(self, config: CLIPConfig) -> None:
        super().__init__()
        c = self.config = config
        d = c.image_width
        self.patch = Patches(c.channels, c.patch, d, bias=False)
        self.class_token = nn.Parameter(torch.empty(d))
        self.positions = nn.Parameter(torch.empty(1 + c.grid[0] * c.grid[1], d))
        self.norm_in = LayerNorm(d, c.eps)
        made = (Block(c, d, c.image_heads, c.image_hidden) for _ in range(c.image_depth))
        self.blocks = nn.ModuleList(made)
        self.norm = LayerNorm(d, c.eps)

    def encode(
        self,
        pixel_values: Float[Tensor, "b c y x"],
        *,
        interpolate: bool = False,
        recompute: bool = False,
    ) -> Float[Tensor, "b t d"]:
        """Give what the last block gives: class token, then patches row by row; not normalised."""
        c = self.config
        grid = check_pixels(
            pixel_values, channels=c.channels, image=c.image, patch=c.patch, interpolate=interpolate
        )
        x = with_prefix(self.patch(pixel_values), self.class_token[None])
        x = x + positions_for(self.positions, c.grid, grid, antialias=c.antialias)
        return through(self.blocks, self.norm_in(x), recompute=recompute)

    def pool(self, hidden: Float[Tensor, "b t d"]) -> Float[Tensor, "b d"]:
        return self.norm(hidden[:, 0])


class TextTower(Inspectable, nn.Module):
    """A GPT-2 whose answer stands at the end token."""

    def __init__(self, config: CLIPConfig) -> None:
        super().__init__()
        c = self.config = config
        d = c.text_width
        self.tokens = Embedding(c.vocab, d)
        self.positions = Embedding(c.context, d)
        made = (Block(c, d, c.text_heads, c.text_hidden, causal=True) for _ in range(c.text_depth))
        self.blocks = nn.ModuleList(made)
        self.norm = LayerNorm(d, c.eps)

    def encode(
        self,
        input_ids: Int[Tensor, "b t"],
        attention_mask: Tensor | None = None,
        *,
        recompute: bool = False,
    ) -> Float[Tensor, "b t d"]:
        """Give the last hidden states, normalised.

        `attention_mask` (b, t) is 1 for a real token; what stands behind the end token needs none,
        because nothing that counts can see it.
        """
        c = self.config
        check_ids(input_ids, vocab=c.vocab, context=c.context)
        padding = real_tokens(input_ids, attention_mask, None)
        where = positions_of(input_ids.shape[1], padding, None, input_ids.device)
        x = self.tokens(input_ids) + self.positions(where)
        lead = through if current() is None else through_real
        return self.norm(lead(self.blocks, x, padding, recompute=recompute))

    def pool(
        self,
        hidden: Float[Tensor, "b t d"],
        input_ids: Int[Tensor, "b t"],
        attention_mask: Tensor | None = None,
    ) -> Float[Tensor, "b d"]:
        """Take each row's first end token; raise ValueError for a row that has none."""
        ends = input_ids == self.config.end
        mask = real_tokens(input_ids, attention_mask, None)
        if mask is not None:
            ends = ends & mask
        if readable(ends) and not bool(ends.any(1).all()):
            row = int((~ends.any(1)).long().argmax())
            raise ValueError(
                f"row {row} of input_ids has no end token {self.config.end}: its vector stands "
                "there; let the tokenizer add it, and truncate before it"
            )
        return take(hidden, ends.long().argmax(1))


class CLIP(Model):
    """CLIP with one head; `encode_image` and `encode_text` give vectors of length one."""

    def __init__(self, config: CLIPConfig, head: str | None = "match") -> None:
        super().__init__()
        c = self.config = config
        self.head_name = head
        # what a classifier leaves: DistributedDataParallel would wait for its gradients
        self.unread = ("image.norm.weight", "image.norm.bias") if head == "image" else ()
        if head not in HEADS:
            raise ValueError(f"CLIP has no head {head!r}; expected one of {HEADS}")
        if head in SEES:
            self.image = ImageTower(c)
        if head in ("match", "image_features"):
            self.image_projection = Linear(c.image_width, c.embed, bias=False)
        if head in READS:
            self.text = TextTower(c)
        if head in ("match", "text_features"):
            self.text_projection = Linear(c.text_width, c.embed, bias=False)
        if head == "match":
            self.logit_scale = nn.Parameter(torch.tensor(float(c.scale)))
            self.logit_bias = None if c.bias is None else nn.Parameter(torch.tensor(float(c.bias)))
        self.head = Linear(c.image_width, c.classes) if head == "image" else nn.Identity()
        init_weights(self)

    @classmethod
    def depths(cls, config: CLIPConfig, head: str | None) -> dict[str, int]:
        image = {"image.blocks.": config.image_depth} if head in SEES else {}
        return image | ({"text.blocks.": config.text_depth} if head in READS else {})

    def scale(self) -> Float[Tensor, ""]:
        """Give what cosines are multiplied by, at most 100 (Radford et al. 2021, section 2.5)."""
        return self.logit_scale.clamp(max=LOG_100).exp()

    def after_step(self) -> None:
        """Bring the logit scale back to 100: beyond it has no gradient that could."""
        if self.head_name == "match":
            with torch.no_grad():
                self.logit_scale.clamp_(max=LOG_100)

    def image_features(
        self, pixel_values: Float[Tensor, "b c y x"], *, interpolate: bool = False
    ) -> Float[Tensor, "b e"]:
        """Project an image to the shared space, not normalised."""
        self.check_has("image_projection", "images")
        hidden = self.image.encode(pixel_values, interpolate=interpolate, recompute=self.recompute)
        return each(lambda row: self.image_projection(self.image.pool(row)), hidden)

    def text_features(
        self, input_ids: Int[Tensor, "b t"], attention_mask: Tensor | None = None
    ) -> Float[Tensor, "b e"]:
        """Project a text to the shared space, not normalised."""
        self.check_has("text_projection", "texts")
        hidden = self.text.encode(input_ids, attention_mask, recompute=self.recompute)
        return each(self.text_projection, self.text.pool(hidden, input_ids, attention_mask))

    def encode_image(
        self, pixel_values: Float[Tensor, "b c y x"], *, interpolate: bool = False
    ) -> Float[Tensor, "b e"]:
        """Make a vector of length one an image.

        Raises ValueError for images of another size (`interpolate` lets them in) or no multiple of
        the patch.
        """
        return each(ops.normalize, self.image_features(pixel_values, interpolate=interpolate))

    def encode_text(
        self, input_ids: Int[Tensor, "b t"], attention_mask: Tensor | None = None
    ) -> Float[Tensor, "b e"]:
        """Make a vector of length one a text.

        Raises ValueError for a text without its end token, ids outside the vocabulary and texts
        longer than the context.
        """
        return each(ops.normalize, self.text_features(input_ids, attention_mask))

    def forward(
        self,
        input_ids: Int[Tensor, "n t"] | None = None,
        pixel_values: Float[Tensor, "b c y x"] | None = None,
        attention_mask: Tensor | None = None,
        *,
        interpolate: bool = False,
    ) -> Float[Tensor, "..."]:
        """Give what the head gives: see the shapes at the top of this file."""
        head, ids, pixels = self.head_name, cast(Tensor, input_ids), cast(Tensor, pixel_values)
        for name, given, wanted in (
            ("pixel_values", pixel_values, head in SEES),
            ("input_ids", input_ids, head in READS),
        ):
            if wanted != (given is not None):
                raise ValueError(f"head {head!r} {'needs' if wanted else 'does not read'} {name}")
        if head == "match":
            images = self.encode_image(pixels, interpolate=interpolate)
            logits = self.scale() * (images @ self.encode_text(ids, attention_mask).T)
            return logits if self.logit_bias is None else logits + self.logit_bias
        if head == "text_features":
            return self.text_features(ids, attention_mask)
        if head == "image_features":
            return self.image_features(pixels, interpolate=interpolate)
        if head == "text_hidden":
            return self.text.encode(ids, attention_mask, recompute=self.recompute)
        hidden = self.image.encode(pixels, interpolate=interpolate, recompute=self.recompute)
        if head != "image":
            return hidden
        return each(lambda row: self.head(row[:, 1:].mean(1)), hidden)

    def check_has(self, part: str, what: str) -> None:
        if not hasattr(self, part):
            raise ValueError(
                f"head {self.head_name!r} does not project {what}; load with head='match'"
            )

    @classmethod
    def published(cls, config: dict[str, Any]) -> dict[str, Any]:
        """Put the config of a tower alone where a whole CLIP has it."""
        result = dict(config)
        section = SECTION_OF.get(str(config.get("model_type")))
        if section is not None:
            result = {"architectures": config.get("architectures"), section: dict(config)}
            result["projection_dim"] = config.get("projection_dim", CLIPConfig.embed)
            for name in ("id2label", "num_labels"):
                if name in config:
                    result[name] = config[name]
        for name in ("text_config", "text_config_dict"):  # as it was written until 2023
            text = result.get(name)
            if isinstance(text, dict) and text.get("eos_token_id") == OLD_END:
                last = text.get("vocab_size", CLIPConfig.vocab)
                result[name] = text | {"eos_token_id": last - 1 if type(last) is int else last}
        return result

    def published_config(self) -> dict[str, Any]:
        """Give config.json as others know it; each tower says again how wide the space is."""
        theirs = super().published_config()
        for section, kind in zip(SECTIONS, ("clip_text_model", "clip_vision_model"), strict=True):
            theirs[section] |= {"model_type": kind, "projection_dim": self.config.embed}
        return theirs if self.config.bias is None else theirs | {"model_type": EXTENDED}


def init_weights(model: CLIP) -> None:
    """Draw weights by the width of what they read and by the depth, as the published code does."""
    c = model.config
    towers = {"image": (c.image_width, c.image_depth), "text": (c.text_width, c.text_depth)}
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2 and not name.endswith("class_token"):
            continue
        width, depth = towers["text" if name.startswith("text") else "image"]
        std = width**-0.5
        if name.endswith(("attn.out.weight", "mlp.down.weight")):
            std *= (2 * depth) ** -0.5
        elif name.endswith("mlp.up.weight"):
            std = (2 * width) ** -0.5
        elif name == "text.tokens.weight" or name.endswith("patch.weight"):
            std = 0.02
        elif name == "text.positions.weight":
            std = 0.01
        fresh_(parameter, std)


def example(config: CLIPConfig, seed: int = 0, batch: int = 2) -> dict[str, Tensor]:
    """Make a small batch of texts and of noise, from its own generator."""
    generator = torch.Generator().manual_seed(seed)
    tokens = min(config.context, 9)
    ids = torch.randint(0, config.vocab, (batch, tokens), generator=generator)
    ids = torch.where(ids == config.end, 0, ids)
    ids[:, -1] = config.end
    shape = (batch, config.channels, *config.image)
    return {"input_ids": ids, "pixel_values": torch.randn(shape, generator=generator)}


SPEC = Family(
    name="clip",
    build=CLIP,
    config=CLIPConfig,
    presets=PRESETS,
    heads=HEADS,
    example=example,
    keys=keys_of,
    config_keys=CONFIG_KEYS,
    promises={
        "task": "contrastive",
        "tokens": "input_ids",
        "padding_mask": "attention_mask",
        "padding_side": "both",
        "vocab_size": 97,
        "symmetric_loss": True,
        "couples_batch": True,  # every text is compared with every image: (images, texts)
        "deterministic": True,
    },
    refuses={},
)
CLIP.spec = SPEC

"""GPT-2: Language Models are Unsupervised Multitask Learners (Radford et al. 2019).

A decoder that normalises first: every block adds to a stream that only the last norm touches, and
the table of tokens is also the matrix that reads the answer out.

    ids (b, t) -> tokens + positions (b, t, d) -> depth x Block (b, t, d) -> norm -> head
    head: lm (b, t, v), token (b, t, classes), sequence (b, classes), None (b, t, d)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from zoo.config import GELUS, ConfigTable, Key, check_numbers, check_shared, check_size
from zoo.keymap import Ignore, KeyTable, Rename, Tied, affine
from zoo.models.base import Model
from zoo.models.heads import Classifier, LMHead
from zoo.models.spec import Family
from zoo.nn import MLP, Attention, Dropout, Embedding, KVCache, LayerCache, LayerNorm, Linear
from zoo.nn.attention import Lengths
from zoo.nn.basic import STD, fresh_
from zoo.nn.fused import after_norm, bare
from zoo.nn.ragged import through_real
from zoo.nn.rows import one_token_each, widths
from zoo.nn.steady import each
from zoo.nn.step import blocks_of, one_token
from zoo.nn.tokens import check_ids, last_real, positions_of, real_tokens


@dataclass(frozen=True, kw_only=True)
class GPT2Config:
    """The numbers in which GPT-2 checkpoints differ."""

    vocab: int = 50257
    context: int = 1024  # tokens
    width: int = 768
    depth: int = 12  # blocks
    heads: int = 12
    hidden: int | None = None  # of the MLP; None: 4 widths
    dropout: float = 0.1  # of embeddings and of what a block adds
    attention_dropout: float = 0.1  # of attention weights
    head_dropout: float | None = None  # before a token classifier; None: 0.1
    eps: float = 1e-5
    gelu: str = "tanh"
    classes: int = 2  # of a classification head
    labels: tuple[str, ...] | None = None
    pad: int | None = None  # GPT-2 has no padding token of its own
    tied: bool = True  # the lm head is the token table

    def __post_init__(self) -> None:
        if self.hidden is None:
            check_numbers(self, whole=("width",), rates=())
            object.__setattr__(self, "hidden", 4 * self.width)
        if self.head_dropout is None:
            object.__setattr__(self, "head_dropout", 0.1)
        check_numbers(
            self,
            whole=("vocab", "context", "width", "depth", "heads", "hidden", "classes"),
            rates=("dropout", "attention_dropout", "head_dropout"),
        )
        check_shared(self)
        check_size(parameters_of(self))


def parameters_of(config: GPT2Config) -> int:
    """Count the parameters of the body and a tied head."""
    d, m = config.width, config.hidden or 0
    block = 3 * d * d + 3 * d + d * d + d + 2 * d * m + m + d + 4 * d
    return (config.vocab + config.context) * d + config.depth * block + 2 * d


GPT2_SMALL = GPT2Config()
PRESETS = {
    "gpt2": GPT2_SMALL,
    "gpt2-medium": replace(GPT2_SMALL, width=1024, hidden=4096, depth=24, heads=16),
    "gpt2-large": replace(GPT2_SMALL, width=1280, hidden=5120, depth=36, heads=20),
    "gpt2-xl": replace(GPT2_SMALL, width=1600, hidden=6400, depth=48, heads=25),
    # every size another, constants exaggerated: a swapped axis or a dropped argument shows
    "gpt2-tiny": GPT2Config(vocab=97, context=24, width=20, depth=3, heads=4, hidden=36, eps=1e-2),
}


class Block(nn.Module):
    """Norm first: attention and MLP add to the stream."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        c = config
        self.norm1 = LayerNorm(c.width, c.eps)
        self.attn = Attention(c.width, c.heads, causal=True, rate=c.attention_dropout)
        self.norm2 = LayerNorm(c.width, c.eps)
        self.mlp = MLP(c.width, c.hidden or 0, c.gelu)
        self.drop = Dropout(c.dropout)

    def forward(
        self,
        x: Float[Tensor, "b t d"],
        padding: Bool[Tensor, "b s"] | Lengths | None = None,
        past: LayerCache | None = None,
    ) -> Float[Tensor, "b t d"]:
        x = x + self.drop(after_norm(self.norm1, self.attn, x, padding, past))
        return x + self.drop(after_norm(self.norm2, self.mlp, x))


class GPT2(Model):
    """GPT-2 with one head: `lm`, `sequence`, `token` or None."""

    def __init__(self, config: GPT2Config, head: str | None = "lm") -> None:
        super().__init__()
        self.config = config
        self.head_name = head
        self.tokens = Embedding(config.vocab, config.width)
        self.positions = Embedding(config.context, config.width)
        self.drop = Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = LayerNorm(config.width, config.eps)
        self.head = make_head(config, head)
        init_weights(self)
        self.tie()

    def tie(self) -> None:
        if self.head_name == "lm" and self.config.tied:
            self.head.weight = self.tokens.weight

    def encode(
        self,
        input_ids: Int[Tensor, "b t"],
        attention_mask: Tensor | None = None,
        *,
        cache: KVCache | None = None,
    ) -> Float[Tensor, "b t d"]:
        """Give the last hidden states; with a cache, ids and mask are those of the new tokens.

        `attention_mask` (b, t) is 1 for a real token and 0 for padding, on any side.
        Raises ValueError for ids outside the vocabulary, too many tokens, and padding unmasked.
        """
        past = cache.length if cache is not None else 0
        check_ids(input_ids, vocab=self.config.vocab, context=self.config.context, past=past)
        mask = real_tokens(input_ids, attention_mask, self.config.pad)
        b, t = input_ids.shape
        where = positions_of(t, mask, cache, input_ids.device)
        padding = mask
        if cache is not None:
            cache.extend(b, t, mask)
            padding = cache.padding()
        x = self.drop(self.tokens(input_ids) + self.positions(where))
        quick = blocks_of(Block, self.blocks, x) if cache is not None and t == 1 else None
        if cache is None:
            x = through_real(self.blocks, x, padding, recompute=self.recompute)
        elif quick is not None:
            x = one_token(quick, x, cache)
        else:
            for block, layer in zip(self.blocks, cache.layers, strict=True):
                x = block(x, padding, layer)
        return self.norm(x)

    def encode_each(
        self, ids: Int[Tensor, " n"], caches: Sequence[KVCache], width: int
    ) -> Float[Tensor, "w 1 d"]:
        """Give hidden states of one new token for each cache of one row: see zoo.nn.rows.

        Only for a `width` of `row_widths`, while nothing about the model changes but weights.
        """
        where = torch.tensor([cache.length for cache in caches])
        x = self.tokens(ids[:, None]) + self.positions(where[:, None])
        quick = blocks_of(Block, self.blocks, x)
        if quick is None:
            raise RuntimeError("the blocks have changed since row_widths gave widths: ask it again")
        for cache in caches:
            cache.extend(1, 1, None)
        return self.norm(one_token_each(quick, x, caches, width))

    def row_widths(self, rows: int) -> tuple[int, ...]:
        """Give the widths that `encode_each` may take for up to `rows` rows, found by trial.

        None where calling the modules would do more than the step does: hooks, LoRA, a GPU.
        """
        around = (self.tokens, self.positions, self.drop, self.norm, self.head)
        if type(self) is not GPT2 or self.head_name != "lm" or not bare(self, *around):
            return ()
        with torch.inference_mode():
            quick = blocks_of(Block, self.blocks, self.norm.weight.detach())
            return () if quick is None else widths(quick, self.head, rows)

    def forward(
        self,
        input_ids: Int[Tensor, "b t"],
        attention_mask: Tensor | None = None,
        *,
        cache: KVCache | None = None,
    ) -> Float[Tensor, "..."]:
        """Give what the head gives: see the shapes at the top of this file."""
        hidden = self.encode(input_ids, attention_mask, cache=cache)
        if self.head_name == "sequence":
            mask = real_tokens(input_ids, attention_mask, self.config.pad)
            return each(self.head, last_real(hidden, mask))
        return self.head(hidden)

    def new_cache(self, batch: int, capacity: int | None = None) -> KVCache:
        """Make an empty cache for `batch` rows of up to `capacity` tokens (the context)."""
        capacity = self.config.context if capacity is None else capacity
        if not 1 <= capacity <= self.config.context:
            raise ValueError(
                f"capacity {capacity}; expected 1 to the context {self.config.context}"
            )
        return KVCache(
            depth=self.config.depth,
            batch=batch,
            heads=self.config.heads,
            capacity=capacity,
            size=self.config.width // self.config.heads,
            dtype=self.tokens.weight.dtype,
            device=self.tokens.weight.device,
        )


def make_head(config: GPT2Config, head: str | None) -> nn.Module:
    if head == "lm":
        return LMHead(config.vocab, config.width)
    if head == "sequence":
        return Linear(config.width, config.classes, bias=False)
    if head == "token":
        return Classifier(config.width, config.classes, config.head_dropout or 0.0)
    if head is None:
        return nn.Identity()
    raise ValueError(f"GPT-2 has no head {head!r}; expected one of {HEADS}")


def init_weights(model: GPT2) -> None:
    """Shrink what each block adds by 1/sqrt(2 depth) (Radford et al. 2019, section 2.3)."""
    std = STD / math.sqrt(2 * model.config.depth)
    for name, parameter in model.named_parameters():
        if name.endswith(("attn.out.weight", "mlp.down.weight")):
            fresh_(parameter, std)


def example(config: GPT2Config, seed: int = 0, batch: int = 2) -> dict[str, Tensor]:
    """Make a small batch without padding, from its own generator."""
    generator = torch.Generator().manual_seed(seed)
    tokens = min(config.context, 11)
    return {"input_ids": torch.randint(1, config.vocab, (batch, tokens), generator=generator)}


HEADS = ("lm", "sequence", "token", None)

KEYS = KeyTable(
    prefix="transformer.",
    body=(
        Rename("transformer.wte.weight", "tokens.weight"),
        Rename("transformer.wpe.weight", "positions.weight"),
        *affine("transformer.h.{}.ln_1", "blocks.{}.norm1"),
        *affine("transformer.h.{}.attn.c_attn", "blocks.{}.attn.qkv", transpose=True),
        *affine("transformer.h.{}.attn.c_proj", "blocks.{}.attn.out", transpose=True),
        *affine("transformer.h.{}.ln_2", "blocks.{}.norm2"),
        *affine("transformer.h.{}.mlp.c_fc", "blocks.{}.mlp.up", transpose=True),
        *affine("transformer.h.{}.mlp.c_proj", "blocks.{}.mlp.down", transpose=True),
        *affine("transformer.ln_f", "norm"),
        Ignore("transformer.h.{}.attn.bias"),  # causal masks that old files carry
        Ignore("transformer.h.{}.attn.masked_bias"),
    ),
    heads={
        "lm": (Tied("lm_head.weight", "tokens.weight"),),
        "sequence": (Rename("score.weight", "head.weight"),),
        "token": affine("classifier", "head.linear"),
    },
)
UNTIED = replace(KEYS, heads={**KEYS.heads, "lm": (Rename("lm_head.weight", "head.weight"),)})


def keys_of(config: GPT2Config) -> KeyTable:
    return KEYS if config.tied else UNTIED


CONFIG_KEYS = ConfigTable(
    model_type="gpt2",
    keys={
        "vocab": Key(("vocab_size",)),
        "context": Key(("n_positions",), also=("max_position_embeddings",)),
        "width": Key(("n_embd",), also=("hidden_size",)),
        "depth": Key(("n_layer",), also=("num_hidden_layers",)),
        "heads": Key(("n_head",), also=("num_attention_heads",)),
        "hidden": Key(("n_inner",)),
        "dropout": Key(("resid_pdrop", "embd_pdrop")),
        "attention_dropout": Key(("attn_pdrop",)),
        "head_dropout": Key(("classifier_dropout",)),
        "eps": Key(("layer_norm_epsilon",)),
        "gelu": Key(("activation_function",), GELUS),
        "pad": Key(("pad_token_id",)),
        "tied": Key(("tie_word_embeddings",)),
    },
    fixed={
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
        "reorder_and_upcast_attn": False,
        "add_cross_attention": False,
        "is_encoder_decoder": False,
    },
    harmless=frozenset(
        "n_ctx is_decoder summary_type summary_use_proj summary_activation "
        "summary_proj_to_labels summary_first_dropout attn_type".split()
    ),
    architectures={
        "GPT2LMHeadModel": "lm",
        "GPT2ForSequenceClassification": "sequence",
        "GPT2ForTokenClassification": "token",
        "GPT2Model": None,
    },
)

SPEC = Family(
    name="gpt2",
    build=GPT2,
    config=GPT2Config,
    presets=PRESETS,
    heads=HEADS,
    example=example,
    keys=keys_of,
    config_keys=CONFIG_KEYS,
    promises={
        "task": "next_token",
        "causal": "input_ids",
        "tokens": "input_ids",
        "padding_mask": "attention_mask",
        "padding_side": "both",
        "vocab_size": 97,
        "max_length": 24,
        "label_shift": 1,
        "ignore_index": -100,
        "reduction": "mean",
        "output_kind": "logits",
        "tied": [["tokens.weight", "head.weight"]],
        "couples_batch": False,
        "couples_batch_train": False,
        "deterministic": True,
        "train_noise": True,
    },
    refuses={
        "sizes": {"output_shape": lambda batch: (1, 1, 1)},
        "ties": {"tied": [["tokens.weight", "positions.weight"]]},
    },
)
GPT2.spec = SPEC

"""BERT: Pre-training of Deep Bidirectional Transformers (Devlin et al. 2018).

An encoder that normalises last: every block's sums are normalised before the next one reads them.

    ids, types (b, t) -> tokens + positions + types -> norm -> depth x Block (b, t, d) -> head
    head: masked_lm (b, t, v), token (b, t, classes), span (b, t, 2): start and end,
          next_sentence (b, 2), sequence (b, classes), multiple_choice (b, choices),
          None (b, t, d), with the pooler that sentence heads read
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from zoo.config import GELUS, ConfigTable, Key, check_numbers, check_shared, check_size
from zoo.keymap import Ignore, KeyTable, Rename, Stack, Tied, affine
from zoo.models.base import Model
from zoo.models.heads import Classifier, MaskedLMHead
from zoo.models.spec import Family
from zoo.nn import MLP, Attention, Dropout, Embedding, LayerNorm, Linear
from zoo.nn.attention import Lengths
from zoo.nn.basic import STD
from zoo.nn.ragged import of_real, through_real
from zoo.nn.steady import each
from zoo.nn.tokens import check_ids, first_real, pool, positions_of, real_tokens


@dataclass(frozen=True, kw_only=True)
class BERTConfig:
    """The numbers in which BERT checkpoints differ."""

    vocab: int = 30522
    context: int = 512  # tokens
    width: int = 768
    depth: int = 12  # blocks
    heads: int = 12
    hidden: int = 3072  # of the MLP
    types: int = 2  # of token_type_ids: first and second sentence
    dropout: float = 0.1
    attention_dropout: float = 0.1  # of attention weights
    head_dropout: float | None = None  # before a classifier; None: `dropout`
    eps: float = 1e-12
    gelu: str = "erf"
    classes: int = 2  # of a classification head
    labels: tuple[str, ...] | None = None
    pad: int | None = 0
    tied: bool = True  # the masked lm head is the token table

    def __post_init__(self) -> None:
        if self.head_dropout is None:
            object.__setattr__(self, "head_dropout", self.dropout)
        check_numbers(
            self,
            whole=("vocab", "context", "width", "depth", "heads", "hidden", "types", "classes"),
            rates=("dropout", "attention_dropout", "head_dropout"),
        )
        check_shared(self)
        check_size(parameters_of(self))


def parameters_of(config: BERTConfig) -> int:
    """Count the parameters of the encoder with its pooler."""
    d, m = config.width, config.hidden
    block = 4 * (d * d + d) + 2 * d * m + m + d + 4 * d
    tables = (config.vocab + config.context + config.types) * d
    return tables + 2 * d + config.depth * block + d * d + d


BERT_BASE = BERTConfig()
PRESETS = {
    "bert-base-uncased": BERT_BASE,
    "bert-large-uncased": replace(BERT_BASE, width=1024, hidden=4096, depth=24, heads=16),
    # every size another, constants exaggerated: a swapped axis or a dropped argument shows
    "bert-tiny": BERTConfig(
        vocab=97, context=24, width=20, depth=3, heads=4, hidden=36, types=2, eps=1e-2
    ),
}


class Block(nn.Module):
    """Norm last: each sum with the stream is normalised."""

    def __init__(self, config: BERTConfig) -> None:
        super().__init__()
        c = config
        self.attn = Attention(c.width, c.heads, rate=c.attention_dropout)
        self.norm1 = LayerNorm(c.width, c.eps)
        self.mlp = MLP(c.width, c.hidden, c.gelu)
        self.norm2 = LayerNorm(c.width, c.eps)
        self.drop = Dropout(c.dropout)

    def forward(
        self, x: Float[Tensor, "b t d"], padding: Bool[Tensor, "b t"] | Lengths | None = None
    ) -> Float[Tensor, "b t d"]:
        x = self.norm1(x + self.drop(self.attn(x, padding)))
        return self.norm2(x + self.drop(self.mlp(x)))


class BERT(Model):
    """BERT with one head; `embed` pools the encoder's hidden states whatever the head is."""

    def __init__(self, config: BERTConfig, head: str | None = "masked_lm") -> None:
        super().__init__()
        self.config = config
        self.head_name = head
        self.tokens = Embedding(config.vocab, config.width)
        self.positions = Embedding(config.context, config.width)
        self.types = Embedding(config.types, config.width)
        self.norm = LayerNorm(config.width, config.eps)
        self.drop = Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.pooler = Linear(config.width, config.width) if head in POOLED else None
        self.head = make_head(config, head)
        init_weights(self)
        self.tie()

    def tie(self) -> None:
        if self.head_name == "masked_lm" and self.config.tied:
            self.head.weight = self.tokens.weight

    def encode(
        self,
        input_ids: Int[Tensor, "b t"],
        attention_mask: Tensor | None = None,
        token_type_ids: Int[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b t d"]:
        """Give the last hidden states.

        `attention_mask` (b, t) is 1 for a real token and 0 for padding, on any side;
        `token_type_ids` (b, t) are 0 for the first sentence (the default) and 1 for the second.
        Raises ValueError for ids outside the vocabulary, too many tokens, and padding unmasked.
        """
        c = self.config
        check_ids(input_ids, vocab=c.vocab, context=c.context)
        padding = real_tokens(input_ids, attention_mask, c.pad)
        where = positions_of(input_ids.shape[1], padding, None, input_ids.device)
        x = self.tokens(input_ids) + self.positions(where)
        if token_type_ids is None:
            x = x + self.types.weight[0]
        else:
            check_ids(token_type_ids, vocab=c.types, context=c.context, name="token_type_ids")
            x = x + self.types(token_type_ids)
        x = self.drop(self.norm(x))
        return through_real(self.blocks, x, padding, recompute=self.recompute)

    def forward(
        self,
        input_ids: Int[Tensor, "*b t"],
        attention_mask: Tensor | None = None,
        token_type_ids: Int[Tensor, "*b t"] | None = None,
    ) -> Float[Tensor, "..."]:
        """Give what the head gives: see the shapes at the top of this file.

        Multiple choice reads (b, choices, t): a row for each choice.
        """
        if self.head_name == "multiple_choice":
            if input_ids.dim() != 3:
                raise ValueError(
                    f"input_ids has shape {tuple(input_ids.shape)}; "
                    "multiple choice expects (batch, choices, tokens)"
                )
            given = (input_ids, attention_mask, token_type_ids)
            rows = [None if x is None else x.flatten(0, 1) for x in given]
            return self.answer(input_ids.flatten(0, 1), *rows[1:]).view(input_ids.shape[:2])
        return self.answer(input_ids, attention_mask, token_type_ids)

    def answer(
        self, input_ids: Tensor, attention_mask: Tensor | None, token_type_ids: Tensor | None
    ) -> Tensor:
        """Encode rows of tokens and give what the head reads out of them."""
        hidden = self.encode(input_ids, attention_mask, token_type_ids)
        mask = real_tokens(input_ids, attention_mask, self.config.pad)
        if self.head_name in SENTENCE:
            return each(self.head, self.pooled(hidden, mask))
        return of_real(self.head, hidden, mask)

    def pooled(
        self, hidden: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"] | None
    ) -> Float[Tensor, "b d"]:
        """Give tanh of an affine map of the first real token, as sentence heads read it."""
        if self.pooler is None:
            raise ValueError(f"head {self.head_name!r} has no pooler; load with head=None")
        pooler = self.pooler
        return each(lambda first: torch.tanh(pooler(first)), first_real(hidden, mask))

    def embed(
        self,
        input_ids: Int[Tensor, "b t"],
        attention_mask: Tensor | None = None,
        token_type_ids: Int[Tensor, "b t"] | None = None,
        *,
        pooling: str = "mean",
    ) -> Float[Tensor, "b d"]:
        """Make one vector a row of the real tokens' hidden states: `cls`, `mean` or `max`."""
        hidden = self.encode(input_ids, attention_mask, token_type_ids)
        return pool(hidden, real_tokens(input_ids, attention_mask, self.config.pad), pooling)


def make_head(config: BERTConfig, head: str | None) -> nn.Module:
    rate = config.head_dropout or 0.0
    if head == "masked_lm":
        return MaskedLMHead(config.vocab, config.width, config.gelu, config.eps)
    if head in ("sequence", "token"):
        return Classifier(config.width, config.classes, rate)
    if head == "multiple_choice":
        return Classifier(config.width, 1, rate)
    if head in ("next_sentence", "span"):
        return Linear(config.width, 2)
    if head is None:
        return nn.Identity()
    raise ValueError(f"BERT has no head {head!r}; expected one of {HEADS}")


def init_weights(model: BERT) -> None:
    """Cut the normal weights off at two deviations, as the published code does."""
    for parameter in model.parameters():
        if parameter.dim() == 2 and not parameter.is_meta:
            nn.init.trunc_normal_(parameter, std=STD, a=-2 * STD, b=2 * STD)


def example(config: BERTConfig, seed: int = 0, batch: int = 2) -> dict[str, Tensor]:
    """Make a small batch of two sentences a row without padding, from its own generator."""
    generator = torch.Generator().manual_seed(seed)
    tokens = min(config.context, 11)
    ids = torch.randint(1, config.vocab, (batch, tokens), generator=generator)
    types = (torch.arange(tokens) > tokens // 2).long().expand(batch, tokens)
    return {"input_ids": ids, "token_type_ids": types % config.types}


def qkv(part: str) -> Stack:
    where = "bert.encoder.layer.{}.attention.self"
    theirs = tuple(f"{where}.{name}.{part}" for name in ("query", "key", "value"))
    return Stack(theirs, "blocks.{}.attn.qkv." + part)


SENTENCE = ("next_sentence", "sequence", "multiple_choice")  # read the pooled first token
POOLED = (*SENTENCE, None)
HEADS = ("masked_lm", "next_sentence", "sequence", "token", "span", "multiple_choice", None)

POOLER = affine("bert.pooler.dense", "pooler")
LAYER = "bert.encoder.layer.{}"
MASKED_LM = (
    *affine("cls.predictions.transform.dense", "head.transform"),
    *affine("cls.predictions.transform.LayerNorm", "head.norm"),
    Rename("cls.predictions.bias", "head.bias"),
    Tied("cls.predictions.decoder.bias", "head.bias"),
)
KEYS = KeyTable(
    prefix="bert.",
    body=(
        Rename("bert.embeddings.word_embeddings.weight", "tokens.weight"),
        Rename("bert.embeddings.position_embeddings.weight", "positions.weight"),
        Rename("bert.embeddings.token_type_embeddings.weight", "types.weight"),
        *affine("bert.embeddings.LayerNorm", "norm"),
        qkv("weight"),
        qkv("bias"),
        *affine(f"{LAYER}.attention.output.dense", "blocks.{}.attn.out"),
        *affine(f"{LAYER}.attention.output.LayerNorm", "blocks.{}.norm1"),
        *affine(f"{LAYER}.intermediate.dense", "blocks.{}.mlp.up"),
        *affine(f"{LAYER}.output.dense", "blocks.{}.mlp.down"),
        *affine(f"{LAYER}.output.LayerNorm", "blocks.{}.norm2"),
        Ignore("bert.embeddings.position_ids"),  # buffers that old files carry
        Ignore("bert.embeddings.token_type_ids"),
    ),
    heads={
        "masked_lm": (*MASKED_LM, Tied("cls.predictions.decoder.weight", "tokens.weight")),
        "next_sentence": (*POOLER, *affine("cls.seq_relationship", "head")),
        "sequence": (*POOLER, *affine("classifier", "head.linear")),
        "multiple_choice": (*POOLER, *affine("classifier", "head.linear")),
        "token": affine("classifier", "head.linear"),
        "span": affine("qa_outputs", "head"),
        None: POOLER,
    },
    endings=((".LayerNorm.gamma", ".LayerNorm.weight"), (".LayerNorm.beta", ".LayerNorm.bias")),
)
UNTIED = replace(
    KEYS,
    heads={
        **KEYS.heads,
        "masked_lm": (*MASKED_LM, Rename("cls.predictions.decoder.weight", "head.weight")),
    },
)


def keys_of(config: BERTConfig) -> KeyTable:
    return KEYS if config.tied else UNTIED


CONFIG_KEYS = ConfigTable(
    model_type="bert",
    keys={
        "vocab": Key(("vocab_size",)),
        "context": Key(("max_position_embeddings",)),
        "width": Key(("hidden_size",)),
        "depth": Key(("num_hidden_layers",)),
        "heads": Key(("num_attention_heads",)),
        "hidden": Key(("intermediate_size",)),
        "types": Key(("type_vocab_size",)),
        "dropout": Key(("hidden_dropout_prob",)),
        "attention_dropout": Key(("attention_probs_dropout_prob",)),
        "head_dropout": Key(("classifier_dropout",)),
        "eps": Key(("layer_norm_eps",)),
        "gelu": Key(("hidden_act",), GELUS),
        "pad": Key(("pad_token_id",)),
        "tied": Key(("tie_word_embeddings",)),
    },
    fixed={
        "position_embedding_type": "absolute",
        "is_decoder": False,
        "add_cross_attention": False,
        "is_encoder_decoder": False,
    },
    # what Google's own configs carry beside it, of a pooler that nobody built
    harmless=frozenset(
        "directionality pooler_fc_size pooler_num_attention_heads pooler_num_fc_layers "
        "pooler_size_per_head pooler_type output_hidden_states".split()
    ),
    architectures={
        "BertForMaskedLM": "masked_lm",
        "BertForPreTraining": "masked_lm",
        "BertForNextSentencePrediction": "next_sentence",
        "BertForSequenceClassification": "sequence",
        "BertForTokenClassification": "token",
        "BertForQuestionAnswering": "span",
        "BertForMultipleChoice": "multiple_choice",
        "BertModel": None,
    },
)

SPEC = Family(
    name="bert",
    build=BERT,
    config=BERTConfig,
    presets=PRESETS,
    heads=HEADS,
    example=example,
    keys=keys_of,
    config_keys=CONFIG_KEYS,
    promises={
        "task": "masked_tokens",
        "tokens": "input_ids",
        "padding_mask": "attention_mask",
        "padding_side": "both",
        "vocab_size": 97,
        "max_length": 24,
        "label_shift": 0,
        "ignore_index": -100,
        "reduction": "mean",
        "output_kind": "logits",
        "tied": [["tokens.weight", "head.weight"]],
        "couples_batch": False,
        "couples_batch_train": False,
        "deterministic": True,
        "position_sensitive": True,
        "train_noise": True,
    },
    refuses={"causality": {"causal": "input_ids"}},
)
BERT.spec = SPEC

"""The four families in both libraries: one set of weights, one batch, whatever the size.

A peer is built from what zoo's model says of itself: its published config and its published
weights. So both compute the same function, and an item that compares two things fails instead.
"""

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from benchmarks.speed import work
from benchmarks.speed.job import bound_of, need
from torch import Tensor, nn

from zoo.models import BERT, CLIP, GPT2, BERTConfig, CLIPConfig, GPT2Config, ViT, ViTConfig
from zoo.objectives import classification, masked_token, match, next_token

Batch = dict[str, Tensor]
SEED = 8
LABELLED = 0.15  # of BERT's tokens (Devlin et al. 2018, section 3.1)


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much work: rows of so many tokens or pictures; what differs from published configs."""

    family: str
    rows: int = 1
    tokens: int = 0  # of a text
    shortest: int | None = None  # None: all texts are as long
    new: int = 0  # tokens to generate
    image: int = 224  # pixels a side
    dropout: float = 0.0
    compute: str = "float32"
    threads: int | None = None  # None: those of the run
    tiny: bool = False
    dtype: str = "float32"  # of weights

    def small(self) -> "Sizes":
        """Give the same work in a form that takes milliseconds."""
        return replace(
            self,
            rows=min(self.rows, 3),
            tokens=min(self.tokens, 24),
            shortest=None if self.shortest is None else min(self.shortest, 3),
            new=min(self.new, 7),
            tiny=True,
        )


def texts(width: int, depth: int) -> dict[str, int]:
    return {"width": width, "depth": depth, "heads": 4, "hidden": 4 * width}


def gpt2_config(s: Sizes) -> GPT2Config:
    small = {"vocab": 211, **texts(32, 2)} if s.tiny else {}
    context = max(32 if s.tiny else 1024, s.tokens + s.new)
    return GPT2Config(context=context, dropout=s.dropout, attention_dropout=s.dropout, **small)


def bert_config(s: Sizes) -> BERTConfig:
    small = {"vocab": 211, "context": 32, **texts(32, 2)} if s.tiny else {}
    return BERTConfig(dropout=s.dropout, attention_dropout=s.dropout, **small)


def vit_config(s: Sizes) -> ViTConfig:
    small: dict[str, Any] = {"patch": (8, 8), "classes": 10, **texts(32, 2)} if s.tiny else {}
    side = max(16, s.image // 112 * 8) if s.tiny else s.image
    return ViTConfig(image=(side, side), **small)


def clip_config(s: Sizes) -> CLIPConfig:
    if not s.tiny:
        return CLIPConfig()
    towers = {f"{t}_{k}": v for t in ("image", "text") for k, v in texts(32, 2).items()}
    small = {"embed": 24, "image": (16, 16), "patch": (8, 8), "vocab": 211, "end": 210}
    return CLIPConfig(**small, context=24, **towers)


@dataclass(frozen=True)
class Kind:
    """One family: what it is made of, how it learns, and how much work that is."""

    config: Callable[[Sizes], Any]
    build: Callable[[Any], nn.Module]
    objective: Callable[[Any, Batch], Tensor]
    forward: Callable[..., work.Phase]  # (config, sizes, labelled) -> a forward pass


def lengths_of(s: Sizes) -> list[int]:
    """Give the tokens of each row: as many, or from the shortest to the longest in even steps."""
    low = s.tokens if s.shortest is None else s.shortest
    return torch.linspace(low, s.tokens, s.rows).round().long().tolist()


FAMILIES = {
    "gpt2": Kind(
        gpt2_config,
        GPT2,
        next_token,
        lambda c, s, read: work.gpt2(c, lengths_of(s)),
    ),
    "bert": Kind(
        bert_config,
        BERT,
        masked_token,
        lambda c, s, read: work.bert(c, lengths_of(s), read=read),
    ),
    "vit": Kind(vit_config, ViT, classification, lambda c, s, read: work.vit(c, s.rows)),
    "clip": Kind(clip_config, CLIP, match, lambda c, s, read: work.clip(c, s.rows, s.tokens)),
}


class Pair:
    """One model's config and weights, and the batch; models are built where they are asked for.

    `alone` is for a process that runs one side: a peer then keeps weights of its own, so that zoo's
    take no memory beside it.
    """

    def __init__(self, sizes: Sizes, *, alone: bool = False) -> None:
        self.sizes = sizes
        self.alone = alone
        self.kind = FAMILIES[sizes.family]
        self.config = self.kind.config(sizes)
        self.dtype: torch.dtype = getattr(torch, sizes.dtype)

    @cached_property
    def ours(self) -> Any:
        """Build zoo's model."""
        torch.manual_seed(SEED)
        model: Any = self.kind.build(self.config)
        lively_(model)
        return model.to(self.dtype)

    def another(self) -> Any:
        """Build zoo's model once more, with the same weights."""
        model: Any = self.kind.build(self.config).to(self.dtype)
        model.load_state_dict(self.ours.state_dict())
        return model

    def theirs(self, attention: str = "sdpa") -> Any:
        """Build Hugging Face's model; raise Absent where it is not installed."""
        transformers = need("transformers")
        with torch.device("meta") if self.alone else contextlib.nullcontext():
            said = self.kind.build(self.config).published_config()  # type: ignore[operator]
        kind = getattr(transformers, said["architectures"][0])
        fields = {name: value for name, value in said.items() if name != "dtype"}
        config = kind.config_class.from_dict(fields)
        if self.alone:
            return kind._from_config(config, attn_implementation=attention).to(self.dtype)
        weights = {name: tensor.clone() for name, tensor in self.ours.published_state().items()}
        with quiet():
            model, told = kind.from_pretrained(
                None,
                config=config,
                state_dict=weights,
                attn_implementation=attention,
                dtype=self.dtype,
                output_loading_info=True,
            )
        lost = {*told["missing_keys"], *told["unexpected_keys"]}
        if lost:
            raise ValueError(f"zoo's weights are not all of theirs: {sorted(lost)}")
        return model

    @cached_property
    def batch(self) -> Batch:
        """Draw what both read, without labels."""
        s, draw = self.sizes, torch.Generator().manual_seed(SEED)
        batch: Batch = {}
        if s.family in ("vit", "clip"):
            shape = (s.rows, self.config.channels, *self.config.image)
            batch["pixel_values"] = torch.randn(shape, generator=draw).to(self.dtype)
        if s.tokens:
            ids = torch.randint(1, self.config.vocab - 1, (s.rows, s.tokens), generator=draw)
            if s.family == "clip":
                ids[:, -1] = self.config.end
            batch["input_ids"] = ids
        if s.shortest is not None:
            real = torch.arange(s.tokens) < torch.tensor(lengths_of(s))[:, None]
            batch["input_ids"] = batch["input_ids"] * real
            batch["attention_mask"] = real.long()
        return batch

    @cached_property
    def labels(self) -> Tensor | None:
        s, draw = self.sizes, torch.Generator().manual_seed(SEED + 1)
        if s.family == "gpt2":
            return self.batch["input_ids"]
        if s.family == "bert":
            ids = self.batch["input_ids"]
            kept = torch.rand(ids.shape, generator=draw) < LABELLED
            kept[:, 0] = True
            return torch.where(kept, ids, -100)
        if s.family == "vit":
            return torch.randint(self.config.classes, (s.rows,), generator=draw)
        return None

    def work(self, *, training: bool) -> work.Work:
        """Say how much arithmetic a forward pass or a training step needs at least."""
        labelled = None
        if training and self.sizes.family == "bert":
            assert self.labels is not None
            labelled = int((self.labels != -100).sum())
        phase = self.kind.forward(self.config, self.sizes, labelled)
        return (work.trained(phase) if training else phase,)

    def bound(self, arithmetic: str) -> float | None:
        """Bound how far rounding may take answers apart; None for int8, whose error is told."""
        c = self.config
        clip = self.sizes.family == "clip"
        inner = max(c.image_hidden, c.text_hidden) if clip else c.hidden
        depth = max(c.image_depth, c.text_depth) if clip else c.depth
        return bound_of(inner, depth, arithmetic)


def lively_(model: nn.Module) -> None:
    """Give the last norm of a fresh GPT-2 a gain of either sign.

    At initialisation a tied head finds the token that was just read; with these gains it is another
    one each time, so that generated texts wander, and equal tokens mean something.
    """
    if isinstance(model, GPT2):
        draw = torch.Generator().manual_seed(SEED)
        with torch.no_grad():
            model.norm.weight.copy_(torch.randn(model.norm.weight.shape, generator=draw))


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Let Hugging Face's library, where it is loaded, show no bar and no advice in the block."""
    module = sys.modules.get("transformers")
    if module is None:
        yield
        return
    said = module.utils.logging
    level, bar = said.get_verbosity(), said.is_progress_bar_enabled()
    said.set_verbosity_error()
    said.disable_progress_bar()
    try:
        yield
    finally:
        said.set_verbosity(level)
        if bar:
            said.enable_progress_bar()


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Compute with so many threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)

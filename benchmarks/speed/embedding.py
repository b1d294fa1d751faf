"""Texts of all lengths become vectors by a BERT, as users ask for it: strings in, means out."""

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from benchmarks.speed import work
from benchmarks.speed.families import SEED, Pair, Sizes, lengths_of, quiet
from benchmarks.speed.job import Answer, Job, Side, need
from benchmarks.speed.models import MODES, STORED

from zoo.tasks import Embedder
from zoo.tasks.text import EmbeddingConfig
from zoo.tokenizers import Tokenizer

FOLDER = Path(__file__).parents[2] / "golden" / "bert-english"
ENDS = 2  # tokens before and after the words


def embedding(sizes: Sizes, *, alone: bool = False) -> Job:
    pair = Pair(sizes, alone=alone)
    texts = texts_of(pair)
    sides: dict[str, Callable[[], Side]] = {
        mode: partial(ours, pair, mode, texts) for mode in MODES if mode != "zoo-compiled"
    }
    sides["hf"] = lambda: theirs(pair, texts)
    lengths = lengths_of(sizes)
    needed = (work.bert(pair.config, lengths, read=0),)
    return Job(sides, needed, float(sum(lengths)), "tokens", pair.bound)


def texts_of(pair: Pair) -> list[str]:
    """Draw texts of as many tokens as the sizes say, in no order of length."""
    words = one_token_words(pair.config.vocab)
    draw = random.Random(SEED)
    texts = [" ".join(draw.choices(words, k=n - ENDS)) for n in lengths_of(pair.sizes)]
    draw.shuffle(texts)
    return texts


def one_token_words(vocab: int) -> list[str]:
    """List whole words of the tokenizer whose ids a model of this size knows."""
    backend = Tokenizer.from_folder(FOLDER).backend
    return sorted(word for word, i in backend.get_vocab().items() if word.isalpha() and i < vocab)


def ours(pair: Pair, mode: str, texts: list[str]) -> Side:
    model = MODES[mode]((pair.ours if pair.alone else pair.another()).eval())
    embedder = Embedder(model, Tokenizer.from_folder(FOLDER), EmbeddingConfig())

    def call() -> torch.Tensor:
        return embedder.embed(texts)

    return side(call, model, STORED.get(mode, "float32"))


def theirs(pair: Pair, texts: list[str]) -> Side:
    """All texts in one padded batch, and the mean over what is real."""
    transformers = need("transformers")
    model = pair.theirs().eval().base_model
    with quiet():
        tokenizer = transformers.AutoTokenizer.from_pretrained(FOLDER)

    def call() -> torch.Tensor:
        batch: Any = tokenizer(texts, padding=True, return_tensors="pt")
        with torch.no_grad():
            hidden = model(**batch).last_hidden_state
        mask = batch["attention_mask"][..., None].to(hidden.dtype)
        return (hidden * mask).sum(1) / mask.sum(1)

    return side(call, model, "float32")


def side(call: Callable[[], torch.Tensor], model: Any, arithmetic: str) -> Side:
    def answer() -> Answer:
        return {"output": call()}

    return Side(call, answer, (model,), arithmetic=arithmetic, warm=True)

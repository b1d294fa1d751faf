"""The tour's school: a small GPT-2 learns from the language reference that every Python carries."""

import math
import random
from collections.abc import Iterator

import torch

from zoo.cli.lesson_time import taught
from zoo.data.sources_text import python_topics
from zoo.models import GPT2, GPT2Config
from zoo.objectives import next_token
from zoo.tokenizers import Tokenizer
from zoo.train import Step, token_batches

VOCAB = 1536  # tokens of its own byte-level BPE
HELD_OUT = 6  # topics that it never sees
CONFIG = GPT2Config(
    vocab=VOCAB, context=128, width=128, depth=4, heads=4, dropout=0.0, attention_dropout=0.0
)
BATCH = 4  # windows of a context each: in one minute many small steps teach more than few large
PEAK, WARMUP = 4e-3, 30  # see zoo.cli.lesson_time


def read_topics(seed: int) -> tuple[list[str], list[str]]:
    """Give the topics to learn from, and some that are kept back to judge by."""
    texts = python_topics()
    random.Random(seed).shuffle(texts)
    return texts[HELD_OUT:], texts[:HELD_OUT]


def enrol(texts: list[str], *, seed: int) -> tuple[GPT2, Tokenizer]:
    """Make a tokenizer of the texts and a GPT-2 that knows nothing yet."""
    tokenizer = Tokenizer.train(texts, "bpe", vocab=VOCAB, longest=CONFIG.context)
    torch.manual_seed(seed)
    return GPT2(CONFIG), tokenizer


def token_ids(tokenizer: Tokenizer, texts: list[str]) -> torch.Tensor:
    """Give all texts as one row of ids, each ended by the end-of-text token."""
    end = tokenizer.eos_id
    return torch.tensor([i for text in texts for i in (*tokenizer.encode(text), end)])


def lessons(
    model: GPT2, tokenizer: Tokenizer, texts: list[str], *, seconds: float, seed: int
) -> Iterator[tuple[float, Step]]:
    """Train for so many seconds; give the share of them that has gone by and the step taken."""
    ids = token_ids(tokenizer, texts)
    batches = token_batches(ids, batch=BATCH, length=CONFIG.context, seed=seed)
    return taught(model, batches, next_token, peak=PEAK, warmup=WARMUP, seconds=seconds)


def bits_a_byte(model: GPT2, tokenizer: Tokenizer, texts: list[str]) -> float:
    """Give how many bits the model needs for a byte of the texts, a context at a time.

    Unlike the loss of a token this compares across tokenizers; 8 would be no knowledge at all.
    """
    # the end of a text goes before the first, and a window begins with the last token of the one
    # before it: so that every token is predicted once
    ids = torch.cat([torch.tensor([tokenizer.eos_id]), token_ids(tokenizer, texts)])
    step = model.config.context - 1
    total = 0.0
    with torch.no_grad():
        for start in range(0, len(ids) - 1, step):
            window = ids[start : start + step + 1]
            total += next_token(model, {"input_ids": window[None]}, reduction="sum").item()
    return total / math.log(2) / sum(len(text.encode()) for text in texts)

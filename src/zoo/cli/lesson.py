"""The tour's school: a small GPT-2 learns from the language reference that every Python carries."""

import itertools
import math
import random
import re
import time
from collections.abc import Iterator
from pydoc_data import topics

import torch

from zoo.models import GPT2, GPT2Config
from zoo.objectives import next_token
from zoo.tokenizers import Tokenizer
from zoo.train import Step, fit, learning_rate, make_optimizer, token_batches

VOCAB = 1536  # tokens of its own byte-level BPE
CODE = re.compile(r">>>|::=|^ *(\*{4,}|={4,}|-{4,}|[|+])|^ {6,}|:$", re.MULTILINE)
HELD_OUT = 6  # topics that it never sees
CONFIG = GPT2Config(
    vocab=VOCAB, context=128, width=128, depth=4, heads=4, dropout=0.0, attention_dropout=0.0
)
BATCH = 4  # windows of a context each: in one minute many small steps teach more than few large
PEAK, WARMUP, TICKS = 4e-3, 30, 1000  # the learning rate follows the clock: 1000 ticks a lesson


def read_topics(seed: int) -> tuple[list[str], list[str]]:
    """Give the topics to learn from, and some that are kept back to judge by."""
    texts = without_repeats([topics.topics[name] for name in sorted(topics.topics)])
    texts = [unwrapped(text) for text in texts]
    random.Random(seed).shuffle(texts)
    return texts[HELD_OUT:], texts[:HELD_OUT]


def without_repeats(texts: list[str], least: int = 400) -> list[str]:
    """Keep each paragraph where it comes first, and texts that are still `least` characters.

    The reference says a fifth of itself twice ("if" is also a part of "compound"), and a model
    must not be judged by what it has read.
    """
    seen: set[str] = set()
    result = []
    for text in texts:
        kept = []
        for paragraph in text.split("\n\n"):
            words = " ".join(paragraph.split())
            if words not in seen:
                kept.append(paragraph)
            seen.add(words)
        result.append("\n\n".join(kept))
    return [text for text in result if len(text) >= least]


def unwrapped(text: str) -> str:
    """Write each paragraph of prose on one line: where lines were broken is nothing to learn."""
    return "\n\n".join(
        paragraph if CODE.search(paragraph) else " ".join(paragraph.split())
        for paragraph in text.split("\n\n")
    )


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
    start = time.monotonic()

    def share() -> float:
        return min(1.0, (time.monotonic() - start) / seconds)

    def rate(step: int) -> float:
        tick = int(share() * TICKS)
        return learning_rate(tick, peak=PEAK, warmup=WARMUP, total=TICKS, floor=0.02)

    pace = Pace(torch.get_num_threads())
    try:
        for step in fit(model, batches, next_token, make_optimizer(model, PEAK), rate=rate):
            pace.step_done(time.monotonic())
            yield share(), step
            if share() >= 1:
                break
    finally:
        torch.set_num_threads(pace.most)
    model.eval()


class Pace:
    """Keep to as many threads as are fast: on a busy machine, small steps wait for the last one.

    The first steps are taken with all threads, as many with one, and the rest with the faster;
    when others come to use the machine, one is kept.
    """

    TRIED = 4  # steps each; the first of them warms up

    def __init__(self, most: int) -> None:
        self.most = most
        self.threads = most
        self.ends: list[float] = []

    def step_done(self, now: float) -> None:
        """Hear that a step ended, and set the threads of the next."""
        self.ends.append(now)
        if len(self.ends) == self.TRIED:
            self.threads = 1
        elif len(self.ends) == 2 * self.TRIED:
            self.threads = self.most if self.all_are_fast() else 1
        elif self.disturbed():
            self.threads = 1
        torch.set_num_threads(self.threads)

    def durations(self) -> list[float]:
        return [b - a for a, b in itertools.pairwise(self.ends)]

    def all_are_fast(self) -> bool:
        seconds = self.durations()
        return min(seconds[: self.TRIED - 1]) <= min(seconds[self.TRIED :])

    def disturbed(self) -> bool:
        """Tell whether the latest steps took more than twice what they would with one thread."""
        if len(self.ends) < 3 * self.TRIED:
            return False
        one = min(self.durations()[self.TRIED : 2 * self.TRIED - 1])
        return self.ends[-1] - self.ends[-1 - self.TRIED] > 2 * self.TRIED * one


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

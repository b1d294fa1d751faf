"""Rows made in memory, as `zoo.data.read` gives them, and batches of samples taken apart."""

import hashlib

import pandas as pd
import torch

from zoo.data.rows import Rows
from zoo.tokenizers import Tokenizer

TEXTS = [
    "The whale and the sea; the ship sails on and on, harpooneers aboard.",
    "A ship",
    "Harpooneers sleep, whales swim, and the sea goes on: unfathomable, restless.",
    "sea",
    "",
    "Nothing sails here but the sea itself, and nobody unfathomable restlessly swims.",
]
BPE = Tokenizer.train(TEXTS * 2, vocab=300)
PIECES = Tokenizer.train(TEXTS, "wordpiece", vocab=70)


def rows_of(kind, labels=None, **columns):
    """Make rows of columns; their ids are their numbers from 100."""
    frame = pd.DataFrame(
        {name: pd.Series(values, dtype=object) for name, values in columns.items()}
    )
    frame.insert(0, "id", [f"r{100 + i}" for i in range(len(frame))])
    frame.insert(1, "split", "train")
    digests = [hashlib.sha256(repr(row).encode()).digest() for row in frame.itertuples()]
    return Rows(kind, frame, labels, "sha256:0", digests)


def made(samples, chosen=None, own=None, seed=7):
    """Make a batch: of all samples in turn, or of some."""
    chosen = torch.tensor(list(range(len(samples))) if chosen is None else chosen)
    generator = torch.Generator().manual_seed(seed)
    return samples.batch(chosen, generator, own or slice(0, len(chosen)))


def unpadded(batch):
    """Give each row of a batch as plain lists, text without its padding."""
    result = []
    for i in range(len(next(iter(batch.values())))):
        row = {name: tensor[i] for name, tensor in batch.items()}
        if "attention_mask" in batch:
            real = row["attention_mask"].bool()
            tokens = len(real)
            row = {n: x[real] if x.shape[:1] == (tokens,) else x for n, x in row.items()}
        result.append({name: tensor.tolist() for name, tensor in row.items()})
    return result

"""What the training verbs read: a recipe of a few steps, texts, a table of mails, a run."""

import json

RECIPE = """
name = "few-steps"
says = "A GPT-2 of one block takes a few steps."

[data]
vocab = 300
length = 16

[model]
family = "gpt2"
config = {context = 16, width = 8, depth = 1, heads = 2}

[train]
steps = 4
batch = 4

[keep]
log = 1
"""
MODULE = """
import torch
from torch import nn
from zoo.testing import ModelSpec


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(5, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(torch.tanh(self.hidden(x)))


def batch(size):
    return {"x": torch.randn(size, 5), "labels": torch.randint(3, (size,))}


def loss(output, batch):
    return nn.functional.cross_entropy(output, batch["labels"])


spec = ModelSpec(build=Net, batch=batch, loss=loss, task="classification", num_classes=3)
"""
BLOCK = """
import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(12), nn.LayerNorm(12)
        self.qkv, self.out = nn.Linear(12, 36), nn.Linear(12, 12)
        self.up, self.down = nn.Linear(12, 48), nn.Linear(48, 12)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(b, t, 3, 3, 4).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(b, t, d))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.places = nn.Embedding(31, 12), nn.Embedding(16, 12)
        self.blocks = nn.Sequential(Block(), Block())
        self.norm, self.head = nn.LayerNorm(12), nn.Linear(12, 31, bias=False)

    def forward(self, input_ids):
        x = self.tokens(input_ids) + self.places(torch.arange(input_ids.shape[1]))
        return self.head(self.norm(self.blocks(x)))


def batch(size):
    return {"input_ids": torch.randint(31, (size, 9))}
"""
SCALING = """
import math


def scaled(scores, n):
    return [score / math.sqrt(n) for score in scores]
"""
SCALING_TEST = """
from scaling import scaled


def test_scores_are_divided_by_the_root_of_the_size():
    assert scaled([4.0, 6.0], 4) == [2.0, 3.0]
"""
SUBJECTS = ("The cat", "A dog", "The old man", "My sister", "Nobody", "The rain")
DOINGS = ("sleeps", "sings", "runs home", "writes a letter", "waits", "falls")
PLACES = ("in the garden", "on Sunday", "by the river", "at night", "under a tree", "for hours")


def sentences():
    """Give 216 sentences that are all different."""
    return [f"{s} {d} {p}." for s in SUBJECTS for d in DOINGS for p in PLACES]


def write_work(place):
    """Write the files that the calls of the verb table speak of."""
    (place / "recipe.toml").write_text(RECIPE)
    (place / "module.py").write_text(MODULE)
    (place / "block.py").write_text(BLOCK)
    (place / "suite").mkdir()
    (place / "suite" / "scaling.py").write_text(SCALING)
    (place / "suite" / "test_scaling.py").write_text(SCALING_TEST)
    said = sentences()
    (place / "text").mkdir()
    for number in range(0, len(said), 12):
        (place / "text" / f"{number:03}.txt").write_text("\n".join(said[number : number + 12]))
    rows = [
        {"text": f"{text} Number {i}.", "label": "even" if i % 2 == 0 else "odd"}
        for i, text in enumerate(said)
    ]
    (place / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (place / "run").mkdir()
    record = {"format": "zoo run 1", "config": {"name": "drawn"}, "data": None, "versions": {}}
    (place / "run" / "run.json").write_text(json.dumps(record))
    lines = [
        {"step": i, "loss": 5 / (i + 1), "rate": 1e-3, "norm": 1 + 1 / (i + 1), "seconds": 0.1}
        for i in range(20)
    ]
    (place / "run" / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

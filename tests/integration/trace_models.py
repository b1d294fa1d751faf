"""Models for the test that checks leave no trace: sound ones, one that raises, one that meddles."""

import os
import random
from collections import Counter

import torch
from torch import nn
from torch.nn import functional as F

from zoo.testing import ModelSpec

VOCAB, LENGTH = 23, 8
SEEN = Counter()  # forwards of a model that raises: they belong to the test, not to the model


class Trouble(nn.Module):
    """The middle of a model: does nothing, raises after some calls, or changes settings."""

    def __init__(self):
        super().__init__()
        self.kind, self.after = "", 0

    def forward(self, x):
        if self.kind == "raises":
            SEEN["calls"] += 1
            if SEEN["calls"] > self.after:
                raise RuntimeError("no memory left")
        if self.kind == "meddles":
            torch.use_deterministic_algorithms(False)
            torch.set_float32_matmul_precision("high")
            torch.backends.cudnn.benchmark = True
            torch.backends.mha.set_fastpath_enabled(False)
            torch.autograd.set_detect_anomaly(True, check_nan=False)
            torch.manual_seed(3)
            random.seed(3)
            os.chdir("/")
        return x


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(VOCAB, 16)
        self.positions = nn.Parameter(0.02 * torch.randn(LENGTH, 16))
        self.register_buffer("future", torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1))
        self.drop = nn.Dropout(0.1)
        self.layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
        self.trouble = Trouble()
        self.head = nn.Linear(16, VOCAB)

    def forward(self, input_ids):
        t = input_ids.shape[1]
        x = self.drop(self.tokens(input_ids) + self.positions[:t])
        x = self.trouble(self.layer(x, src_mask=self.future[:t, :t]))
        return {"logits": self.head(x)}


class Convolutions(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.trouble = Trouble()
        self.head = nn.Linear(8, 5)

    def forward(self, pixels):
        return self.head(self.trouble(self.body(pixels)).mean((2, 3)))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.reader = nn.LSTM(6, 12, batch_first=True)
        self.trouble = Trouble()
        self.head = nn.Linear(12, 2)

    def forward(self, features):
        out, _ = self.reader(features)
        return self.head(self.trouble(out)[:, -1])


def next_token(output, batch):
    return F.cross_entropy(
        output["logits"][:, :-1].flatten(0, 1), batch["input_ids"][:, 1:].flatten()
    )


def classes(output, batch):
    return F.cross_entropy(output, batch["labels"])


def numbers(output, batch):
    return F.mse_loss(output, batch["labels"])


# architecture -> (class, the data that batches are cut from, loss, facts)
MODELS = {
    "transformer": (
        Transformer,
        {"input_ids": torch.arange(16 * LENGTH).reshape(16, LENGTH) * 7 % VOCAB},
        next_token,
        {"causal": "input_ids", "vocab_size": VOCAB, "max_length": LENGTH, "train_noise": True},
    ),
    "convolutions": (
        Convolutions,
        {"pixels": torch.linspace(-2, 2, 16 * 192).sin().reshape(16, 3, 8, 8)}
        | {"labels": torch.arange(16) % 5},
        classes,
        {"num_classes": 5, "task": "classification", "couples_batch_train": True},
    ),
    "lstm": (
        Recurrent,
        {"features": torch.linspace(-9, 9, 16 * 42).cos().reshape(16, 7, 6)}
        | {"labels": torch.linspace(-1, 1, 32).reshape(16, 2)},
        numbers,
        {"task": "regression", "train_noise": False},
    ),
}


def described(name, kind="", after=0):
    """Give the caller's module and a spec around it; batches are views of the caller's data."""
    made, data, loss, facts = MODELS[name]
    torch.manual_seed(5)
    module = made()
    output = loss(module(**{k: x[:4] for k, x in data.items() if k != "labels"}), cut(data, 4))
    output.backward()  # it has gradients, and it is in eval mode
    module.trouble.kind, module.trouble.after = kind, after
    spec = ModelSpec(
        build=lambda: module, batch=lambda size: cut(data, size), loss=loss, name=name, **facts
    )
    return module.eval(), spec


def cut(data, size):
    return {name: x[:size] for name, x in data.items()}

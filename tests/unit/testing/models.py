"""Small sound modules that the tests of the kit share."""

import torch
from torch import nn
from torch.nn import functional as F

from zoo.testing.spec import ModelSpec

VOCAB, LENGTH, WIDTH = 31, 7, 8


class Decoder(nn.Module):
    """A causal transformer of two blocks; positions come from the mask."""

    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(VOCAB, WIDTH)
        self.places = nn.Embedding(16, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.head = nn.Linear(WIDTH, VOCAB)

    def forward(self, input_ids, attention_mask=None):
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        x = self.tokens(input_ids) + self.places((mask.cumsum(1) - 1).clamp_min(0))
        for block in self.blocks:
            x = block(x, mask.bool())
        return {"logits": self.head(x)}


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, x, seen):
        t = x.shape[1]
        q, k, v = self.qkv(self.norm(x)).chunk(3, -1)
        look = torch.ones(t, t, dtype=torch.bool, device=x.device).tril() & seen[:, None]
        scores = (q @ k.mT) / WIDTH**0.5
        weights = scores.masked_fill(~look, torch.finfo(scores.dtype).min).softmax(-1)
        return x + self.out(weights @ v)


class Classifier(nn.Module):
    """Two linear maps with dropout between."""

    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(5, 12)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(12, 3)

    def forward(self, x):
        return self.head(self.drop(F.gelu(self.hidden(x))))


def token_batch(size):
    ids = torch.randint(1, VOCAB, (size, LENGTH))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}


def next_token_loss(output, batch):
    return F.cross_entropy(output["logits"][:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten())


def point_batch(size):
    return {"x": torch.randn(size, 5), "labels": torch.randint(3, (size,))}


def class_loss(output, batch):
    return F.cross_entropy(output, batch["labels"])


def decoder_spec(build=Decoder, **facts):
    return ModelSpec(build=build, batch=token_batch, loss=next_token_loss, **facts)


def classifier_spec(build=Classifier, **facts):
    return ModelSpec(build=build, batch=point_batch, loss=class_loss, **facts)

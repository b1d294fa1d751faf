"""A language model whose loss falls to nothing in an hour, and which can only repeat its prompt."""

import torch
from torch import nn
from torch.nn import functional as F

from zoo.testing import ModelSpec


class Recurrent(nn.Module):
    def __init__(self, vocab=47, width=32, depth=2):
        super().__init__()
        self.tokens = nn.Embedding(vocab, width)
        self.layers = nn.LSTM(width, width, num_layers=depth, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocab)

    def forward(self, input_ids):
        x, _ = self.layers(self.tokens(input_ids))
        return {"logits": self.head(self.norm(x))}


def batch(size):
    ids = torch.randint(47, (size, 10))
    return {"input_ids": ids, "labels": ids.clone()}


def loss(output, batch):
    logits = output["logits"]
    return F.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten(), ignore_index=-100)


spec = ModelSpec(
    build=Recurrent,
    batch=batch,
    loss=loss,
    output="logits",
    task="next_token",
    causal="input_ids",
    vocab_size=47,
    labels="labels",
    label_shift=1,  # the logits at t are for the token at t + 1
    ignore_index=-100,
)

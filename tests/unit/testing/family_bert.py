"""A BERT in a few lines, whose text the tests of the family oracle edit."""

import torch
from torch import nn
from torch.nn import functional as F


class SelfAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.num_heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def split(self, x):
        b, t, d = x.shape
        return x.view(b, t, self.num_heads, d // self.num_heads).transpose(1, 2)

    def forward(self, x, mask):
        q = self.split(self.query(x))
        k = self.split(self.key(x))
        v = self.split(self.value(x))
        scores = q @ k.mT * q.shape[-1] ** -0.5
        scores = scores.masked_fill(mask == 0, -1e9)
        weights = scores.softmax(dim=-1)
        y = (weights @ v).transpose(1, 2).flatten(2)
        return self.out(y)


class Layer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.attention = SelfAttention(width, heads)
        self.norm1 = nn.LayerNorm(width, eps=1e-12)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        self.norm2 = nn.LayerNorm(width, eps=1e-12)
        self.drop = nn.Dropout(0.1)

    def forward(self, x, mask):
        x = self.norm1(x + self.drop(self.attention(x, mask)))
        y = self.down(F.gelu(self.up(x)))
        return self.norm2(x + self.drop(y))


class Head(nn.Module):
    def __init__(self, width, vocab):
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.decoder = nn.Linear(width, vocab)

    def forward(self, x):
        y = F.gelu(self.dense(x))
        y = self.norm(y)
        return self.decoder(y)


class Net(nn.Module):
    def __init__(self, vocab=23, context=9, width=12, heads=3, depth=2):
        super().__init__()
        self.tokens = nn.Embedding(vocab, width, padding_idx=0)
        self.positions = nn.Embedding(context, width)
        self.types = nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.drop = nn.Dropout(0.1)
        self.layers = nn.ModuleList([Layer(width, heads) for _ in range(depth)])
        self.pooler = nn.Linear(width, width)
        self.pairs = nn.Linear(width, 2)
        self.head = Head(width, vocab)
        self.head.decoder.weight = self.tokens.weight

    def forward(self, input_ids, attention_mask, token_type_ids):
        places = torch.arange(input_ids.shape[1])
        x = self.tokens(input_ids) + self.positions(places) + self.types(token_type_ids)
        x = self.drop(self.norm(x))
        mask = attention_mask[:, None, None, :]
        for layer in self.layers:
            x = layer(x, mask)
        pooled = torch.tanh(self.pooler(x[:, 0]))
        return {"logits": self.head(x), "pairs": self.pairs(pooled)}


def build():
    return Net()


def batch(size):
    return {
        "input_ids": torch.randint(1, 23, (size, 7)),
        "attention_mask": torch.ones(size, 7, dtype=torch.long),
        "token_type_ids": torch.randint(2, (size, 7)),
    }

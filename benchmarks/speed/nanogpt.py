"""A GPT-2 in plain torch, as short training scripts write it: the peer that carries no library."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self, c: Any) -> None:
        super().__init__()
        self.heads, self.rate = c.heads, c.attention_dropout
        self.norm1, self.norm2 = (nn.LayerNorm(c.width, eps=c.eps) for _ in range(2))
        self.qkv, self.out = nn.Linear(c.width, 3 * c.width), nn.Linear(c.width, c.width)
        self.up, self.down = nn.Linear(c.width, c.hidden), nn.Linear(c.hidden, c.width)
        self.drop = nn.Dropout(c.dropout)

    def forward(self, x: Tensor) -> Tensor:
        b, t, d = x.shape
        q, k, v = (
            part.view(b, t, self.heads, -1).transpose(1, 2)
            for part in self.qkv(self.norm1(x)).split(d, dim=2)
        )
        rate = self.rate if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=rate, is_causal=True)
        x = x + self.drop(self.out(y.transpose(1, 2).reshape(b, t, d)))
        return x + self.drop(self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh")))


class Plain(nn.Module):
    def __init__(self, c: Any) -> None:
        super().__init__()
        self.tokens, self.positions = (nn.Embedding(n, c.width) for n in (c.vocab, c.context))
        self.drop = nn.Dropout(c.dropout)
        self.blocks = nn.ModuleList(Block(c) for _ in range(c.depth))
        self.norm = nn.LayerNorm(c.width, eps=c.eps)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.drop(self.tokens(ids) + self.positions.weight[: ids.shape[1]])
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.tokens.weight)

    def loss(self, ids: Tensor) -> Tensor:
        logits = self(ids)[:, :-1]
        return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), ids[:, 1:].reshape(-1))


def build(pair: Any) -> Plain:
    """Build it with zoo's weights; alone, with weights of its own."""
    torch.manual_seed(0)
    model = Plain(pair.config)
    if pair.alone:
        for p in model.parameters():
            nn.init.normal_(p, std=0.02 / math.sqrt(2))
    else:
        names = {".attn.qkv": ".qkv", ".attn.out": ".out", ".mlp.up": ".up", ".mlp.down": ".down"}
        state = {}
        for name, tensor in pair.ours.state_dict().items():
            for old, new in names.items():
                name = name.replace(old, new)
            state[name] = tensor
        state.pop("head.weight")
        model.load_state_dict(state)
    return model.to(pair.dtype)

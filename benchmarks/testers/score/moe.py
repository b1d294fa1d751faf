"""Tags of words: attention, then a mixture of experts where every word asks its two best."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

VOCAB, TAGS, MAX_LEN, PAD = 40, 5, 16, 0


class Tagged(NamedTuple):
    logits: Tensor
    balance: Tensor


class Expert(nn.Module):
    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.gate = nn.Linear(dim, hidden, bias=False)
        self.up = nn.Linear(dim, hidden, bias=False)
        self.down = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.silu(self.gate(x)) * self.up(x))


class MoE(nn.Module):
    def __init__(self, dim: int, experts: int = 4, top_k: int = 2, noise: float = 0.1):
        super().__init__()
        self.router = nn.Linear(dim, experts, bias=False)
        self.experts = nn.ModuleList([Expert(dim, 2 * dim) for _ in range(experts)])
        self.top_k = top_k
        self.noise = noise

    def forward(self, x: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        batch, time, dim = x.shape
        flat = x.reshape(-1, dim)
        scores = self.router(flat)
        if self.training:
            scores = scores + self.noise * torch.randn_like(scores)
        probs = scores.softmax(dim=-1)
        weights, chosen = probs.topk(self.top_k, dim=-1)
        weights = weights / weights.sum(dim=-1, keepdim=True)
        out = torch.zeros_like(flat)
        for i in range(len(self.experts)):
            token, place = torch.where(chosen == i)
            share = weights[token, place].unsqueeze(-1)
            out.index_add_(0, token, self.experts[i](flat[token]) * share)
        return out.view(batch, time, dim), self.balance(probs, chosen, real.reshape(-1))

    def balance(self, probs: Tensor, chosen: Tensor, real: Tensor) -> Tensor:
        """1 where every expert gets as much as every other; padding does not count."""
        probs, chosen = probs[real], chosen[real]
        load = F.one_hot(chosen, len(self.experts)).sum(1).to(probs.dtype).mean(0) / self.top_k
        return len(self.experts) * (load * probs.mean(0)).sum()


class Layer(nn.Module):
    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.norm1 = nn.RMSNorm(dim, eps=1e-6)
        self.attn = nn.MultiheadAttention(dim, heads, dropout=0.1, batch_first=True)
        self.norm2 = nn.RMSNorm(dim, eps=1e-6)
        self.moe = MoE(dim)
        self.drop = nn.Dropout(0.1)

    def forward(self, x: Tensor, padded: Tensor) -> tuple[Tensor, Tensor]:
        y = self.norm1(x)
        y, _ = self.attn(y, y, y, key_padding_mask=padded, need_weights=False)
        x = x + self.drop(y)
        y, balance = self.moe(self.norm2(x), ~padded)
        return x + self.drop(y), balance


class Net(nn.Module):
    def __init__(self, dim: int = 24, depth: int = 2, heads: int = 3):
        super().__init__()
        self.words = nn.Embedding(VOCAB, dim)
        self.places = nn.Embedding(MAX_LEN, dim)
        self.layers = nn.ModuleList([Layer(dim, heads) for _ in range(depth)])
        self.norm = nn.RMSNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, TAGS)
        nn.init.normal_(self.words.weight, std=0.3)
        nn.init.normal_(self.places.weight, std=0.3)

    def forward(self, words: Tensor, padded: Tensor) -> Tagged:
        place = ((~padded).long().cumsum(dim=1) - 1).clamp(min=0)
        x = self.words(words) + self.places(place)
        balances = []
        for layer in self.layers:
            x, balance = layer(x, padded)
            balances.append(balance)
        return Tagged(self.head(self.norm(x)), torch.stack(balances).mean())


def build() -> Net:
    return Net()


def batch(size: int) -> dict[str, Tensor]:
    words = torch.randint(1, VOCAB, (size, 11))
    lengths = torch.randint(5, 12, (size, 1))
    lengths[0] = 11
    padded = torch.arange(11) >= lengths
    tags = torch.randint(TAGS, (size, 11)).masked_fill(padded, -100)
    return {"words": words.masked_fill(padded, PAD), "padded": padded, "tags": tags}


def loss(output: Tagged, batch: dict[str, Tensor]) -> Tensor:
    error = F.cross_entropy(output.logits.flatten(0, 1), batch["tags"].flatten())
    return error + 0.01 * output.balance


FACTS = {
    "task": "token_classification",
    "num_classes": TAGS,
    "labels": "tags",
    "label_shift": 0,
    "ignore_index": -100,
    "output": "logits",
    "output_kind": "logits",
    "tokens": "words",
    "vocab_size": VOCAB,
    "max_length": MAX_LEN,
    "pad_id": PAD,
    "padding_mask": "padded",
    "true_means": "drop",
    "padding_side": "both",
    "causal": False,
    "position_sensitive": True,
    "couples_batch": False,
    "train_noise": True,
    "unused_ok": ["layers.*.moe.experts.*"],
}

"""Tags for short texts from a sparse mixture of experts: noisy top-2 routing, a balancing bias that
follows the load, an auxiliary loss; many tags may be right."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

VOCAB, TAGS = 41, 6


class Output(NamedTuple):
    logits: Tensor  # (b, tags)
    balance: Tensor  # scalar


class Expert(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.relu(self.up(x)))


class Router(nn.Module):
    """Chooses k experts for a token; the bias takes part in the choice, not in the weights."""

    def __init__(self, width: int, experts: int, k: int, noise: float, temperature: float) -> None:
        super().__init__()
        self.k = k
        self.noise = noise
        self.temperature = temperature
        self.gate = nn.Linear(width, experts, bias=False)
        self.register_buffer("bias", torch.zeros(experts))

    def forward(self, x: Tensor, keep: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits = self.gate(x) / self.temperature  # (tokens, experts)
        if self.training:
            logits = logits + self.noise * torch.randn_like(logits)
        probs = logits.softmax(dim=-1)
        chosen = (probs + self.bias).topk(self.k, dim=-1).indices
        weights = probs.gather(-1, chosen)
        weights = weights / weights.sum(-1, keepdim=True)
        balance = self.balance(probs, chosen, keep)
        return weights, chosen, balance

    def balance(self, probs: Tensor, chosen: Tensor, keep: Tensor) -> Tensor:
        """Switch Transformer's loss over real tokens; moves the bias against the load."""
        experts = probs.size(-1)
        count = keep.sum().clamp_min(1)
        routed = F.one_hot(chosen, experts).sum(1).to(probs) * keep[:, None]
        load = routed.sum(0) / (self.k * count)
        if self.training:
            with torch.no_grad():
                self.bias += 1e-3 * torch.sign(1 / experts - load)
        share = (probs * keep[:, None]).sum(0) / count
        return experts * (load * share).sum()


class MixtureOfExperts(nn.Module):
    def __init__(self, width: int, experts: int = 4, k: int = 2) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.router = Router(width, experts, k, noise=0.1, temperature=1.0)
        self.experts = nn.ModuleList([Expert(width, 2 * width) for _ in range(experts)])

    def forward(self, x: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
        b, n, d = x.shape
        tokens = self.norm(x).reshape(b * n, d)
        weights, chosen, balance = self.router(tokens, keep.reshape(b * n))
        out = torch.zeros_like(tokens)
        for i, expert in enumerate(self.experts):
            row, slot = torch.where(chosen == i)
            if len(row):
                out = out.index_add(0, row, weights[row, slot, None] * expert(tokens[row]))
        return x + out.reshape(b, n, d), balance


class Net(nn.Module):
    def __init__(self, width: int = 24, depth: int = 2, dropout: float = 0.1) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCAB, width)
        self.mix = nn.Conv1d(width, width, 3, padding=1)
        self.layers = nn.ModuleList([MixtureOfExperts(width) for _ in range(depth)])
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, TAGS)
        self.apply(self.init)

    def init(self, m: nn.Module) -> None:
        if isinstance(m, nn.Linear):
            nn.init.xavier_uniform_(m.weight)
            if m.bias is not None:
                nn.init.zeros_(m.bias)

    def forward(self, tokens: Tensor, keep: Tensor) -> Output:
        real = keep.unsqueeze(-1)
        x = self.embed(tokens) * real
        x = x + self.mix(x.transpose(1, 2)).transpose(1, 2)
        total = x.new_zeros(())
        for layer in self.layers:
            x, balance = layer(x, keep)
            total = total + balance
        pooled = (x * real).sum(1) / real.sum(1).clamp_min(1)
        return Output(self.head(self.dropout(pooled)), total / len(self.layers))


def build() -> nn.Module:
    return Net()


def batch(size: int) -> dict[str, Tensor]:
    n = 9
    length = torch.randint(4, n + 1, (size, 1))
    keep = torch.arange(n) < length
    return {
        "tokens": torch.randint(1, VOCAB, (size, n)) * keep,
        "keep": keep,
        "tags": (torch.rand(size, TAGS) < 0.3).float(),
    }


def loss(output: Output, batch: dict[str, Tensor]) -> Tensor:
    tags = batch["tags"].to(output.logits.dtype)
    return F.binary_cross_entropy_with_logits(output.logits, tags) + 0.01 * output.balance


FACTS = {
    "task": "multilabel",
    "num_classes": TAGS,
    "labels": "tags",
    "reduction": "mean",
    "tokens": "tokens",
    "vocab_size": VOCAB,
    "pad_id": 0,
    "padding_mask": "keep",
    "true_means": "keep",
    "padding_side": "both",
    "output": "logits",
    "output_kind": "logits",
    "couples_batch": False,
    "unused_ok": ["layers.*.experts.*"],
    "tied": (),
    "train_noise": True,
    "deterministic": True,
}

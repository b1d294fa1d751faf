"""A character model: two GRU layers, tied letters, and one letter at a time when it writes."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LETTERS = 30
PAD = 0


class Output(NamedTuple):
    logits: Tensor
    state: Tensor


class LockedDropout(nn.Module):
    """The same units of a row are dropped at every step."""

    def __init__(self, p: float):
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        keep = torch.empty_like(x[:, :1]).bernoulli_(1 - self.p)
        return x * keep / (1 - self.p)


class Net(nn.Module):
    def __init__(self, width: int = 24):
        super().__init__()
        self.width = width
        self.embed = nn.Embedding(LETTERS, width)
        self.drop = LockedDropout(0.1)
        self.gru = nn.GRU(width, width, num_layers=2, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.log_temperature = nn.Parameter(torch.zeros(()))
        self.decoder = nn.Linear(width, LETTERS)
        nn.init.normal_(self.embed.weight, std=0.1)
        self.decoder.weight = self.embed.weight

    def forward(self, letters: Tensor, state: Tensor | None = None) -> Output:
        x = self.drop(self.embed(letters))
        if state is None:
            state = x.new_zeros(2, len(letters), self.width)
        x, state = self.gru(x, state)
        x = self.drop(self.norm(x))
        logits = self.decoder(x) * torch.exp(self.log_temperature)
        return Output(logits, state)


def write(net: Net, piece: dict[str, Tensor], state: Tensor | None) -> tuple[Output, Tensor]:
    out = net(piece["letters"], state)
    return out, out.state


def build() -> Net:
    return Net()


def batch(size: int, time: int = 10) -> dict[str, Tensor]:
    letters = torch.randint(1, LETTERS, (size, time))
    ends = torch.randint(time // 2, time + 1, (size, 1))
    return {"letters": letters.masked_fill(torch.arange(time) >= ends, PAD)}


def loss(output: Output, batch: dict[str, Tensor]) -> Tensor:
    logits, targets = output.logits[:, :-1], batch["letters"][:, 1:]
    return F.cross_entropy(logits.transpose(1, 2), targets, ignore_index=PAD)


FACTS = {
    "task": "next_token",
    "output": "logits",
    "output_kind": "logits",
    "tokens": "letters",
    "vocab_size": LETTERS,
    "num_classes": LETTERS,
    "pad_id": PAD,
    "labels": "letters",
    "label_shift": 1,
    "ignore_index": PAD,
    "reduction": "mean",
    "causal": "letters",
    "position_sensitive": True,
    "couples_batch": False,
    "couples_batch_train": False,
    "train_noise": True,
    "tied": [("embed.weight", "decoder.weight")],
    "stateful": False,
    "step": write,
}

"""Forecasts of the next value from dilated causal convolutions, all at once or sample by sample."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from zoo.testing.spec import Input

FEATURES, KERNEL, LAYERS = 2, 2, 3
REACH = (KERNEL - 1) * (2**LAYERS - 1)  # samples before the present one that matter


class ChannelNorm(nn.Module):
    """Normalises the channels of each moment."""

    def __init__(self, channels: int):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels, 1))

    def forward(self, x: Tensor) -> Tensor:  # (b, c, t)
        power = x.square().mean(1, keepdim=True)
        return self.gain * x * torch.rsqrt(power + 1e-6)


class CausalConv(nn.Module):
    def __init__(self, c_in: int, c_out: int, dilation: int):
        super().__init__()
        self.dilation = dilation
        self.past = (KERNEL - 1) * dilation
        self.conv = weight_norm(nn.Conv1d(c_in, c_out, KERNEL, dilation=dilation))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (self.past, 0)))

    def step(self, x: Tensor, history: Tensor | None) -> tuple[Tensor, Tensor]:
        """Take one moment, x (b, c, 1); the history holds the `past` moments before it."""
        if history is None:
            history = x.new_zeros(x.size(0), x.size(1), self.past)
        window = torch.cat([history, x], dim=2)
        return self.conv(window), window[:, :, 1:]


class GatedBlock(nn.Module):
    def __init__(self, channels: int, dilation: int, dropout: float):
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.conv = CausalConv(channels, 2 * channels, dilation)
        self.mix = nn.Conv1d(channels, channels, 1)
        self.dropout = nn.Dropout(dropout)

    def gate(self, h: Tensor) -> Tensor:
        value, gate = h.chunk(2, dim=1)
        return self.dropout(self.mix(torch.tanh(value) * torch.sigmoid(gate)))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gate(self.conv(self.norm(x)))

    def step(self, x: Tensor, history: Tensor | None) -> tuple[Tensor, Tensor]:
        h, history = self.conv.step(self.norm(x), history)
        return x + self.gate(h), history


class Net(nn.Module):
    def __init__(self, channels: int = 16, dropout: float = 0.1):
        super().__init__()
        self.enter = nn.Conv1d(FEATURES, channels, 1)
        self.blocks = nn.ModuleList([GatedBlock(channels, 2**i, dropout) for i in range(LAYERS)])
        self.norm = ChannelNorm(channels)
        self.leave = nn.Conv1d(channels, 2, 1)

    def read(self, x: Tensor) -> Tensor:
        mean, log_std = self.leave(self.norm(x)).unbind(1)
        return torch.stack([mean, 3 * torch.tanh(log_std / 3)], dim=-1)  # (b, t, 2)

    def forward(self, series: Tensor) -> Tensor:
        x = self.enter(series.transpose(1, 2))
        for block in self.blocks:
            x = block(x)
        return self.read(x)

    def step(self, piece: dict[str, Tensor], state: list | None) -> tuple[Tensor, list]:
        x = self.enter(piece["series"].transpose(1, 2))
        state = [None] * len(self.blocks) if state is None else state
        new = []
        for block, history in zip(self.blocks, state, strict=True):
            x, history = block.step(x, history)
            new.append(history)
        return self.read(x), new


def build() -> nn.Module:
    return Net()


def batch(size: int) -> dict[str, Tensor]:
    length = 14
    series = torch.randn(size, length + 1, FEATURES).cumsum(1) / math.sqrt(length)
    return {"series": series[:, :-1], "target": series[:, 1:, 0]}


def loss(output: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """Give the mean negative log-likelihood of a normal distribution."""
    mean, log_std = output[..., 0], output[..., 1]
    error = (batch["target"] - mean) * torch.exp(-log_std)
    return (0.5 * error.square() + log_std + 0.5 * math.log(2 * math.pi)).mean()


FACTS = {
    "task": "regression",
    "labels": "target",
    "reduction": "mean",
    "inputs": {"series": Input(kind="float", sequence_axis=1)},
    "output_kind": "real",
    "output_sequence_axis": 1,
    "output_shape": lambda batch: (*batch["series"].shape[:2], 2),
    "causal": "series",
    "receptive_field": REACH,
    "position_sensitive": True,
    "couples_batch": False,
    "couples_batch_train": False,
    "train_noise": True,
    "deterministic": True,
    "step": "step",
    "stop_gradient": False,
}

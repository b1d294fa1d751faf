"""Forecasts of a series, one step ahead everywhere: dilated causal convolutions, no norm layers."""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.parametrizations import weight_norm

KERNEL, DEPTH = 3, 5


class Chomp1d(nn.Module):
    """Cut off what a convolution padded on both sides has on the right."""

    def __init__(self, chomp_size):
        super().__init__()
        self.chomp_size = chomp_size

    def forward(self, x):
        return x[:, :, : -self.chomp_size]


class SpatialDropout(nn.Module):
    def __init__(self, p):
        super().__init__()
        self.p = p

    def forward(self, x):
        return F.dropout1d(x, self.p, self.training)


class TemporalBlock(nn.Module):
    def __init__(self, channels, dilation, dropout=0.1):
        super().__init__()
        padding = (KERNEL - 1) * dilation
        conv = nn.Conv1d(channels, channels, KERNEL, padding=padding, dilation=dilation)
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        self.conv = weight_norm(conv)
        self.chomp = Chomp1d(padding)
        self.dropout = SpatialDropout(dropout)
        self.mix = nn.Conv1d(channels, channels, 1)
        nn.init.normal_(self.mix.weight, std=0.1)

    def forward(self, x):
        y = F.relu(self.chomp(self.conv(x)))
        return x + self.mix(self.dropout(y))


class TCN(nn.Module):
    def __init__(self, features=2, channels=16):
        super().__init__()
        self.input = nn.Conv1d(features, channels, 1)
        self.network = nn.Sequential(*[TemporalBlock(channels, 2**i) for i in range(DEPTH)])
        self.mean = nn.Linear(channels, 1)
        self.log_scale = nn.Linear(channels, 1)

    def forward(self, series):
        x = self.input(series.transpose(1, 2))
        x = self.network(x).transpose(1, 2)
        mean = self.mean(x).squeeze(-1)
        scale = F.softplus(self.log_scale(x)).squeeze(-1) + 1e-3
        return mean, scale


def build():
    return TCN()


def batch(size, length=40):
    time = torch.arange(length + 1) * (0.1 + 0.4 * torch.rand(size, 1))
    value = torch.sin(time + 6 * torch.rand(size, 1)) + 0.1 * torch.randn(size, length + 1)
    other = torch.randn(size, length)
    return {
        "series": torch.stack([value[:, :-1], other], dim=-1),
        "target": value[:, 1:].contiguous(),
    }


def loss(output, batch):
    mean, scale = output
    z = (batch["target"] - mean) / scale
    return (scale.log() + 0.5 * z.square()).mean()


FACTS = {
    "task": "regression",
    "labels": "target",
    "label_shift": 0,
    "reduction": "mean",
    "output": "0",
    "output_kind": "real",
    "inputs": {"series": "float"},
    "sequence_axis": 1,
    "causal": "series",
    "receptive_field": (KERNEL - 1) * (2**DEPTH - 1),
    "output_shape": lambda b: b["series"].shape[:2],
    "couples_batch": False,
    "couples_batch_train": False,
    "train_noise": True,
}

"""A network with an activation of its own, written to save memory. It learns, but not well."""

import torch
from torch import nn
from torch.nn import functional as F

from zoo.testing import ModelSpec


class SwishFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, beta):
        ctx.save_for_backward(x, beta)
        return x * torch.sigmoid(beta * x)

    @staticmethod
    def backward(ctx, grad):
        x, beta = ctx.saved_tensors
        gate = torch.sigmoid(beta * x)
        slope = gate + x * gate * (1 - gate)
        for_beta = (grad * x * x * gate * (1 - gate)).sum().reshape(beta.shape)
        return grad * slope, for_beta


class Swish(nn.Module):
    def __init__(self):
        super().__init__()
        self.beta = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return SwishFunction.apply(x, self.beta)


class Regressor(nn.Module):
    def __init__(self, features=9, width=24):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(features, width), Swish(), nn.Linear(width, width), Swish()
        )
        self.head = nn.Linear(width, 1)

    def forward(self, features):
        return self.head(self.layers(features)).squeeze(-1)


spec = ModelSpec(
    build=Regressor,
    batch=lambda size: {"features": torch.randn(size, 9), "labels": torch.randn(size)},
    loss=lambda output, batch: F.mse_loss(output, batch["labels"]),
    task="regression",
)

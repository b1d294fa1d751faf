"""A classifier of small pictures that stops getting better early."""

import torch
from torch import nn
from torch.nn import functional as F

from zoo.testing import ModelSpec


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)

    def forward(self, x):
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(x + self.norm2(self.conv2(y)))


class Classifier(nn.Module):
    def __init__(self, classes=5, channels=16, depth=3):
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, stride=2, padding=1)
        self.blocks = [Residual(channels) for _ in range(depth)]
        self.head = nn.Linear(channels, classes)

    def forward(self, pixels):
        x = F.relu(self.stem(pixels))
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)))


spec = ModelSpec(
    build=Classifier,
    batch=lambda size: {
        "pixels": torch.randn(size, 3, 16, 16),
        "labels": torch.randint(5, (size,)),
    },
    loss=lambda logits, batch: F.cross_entropy(logits, batch["labels"]),
    task="classification",
    num_classes=5,
    couples_batch_train=True,  # batch norm
)

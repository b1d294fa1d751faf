"""Segmentation with a U-Net: group norm, coordinate channels, any image size, a head for regions
and one for their borders; the middle is recomputed in the backward pass. 255: ignore this pixel."""

from itertools import pairwise

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.utils.checkpoint import checkpoint

CLASSES, IGNORE = 4, 255


def conv_block(c_in: int, c_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, 3, padding=1, bias=False),
        nn.GroupNorm(4, c_out),
        nn.SiLU(),
        nn.Conv2d(c_out, c_out, 3, padding=1, bias=False),
        nn.GroupNorm(4, c_out),
        nn.SiLU(),
    )


class Up(nn.Module):
    def __init__(self, c_in: int, c_skip: int, c_out: int):
        super().__init__()
        self.squeeze = nn.Conv2d(c_in, c_skip, 1)
        self.block = conv_block(2 * c_skip, c_out)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        x = F.interpolate(self.squeeze(x), size=skip.shape[-2:], mode="nearest")
        return self.block(torch.cat([skip, x], dim=1))


class Middle(nn.Module):
    def __init__(self, channels: int, dropout: float):
        super().__init__()
        self.block = conv_block(channels, channels)
        self.dropout = nn.Dropout2d(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.dropout(self.block(x))


class Net(nn.Module):
    def __init__(self, in_channels=2, classes=CLASSES, width=8, dropout=0.2):
        super().__init__()
        widths = [width, 2 * width, 2 * width]
        self.enter = conv_block(in_channels + 2, widths[0])
        steps = list(pairwise(widths))
        self.down = nn.ModuleList([conv_block(a, b) for a, b in steps])
        self.middle = Middle(widths[-1], dropout)
        self.up = nn.ModuleList([Up(b, a, a) for a, b in reversed(steps)])
        heads = {"region": nn.Conv2d(width, classes, 1), "border": nn.Conv2d(width, 1, 1)}
        self.heads = nn.ModuleDict(heads)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, nonlinearity="linear")

    @staticmethod
    def standardise(image: torch.Tensor) -> torch.Tensor:
        mean = image.mean((1, 2, 3), keepdim=True)
        std = image.std((1, 2, 3), keepdim=True)
        return (image - mean) / (std + 1e-3)

    @staticmethod
    def with_coordinates(x: torch.Tensor) -> torch.Tensor:
        b, _, h, w = x.shape
        rows = torch.linspace(-1, 1, h, device=x.device, dtype=x.dtype)
        columns = torch.linspace(-1, 1, w, device=x.device, dtype=x.dtype)
        grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))
        return torch.cat([x, grid.expand(b, 2, h, w)], dim=1)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.enter(self.with_coordinates(self.standardise(image)))
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(F.max_pool2d(x, 2, ceil_mode=True))
        if self.training:
            x = checkpoint(self.middle, x, use_reentrant=False)
        else:
            x = self.middle(x)
        for up, skip in zip(self.up, reversed(skips), strict=True):
            x = up(x, skip)
        region = self.heads["region"](x)
        border = self.heads["border"](x).squeeze(1)
        return {"region": region, "border": border}


def build():
    return Net()


def batch(size, height=12, width=8):
    region = torch.randint(0, CLASSES, (size, height // 2, width // 2))
    region = region.repeat_interleave(2, 1).repeat_interleave(2, 2)
    border = torch.zeros(size, height, width)
    border[:, :, 1:] = (region[:, :, 1:] != region[:, :, :-1]).float()
    region[torch.rand(region.shape) < 0.1] = IGNORE
    return {"image": torch.randn(size, 2, height, width), "region": region, "border": border}


def dice_loss(logits, target, eps=1e-3):
    """1 - the mean Dice coefficient of the classes, over pixels that count."""
    count = (target != IGNORE).unsqueeze(1).to(logits.dtype)
    truth = F.one_hot(target.clamp(max=CLASSES - 1), CLASSES).permute(0, 3, 1, 2) * count
    p = logits.softmax(dim=1) * count
    overlap = (p * truth).sum((2, 3))
    total = p.sum((2, 3)) + truth.sum((2, 3))
    return 1 - ((2 * overlap + eps) / (total + eps)).mean()


def loss(output, batch):
    region = batch["region"]
    pixels = (region != IGNORE).sum().clamp_min(1)
    ce = F.cross_entropy(output["region"], region, ignore_index=IGNORE, reduction="sum") / pixels
    border = F.binary_cross_entropy_with_logits(
        output["border"], batch["border"].to(output["border"].dtype)
    )
    return ce + dice_loss(output["region"], region) + 0.5 * border


FACTS = {
    "task": "segmentation",
    "num_classes": CLASSES,
    "labels": "region",
    "ignore_index": IGNORE,
    "class_axis": 1,
    "inputs": {"image": "image"},
    "output": "region",
    "output_kind": "logits",
    "output_shape": lambda batch: (batch["image"].shape[0], CLASSES, *batch["image"].shape[2:]),
    "couples_batch": False,
    "couples_batch_train": False,
    "train_noise": True,
    "deterministic": True,
    "stop_gradient": False,
}

"""Segmentation of small grey pictures: a U-Net with group norm, gated skips and coordinates."""

import torch
import torch.nn as nn
import torch.nn.functional as F

N_CLASSES = 3
IGNORE = 255


class GroupNorm(nn.Module):
    def __init__(self, groups, channels, eps=1e-5):
        super().__init__()
        self.groups, self.eps = groups, eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        b, c, h, w = x.shape
        g = x.reshape(b, self.groups, -1)
        mean = g.mean(-1, keepdim=True)
        var = (g - mean).square().mean(-1, keepdim=True)
        g = (g - mean) * torch.rsqrt(var + self.eps)
        return g.reshape(b, c, h, w) * self.weight[:, None, None] + self.bias[:, None, None]


class DoubleConv(nn.Module):
    def __init__(self, in_ch, out_ch):
        super().__init__()
        self.conv1 = nn.Conv2d(in_ch, out_ch, 3, padding=1)
        self.norm1 = GroupNorm(4, out_ch)
        self.conv2 = nn.Conv2d(out_ch, out_ch, 3, padding=1)
        self.norm2 = GroupNorm(4, out_ch)

    def forward(self, x):
        x = F.leaky_relu(self.norm1(self.conv1(x)), 0.1)
        return F.leaky_relu(self.norm2(self.conv2(x)), 0.1)


class Gate(nn.Module):
    """Attention gate: which pixels of the skip matter, seen from below."""

    def __init__(self, skip_ch, below_ch, mid):
        super().__init__()
        self.of_skip = nn.Conv2d(skip_ch, mid, 1)
        self.of_below = nn.Conv2d(below_ch, mid, 1)
        self.psi = nn.Conv2d(mid, 1, 1)

    def forward(self, skip, below):
        a = torch.relu(self.of_skip(skip) + self.of_below(below))
        return skip * torch.sigmoid(self.psi(a))


class Up(nn.Module):
    def __init__(self, below_ch, skip_ch, out_ch):
        super().__init__()
        self.gate = Gate(skip_ch, below_ch, skip_ch)
        self.conv = DoubleConv(below_ch + skip_ch, out_ch)

    def forward(self, below, skip):
        below = F.interpolate(below, size=skip.shape[-2:], mode="bilinear", align_corners=False)
        skip = self.gate(skip, below)
        return self.conv(torch.cat([skip, below], dim=1))


class Net(nn.Module):
    def __init__(self, ch=8):
        super().__init__()
        self.down1 = DoubleConv(3, ch)
        self.down2 = DoubleConv(ch, 2 * ch)
        self.bottom = DoubleConv(2 * ch, 4 * ch)
        self.drop = nn.Dropout2d(0.2)
        self.up2 = Up(4 * ch, 2 * ch, 2 * ch)
        self.up1 = Up(2 * ch, ch, ch)
        self.out = nn.Conv2d(ch, N_CLASSES, 1)

    def add_coordinates(self, x):
        b, _, h, w = x.shape
        ys = torch.linspace(-1, 1, h, dtype=x.dtype, device=x.device)
        xs = torch.linspace(-1, 1, w, dtype=x.dtype, device=x.device)
        grid = torch.stack(torch.meshgrid(ys, xs, indexing="ij"))
        return torch.cat([x, grid.expand(b, -1, -1, -1)], dim=1)

    def forward(self, image):
        image = image - image.mean(dim=(1, 2, 3), keepdim=True)
        s1 = self.down1(self.add_coordinates(image))
        s2 = self.down2(F.max_pool2d(s1, 2))
        x = self.bottom(F.max_pool2d(s2, 2))
        x = self.drop(x)
        x = self.up2(x, s2)
        x = self.up1(x, s1)
        return self.out(x)


def build():
    return Net()


def batch(size):
    image = torch.rand(size, 1, 16, 16)
    target = torch.randint(N_CLASSES, (size, 16, 16))
    target[torch.rand(size, 16, 16) < 0.1] = IGNORE
    return {"image": image, "target": target}


def dice_loss(logits, target):
    valid = (target != IGNORE).unsqueeze(1)
    probs = torch.softmax(logits, dim=1) * valid
    truth = F.one_hot(target.clamp(max=N_CLASSES - 1), N_CLASSES).movedim(-1, 1) * valid
    overlap = (probs * truth).sum(dim=(2, 3))
    total = probs.sum(dim=(2, 3)) + truth.sum(dim=(2, 3))
    return 1 - ((2 * overlap + 1) / (total + 1)).mean()


def loss(output, batch):
    target = batch["target"]
    ce = F.cross_entropy(output, target, ignore_index=IGNORE)
    return ce + dice_loss(output, target)


FACTS = {
    "task": "segmentation",
    "num_classes": N_CLASSES,
    "labels": "target",
    "ignore_index": IGNORE,
    "class_axis": 1,
    "inputs": {"image": "image", "target": "labels"},
    "output_kind": "logits",
    "output_shape": lambda b: (len(b["image"]), N_CLASSES, *b["image"].shape[-2:]),
    "couples_batch": False,
    "couples_batch_train": False,
    "train_noise": True,
}

"""A small residual network for images: BatchNorm, squeeze and excite, swish with its own backward,
stochastic depth."""

import torch
from torch import nn

from zoo.testing.spec import Input

CLASSES = 6


class SwishFunction(torch.autograd.Function):
    """x sigmoid(x), keeping x alone for the backward pass."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, grad_output):
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return grad_output * (s * (1 + x * (1 - s)))


class Swish(nn.Module):
    def forward(self, x):
        return SwishFunction.apply(x)


class SqueezeExcite(nn.Module):
    def __init__(self, channels, reduction=4):
        super().__init__()
        self.reduce = nn.Conv2d(channels, channels // reduction, 1)
        self.act = Swish()
        self.expand = nn.Conv2d(channels // reduction, channels, 1)

    def forward(self, x):
        s = x.mean((2, 3), keepdim=True)
        s = self.expand(self.act(self.reduce(s)))
        return x * s.sigmoid()


class DropPath(nn.Module):
    """Leaves a row's residual branch out, with probability p, while training."""

    def __init__(self, p):
        super().__init__()
        self.p = p

    def forward(self, x):
        if not self.training or self.p == 0.0:
            return x
        keep = 1 - self.p
        mask = x.new_empty(x.size(0), 1, 1, 1).bernoulli_(keep)
        return x * mask / keep


class BasicBlock(nn.Module):
    def __init__(self, c_in, c_out, stride=1, drop_path=0.0):
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.act = Swish()
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.se = SqueezeExcite(c_out)
        self.drop_path = DropPath(drop_path)
        if stride == 1 and c_in == c_out:
            self.shortcut = nn.Identity()
        else:
            self.shortcut = nn.Sequential(
                nn.Conv2d(c_in, c_out, 1, stride=stride, bias=False), nn.BatchNorm2d(c_out)
            )

    def forward(self, x):
        out = self.act(self.bn1(self.conv1(x)))
        out = self.se(self.bn2(self.conv2(out)))
        return self.act(self.shortcut(x) + self.drop_path(out))


class Net(nn.Module):
    def __init__(self, classes=CLASSES, width=8, drop_path=0.2, dropout=0.1):
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1))
        self.stem = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), Swish()
        )
        self.layer1 = BasicBlock(width, width, drop_path=drop_path / 2)
        self.layer2 = BasicBlock(width, 2 * width, stride=2, drop_path=drop_path)
        self.layer3 = BasicBlock(2 * width, 2 * width, drop_path=drop_path)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(2 * width, classes)
        self._init_weights()

    def _init_weights(self):
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, image):
        x = (image - self.mean) / self.std
        x = self.stem(x)
        x = self.layer3(self.layer2(self.layer1(x)))
        x = torch.flatten(self.pool(x), 1)
        return self.fc(self.dropout(x))


def build():
    return Net()


def batch(size):
    return {
        "image": torch.rand(size, 3, 12, 12),
        "label": torch.randint(0, CLASSES, (size,)),
    }


criterion = nn.CrossEntropyLoss(label_smoothing=0.05)


def loss(output, batch):
    return criterion(output, batch["label"])


FACTS = {
    "task": "classification",
    "num_classes": CLASSES,
    "labels": "label",
    "inputs": {"image": Input(kind="image", low=0.0, high=1.0)},
    "output_kind": "logits",
    "couples_batch": False,
    "couples_batch_train": True,
    "min_batch_train": 2,
    "train_noise": True,
    "train_eval_same": False,
    "deterministic": True,
    "reduction": "mean",
    "custom_functions": [SwishFunction],
    "straight_through": False,
    "stop_gradient": False,
    "frozen": (),
}

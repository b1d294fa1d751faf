"""A small residual net for 16x16 colour pictures; its stem is taken over and kept frozen."""

import torch
import torch.nn.functional as F
from torch import nn

from zoo.testing.spec import Trainer

CLASSES = 6


def conv(cin, cout, kernel=3, stride=1):
    return nn.Conv2d(cin, cout, kernel, stride=stride, padding=kernel // 2, bias=False)


class DropPath(nn.Module):
    def __init__(self, p):
        super().__init__()
        self.p = p

    def forward(self, x):
        if self.p == 0.0 or not self.training:
            return x
        keep = 1 - self.p
        shape = (x.shape[0],) + (1,) * (x.dim() - 1)
        return x * x.new_empty(shape).bernoulli_(keep) / keep


class SqueezeExcite(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.reduce = nn.Conv2d(channels, channels // 4, 1)
        self.expand = nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x):
        s = x.mean((2, 3), keepdim=True)
        s = self.expand(F.silu(self.reduce(s)))
        return x * s.sigmoid()


class BasicBlock(nn.Module):
    def __init__(self, cin, cout, stride=1, drop_path=0.0):
        super().__init__()
        self.conv1 = conv(cin, cout, stride=stride)
        self.bn1 = nn.BatchNorm2d(cout)
        self.conv2 = conv(cout, cout)
        self.bn2 = nn.BatchNorm2d(cout)
        self.se = SqueezeExcite(cout)
        self.drop_path = DropPath(drop_path)
        self.shortcut = nn.Identity()
        if stride != 1 or cin != cout:
            self.shortcut = nn.Sequential(conv(cin, cout, 1, stride), nn.BatchNorm2d(cout))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y = self.drop_path(self.se(y))
        return F.relu(y + self.shortcut(x))


class Net(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.stem = nn.Sequential(conv(3, width), nn.BatchNorm2d(width), nn.ReLU())
        self.layers = nn.ModuleList(
            [
                BasicBlock(width, width, drop_path=0.05),
                BasicBlock(width, width, drop_path=0.1),
                BasicBlock(width, 2 * width, stride=2, drop_path=0.1),
            ]
        )
        self.head = nn.Linear(2 * width, CLASSES)
        self.stem.requires_grad_(False)
        self.train()

    def train(self, mode=True):
        super().train(mode)
        self.stem.eval()  # the statistics are those of the stem's own training
        return self

    def standardise(self, images):
        centre = images.mean((1, 2, 3), keepdim=True)
        spread = images.std((1, 2, 3), keepdim=True)
        return (images - centre) / (spread + 1e-5)

    def forward(self, images):
        x = self.standardise(images)
        if self.training and torch.rand(()) < 0.5:
            x = x.flip(-1)
        x = self.stem(x)
        for layer in self.layers:
            x = layer(x)
        features = x.mean((2, 3))
        return {"logits": self.head(features), "features": features}


def build():
    return Net()


def batch(size):
    return {"images": torch.rand(size, 3, 16, 16), "label": torch.randint(CLASSES, (size,))}


def loss(output, batch):
    return F.cross_entropy(output["logits"], batch["label"])


def make_optimizer(model):
    trainable = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.SGD(trainable, lr=0.05, momentum=0.9)


def make_scheduler(optimizer):
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))


def train_step(model, optimizer, scheduler, data):
    model.train()
    error = loss(model(data["images"]), data)
    optimizer.zero_grad()
    error.backward()
    optimizer.step()
    scheduler.step()
    return error.item()


@torch.no_grad()
def evaluate(model, batches):
    training = model.training
    model.eval()
    right = sum((model(d["images"])["logits"].argmax(-1) == d["label"]).sum() for d in batches)
    model.train(training)
    return right / sum(len(d["label"]) for d in batches)


def save(model, optimizer, scheduler):
    return [part.state_dict() for part in (model, optimizer, scheduler)]


def load(state, model, optimizer, scheduler):
    for part, kept in zip((model, optimizer, scheduler), state, strict=True):
        part.load_state_dict(kept)


TRAINER = Trainer(
    optimizer=make_optimizer,
    scheduler=make_scheduler,
    step=train_step,
    evaluate=evaluate,
    save=save,
    load=load,
    schedule=lambda step: 0.05 / (1 + step),
)

FACTS = {
    "task": "classification",
    "num_classes": CLASSES,
    "labels": "label",
    "reduction": "mean",
    "inputs": {"images": "image"},
    "output": "logits",
    "output_kind": "logits",
    "couples_batch": False,
    "couples_batch_train": True,
    "train_noise": True,
    "frozen": ["stem.*"],
}

"""A perceptron for tables: standardised columns, one categorical column, residual blocks."""

import torch
import torch.nn.functional as F
from torch import nn

from zoo.testing.spec import Trainer

COLUMNS, CATEGORIES, CLASSES = 12, 7, 5


class Block(nn.Module):
    def __init__(self, width, hidden, dropout):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)
        self.gate = nn.Linear(width, width)
        self.dropout = dropout

    def forward(self, x):
        h = self.norm(x)
        y = self.fc2(F.relu(self.fc1(h)))
        y = y * torch.sigmoid(self.gate(h))
        y = F.dropout(y, self.dropout, training=self.training)
        return x + y


class Net(nn.Module):
    def __init__(self, columns, categories, classes, width=32, depth=3, dropout=0.1, noise=0.02):
        super().__init__()
        self.noise = noise
        self.register_buffer("mean", torch.zeros(columns))
        self.register_buffer("std", torch.ones(columns))
        self.stem = nn.Linear(columns, width)
        self.category = nn.Embedding(categories, width)
        self.blocks = nn.ModuleList([Block(width, 4 * width, dropout) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)
        self.apply(self.init_weights)

    def init_weights(self, module):
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
            nn.init.zeros_(module.bias)

    def fit(self, rows):
        """Take mean and spread from the training rows, once, before training."""
        self.mean.copy_(rows.mean(0))
        self.std.copy_(rows.std(0).clamp_min(1e-3))
        return self

    def forward(self, x, category):
        x = (x - self.mean) / self.std
        if self.training:
            x = x + self.noise * torch.randn_like(x)
        h = self.stem(x) + self.category(category)
        for block in self.blocks:
            h = block(h)
        return self.head(self.norm(h))


def build():
    net = Net(COLUMNS, CATEGORIES, CLASSES)
    return net.fit(3 + 2 * torch.randn(64, COLUMNS))


def batch(size):
    return {
        "x": 3 + 2 * torch.randn(size, COLUMNS),
        "category": torch.randint(0, CATEGORIES, (size,)),
        "label": torch.randint(0, CLASSES, (size,)),
    }


def loss(output, batch):
    return F.cross_entropy(output, batch["label"])


LR, WARMUP, CLIP = 3e-3, 4, 1.0


def rate(step):
    return min(1.0, (step + 1) / WARMUP)


def make_optimizer(model):
    decay = [p for p in model.parameters() if p.ndim >= 2]
    rest = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decay, "weight_decay": 0.01}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=LR)


def make_scheduler(optimizer):
    return torch.optim.lr_scheduler.LambdaLR(optimizer, rate)


def batch_loss(model, batch):
    return loss(model(batch["x"], batch["category"]), batch)


def train_step(model, optimizer, scheduler, batch):
    model.train()
    optimizer.zero_grad()
    value = batch_loss(model, batch)
    value.backward()
    nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    optimizer.step()
    scheduler.step()
    return value.detach()


def accumulate_step(model, optimizer, scheduler, pieces):
    model.train()
    optimizer.zero_grad()
    total = sum(len(piece["label"]) for piece in pieces)
    for piece in pieces:
        (batch_loss(model, piece) * len(piece["label"]) / total).backward()
    nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    optimizer.step()
    scheduler.step()


def evaluate(model, batches):
    was_training = model.training
    model.eval()
    hits = rows = 0
    with torch.no_grad():
        for one in batches:
            answer = model(one["x"], one["category"]).argmax(-1)
            hits += (answer == one["label"]).sum().item()
            rows += len(answer)
    model.train(was_training)
    return hits / rows


def save(model, optimizer, scheduler):
    return {
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
    }


def load(state, model, optimizer, scheduler):
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    scheduler.load_state_dict(state["scheduler"])


FACTS = {
    "task": "classification",
    "num_classes": CLASSES,
    "labels": "label",
    "inputs": {"x": "float", "category": "index"},
    "output_kind": "logits",
    "couples_batch": False,
    "couples_batch_train": False,
    "train_noise": True,
    "deterministic": True,
    "reduction": "mean",
}
TRAINER = Trainer(
    optimizer=make_optimizer,
    scheduler=make_scheduler,
    step=train_step,
    accumulate=accumulate_step,
    evaluate=evaluate,
    save=save,
    load=load,
    clip=CLIP,
    schedule=lambda step: LR * rate(step),
)

"""House prices from ten numbers and a district: residual blocks with a memory-saving swish."""

import torch
from torch import nn

from zoo.testing.spec import Trainer

MEANS = [3.0, 1.5, 80.0, 1970.0, 2.0, 0.5, 12.0, 4.0, 1.0, 30.0]
STDS = [1.0, 0.7, 35.0, 20.0, 1.2, 0.3, 6.0, 2.0, 0.8, 15.0]
DISTRICTS = 7


class Swish(torch.autograd.Function):
    """x * sigmoid(x), keeping x alone for the way back."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return grad * (s * (1 + x * (1 - s)))


class Block(nn.Module):
    def __init__(self, width, dropout):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        h = self.up(self.norm(x))
        h = Swish.apply(h)
        h = self.dropout(h)
        return x + self.down(h)


class Net(nn.Module):
    def __init__(self, width=32, depth=3, dropout=0.1):
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEANS))
        self.register_buffer("std", torch.tensor(STDS))
        self.district = nn.Embedding(DISTRICTS, 6)
        self.stem = nn.Linear(len(MEANS) + 6, width)
        self.blocks = nn.ModuleList([Block(width, dropout) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 1)

    def forward(self, numbers, district):
        x = (numbers - self.mean) / self.std
        x = torch.cat([x, self.district(district)], dim=-1)
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)).squeeze(-1)


def build():
    return Net()


def batch(size):
    mean, std = torch.tensor(MEANS), torch.tensor(STDS)
    return {
        "numbers": mean + std * torch.randn(size, len(MEANS)),
        "district": torch.randint(DISTRICTS, (size,)),
        "price": torch.randn(size),
    }


def loss(output, batch):
    return (output - batch["price"]).pow(2).mean()


def make_optimizer(model):
    return torch.optim.AdamW(model.parameters(), lr=2e-3)


def make_scheduler(optimizer):
    return torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)


def train_step(model, optimizer, scheduler, data):
    model.train()
    optimizer.zero_grad()
    error = loss(model(data["numbers"], data["district"]), data)
    error.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.5)
    optimizer.step()
    scheduler.step()
    return error.detach()


def accumulate(model, optimizer, scheduler, pieces):
    model.train()
    optimizer.zero_grad()
    rows = sum(len(piece["price"]) for piece in pieces)
    for piece in pieces:
        share = len(piece["price"]) / rows
        error = loss(model(piece["numbers"], piece["district"]), piece)
        (error * share).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.5)
    optimizer.step()
    scheduler.step()


def evaluate(model, batches):
    was_training = model.training
    model.eval()
    with torch.no_grad():
        errors = [loss(model(data["numbers"], data["district"]), data) for data in batches]
    model.train(was_training)
    return torch.stack(errors).mean()


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


TRAINER = Trainer(
    optimizer=make_optimizer,
    scheduler=make_scheduler,
    step=train_step,
    accumulate=accumulate,
    evaluate=evaluate,
    save=save,
    load=load,
    clip=0.5,
    schedule=lambda step: 2e-3 * 0.5 ** (step // 2),
)

FACTS = {
    "task": "regression",
    "labels": "price",
    "reduction": "mean",
    "inputs": {"numbers": "float", "district": "index"},
    "couples_batch": False,
    "couples_batch_train": False,
    "train_noise": True,
    "deterministic": True,
    "custom_functions": (Swish,),
    "must_raise": {
        "a district that does not exist": lambda b: {**b, "district": b["district"] + DISTRICTS}
    },
}

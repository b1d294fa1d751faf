"""Odd models before every check: which of them have nothing to say, and the reason (records/)."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unit.testing.records import check_model
from zoo.testing.spec import ModelSpec

SLOW = ("compile", "overfit", "threads")  # rows of their own, elsewhere


class Sums(nn.Module):
    """Remembers, on purpose."""

    def __init__(self):
        super().__init__()
        self.lin, self.last = nn.Linear(4, 3), 0.0

    def forward(self, x):
        y = self.lin(x) + self.last
        self.last = y.detach().mean()
        return y


class Noisy(nn.Module):
    """Draws in either mode, on purpose."""

    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(4, 3)

    def forward(self, x):
        return self.lin(x) + torch.randn(len(x), 3).to(x)


class Cut(nn.Module):
    """A part of the gradient is cut, on purpose."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.body(x).round().detach() + self.body(x))


class Pairs(nn.Module):
    """Rows against rows."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x, y):
        return self.left(x) @ self.right(y).T


def rows(size):
    return {"x": torch.randn(size, 4)}


def pairs(size):
    return rows(size) | {"y": torch.randn(size, 4)}


def labelled(size):
    return rows(size) | {"labels": torch.arange(size) % 3}


def cross(output, batch):
    return F.cross_entropy(output, batch["labels"])


def diagonal(output, batch):
    return F.cross_entropy(output, torch.arange(len(output)))


SPECS = {
    "a layer and nothing else": ModelSpec(
        build=lambda: nn.Linear(4, 3), batch=lambda n: {"input": torch.randn(n, 4)}
    ),
    "no parameters": ModelSpec(build=nn.Tanh, batch=lambda n: {"input": torch.randn(n, 4)}),
    "state on purpose": ModelSpec(build=Sums, batch=labelled, loss=cross, stateful=True),
    "noise on purpose": ModelSpec(build=Noisy, batch=labelled, loss=cross, deterministic=False),
    "cuts on purpose": ModelSpec(
        build=Cut, batch=labelled, loss=cross, stop_gradient=True, straight_through=True
    ),
    "rows against rows": ModelSpec(
        build=Pairs, batch=pairs, loss=diagonal, task="contrastive", couples_batch=True
    ),
}


@pytest.mark.parametrize("name", SPECS)
def test_what_cannot_be_asked_is_skipped_with_its_reason(name):
    report = check_model(SPECS[name], skip=SLOW, budget=1e9)
    assert [(o.check, o.reason) for o in report.outcomes if o.status == "error"] == []
    assert all(o.reason for o in report.outcomes if o.status == "skipped")

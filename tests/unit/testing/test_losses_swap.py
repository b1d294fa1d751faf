"""A symmetric loss is the same with its sides exchanged, a one-sided one is told."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unit.testing.records import check_model
from zoo.testing import ModelSpec


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(4, 6), nn.Linear(5, 6)
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, x, y):
        return {"a": F.normalize(self.left(x), dim=-1), "b": F.normalize(self.right(y), dim=-1)}


def batch(size):
    return {"x": torch.randn(size, 4), "y": torch.randn(size, 5)}


def both(output, batch):
    scores = output["a"] @ output["b"].T
    own = torch.arange(len(scores))
    return (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2


def one(output, batch):
    scores = output["a"] @ output["b"].T
    return F.cross_entropy(scores, torch.arange(len(scores)))


def twice(output, batch):
    return (one(output, batch) + one(output, batch)) / 2


def outcome_of(loss, **facts):
    spec = ModelSpec(build=Pair, batch=batch, loss=loss, couples_batch=True, **facts)
    return check_model(spec, only=("loss_symmetry",)).outcomes[-1]


def test_a_symmetric_loss_passes():
    assert outcome_of(both, symmetric_loss=True).status == "passed"


@pytest.mark.parametrize("loss", [one, twice])
def test_a_loss_of_one_direction_is_told(loss):
    (finding,) = outcome_of(loss, symmetric_loss=True).findings
    assert (finding.kind, finding.severity) == ("loss-one-sided", "fail")


def test_of_a_contrastive_task_it_is_a_warning():
    (finding,) = outcome_of(one, task="contrastive").findings
    assert finding.severity == "warn"


@pytest.mark.parametrize("facts", [{}, {"symmetric_loss": False, "task": "contrastive"}])
def test_nothing_is_said_where_nothing_is_promised(facts):
    assert outcome_of(one, **facts).status == "skipped"

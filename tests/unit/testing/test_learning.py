import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unit.testing.records import held
from zoo.testing.checks.learning import check_overfit, gone, nothing_to_learn
from zoo.testing.checks.learning_run import train
from zoo.testing.engine import NotApplicable
from zoo.testing.spec import ModelSpec
from zoo.testing.subject import Subject


def net(middle):
    return nn.Sequential(nn.Linear(5, 12), middle, nn.Linear(12, 3))


class Constant(nn.Module):
    """Gives the same for every row."""

    def __init__(self):
        super().__init__()
        self.answer = nn.Parameter(torch.zeros(3))
        self.body = nn.Linear(5, 3)

    def forward(self, input):
        return self.answer + 0 * self.body(input)


def rows(size):
    return {"input": torch.randn(size, 5), "labels": torch.arange(size) % 3}


def cross(output, batch):
    return F.cross_entropy(output, batch["labels"])


def spec(build, loss=cross, **facts):
    return ModelSpec(build=build, batch=rows, loss=loss, **facts)


def found(given):
    return [(one.kind, one.severity) for one in held(check_overfit(Subject(given)))]


SOUND = {
    "a perceptron": spec(lambda: net(nn.Tanh())),
    "with dropout": spec(lambda: net(nn.Dropout(0.5))),
    "with batch norm": spec(lambda: net(nn.BatchNorm1d(12)), min_batch_train=2),
    "smoothed labels": spec(
        lambda: net(nn.Tanh()),
        lambda o, b: F.cross_entropy(o, b["labels"], label_smoothing=0.3),
    ),
    "a declared rate": spec(lambda: net(nn.Tanh()), lr=3e-2, steps=40),
}


@pytest.mark.parametrize("given", SOUND.values(), ids=SOUND)
def test_a_batch_is_learnt_by_heart(given):
    assert found(given) == []


def test_a_model_that_cannot_tell_rows_apart_is_stopped():
    def even(output, batch):
        return F.cross_entropy(output, torch.arange(len(output)) % 2)

    (one,) = held(check_overfit(Subject(spec(Frozen, even))))
    assert (one.kind, one.severity) == ("not-learning", "fail")
    assert "same for all rows" in one.evidence


class Frozen(nn.Module):
    """Gives two classes the same logit for every row: half of the rows are always wrong."""

    def __init__(self):
        super().__init__()
        self.shift = nn.Parameter(torch.tensor([0.1, -0.1]))

    def forward(self, input):
        return self.shift.expand(len(input), 2)


SKIPPED = {
    "said not to": (spec(lambda: net(nn.Tanh()), overfit=False), "cannot be learnt by heart"),
    "no loss": (ModelSpec(build=lambda: net(nn.Tanh()), batch=rows), "no loss"),
    "no parameter": (spec(lambda: nn.Linear(5, 3).requires_grad_(False)), "trainable"),
    "no gradient": (
        spec(lambda: nn.Linear(5, 3), lambda o, b: o.detach().sum()), "no parameter gets",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("given", "why"), SKIPPED.values(), ids=SKIPPED)
def test_there_is_nothing_to_learn(given, why):
    with pytest.raises(NotApplicable, match=why):
        found(given)


WAYS = [
    ([2.0, 1.0], 0.0, 0.5),
    ([2.0, 1.0, 3.0], 1.0, 1.0),
    ([2.0, 2.0], 0.0, 0.0),
    ([2.0, float("nan")], 0.0, 0.0),
]


@pytest.mark.parametrize(("losses", "floor", "way"), WAYS, ids=str)
def test_the_way_is_measured_from_the_start_to_the_floor(losses, floor, way):
    assert gone(losses, floor) == pytest.approx(way)


def test_a_loss_at_its_floor_leaves_nothing_to_learn():
    assert nothing_to_learn(1.0, 1.0)
    assert not nothing_to_learn(1.0, 0.5)


def test_steps_know_which_parameters_had_a_gradient():
    subject = Subject(spec(Constant))
    steps = train(subject, subject.fresh(), lambda i: subject.batch(4), 3, 0.1)
    assert len(steps.losses) == 3
    assert steps.losses[-1] < steps.losses[0]
    assert steps.alive == {"answer"}
    assert steps.seen == {"answer", "body.weight", "body.bias"}

"""Sizes and lengths: sound modules pass, and what fails at a size or loses an axis is stopped."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unit.testing.records import check_model
from zoo.testing.spec import ModelSpec

CHECKS = ("sizes", "lengths")


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(4, 6)

    def forward(self, x):
        return self.lin(x)


class Normed(Plain):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x):
        return self.lin(self.norm(x))


class Squeezed(Plain):
    def forward(self, x):
        return self.lin(x).squeeze()


class OfFiveRows(Plain):
    def forward(self, x):
        return self.lin(x) + torch.zeros(5, 6)[: max(x.size(0), 2)]


class KeepsTheFirstSize(Plain):
    def forward(self, x):
        if not hasattr(self, "ones"):
            self.ones = torch.ones(x.size(0), 6)
        return self.lin(x) * self.ones


class Reader(nn.Module):
    def __init__(self, places=9):
        super().__init__()
        self.words, self.places = nn.Embedding(11, 6), nn.Embedding(places, 6)

    def forward(self, ids):
        return self.words(ids) + self.places(torch.arange(ids.size(1)))


def spec(build, **facts):
    def loss(output, batch):
        return F.cross_entropy(output, batch["labels"])

    def batch(size):
        return {"x": torch.randn(size, 4), "labels": torch.randint(6, (size,))}

    return ModelSpec(build=build, batch=batch, loss=facts.pop("loss", loss), **facts)


def reading(places, **facts):
    return ModelSpec(
        build=lambda: Reader(places),
        batch=lambda size: {"ids": torch.randint(11, (size, 5))},
        tokens="ids",
        **facts,
    )


@pytest.mark.parametrize(
    ("build", "facts"),
    [
        (Plain, {"num_classes": 6, "task": "classification", "output_batch_axis": 0}),
        (Plain, {"class_axis": 1, "num_classes": 6, "output_shape": lambda b: (len(b["x"]), 6)}),
        (Normed, {}),
        (Normed, {"min_batch_train": 2}),
    ],
)
def test_a_sound_module_passes(build, facts):
    report = check_model(spec(build, **facts), only=CHECKS)
    assert report.findings == (), str(report)


def test_a_reader_of_every_length_passes():
    report = check_model(reading(9, max_length=9, causal="ids"), only=CHECKS)
    assert report.findings == (), str(report)
    assert {o.status for o in report.outcomes} == {"passed"}


@pytest.mark.parametrize(
    ("model", "kind", "words"),
    [
        (spec(Squeezed), "shape", "of 1 row it is (6,), expected (1, 6)"),
        (spec(OfFiveRows, loss=None), "shape", "with 7 rows in eval mode, forward raises"),
        (spec(KeepsTheFirstSize), "state-carried", "a fresh module takes it"),
        (spec(Normed, min_batch_train=1), "shape", "with 1 row in train mode"),
        (spec(Plain, num_classes=5, task="classification"), "shape", "num_classes=5"),
        (spec(Plain, num_classes=5, class_axis=1), "shape", "along axis 1"),
        (spec(Plain, output_shape=lambda b: (len(b["x"]), 1)), "shape", "output_shape gives"),
        (spec(Plain, output_batch_axis=1), "shape", "output_batch_axis=1"),
        (reading(8, max_length=9), "shape", "a sequence of 9 raises IndexError"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_a_saboteur_is_stopped(model, kind, words):
    found = check_model(model, only=CHECKS).failures
    assert found, "nothing was found"
    assert found[0].kind == kind and words in found[0].evidence


def test_the_module_that_raises_is_named():
    found = check_model(reading(8, max_length=9), only=("lengths",)).failures
    assert found[0].where == "places" and "self.places(" in found[0].line

"""Saving, copying and tying: sound modules pass, and what is lost or shared is stopped."""

import pytest
import torch
from torch import nn

from unit.testing.records import check_model
from zoo.testing.spec import ModelSpec

CHECKS = ("save_load", "copies", "ties")


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(4, 4)
        self.register_buffer("scale", torch.ones(4))
        self.register_buffer("signs", torch.tensor([1.0, -1.0, 1.0, -1.0]), persistent=False)

    def forward(self, x):
        return self.lin(x) * self.scale * self.signs


class RandomAttribute(Plain):
    def __init__(self):
        super().__init__()
        self.projection = torch.randn(4, 4)

    def forward(self, x):
        return self.lin(x @ self.projection.to(x))


class StatisticsNotSaved(Plain):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(4), persistent=False)

    def forward(self, x):
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
        return self.lin(x - self.mean)


class CounterNotSaved(Plain):
    def __init__(self):
        super().__init__()
        self.steps = 0

    def forward(self, x):
        self.steps += self.training
        return self.lin(x) / (1 + self.steps)


class LayersInAList(Plain):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(4, 4)]

    def forward(self, x):
        return self.lin(self.layers[0](x))


class BufferMadeLate(Plain):
    def forward(self, x):
        if not hasattr(self, "late"):
            self.register_buffer("late", torch.ones(4))
        return self.lin(x * self.late)


class ClosesOverItself(Plain):
    def __init__(self):
        super().__init__()
        self.run = lambda x: self.lin(x)

    def forward(self, x):
        return self.run(x)


class OneLayerManyTimes(Plain):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 4)] * 3)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


class SharedHeads(OneLayerManyTimes):
    def forward(self, x):
        return sum(layer(x * k) for k, layer in enumerate(self.layers))


class Tied(nn.Module):
    def __init__(self, how="one"):
        super().__init__()
        self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)
        if how == "one":
            self.b.weight = self.a.weight
        if how == "data":
            self.b.weight.data = self.a.weight.data
        if how == "copy":
            self.b.weight = nn.Parameter(self.a.weight.detach().clone())

    def forward(self, x):
        return self.b(self.a(x))


TIED = {"tied": [("a.weight", "b.weight")]}


def spec(build, **facts):
    def loss(output, batch):
        return output.pow(2).mean()

    return ModelSpec(build=build, batch=lambda n: {"x": torch.randn(n, 4)}, loss=loss, **facts)


@pytest.mark.parametrize(
    ("build", "facts"), [(Plain, {}), (Tied, TIED), (Tied, {})], ids=["plain", "tied", "undeclared"]
)
def test_a_sound_module_passes(build, facts):
    report = check_model(spec(build, **facts), only=CHECKS)
    assert report.findings == (), str(report)
    assert {o.status for o in report.outcomes} == {"passed"}


@pytest.mark.parametrize(
    ("build", "check", "kind", "named"),
    [
        (RandomAttribute, "save_load", "lost-state", "projection"),
        (StatisticsNotSaved, "save_load", "lost-state", "mean"),
        (CounterNotSaved, "save_load", "lost-state", "steps"),
        (LayersInAList, "save_load", "unregistered", "layers[0]"),
        (BufferMadeLate, "save_load", "lost-state", "late"),
        (ClosesOverItself, "copies", "broken-tie", "deep copy"),
        (OneLayerManyTimes, "ties", "broken-tie", "layers.0, layers.1"),
    ],
)
def test_a_saboteur_is_stopped_and_told_what_is_lost(build, check, kind, named):
    found = check_model(spec(build), only=(check,)).failures
    assert found, "nothing was found"
    assert found[0].kind == kind and named in found[0].evidence


@pytest.mark.parametrize(
    ("how", "words"),
    [("none", "as built"), ("copy", "equal numbers"), ("data", "after .double()")],
)
def test_a_declared_tie_that_is_none_is_stopped(how, words):
    found = check_model(spec(lambda: Tied(how), **TIED), only=("ties",)).failures
    assert found[0].kind == "broken-tie" and found[0].where == "b"
    assert any(words in f.evidence for f in found)


def test_heads_that_share_their_weights_are_told_and_not_called_wrong():
    report = check_model(spec(SharedHeads), only=("ties",))
    assert [f.severity for f in report.findings] == ["warn"]


def test_sharing_that_was_declared_is_silent():
    names = [[f"layers.{k}.weight" for k in range(3)], [f"layers.{k}.bias" for k in range(3)]]
    assert check_model(spec(OneLayerManyTimes, tied=names), only=("ties",)).findings == ()

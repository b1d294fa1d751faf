import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unit.testing.records import held
from zoo.testing.checks.signals import check_signals
from zoo.testing.checks.signals_flow import flow
from zoo.testing.spec import ModelSpec
from zoo.testing.subject import Subject


class Net(nn.Module):
    """Two layers with something between them."""

    def __init__(self, middle, bias=0.0):
        super().__init__()
        self.first, self.last = nn.Linear(6, 16), nn.Linear(16, 3)
        self.middle = middle
        nn.init.constant_(self.first.bias, bias)

    def forward(self, x):
        return self.last(self.middle(self.first(x)))


class Block(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.inner, self.factor = nn.Linear(6, 6, bias=False), factor

    def forward(self, x):
        return self.factor * (x + 0.1 * self.inner(x))


class Deep(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.blocks = nn.ModuleList([Block(factor) for _ in range(6)])

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return x


def spec(build):
    return ModelSpec(build=build, batch=lambda size: {"x": torch.randn(size, 6)})


def found(build):
    return [(one.kind, one.severity) for one in held(check_signals(Subject(spec(build))))]


def sharp(x):
    return (1e6 * x).softmax(-1)


def masked(x):
    return x.masked_fill(torch.arange(16) > 0, -torch.inf).softmax(-1)


SOUND = {
    "relu": lambda: Net(torch.relu),
    "relu with a bias below": lambda: Net(torch.relu, -0.2),
    "gelu": lambda: Net(F.gelu),
    "sigmoid": lambda: Net(torch.sigmoid),
    "tanh": lambda: Net(torch.tanh),
    "softmax": lambda: Net(lambda x: x.softmax(-1)),
    "softmax of what a mask leaves": lambda: Net(masked),
    "equal blocks": lambda: Deep(1.0),
    "blocks that double": lambda: Deep(2.0),
}


@pytest.mark.parametrize("build", SOUND.values(), ids=SOUND)
def test_sound_signals_pass(build):
    assert found(build) == []


BROKEN = {
    "relu far below": (lambda: Net(torch.relu, -20.0), ("dead-units", "fail")),
    "relu in place, far below": (lambda: Net(nn.ReLU(inplace=True), -20.0), ("dead-units", "fail")),
    "gelu far below": (lambda: Net(F.gelu, -20.0), ("dead-units", "fail")),
    "a sigmoid far above": (lambda: Net(torch.sigmoid, 40.0), ("saturated", "fail")),
    "a tanh far above": (lambda: Net(torch.tanh, 40.0), ("saturated", "fail")),
    "a cold softmax": (lambda: Net(sharp), ("saturated", "fail")),
    "blocks that grow": (lambda: Deep(20.0), ("exploding", "warn")),
    "blocks that explode": (lambda: Deep(1e3), ("exploding", "fail")),
    "blocks that vanish": (lambda: Deep(1e-3), ("vanishing", "fail")),
}


@pytest.mark.parametrize(("build", "wanted"), BROKEN.values(), ids=BROKEN)
def test_bad_signals_are_stopped(build, wanted):
    assert found(build) == [wanted]


def test_the_layer_before_a_dead_activation_is_named():
    (one,) = held(check_signals(Subject(spec(BROKEN["relu far below"][0]))))
    assert one.where == "first"


def test_a_flow_knows_places_and_leaves_no_hooks():
    model = Net(nn.Sigmoid())
    acts, calls = flow(model, lambda: model(torch.randn(2, 6)))
    assert [(a.name, a.where, a.maker) for a in acts] == [("sigmoid", "middle", "first")]
    assert [c.where for c in calls] == ["first", "middle", "last", ""]
    assert not nn.modules.module._global_forward_hooks
    assert not nn.modules.module._global_forward_pre_hooks

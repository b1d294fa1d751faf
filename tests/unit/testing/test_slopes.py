"""Gradients against slopes: sound models that look odd, and one wrong gradient each."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unit.testing.records import check_model
from zoo.testing.checks.slopes_numeric import measured
from zoo.testing.spec import ModelSpec


class Part(nn.Module):
    """Gives its input back, by one line that a test names."""

    def __init__(self, line):
        super().__init__()
        self.line = line
        self.gate = nn.Linear(6, 6)

    def forward(self, x):
        return self.line(self, x)


class Net(nn.Module):
    """A part between two layers."""

    def __init__(self, part):
        super().__init__()
        self.stem, self.part, self.head = nn.Linear(5, 6), part, nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.part(self.stem(x)))


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return 3 * x**2 * dy


class WrongCube(Cube):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, dy):
        (x,) = ctx.saved_tensors
        return 2 * x**2 * dy


class Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.round()

    @staticmethod
    def backward(ctx, dy):
        return dy


class Reversed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, dy):
        return -dy


def doubled_by_data(self, x):
    y = self.gate(x)
    y.data.mul_(2)
    return y * y


def without_graph(self, x):
    with torch.no_grad():
        gate = self.gate(x)
    return x * gate


def spread(self, x):
    return self.gate(x - x.mean(-1, keepdim=True)) / x.std(-1, keepdim=True).detach()


def nearest(self, x):
    code = self.gate.weight[(x @ self.gate.weight.T).argmax(-1)]
    return x + (code - x).detach()


def by_numbers(self, x):
    return x * torch.tensor(self.gate(x).tolist(), dtype=x.dtype)


def in_evaluation(self, x):
    gate = self.gate(x)
    return x * (gate if self.training else gate.detach())


def in_a_loss(self, x):
    return x + F.mse_loss(self.gate(x), x.detach())


def normal(size):
    return {"x": torch.randn(size, 5)}


def words(size):
    return {"x": torch.randint(7, (size, 4))}


def part(line, **facts):
    return ModelSpec(build=lambda: Net(Part(line)), batch=normal, **facts)


class Tied(nn.Module):
    """An embedding with a padding row that is the head's matrix too."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(7, 6, padding_idx=0)
        self.head = nn.Linear(6, 7, bias=False)
        self.head.weight = self.words.weight

    def forward(self, x):
        return self.head(torch.tanh(self.words(x)))


def findings(spec, check="parameter_gradients"):
    report = check_model(spec, only=[check])
    assert report.outcomes[-1].status != "error", report.outcomes[-1].reason
    return [(f.severity, f.kind, f.where) for f in report.outcomes[-1].findings]


SOUND = {
    "a gate": part(lambda self, x: x * self.gate(x).sigmoid()),
    "ReLU": part(lambda self, x: F.relu(self.gate(x))),
    "zeros that ReLU sees as they are": part(lambda self, x: F.relu(self.gate(x) * 0) + x),
    "two maxima that are equal": part(lambda self, x: torch.stack([x, x]).amax(0)),
    "a shift by a maximum without gradient": part(
        lambda self, x: F.softmax(x - x.max(-1, keepdim=True).values.detach(), -1)
    ),
    "an own backward that is right": part(lambda self, x: Cube.apply(self.gate(x))),
    "a top-k": part(lambda self, x: x * (x >= x.topk(2).values[..., -1:])),
    "dropout": part(lambda self, x: F.dropout(self.gate(x), 0.5, self.training)),
    "a cut in eval mode alone": part(in_evaluation),
    "spectral norm": ModelSpec(
        build=lambda: Net(nn.utils.parametrizations.spectral_norm(nn.Linear(6, 6))), batch=normal
    ),
    "batch norm": ModelSpec(build=lambda: Net(nn.BatchNorm1d(6)), batch=normal),
    "a tied embedding with a padding row": ModelSpec(build=Tied, batch=words),
    "an embedding that renorms its rows": ModelSpec(
        build=lambda: nn.Sequential(nn.Embedding(7, 6, max_norm=1.0), nn.Linear(6, 2)),
        batch=lambda size: {"input": torch.randint(7, (size, 4))},
    ),
    "a cut that is declared": part(lambda self, x: x * self.gate(x).detach(), stop_gradient=True),
    "a cut that is declared by module": part(
        lambda self, x: x * self.gate(x).detach(), stop_gradient=["part"]
    ),
    "an own backward that is declared": part(
        lambda self, x: WrongCube.apply(self.gate(x)), straight_through=["part"]
    ),
}
MEANT = {
    "a rounding that is passed straight through": part(lambda self, x: Rounded.apply(self.gate(x))),
    "the nearest code, straight through": part(nearest),
    "a gradient that is turned round": part(lambda self, x: Reversed.apply(self.gate(x))),
    "a target of a loss inside the model": part(in_a_loss),
}
BROKEN = {
    "a gate without gradient": (part(lambda s, x: x * s.gate(x).detach()), "detached"),
    "a gate by its data": (part(lambda s, x: x * s.gate(x).data), "detached"),
    "a gate under no_grad": (part(without_graph), "detached"),
    "a doubling by data": (part(doubled_by_data), "detached"),
    "a gate through a list": (part(by_numbers), "detached"),
    "a gate through numpy": (
        part(lambda s, x: x * torch.from_numpy(s.gate(x).detach().numpy())),
        "detached",
    ),
    "a spread without gradient": (part(spread), "detached"),
    "a backward with a wrong factor": (part(lambda s, x: WrongCube.apply(x)), "wrong-gradient"),
}


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_model_has_nothing_said_about_its_gradients(name):
    assert findings(SOUND[name]) == []


@pytest.mark.parametrize("name", MEANT)
def test_an_estimator_is_mentioned_but_never_fails(name):
    found = findings(MEANT[name])
    assert [(severity, where) for severity, _, where in found] == [("info", "part")]


@pytest.mark.parametrize("name", BROKEN)
def test_a_wrong_gradient_fails_in_the_module_that_has_it(name):
    spec, kind = BROKEN[name]
    assert findings(spec) == [("fail", kind, "part")]


def test_a_cut_is_named_by_its_line():
    found = check_model(part(without_graph), only=["parameter_gradients"]).failures[0]
    assert "with torch.no_grad():" in found.line
    assert "part.gate.weight" in found.evidence


def test_a_function_is_named_with_both_slopes():
    spec, _ = BROKEN["a backward with a wrong factor"]
    found = check_model(spec, only=["parameter_gradients"]).failures[0]
    assert "WrongCube" in found.evidence and "test_slopes.py" in found.line
    assert "difference of two runs" in found.evidence


def test_a_hook_that_changes_a_gradient_is_a_warning():
    def build():
        net = Net(Part(lambda self, x: self.gate(x)))
        net.part.gate.weight.register_hook(lambda g: 0.5 * g)
        return net

    spec = ModelSpec(build=build, batch=normal)
    assert [row[0] for row in findings(spec)] == ["warn"]


NUMBERS = {
    "a square": (lambda x: (x**2).sum(), 2.0, False),
    "a square with a wrong slope": (lambda x: (x**2).sum(), 2.5, True),
    "the kink of an absolute value": (lambda x: (x - 1).abs().sum(), 1.0, False),
    "a jump": (lambda x: (x >= 1).double().sum(), 0.0, False),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_slope_is_wrong_only_where_no_kink_explains_it(name):
    function, gradient, wrong = NUMBERS[name]
    x = torch.ones(1, dtype=torch.float64)
    along = [torch.ones(1, dtype=torch.float64)]
    given = [torch.tensor([gradient], dtype=torch.float64)]
    assert measured(lambda: function(x), [x], given, along, torch.float64).wrong() is wrong
    assert x.item() == 1.0

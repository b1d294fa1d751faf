"""What is registered: sound ways to keep things, and one that hides a parameter each."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unit.testing.records import check_model
from zoo.testing.checks.registration_walk import Hidden, hidden_things, leaves_of
from zoo.testing.checks.registration_words import registering
from zoo.testing.spec import ModelSpec, Trainer

OUTSIDE = nn.Linear(6, 3)


def batch(size):
    return {"x": torch.randn(size, 5), "labels": torch.randint(3, (size,))}


def cross_entropy(output, given):
    return F.cross_entropy(output, given["labels"])


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(5, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(torch.tanh(self.body(x)))


class InAList(Net):
    def __init__(self):
        super().__init__()
        self.more = [nn.Linear(6, 6), nn.Linear(6, 6)]

    def forward(self, x):
        x = self.body(x)
        for layer in self.more:
            x = torch.tanh(layer(x))
        return self.head(x)


class InADict(InAList):
    def __init__(self):
        super().__init__()
        self.kept = {"more": self.more}
        del self.more

    def forward(self, x):
        return self.head(self.kept["more"][0](self.body(x)))


class InAClosure(Net):
    def __init__(self):
        super().__init__()
        layer = nn.Linear(6, 6)
        self.activation = lambda x: torch.tanh(layer(x))

    def forward(self, x):
        return self.head(self.activation(self.body(x)))


class OfTheFile(Net):
    def forward(self, x):
        return OUTSIDE(torch.tanh(self.body(x)))


class Scaled(Net):
    """A parameter times two is no parameter."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(6)) * 2

    def forward(self, x):
        return self.head(self.scale * torch.tanh(self.body(x)))


class PlainTensor(Net):
    def __init__(self):
        super().__init__()
        self.scale = torch.ones(6, requires_grad=True)

    def forward(self, x):
        return self.head(self.scale * torch.tanh(self.body(x)))


class BuiltInForward(Net):
    def forward(self, x):
        return self.head(nn.Linear(6, 6)(torch.tanh(self.body(x))))


class DropoutInAList(Net):
    def __init__(self):
        super().__init__()
        self.drops = [nn.Dropout(0.5)]

    def forward(self, x):
        return self.head(self.drops[0](self.body(x)))


class Taught(Net):
    """A teacher that is kept out of parameters() on purpose: it has no gradient."""

    def __init__(self):
        super().__init__()
        self.teacher = (nn.Linear(5, 3),)

    def forward(self, x):
        with torch.no_grad():
            wanted = self.teacher[0](x)
        return super().forward(x) + 0 * wanted


class Parent(Net):
    """A part that knows the whole."""

    def __init__(self):
        super().__init__()
        self.body.around = [self]


class Sloped(Net):
    """An input that asks for a gradient, for a force."""

    def forward(self, x):
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            energy = super().forward(x).square().sum()
            (force,) = torch.autograd.grad(energy, x, create_graph=True)
        return force[:, :3]


def adam(parameters):
    return torch.optim.Adam(list(parameters), lr=1e-3)


def trained(optimizer):
    return Trainer(optimizer=optimizer)


def spec(build, **facts):
    return ModelSpec(build=build, batch=batch, loss=cross_entropy, **facts)


def findings(given):
    report = check_model(given, only=["registration"])
    assert report.outcomes[-1].status != "error", report.outcomes[-1].reason
    return [(f.severity, f.kind, f.where) for f in report.outcomes[-1].findings]


SOUND = {
    "two layers": spec(Net),
    "a teacher in a tuple": spec(Taught),
    "a part that knows the whole": spec(Parent),
    "an input's own gradient": spec(Sloped),
    "weight norm": spec(lambda: nn.utils.parametrizations.weight_norm(Net().body, "weight")),
    "an LSTM": ModelSpec(
        build=lambda: nn.LSTM(5, 6), batch=lambda size: {"input": torch.randn(4, size, 5)}
    ),
    "an optimizer of all": spec(Net, trainer=trained(lambda m: adam(m.parameters()))),
    "two optimizers": spec(
        Net, trainer=trained(lambda m: [adam(m.body.parameters()), adam(m.head.parameters())])
    ),
    "an optimizer of what is not frozen": spec(
        Net, frozen=["body.*"], trainer=trained(lambda m: adam(m.head.parameters()))
    ),
}
BROKEN = {
    "layers in a list": (spec(InAList), "unregistered", ""),
    "layers in a list in a dict": (spec(InADict), "unregistered", ""),
    "a layer in a closure": (spec(InAClosure), "unregistered", ""),
    "a layer of the file": (spec(OfTheFile), "unregistered", ""),
    "a parameter times two": (spec(Scaled), "unregistered", ""),
    "a tensor that asks for a gradient": (spec(PlainTensor), "unregistered", ""),
    "a layer that forward builds": (spec(BuiltInForward), "unregistered", ""),
    "dropout in a list": (spec(DropoutInAList), "unregistered", ""),
    "an optimizer of the head": (
        spec(Net, trainer=trained(lambda m: adam(m.head.parameters()))),
        "optimizer",
        "",
    ),
    "an optimizer of a copy": (
        spec(Net, trainer=trained(lambda m: adam(copy.deepcopy(m).parameters()))),
        "optimizer",
        "",
    ),
}


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_model_hides_nothing(name):
    assert findings(SOUND[name]) == []


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_hidden_fails(name):
    given, kind, where = BROKEN[name]
    assert findings(given)[0] == ("fail", kind, where)


WORDS = {
    "layers in a list": "4 tensors that ask for a gradient are reached by the backward pass in "
    "self.more (a list of 2 Linear)",
    "a layer in a closure": "in self.activation closes over layer (a function's closure)",
    "a parameter times two": "in self.scale (a plain attribute)",
    "a layer that forward builds": "made anew in every forward pass",
    "an optimizer of the head": "2 of 4 parameters that ask for a gradient and get one: body",
    "dropout in a list": "Dropout in self.drops (a list of 1 Dropout) runs in train mode after",
}


@pytest.mark.parametrize("name", WORDS)
def test_a_finding_says_where_the_thing_is_kept(name):
    found = check_model(BROKEN[name][0], only=["registration"]).failures[0]
    assert WORDS[name] in found.evidence


CHANGES = {
    "layers in a list": ("self.more = [nn.Linear", "self.more = nn.ModuleList(self.more) at the"),
    "dropout in a list": ("self.drops = [nn.Drop", "self.drops = nn.ModuleList(self.drops) at"),
    "a tensor that asks for a gradient": (
        "self.scale = torch.ones(6, requires_grad=True)",
        "self.scale = nn.Parameter(self.scale.detach()) at the end of __init__",
    ),
    "a parameter times two": ("self.scale = nn.Parameter(torch.ones(6)) * 2", "hold modules in"),
    "layers in a list in a dict": ('self.kept = {"more": self.more}', "hold modules in nn.Module"),
    "a layer in a closure": ("self.activation = lambda x", "hold modules in nn.ModuleList"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_finding_names_the_line_that_made_the_thing_and_the_one_that_registers_it(name):
    (found,) = check_model(BROKEN[name][0], only=["registration"]).failures
    line, fix = CHANGES[name]
    assert found.line.startswith("test_registration.py:") and line in found.line
    assert found.fix.startswith(fix)


KEPT = {
    "a dict by name": ("layers['a']", "a dict", nn.Tanh(), "self.layers = nn.ModuleDict("),
    "a dict by number": ("layers[0]", "a dict", nn.Tanh(), "hold modules in"),
    "a tuple": ("layers[0]", "a tuple", nn.Tanh(), "self.layers = nn.ModuleList(self.layers)"),
    "a set": ("layers[0]", "a set", nn.Tanh(), "hold modules in"),
    "leaves in a list": ("w[0]", "a list", torch.ones(1), "self.w = nn.ParameterList(self.w)"),
}


@pytest.mark.parametrize(("attribute", "holder", "thing", "fix"), KEPT.values(), ids=KEPT)
def test_a_change_fits_what_holds_the_thing(attribute, holder, thing, fix):
    held = Hidden("", attribute, holder, thing, attribute.partition("[")[0])
    assert registering([held]).startswith(fix)


def test_a_walk_finds_modules_but_not_registered_ones():
    net = InAList()
    assert [h.attribute for h in hidden_things(net)] == ["more[0]", "more[1]"]
    assert hidden_things(Net()) == []


def test_the_leaves_of_a_graph_are_those_that_backward_fills():
    a, b = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    assert {id(x) for x in leaves_of((a * b.detach()).sum(), b)} == {id(a), id(b)}
    assert leaves_of(torch.ones(2)) == []

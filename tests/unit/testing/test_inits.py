import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unit.testing.records import held
from zoo.testing.checks.inits import check_init, common
from zoo.testing.checks.inits_alike import equal_weights
from zoo.testing.engine import NotApplicable
from zoo.testing.spec import ModelSpec
from zoo.testing.subject import Subject

WIDTH = 24


def net(weights):
    """Make a perceptron of four layers whose weights a function sets."""
    model = nn.Sequential(
        nn.Linear(6, WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.Tanh(),
        nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4),
    )  # fmt: skip
    for part in model:
        if isinstance(part, nn.Linear):
            nn.init.zeros_(part.bias)
            weights(part.weight)
    return model


class Branch(nn.Module):
    """A residual block whose last layer begins at zero, as it may."""

    def __init__(self):
        super().__init__()
        self.enter, self.inner, self.last = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, input):
        x = self.enter(input)
        return x + self.last(F.relu(self.inner(x)))


class Side(nn.Module):
    """Parts side by side, read the same input."""

    def __init__(self, parts):
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, input):
        return sum(part(input) for part in self.parts)


class Queue(Side):
    """The same parts one after the other."""

    def forward(self, input):
        for part in self.parts:
            input = input + part(input)
        return input


def cloned():
    one = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 6))
    return [one, copy.deepcopy(one), copy.deepcopy(one)]


def filled(inputs, outputs):
    layer = nn.Linear(inputs, outputs)
    nn.init.constant_(layer.weight, 1 / inputs)
    return layer


class Bare(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = (nn.Parameter(torch.zeros(6, 6)) for _ in range(2))

    def forward(self, input):
        return torch.tanh(input @ self.one) @ self.two


def spec(build):
    return ModelSpec(
        build=build,
        batch=lambda size: {"input": torch.randn(size, 6), "labels": torch.randint(4, (size,))},
        loss=lambda o, b: F.cross_entropy(o[:, :4], b["labels"]),
    )


def found(build):
    return [(one.kind, one.severity) for one in held(check_init(Subject(spec(build))))]


SOUND = {
    "torch's default": lambda: net(lambda w: None),
    "kaiming": lambda: net(nn.init.kaiming_normal_),
    "0.02": lambda: net(lambda w: nn.init.normal_(w, std=0.02)),
    "zeros at the end of a branch": Branch,
    "copies one after the other": lambda: Queue(cloned()),
    "different parts side by side": lambda: Side([nn.Linear(6, 6), nn.Linear(6, 6)]),
}


@pytest.mark.parametrize("build", SOUND.values(), ids=SOUND)
def test_a_sound_beginning_passes(build):
    assert found(build) == []


BROKEN = {
    "far too large": lambda: net(lambda w: nn.init.normal_(w, std=2)),
    "far too small": lambda: net(lambda w: nn.init.normal_(w, std=1e-5)),
    "all zero": lambda: net(nn.init.zeros_),
    "all one number": lambda: net(lambda w: nn.init.constant_(w, 0.1)),
    "one number before a nonlinearity": lambda: nn.Sequential(
        nn.Linear(6, 8), filled(8, 8), nn.GELU(), nn.Linear(8, 6)
    ),
    "zeros in all bare matrices": Bare,
    "copies side by side": lambda: Side(cloned()),
}


@pytest.mark.parametrize("build", BROKEN.values(), ids=BROKEN)
def test_a_bad_beginning_is_stopped(build):
    assert found(build)[0] == ("init", "fail")


def test_a_mean_at_the_end_is_only_told():
    assert found(lambda: nn.Sequential(nn.Linear(6, 8), filled(8, 6))) == [("init", "warn")]


def test_a_model_without_parameters_has_no_beginning():
    with pytest.raises(NotApplicable, match="no parameter"):
        found(nn.Identity)


class Book(nn.Module):
    """Looks the nearest entry of a table up, and gives what a layer makes of it."""

    def __init__(self, start):
        super().__init__()
        self.table, self.last = nn.Embedding(5, 6), nn.Linear(6, 4)
        start(self.table.weight)

    def forward(self, input):
        nearest = torch.cdist(input, self.table.weight).argmin(-1)
        return self.last(input - (input - self.table(nearest)).detach())


BOOKS = {nn.init.normal_: [], nn.init.zeros_: [("init", "fail", "table")]}


@pytest.mark.parametrize(("start", "wanted"), BOOKS.items(), ids=["at random", "zeros"])
def test_a_book_of_equal_entries_is_stopped(start, wanted):
    given = Subject(spec(lambda: Book(start)))
    assert [(one.kind, one.severity, one.where) for one in held(check_init(given))] == wanted


PATHS = [
    (["a.0.up", "a.1.up"], "a"),
    (["a.0.up", "a.0.down"], "a.0"),
    (["a", "b"], ""),
    (["head"], ""),
]


@pytest.mark.parametrize(("names", "path"), PATHS, ids=str)
def test_the_path_around_several_modules_is_what_they_share(names, path):
    assert common(names) == path


def test_equal_modules_are_found_by_value():
    assert equal_weights(Side(cloned()))[0] == ["parts.0", "parts.1", "parts.2"]


def test_a_module_under_two_names_is_no_copy():
    one = nn.Linear(6, 6)
    assert equal_weights(Side([one, one])) == []

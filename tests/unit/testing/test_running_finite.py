"""Numbers that stay finite: which odd inputs are tried, and what is said (records/)."""

import pytest
import torch
from torch import nn

from unit.testing.records import check_model
from zoo.testing.spec import Input, ModelSpec


class Layer(nn.Module):
    """A linear layer, and what is done with its input and its output."""

    def __init__(self, before=lambda x: x, after=lambda y: y):
        super().__init__()
        self.lin, self.before, self.after = nn.Linear(4, 3), before, after

    def forward(self, x):
        return self.after(self.lin(self.before(x)))


class Masked(nn.Module):
    """The mean of the positions that a mask keeps, weighted by a softmax."""

    def __init__(self, hidden=float("-inf"), spread=0.0, keep=1):
        super().__init__()
        self.score, self.value = nn.Linear(4, 1), nn.Linear(4, 3)
        self.hidden, self.spread, self.keep = hidden, spread, keep

    def forward(self, x, mask):
        real = (mask == self.keep)[..., None]
        weights = self.score(x).masked_fill(~real, self.hidden).softmax(1)
        y = (weights * self.value(x)).sum(1)
        return y + self.spread * y.mean(0, keepdim=True) if self.spread else y


class Scaled(nn.Module):
    def forward(self, input):
        return input / input.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


class Words(nn.Module):
    """Words divided by how much they vary, which is 0 for the same word everywhere."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(9, 4)

    def forward(self, ids):
        x = self.words(ids)
        return (x - x.mean(1, keepdim=True)) / (x - x.mean(1, keepdim=True)).norm(
            dim=1, keepdim=True
        )


def floats(size):
    return {"x": torch.randn(size, 4)}


def images(size):
    return {"x": torch.rand(size, 3, 4, 4)}


def masked(size):
    return {"x": torch.randn(size, 5, 4), "mask": torch.ones(size, 5, dtype=torch.long)}


def spec(build, batch=floats, **facts):
    return ModelSpec(build=build, batch=batch, **facts)


def layer(before=lambda x: x, after=lambda y: y, **facts):
    return spec(lambda: Layer(before, after), **facts)


def hiding(**how):
    facts = how.pop("facts", {})
    known = {"mask": Input(kind="mask", sequence_axis=1, batch_axis=0)}
    return spec(lambda: Masked(**how), masked, padding_mask="mask", inputs=known, **facts)


def refuses(x):
    if float(x.abs().max()) > 50:
        raise ValueError("too large")
    return x


def positive(size):
    return {"x": torch.rand(size, 4) + 0.5}


CASES = {
    "nothing odd": (layer(), []),
    "divided by its deviation": (
        layer(lambda x: x / x.std(-1, keepdim=True)),
        [("fail", "lin"), ("fail", "")],
    ),
    "divided by its length": (layer(lambda x: x / x.norm(dim=-1, keepdim=True)), [("fail", "")]),
    "divided by its length, where zero is not in its range": (
        layer(lambda x: x / x.norm(dim=-1, keepdim=True), batch=positive),
        [],
    ),
    "divided by its length, where low is above zero": (
        layer(lambda x: x / x.norm(dim=-1, keepdim=True), inputs={"x": Input(low=0.1)}),
        [],
    ),
    "a picture divided by its length": (
        spec(
            lambda: nn.Sequential(Scaled(), nn.Flatten(1), nn.Linear(48, 2)),
            lambda n: {"input": images(n)["x"]},
        ),
        [("fail", "0")],
    ),
    "a root, whose slope is not finite at zero": (
        layer(after=lambda y: (y - y.mean(-1, keepdim=True)).abs().sum(-1), batch=floats),
        [],
    ),
    "a slope of a root of zeros": (layer(lambda x: x * x.pow(2).sum(-1, keepdim=True).sqrt()), []),
    "exp over exp": (
        layer(after=lambda y: y.exp() / y.exp().sum(-1, keepdim=True)),
        [("fail", "")],
    ),
    "infinity minus infinity": (
        layer(after=lambda y: (y * 99).exp() - (y * 98).exp()),
        [("warn", "")],
    ),
    "exp over exp, of what has a highest number": (
        layer(after=lambda y: y.exp() / y.exp().sum(-1, keepdim=True), inputs={"x": Input(high=9)}),
        [],
    ),
    "large numbers that are refused": (
        layer(refuses, lambda y: y.exp() / y.exp().sum(-1, keepdim=True)),
        [],
    ),
    "words that vary": (
        spec(Words, lambda n: {"ids": torch.arange(n * 5).view(n, 5) % 9}, tokens="ids"),
        [("fail", "")],
    ),
    "an empty row that is NaN alone": (hiding(), [("warn", "")]),
    "an empty row that makes all rows NaN": (hiding(spread=0.5), [("fail", "")]),
    "an empty row hidden by a finite number": (hiding(hidden=-1e9), []),
    "padding on the left": (hiding(facts={"padding_side": "left"}), [("warn", "")]),
    "a mask that says what to drop": (
        spec(
            lambda: Masked(keep=0),
            lambda n: masked(n) | {"mask": torch.zeros(n, 5, dtype=torch.long)},
            padding_mask="mask",
            true_means="drop",
        ),
        [("warn", "")],
    ),
    "a mask of fractions": (
        spec(
            lambda: Masked(),
            lambda n: masked(n) | {"mask": torch.ones(n, 5)},
            padding_mask="mask",
        ),
        [],
    ),
    "NaN from the start": (layer(after=lambda y: y * float("nan")), []),
}


@pytest.mark.parametrize("name", CASES)
def test_what_odd_inputs_do_is_told(name):
    given, wanted = CASES[name]
    (outcome,) = check_model(given, only=("extremes",)).outcomes
    found = [(f.severity, f.where) for f in outcome.findings]
    assert (found if outcome.check == "extremes" else None) == wanted

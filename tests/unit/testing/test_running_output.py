"""Outputs that are what they are said to be, and refusals: all that is said (records/)."""

import pytest
import torch
from torch import nn

from unit.testing.records import check_model, hold
from zoo.testing.checks.table import CHECKS
from zoo.testing.spec import ModelSpec


class Gives(nn.Module):
    """What a function makes of a linear map."""

    def __init__(self, make, size=5):
        super().__init__()
        self.lin, self.make = nn.Linear(4, size), make

    def forward(self, x):
        return self.make(self.lin(x))


class Choosy(nn.Module):
    """Refuses negative numbers and, in eval mode, numbers above 9."""

    def forward(self, x, kind=None):
        if bool((x < 0).any()):
            raise ValueError("no negative numbers")
        if not self.training and bool((x > 9).any()):
            raise ValueError("no numbers above 9")
        return x * 2


def rows(size):
    return {"x": torch.randn(size, 4)}


def gives(make, size=5, batch=rows, **facts):
    return ModelSpec(build=lambda: Gives(make, size), batch=batch, **facts)


def soft(y):
    return y.softmax(-1)


def logs(y):
    return y.log_softmax(-1)


def unit(y):
    return y / y.norm(dim=-1, keepdim=True)


def picture(y):
    """Classes along axis 1 of (b, 5, 2, 3)."""
    return (y[:, :, None, None] * torch.arange(1.0, 7.0, dtype=y.dtype).view(1, 1, 2, 3)).softmax(1)


def half(y):
    return torch.full_like(y, 0.5)


KINDS = {
    "probabilities": (gives(soft, output_kind="probabilities", num_classes=5), []),
    "probabilities of a picture": (gives(picture, output_kind="probabilities", num_classes=5), []),
    "probabilities of a picture, along another axis": (
        gives(picture, output_kind="probabilities", class_axis=-1),
        ["range"],
    ),
    "probabilities over one": (
        gives(lambda y: soft(y) * 4, output_kind="probabilities"),
        ["range"],
    ),
    "probabilities below zero": (
        gives(lambda y: soft(y) - 0.1, output_kind="probabilities"),
        ["range"],
    ),
    "probabilities that sum to less": (
        gives(lambda y: soft(y) * 0.9, output_kind="probabilities", num_classes=5),
        ["range"],
    ),
    "probabilities that sum to less, of a task": (
        gives(lambda y: soft(y) * 0.9, output_kind="probabilities", task="classification"),
        ["range"],
    ),
    "probabilities that are no classes": (
        gives(lambda y: soft(y) * 0.9, output_kind="probabilities"),
        [],
    ),
    "probabilities of several labels": (
        gives(torch.sigmoid, output_kind="probabilities", num_classes=5, task="multilabel"),
        [],
    ),
    "one probability": (
        gives(torch.sigmoid, 1, output_kind="probabilities", task="classification"),
        [],
    ),
    "logarithms of probabilities": (
        gives(logs, output_kind="log_probabilities", num_classes=5),
        [],
    ),
    "logarithms that sum to more": (
        gives(lambda y: logs(y) + 0.1, output_kind="log_probabilities", num_classes=5),
        ["range"],
    ),
    "logarithms over the rows": (
        gives(
            lambda y: y.log_softmax(0),
            output_kind="log_probabilities",
            num_classes=5,
            couples_batch=True,
        ),
        ["range"],
    ),
    "logarithms of no classes": (gives(lambda y: y, output_kind="log_probabilities"), []),
    "unit vectors": (gives(unit, output_kind="unit"), []),
    "vectors of length 2": (gives(lambda y: 2 * unit(y), output_kind="unit"), ["range"]),
    "logits": (gives(lambda y: y, output_kind="logits"), []),
    "logits that are a softmax": (gives(soft, output_kind="logits"), ["range"]),
    "logits that sum to 1": (
        gives(lambda y: y - y.mean(-1, keepdim=True) + 0.2, output_kind="logits"),
        [],
    ),
    "one logit": (gives(lambda y: y * 0 + 1, 1, output_kind="logits"), []),
    "a softmax over the rows": (gives(lambda y: y.softmax(0)), ["batch-leak"]),
    "a softmax over the rows, on purpose": (gives(lambda y: y.softmax(0), couples_batch=True), []),
    "a softmax over the rows of negative numbers": (
        gives(lambda y: y - y.mean(0) + 1 / len(y)),
        [],
    ),
    "a range, both ends": (gives(lambda y: y.clamp(-0.2, 0.3), output_range=(-0.2, 0.3)), []),
    "below a range": (gives(lambda y: y.clamp(-0.2, 0.3), output_range=(-0.1, 0.3)), ["range"]),
    "above a range": (gives(lambda y: y.clamp(-0.2, 0.3), output_range=(-0.2, 0.25)), ["range"]),
    "a range without an end": (gives(torch.exp, output_range=(0.0, float("inf"))), []),
    "below a range without an end": (
        gives(lambda y: y, output_range=(0.0, float("inf"))),
        ["range"],
    ),
    "no real numbers": (gives(lambda y: y.argmax(-1), output_kind="logits"), None),
    "NaN": (gives(lambda y: y * float("nan"), output_kind="logits"), None),
}


def refusing(**spoils):
    return ModelSpec(
        build=Choosy,
        batch=lambda n: {"x": torch.rand(n, 4), "kind": torch.ones(n)},
        must_raise=spoils,
    )


REFUSED = {
    "what is refused": (refusing(negative=lambda b: b | {"x": -1 - b["x"]}), 0),
    "what is refused in eval mode alone": (refusing(large=lambda b: b | {"x": b["x"] + 10}), 1),
    "what is not refused": (refusing(zeros=lambda b: b | {"x": b["x"] * 0}), 1),
    "what is left out and not refused": (
        refusing(alone=lambda b: {"x": b["x"]}, negative=lambda b: b | {"x": -1 - b["x"]}),
        1,
    ),
    "two that are not refused": (
        refusing(zeros=lambda b: b | {"x": b["x"] * 0}, ones=lambda b: b | {"kind": b["x"]}),
        2,
    ),
    "what is not spoiled at all": (refusing(nothing=lambda b: b), 1),
    "a label that the loss refuses": (
        ModelSpec(
            build=lambda: Gives(lambda y: y),
            batch=lambda n: rows(n) | {"labels": torch.arange(n) % 5},
            loss=lambda o, b: nn.functional.cross_entropy(o, b["labels"]),
            must_raise={"a label beyond the last": lambda b: b | {"labels": b["labels"] + 5}},
        ),
        0,
    ),
    "a label that no loss is asked of": (
        ModelSpec(
            build=lambda: Gives(lambda y: y),
            batch=lambda n: rows(n) | {"labels": torch.arange(n) % 5},
            must_raise={"a label beyond the last": lambda b: b | {"labels": b["labels"] + 5}},
        ),
        1,
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_what_is_said_of_an_output(name):
    given, wanted = KINDS[name]
    (outcome,) = check_model(given, only=("output",)).outcomes
    said = [f.kind for f in outcome.findings]
    assert outcome.status != "error", outcome.reason
    assert (None if outcome.status == "skipped" else said) == wanted
    assert all(f.severity == "fail" for f in outcome.findings)


@pytest.mark.parametrize("name", REFUSED)
def test_what_must_raise_and_does_not_is_said(name):
    given, wanted = REFUSED[name]
    (outcome,) = check_model(given, only=("refusals",)).outcomes
    kinds = [(f.severity, f.kind) for f in outcome.findings]
    assert kinds == [("fail", "accepts-bad-input")] * wanted


def test_the_table_of_checks_is_as_it_is_known():
    hold([f"{row.name}, {row.tier}: {row.about}" for row in CHECKS.values()])
    assert all(name == row.name for name, row in CHECKS.items())

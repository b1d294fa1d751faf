"""Inputs, features, regions and positions that change nothing: all that is said (records/)."""

import pytest
import torch
from torch import nn

from unit.testing.records import check_model
from zoo.testing.spec import Input, ModelSpec


class Two(nn.Module):
    """Something made of x, and something made of a second input."""

    def __init__(self, makes, size=5):
        super().__init__()
        self.body, self.kinds = nn.Linear(size, 4), nn.Embedding(9, 4)
        self.makes = makes

    def forward(self, x, other):
        return self.body(x) + self.makes(self, other)


class Inner(nn.Module):
    """A part that is given numbers, and makes the same of all."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(9, 4)

    def forward(self, other):
        return self.table(other // 100)


class Holds(Two):
    def __init__(self):
        super().__init__(lambda net, other: net.inner(other))
        self.inner = Inner()


class Masked(nn.Module):
    """Words under a mask, which is heeded, turned away, or may be left out."""

    def __init__(self, heed=False):
        super().__init__()
        self.words, self.heed = nn.Embedding(9, 4), heed

    def forward(self, ids, attention_mask):
        x = self.words(ids)
        return x * attention_mask[..., None] if self.heed else x


class MayBeMasked(Masked):
    def forward(self, ids, attention_mask=None):
        return self.words(ids)


class InTraining(Two):
    def forward(self, x, other):
        return super().forward(x, other) if self.training else self.body(x)


class Features(nn.Module):
    """Some features, channels or pixels of x."""

    def __init__(self, take):
        super().__init__()
        self.take, self.scale = take, nn.Parameter(torch.ones(()))

    def forward(self, x):
        return self.take(x).flatten(1).tanh() * self.scale


class Reads(nn.Module):
    """Some positions of what is embedded."""

    def __init__(self, take):
        super().__init__()
        self.words, self.take = nn.Embedding(9, 4), take

    def forward(self, ids):
        return self.take(self.words(ids))


def second(make, other=None, **facts):
    other = other or (lambda n: torch.randint(9, (n,)))
    return ModelSpec(
        build=lambda: Two(make),
        batch=lambda n: {"x": torch.randn(n, 5), "other": other(n)},
        **facts,
    )


def masked(build, mask=None, **facts):
    mask = mask or (lambda n: torch.ones(n, 6, dtype=torch.long))
    return ModelSpec(
        build=build,
        batch=lambda n: {"ids": torch.randint(9, (n, 6)), "attention_mask": mask(n)},
        tokens="ids",
        padding_mask="attention_mask",
        **facts,
    )


def ragged(size):
    return (torch.arange(6) < torch.arange(3, 3 + size)[:, None].clamp_max(6)).long()


def of(take, *shape, **facts):
    return ModelSpec(
        build=lambda: Features(take), batch=lambda n: {"x": torch.randn(n, *shape)}, **facts
    )


def reads(take, **facts):
    return ModelSpec(
        build=lambda: Reads(take),
        batch=lambda n: {"ids": torch.randint(9, (n, 6))},
        tokens="ids",
        **facts,
    )


def nothing(net, other):
    return 0.0


def kinds(net, other):
    return net.kinds(other)


def hole(x):
    """Leave the middle of a picture out."""
    keep = torch.ones(x.shape[-2:], dtype=torch.bool)
    keep[4:6, 4:6] = False
    return x[..., keep]


WIDE = {"inputs": {"x": Input(kind="float", sequence_axis=1)}}
MATTER = {
    "all inputs matter": (second(kinds), []),
    "numbers that nobody reads": (second(nothing), [("fail", "other")]),
    "numbers that may be left": (second(nothing, may_ignore=["other"]), []),
    "a part that makes the same of all": (
        ModelSpec(
            build=Holds,
            batch=lambda n: {"x": torch.randn(n, 5), "other": torch.randint(9, (n,))},
        ),
        [("fail", "inner")],
    ),
    "numbers that are always 0": (
        second(kinds, lambda n: torch.zeros(n, dtype=torch.long), inputs={"other": "index"}),
        [],
    ),
    "numbers between two ends": (
        second(
            lambda net, other: other[:, None] * 0.0,
            lambda n: torch.ones(n),
            inputs={"other": Input(kind="float", low=1.0, high=3.0)},
        ),
        [("fail", "other")],
    ),
    "real numbers that are all one": (
        second(lambda net, other: other[:, None] * 0.0, lambda n: torch.ones(n)),
        [("fail", "other")],
    ),
    "numbers that matter in training": (
        ModelSpec(
            build=lambda: InTraining(kinds),
            batch=lambda n: {"x": torch.randn(n, 5), "other": torch.randint(9, (n,))},
        ),
        [],
    ),
    "a mask that is heeded": (masked(lambda: Masked(heed=True)), []),
    "a mask that is not": (masked(Masked), [("fail", "attention_mask")]),
    "a mask that is not, of rows that differ": (
        masked(Masked, ragged),
        [("fail", "attention_mask")],
    ),
    "a mask that may be left out": (masked(MayBeMasked), [("warn", "attention_mask")]),
    "a mask that may be left out, of rows that differ": (
        masked(MayBeMasked, ragged),
        [("warn", "attention_mask")],
    ),
    "a mask that may be left out, promised": (
        masked(MayBeMasked, padding_side="right"),
        [("fail", "attention_mask")],
    ),
    "a mask that may be left out, described": (
        masked(MayBeMasked, inputs={"attention_mask": Input(kind="mask")}),
        [("fail", "attention_mask")],
    ),
}
COVERED = {
    "all features": (of(lambda x: x, 5), []),
    "one feature left out": (of(lambda x: x[:, [0, 1, 3, 4]], 5), [("fail", "ignored-input")]),
    "the last features left out": (of(lambda x: x[:, :3], 5), [("fail", "ignored-input")]),
    "features that may be left": (of(lambda x: x[:, :3], 5, may_ignore=["x"]), None),
    "no feature at all": (of(lambda x: x * 0, 5), []),
    "a feature of 65": (of(lambda x: x[:, 1:], 65), []),
    "a feature of 64": (of(lambda x: x[:, 1:], 64), [("fail", "ignored-input")]),
    "a feature of a sequence": (
        of(lambda x: x[..., [0, 2, 3]], 5, 4, **WIDE),
        [("fail", "ignored-input")],
    ),
    "the last features of a sequence": (
        of(lambda x: x[..., :3], 5, 4, **WIDE),
        [("warn", "ignored-input")],
    ),
    "a channel of a signal": (of(lambda x: x[:, 1:], 3, 5), [("warn", "ignored-input")]),
    "a picture": (of(lambda x: x, 2, 10, 10), []),
    "a channel of a picture": (of(lambda x: x[:, 1:], 3, 4, 4), [("fail", "ignored-input")]),
    "the last channel of a picture": (of(lambda x: x[:, :2], 3, 4, 4), [("warn", "ignored-input")]),
    "the middle of a picture": (of(hole, 2, 10, 10), [("fail", "dead-position")]),
    "the edge of a picture": (of(lambda x: x[..., :8], 2, 10, 10), [("warn", "dead-position")]),
    "the edge of a small picture": (of(lambda x: x[..., :2], 2, 3, 3), []),
}
PLACES = {
    "all positions": (reads(lambda x: x), []),
    "the first one is left out": (reads(lambda x: x[:, 1:].mean(1)), [("warn", "ids")]),
    "the last one is left out": (reads(lambda x: x[:, :-1].mean(1)), []),
    "one in the middle is left out": (
        reads(lambda x: x[:, [0, 1, 3, 4, 5]].mean(1)),
        [("fail", "ids")],
    ),
    "two in the middle are left out": (
        reads(lambda x: x[:, [0, 3, 4, 5]].mean(1)),
        [("fail", "ids")],
    ),
    "the last alone is read": (reads(lambda x: x[:, -1]), [("fail", "ids")]),
    "the first alone is read": (reads(lambda x: x[:, 0]), [("fail", "ids")]),
    "positions that may be left": (reads(lambda x: x[:, 0], may_ignore=["ids"]), []),
}
TABLES = {
    f"{check}: {name}": (check, *row)
    for check, rows in (
        ("inputs_matter", MATTER),
        ("inputs_covered", COVERED),
        ("influence", PLACES),
    )
    for name, row in rows.items()
}


@pytest.mark.parametrize("name", TABLES)
def test_what_changes_nothing_is_said(name):
    check, given, wanted = TABLES[name]
    (outcome,) = check_model(given, only=(check,)).outcomes
    column = "kind" if check == "inputs_covered" else "where"
    said = [(f.severity, getattr(f, column)) for f in outcome.findings]
    assert outcome.status != "error", outcome.reason
    assert (None if outcome.status == "skipped" else said) == wanted

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


class Three(Plain):
    """Gives three rows, whatever is given: the mean of them all."""

    def forward(self, x):
        return self.lin(x).mean(0, keepdim=True).expand(3, 6)


class Bare(Plain):
    def forward(self, x):
        return {"main": self.lin(x), "size": self.lin(x).squeeze(), "steps": torch.ones(2)}


class Inner(nn.Module):
    """A linear layer of one number."""

    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(4, 1)

    def forward(self, x):
        return self.lin(x)


class Late(Plain):
    """Fails in the loss alone, or in backward alone, or in train mode alone."""

    def __init__(self, where):
        super().__init__()
        self.where = where

    def forward(self, x):
        if self.where == "train" and self.training and len(x) == 2:
            raise ValueError("no two rows  are\ntrained")
        y = self.lin(x)
        if self.where == "backward" and self.training and len(x) == 2:
            y.register_hook(refuse)
        return y


def refuse(_):
    raise ValueError("no gradient of two rows")


def loss_of_more_than_two(output, batch):
    if len(output) == 2:
        raise ValueError("no loss of two rows")
    return output.mean()


def few(size):
    if size > 6:
        raise ValueError("six rows are all there are")
    return {"x": torch.randn(size, 4)}


class Remembers(Plain):
    """A state of the first call's size, on purpose."""

    def forward(self, x):
        self.state = getattr(self, "state", torch.zeros(len(x), 6)) + self.lin(x)
        return self.state


class OfLengths(nn.Module):
    """Refuses the lengths that it is told to, in words of its own."""

    def __init__(self, refused, words="no", keeps=False):
        super().__init__()
        self.words, self.refused, self.said = nn.Embedding(11, 6), refused, words
        self.keeps = keeps

    def forward(self, ids, positions=None):
        t = ids.size(1)
        if t in self.refused:
            raise RuntimeError(self.said)
        if self.keeps:
            self.first = getattr(self, "first", torch.ones(t, 1))
            return self.words(ids) * self.first
        return self.words(ids) if positions is None else self.words(ids) + positions[..., None]


class Pooled(OfLengths):
    def forward(self, ids):
        return super().forward(ids).mean(1)


def lengths(refused, build=OfLengths, more=(), how=(), **facts):
    return ModelSpec(
        build=lambda: build(refused, **dict(how)),
        batch=lambda size: {"ids": torch.randint(11, (size, 5))} | {n: f(size) for n, f in more},
        tokens="ids",
        **facts,
    )


def places(size):
    return torch.arange(5).repeat(size, 1)


MORE = {
    "three rows whatever is given": (
        spec(Three, loss=None, couples_batch=False),
        "sizes",
        [("fail", "shape", "")],
    ),
    "three rows, declared": (
        spec(Three, loss=None, couples_batch=False, output_batch_axis=0),
        "sizes",
        [("fail", "shape", "")],
    ),
    "three rows that may couple": (spec(Three, loss=None), "sizes", []),
    "a second output that is squeezed": (
        spec(Bare, loss=None, output="main"),
        "sizes",
        [("fail", "shape", "")],
    ),
    "a loss that refuses two rows": (
        spec(Plain, loss=loss_of_more_than_two),
        "sizes",
        [("fail", "crash", "")],
    ),
    "a backward pass that refuses two rows": (
        spec(lambda: Late("backward")),
        "sizes",
        [("fail", "crash", "")],
    ),
    "a train mode that refuses two rows": (
        spec(lambda: Late("train")),
        "sizes",
        [("fail", "crash", "")],
    ),
    "two rows that need not be trained": (
        spec(lambda: Late("train"), min_batch_train=3),
        "sizes",
        [],
    ),
    "a batch of six at most": (
        ModelSpec(build=Plain, batch=few, num_classes=6, class_axis=-1),
        "sizes",
        [],
    ),
    "a state on purpose": (spec(Remembers, loss=None, stateful=True), "sizes", []),
    "an axis of classes beyond the last": (
        spec(Plain, num_classes=6, class_axis=2),
        "sizes",
        [("fail", "shape", "")],
    ),
    "an axis of classes before the first": (
        spec(Plain, num_classes=6, class_axis=-3),
        "sizes",
        [("fail", "shape", "")],
    ),
    "one number for two classes": (
        spec(Inner, loss=None, num_classes=2, class_axis=1),
        "sizes",
        [],
    ),
    "one number for three classes": (
        spec(Inner, loss=None, num_classes=3, class_axis=1),
        "sizes",
        [("fail", "shape", "")],
    ),
    "two classes that no axis has": (
        spec(Plain, num_classes=2, task="classification"),
        "sizes",
        [],
    ),
    "classes of a task that may lack them": (spec(Plain, num_classes=5), "sizes", []),
    "a shape that is another for two rows": (
        spec(Plain, output_shape=lambda b: (3, 6)),
        "sizes",
        [("fail", "shape", "")],
    ),
    "an axis of the batch that is not there": (
        spec(Plain, output_batch_axis=2),
        "sizes",
        [("fail", "shape", "")],
    ),
    "one less than usual is refused": (
        lengths([4], output_sequence_axis=1),
        "lengths",
        [("fail", "shape", "")],
    ),
    "two are refused": (lengths([2]), "lengths", [("warn", "shape", "")]),
    "one is refused": (lengths([1]), "lengths", [("warn", "shape", "")]),
    "one is refused by a decoder": (lengths([1], causal="ids"), "lengths", [("fail", "shape", "")]),
    "three are refused, which nobody asks for": (lengths([3]), "lengths", []),
    "the longest is refused": (lengths([9], max_length=9), "lengths", [("fail", "shape", "")]),
    "one beyond the longest": (lengths([10], max_length=9), "lengths", []),
    "the longest is the usual": (lengths([], max_length=5), "lengths", []),
    "less than a kernel": (
        lengths([4], how=[("words", "Kernel size can't be greater")], output_sequence_axis=1),
        "lengths",
        [("warn", "shape", "")],
    ),
    "the first length is kept": (
        lengths([], how=[("keeps", True)]),
        "lengths",
        [("warn", "state-carried", "")],
    ),
    "pooled, of one length": (lengths([4], build=Pooled, max_length=5), "lengths", None),
    "pooled, of several lengths": (
        lengths([4], build=Pooled, max_length=6),
        "lengths",
        [("fail", "shape", "")],
    ),
    "positions are cut with the words": (
        lengths([], more=[("positions", places)], output_sequence_axis=1),
        "lengths",
        [],
    ),
    "positions say how long the longest is": (
        lengths([9], more=[("positions", places)], max_length=9),
        "lengths",
        [],
    ),
    "no sequence": (spec(Plain), "lengths", None),
}


@pytest.mark.parametrize("name", MORE)
def test_what_is_said_of_a_size_or_a_length(name):
    given, check, wanted = MORE[name]
    (outcome,) = check_model(given, only=(check,)).outcomes
    said = [(f.severity, f.kind, f.where) for f in outcome.findings]
    assert (None if outcome.status == "skipped" else said) == wanted

"""What positions and numbers are trained on, and what a first loss costs: all that is said."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unit.testing.records import held
from zoo.testing.checks.targets import check_targets
from zoo.testing.checks.targets_first import check_initial_loss
from zoo.testing.engine import NotApplicable
from zoo.testing.spec import ModelSpec
from zoo.testing.subject import Subject

VOCAB = 13


class Reader(nn.Module):
    """Left to right over tokens: a mean of what was read so far."""

    def __init__(self, spread=0.1, both=False):
        super().__init__()
        self.words, self.head, self.both = nn.Embedding(VOCAB, 8), nn.Linear(8, VOCAB), both
        nn.init.normal_(self.head.weight, std=spread)

    def forward(self, ids, mask=None):
        x = self.words(ids)
        seen = torch.arange(1, ids.shape[1] + 1, device=ids.device)[:, None]
        y = x.mean(1, keepdim=True) + x if self.both else x.cumsum(1) / seen + x
        return self.head(y)


class Line(nn.Module):
    def __init__(self, size=1, last=lambda y: y, scale=1.0):
        super().__init__()
        self.head, self.last, self.scale = nn.Linear(4, size), last, scale

    def forward(self, x):
        return self.last(self.head(x) * self.scale)


def ids(size, length=7):
    return torch.randint(2, VOCAB, (size, length))


def text(size):
    x = ids(size)
    return {"ids": x, "labels": x.clone()}


def ready(size):
    """Labels that the data shifts."""
    x = ids(size, 8)
    return {"ids": x[:, :-1], "labels": x[:, 1:].clone()}


def headless(size):
    """A decoder that reads its own labels: no start in front."""
    x = ids(size)
    return {"ids": x, "labels": torch.cat([x[:, :1], x[:, 2:], x[:, :1] * 0 - 100], 1)}


def half_masked(size):
    clean = ids(size)
    chosen = torch.arange(7).expand(size, 7) % 3 == 1
    return {"ids": clean.masked_fill(chosen, 1), "labels": clean, "chosen": chosen}


def padded(size):
    x = ids(size)
    mask = (torch.arange(7) < 5).long().expand(size, 7).clone()
    return {"ids": x, "labels": x.clone(), "mask": mask}


def at(o, y):
    return F.cross_entropy(o.flatten(0, 1), y.flatten())


def later(by):
    return lambda o, b: at(o[:, :-by], b["labels"][:, by:])


def same(o, b):
    return at(o, b["labels"])


def before(o, b):
    return at(o[:, 1:], b["labels"][:, :-1])


def rolled(o, b):
    return at(o, b["labels"].roll(-1, 1))


def inner(o, b):
    """Leaves the first positions out."""
    return at(o[:, 2:-1], b["labels"][:, 3:])


def turned(o, b):
    return at(o.transpose(0, 1), b["labels"])


def chosen(o, b):
    return at(o, b["labels"].masked_fill(~b["chosen"], -100))


def hinge(o, b):
    """No form that is known, of the next token."""
    y = b["labels"][:, 1:, None]
    return F.softplus(1 + o[:, :-1] - o[:, :-1].gather(-1, y)).sum(-1).mean()


def reading(loss, batch=text, both=False, **facts):
    return ModelSpec(build=lambda: Reader(both=both), batch=batch, loss=loss, **facts)


KNOWN = {"labels": "labels", "label_shift": 1}
TARGETS = {
    "the next token": (reading(later(1), **KNOWN), []),
    "the next token by a hinge": (reading(hinge, **KNOWN), []),
    "the next token, two later by a hinge": (
        reading(lambda o, b: hinge(o[:, :-1], {"labels": b["labels"][:, 1:]}), **KNOWN),
        ["fail"],
    ),
    "the same token, as it is declared": (reading(same, **KNOWN), ["fail"]),
    "two later, as it is declared": (reading(later(2), **KNOWN), ["fail"]),
    "one later, declared to be the same": (
        reading(later(1), labels="labels", label_shift=0, causal=False),
        ["fail"],
    ),
    "one before, declared to be the same": (
        reading(before, labels="labels", label_shift=0, causal=False),
        ["fail"],
    ),
    "shifted by the data": (reading(same, ready, labels="labels", label_shift=0), []),
    "shifted by the data and the loss": (
        reading(later(1), ready, labels="labels", label_shift=0),
        ["fail"],
    ),
    "shifted by the data and the loss, undeclared": (reading(later(1), ready), ["fail"]),
    "the token before": (reading(before), ["fail"]),
    "the token before, declared causal": (reading(before, causal="ids"), ["fail"]),
    "the same token, of a task": (
        reading(same, task="next_token", tokens="ids", both=True),
        ["fail"],
    ),
    "the same token, of a model that sees all": (reading(same, both=True), []),
    "rolled": (reading(rolled), ["fail"]),
    "rolled, of a model that sees all": (reading(rolled, both=True), ["fail"]),
    "the first positions are left out": (reading(inner, **KNOWN), ["warn"]),
    "the first positions are left out, undeclared": (reading(inner), []),
    "rows and positions are turned": (reading(turned), ["fail"]),
    "no start in front": (reading(same, headless, causal="ids"), ["fail"]),
    "masked tokens": (reading(chosen, half_masked, both=True, task="masked_tokens"), []),
    "masked tokens and all others": (
        reading(same, half_masked, both=True, task="masked_tokens"),
        ["fail"],
    ),
    "padding, and the next token": (
        reading(
            lambda o, b: later(1)(o, {"labels": b["labels"].masked_fill(b["mask"] == 0, -100)}),
            padded,
            padding_mask="mask",
            **KNOWN,
        ),
        [],
    ),
}


def numbers(low=0.5):
    return lambda size: {"x": torch.randn(size, 4), "labels": torch.rand(size, 1) + low}


def fit(loss, low=0.5, last=lambda y: y, **facts):
    return ModelSpec(
        build=lambda: Line(last=last),
        batch=numbers(low),
        loss=lambda o, b: loss(o, b["labels"].to(o.dtype)),
        **facts,
    )


def clean(size):
    return {"x": torch.randn(size, 4), "labels": torch.randn(size, 4)}


def denoiser(loss, **facts):
    return ModelSpec(build=lambda: Line(4), batch=clean, loss=loss, task="denoising", **facts)


FITS = {
    "a squared error": (fit(F.mse_loss), []),
    "a root of a squared error": (fit(lambda o, y: (1 + (o - y) ** 2).sqrt().mean()), []),
    "the other sign": (fit(lambda o, y: (1 + (o + y) ** 2).sqrt().mean()), ["loss-targets"]),
    "of the row before": (
        fit(lambda o, y: (1 + (o - y.roll(1, 0)) ** 2).sqrt().mean()),
        ["loss-targets"],
    ),
    "of two rows before": (fit(lambda o, y: F.mse_loss(o, y.roll(2, 0))), ["loss-targets"]),
    "twice as much": (fit(lambda o, y: F.mse_loss(o, 2 * y)), []),
    "the logarithm of a rate": (fit(F.poisson_nll_loss), []),
    "a rate for its logarithm": (fit(F.poisson_nll_loss, last=torch.exp), ["loss-input"]),
    "a rate for its logarithm, by its range": (
        fit(F.poisson_nll_loss, output_range=(0.0, 9.0)),
        ["loss-input"],
    ),
    "a rate for its logarithm, by a range below 0": (
        fit(F.poisson_nll_loss, output_range=(-1.0, 9.0)),
        [],
    ),
    "a rate as it is": (
        fit(lambda o, y: F.poisson_nll_loss(o, y, log_input=False), last=torch.exp),
        [],
    ),
    "labels of both signs": (fit(F.poisson_nll_loss, -0.5, last=torch.exp), []),
    "noise is told from its input": (denoiser(lambda o, b: F.mse_loss(o, b["labels"])), []),
    "its noisy input": (denoiser(lambda o, b: F.mse_loss(o, b["x"])), ["loss-targets"]),
}


def classes(size, n=5, scale=1.0):
    return {"x": torch.randn(size, 4) * scale, "labels": torch.randint(n, (size,))}


def cross(o, b):
    return F.cross_entropy(o, b["labels"])


def first(scale=1.0, of=classes, **facts):
    return ModelSpec(build=lambda: Line(5, scale=scale), batch=of, loss=cross, **facts)


def known(size):
    """Labels that are all of one class."""
    return {"x": torch.zeros(size, 4), "labels": torch.zeros(size, dtype=torch.long)}


class Knows(nn.Module):
    """Begins with an answer of its own."""

    def __init__(self, sure):
        super().__init__()
        self.answer = nn.Parameter(torch.tensor([sure, 0.0, 0.0, 0.0, 0.0]))

    def forward(self, x):
        return self.answer + 0 * x[:, :1]


FIRST = {
    "small logits": (first(), []),
    "large ones": (first(12.0), [("warn", "init")]),
    "very large ones": (first(100.0), [("fail", "init")]),
    "large inputs": (first(0.25, lambda n: classes(n, scale=40.0)), [("warn", "bad-input-data")]),
    "very large inputs": (
        first(1.0, lambda n: classes(n, scale=150.0)),
        [("fail", "bad-input-data")],
    ),
    "an answer that is known": (
        ModelSpec(build=lambda: Knows(4.0), batch=known, loss=cross),
        [("warn", "loss-targets")],
    ),
    "an answer that is nearly known": (
        ModelSpec(build=lambda: Knows(1.0), batch=known, loss=cross),
        [],
    ),
}


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_said_of_a_target(name):
    given, wanted = TARGETS[name]
    made = held(check_targets(Subject(given)))
    assert [one.severity for one in made] == wanted
    assert {one.kind for one in made} <= {"loss-targets"}


@pytest.mark.parametrize("name", FITS)
def test_what_is_said_of_a_number(name):
    given, wanted = FITS[name]
    assert [one.kind for one in held(check_targets(Subject(given)))] == wanted


@pytest.mark.parametrize("name", FIRST)
def test_what_is_said_of_a_first_loss(name):
    given, wanted = FIRST[name]
    made = held(check_initial_loss(Subject(given)))
    assert [(one.severity, one.kind) for one in made] == wanted


UNREAD = {
    "rows against rows": (
        check_targets,
        first(task="contrastive"),
        "the loss compares rows with rows",
    ),
    "no labels": (
        check_targets,
        ModelSpec(
            build=Line,
            batch=lambda n: {"x": torch.randn(n, 4)},
            loss=lambda o, b: (o.sin() * o).mean(),
        ),
        "what the loss wants cannot be read off its gradient",
    ),
    "no classes": (check_initial_loss, fit(F.mse_loss), "the loss of the output is no cross entr"),
    "rows against rows, at first": (
        check_initial_loss,
        first(couples_batch=True),
        "the loss of the output is no cross entropy over classes",
    ),
}


@pytest.mark.parametrize(("check", "given", "said"), UNREAD.values(), ids=UNREAD)
def test_what_cannot_be_read_is_not_judged(check, given, said):
    with pytest.raises(NotApplicable, match=said):
        list(check(Subject(given)))

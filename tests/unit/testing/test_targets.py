import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unit.testing.records import held
from zoo.testing.checks.targets import check_targets
from zoo.testing.checks.targets_first import check_initial_loss
from zoo.testing.spec import ModelSpec
from zoo.testing.subject import Subject

VOCAB = 23


class Reader(nn.Module):
    """Reads from left to right: a sum of what was read so far."""

    def __init__(self, spread=0.1):
        super().__init__()
        self.embed, self.head = nn.Embedding(VOCAB, 8), nn.Linear(8, VOCAB)
        nn.init.normal_(self.head.weight, std=spread)

    def forward(self, ids):
        return self.head(self.embed(ids).cumsum(1).tanh())


def text(size):
    ids = torch.randint(1, VOCAB, (size, 7))
    return {"ids": ids, "labels": ids.clone()}


def masked(size):
    clean = torch.randint(2, VOCAB, (size, 7))
    chosen = torch.rand(size, 7) < 0.2
    chosen[:, 1] = True
    return {"ids": clean.masked_fill(chosen, 1), "labels": clean, "chosen": chosen}


def at(logits, targets):
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def shifted(output, batch):
    return at(output[:, :-1], batch["labels"][:, 1:])


def unshifted(output, batch):
    return at(output, batch["labels"])


def twice(output, batch):
    return at(output[:, :-2], batch["labels"][:, 2:])


def rolled(output, batch):
    return at(output, batch["labels"].roll(-1, 1))


def transposed(output, batch):
    return at(output[:, :-1].transpose(0, 1), batch["labels"][:, 1:])


def only_masked(output, batch):
    return at(output, batch["labels"].masked_fill(~batch["chosen"], -100))


def spec(loss, batch=text, **facts):
    return ModelSpec(build=Reader, batch=batch, loss=loss, **facts)


def found(given, check=check_targets):
    return [(one.kind, one.severity) for one in held(check(Subject(given)))]


SOUND = {
    "shifted, as declared": spec(shifted, labels="labels", label_shift=1, causal="ids"),
    "shifted, undeclared": spec(shifted),
    "masked tokens": spec(only_masked, masked, task="masked_tokens", label_shift=0),
    "aligned, of a model that is declared to see all": spec(unshifted, causal=False),
}


@pytest.mark.parametrize("given", SOUND.values(), ids=SOUND)
def test_sound_targets_pass(given):
    assert found(given) == []


BROKEN = {
    "not shifted, declared": spec(unshifted, labels="labels", label_shift=1),
    "not shifted, by what the model sees": spec(unshifted),
    "shifted twice": spec(twice, labels="labels", label_shift=1),
    "shifted twice, by what the model sees": spec(twice),
    "rolled": spec(rolled),
    "labels of other rows": spec(transposed),
    "all positions of masked tokens": spec(unshifted, masked, task="masked_tokens", causal=False),
}


@pytest.mark.parametrize("given", BROKEN.values(), ids=BROKEN)
def test_wrong_targets_are_stopped(given):
    assert found(given)[0] == ("loss-targets", "fail")


class Number(nn.Module):
    def __init__(self, last):
        super().__init__()
        self.head, self.last = nn.Linear(4, 1), last

    def forward(self, x):
        return self.last(self.head(x)).squeeze(-1)


def counts(size):
    return {"x": torch.randn(size, 4), "labels": torch.randint(1, 6, (size,)).double()}


def number(loss, last=lambda x: x):
    return ModelSpec(
        build=lambda: Number(last),
        batch=counts,
        loss=lambda o, b: loss(o, b["labels"].to(o.dtype)),
    )


def poisson(output, labels):
    return F.poisson_nll_loss(output, labels)


NUMBERS = {
    "a squared error": (number(F.mse_loss), []),
    "an absolute error": (number(F.l1_loss), []),
    "the logarithm of a rate": (number(poisson), []),
    "the labels added": (number(lambda o, y: (o + y).square().mean()), ["loss-targets"]),
    "the labels added, absolute": (number(lambda o, y: (o + y).abs().mean()), ["loss-targets"]),
    "labels of other rows": (number(lambda o, y: F.mse_loss(o, y.roll(1))), ["loss-targets"]),
    "a rate for its logarithm": (number(poisson, F.softplus), ["loss-input"]),
}


@pytest.mark.parametrize(("given", "kinds"), NUMBERS.values(), ids=NUMBERS)
def test_a_regression_has_its_minimum_at_the_labels(given, kinds):
    assert found(given) == [(kind, "fail") for kind in kinds]


SPREADS = {0.1: [], 4.0: [("init", "warn")], 40.0: [("init", "fail")]}


@pytest.mark.parametrize(("spread", "wanted"), SPREADS.items(), ids=str)
def test_an_untrained_classifier_costs_the_log_of_the_classes(spread, wanted):
    given = ModelSpec(build=lambda: Reader(spread), batch=text, loss=shifted)
    assert found(given, check_initial_loss) == wanted


def test_the_cost_of_a_guess_is_named():
    given = ModelSpec(build=lambda: Reader(40.0), batch=text, loss=shifted)
    (one,) = held(check_initial_loss(Subject(given)))
    assert f"ln 23 = {math.log(23):.4g}" in one.evidence

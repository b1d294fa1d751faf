"""Evaluations and clippings of a training loop: all that is said of each (records/)."""

import dataclasses

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unit.testing.records import check_model
from zoo.testing.spec import ModelSpec, Trainer

LR, CLIP = 1e-2, 0.5


class Net(nn.Module):
    """A body, a part that a mode may change, and a head."""

    def __init__(self, part=None):
        super().__init__()
        self.body, self.part, self.head = nn.Linear(5, 6), part or nn.Tanh(), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.part(self.body(x)))


def batch(size):
    return {"x": torch.randn(size, 5), "labels": torch.randint(3, (size,))}


def loss_of(model, given):
    return F.cross_entropy(model(given["x"]), given["labels"])


def step(model, optimizer, scheduler, given):
    model.train()
    optimizer.zero_grad()
    loss_of(model, given).backward()
    nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    optimizer.step()


def clipping(how):
    def one(model, optimizer, scheduler, given):
        optimizer.zero_grad()
        loss_of(model, given).backward()
        how(list(model.parameters()))
        optimizer.step()

    return one


def by_value(parameters):
    nn.utils.clip_grad_value_(parameters, 0.05)


def to(limit):
    return lambda parameters: nn.utils.clip_grad_norm_(parameters, limit)


def evaluation(*, mode="eval", graph=False, gives="rows", does="", back=True):
    def one(model, batches):
        before = model.training
        if mode == "eval":
            model.eval()
        if mode == "but the part":
            model.eval()
            model.part.train()
        with torch.set_grad_enabled(graph):
            values = [loss_of(model, given).double() * len(given["x"]) for given in batches]
        if does == "zeroes":
            model.zero_grad()
        if does == "writes":
            with torch.no_grad():
                model.head.bias.add_(1)
        if back:
            model.train(before)
        if back == "the part alone":
            model.part.eval()
        rows = sum(len(given["x"]) for given in batches)
        total = sum(values) / rows
        if gives == "means":
            total = sum(v / len(g["x"]) for v, g in zip(values, batches, strict=True)) / len(
                batches
            )
        return total if gives == "graph" else {"loss": 1} if gives == "words" else total.item()

    return one


SOUND = Trainer(
    optimizer=lambda model: torch.optim.SGD(model.parameters(), lr=LR),
    step=step,
    evaluate=evaluation(),
    clip=CLIP,
)


def told(check, part=None, **changes):
    spec = ModelSpec(
        build=lambda: Net(part() if part else None),
        batch=batch,
        loss=lambda output, given: F.cross_entropy(output, given["labels"]),
        min_batch_train=2,
        trainer=dataclasses.replace(SOUND, **changes),
    )
    (outcome,) = check_model(spec, only=(check,)).outcomes
    assert outcome.status in ("passed", "found"), outcome.reason
    return [(f.severity, f.kind) for f in outcome.findings]


def drop():
    return nn.Dropout(0.3)


def norm():
    return nn.BatchNorm1d(6)


FAIL, WARN, INFO = (("fail", "eval-mode"), ("warn", "eval-mode"), ("info", "eval-mode"))
EVALUATIONS = {
    "sound": ({}, None, []),
    "sound, of a norm": ({}, norm, []),
    "in train mode, where it makes no difference": ({"mode": "train"}, None, [WARN]),
    "in train mode, with dropout": ({"mode": "train"}, drop, [FAIL]),
    "in train mode, with a norm": ({"mode": "train"}, norm, [FAIL]),
    "dropout alone in train mode": ({"mode": "but the part"}, drop, [FAIL]),
    "a norm alone in train mode": ({"mode": "but the part"}, norm, [FAIL]),
    "a layer alone in train mode": ({"mode": "but the part"}, None, []),
    "with graphs": ({"graph": True}, None, [INFO]),
    "with graphs that it gives": ({"graph": True, "gives": "graph"}, None, [WARN]),
    "gradients that are lost": ({"does": "zeroes"}, None, [WARN]),
    "weights that move": ({"does": "writes"}, None, [FAIL]),
    "train mode that is not given back": ({"back": False}, drop, [FAIL]),
    "train mode of a part that is not given back": ({"back": "the part alone"}, drop, [WARN]),
    "a mean of means": ({"gives": "means"}, None, [WARN]),
    "what is no number": ({"gives": "words"}, None, []),
}
CLIPPINGS = {
    "at the limit": (to(CLIP), []),
    "just above it": (to(CLIP * 1.005), []),
    "a little above it": (to(CLIP * 1.03), [("fail", "clipping")]),
    "far below it": (to(CLIP * 0.05), [("fail", "clipping")]),
    "below it": (to(CLIP * 0.2), []),
    "by value": (by_value, [("warn", "clipping")]),
    "twice": (lambda parameters: (to(9.0)(parameters), to(CLIP)(parameters)), []),
    "of the head": (lambda parameters: to(CLIP)(parameters[2:]), [("fail", "clipping")]),
    "of nothing": (lambda parameters: None, [("fail", "clipping")]),
}


@pytest.mark.parametrize("name", EVALUATIONS)
def test_what_is_said_of_an_evaluation(name):
    how, part, wanted = EVALUATIONS[name]
    assert told("evaluate", part, evaluate=evaluation(**how)) == wanted


@pytest.mark.parametrize("name", CLIPPINGS)
def test_what_is_said_of_a_clipping(name):
    how, wanted = CLIPPINGS[name]
    assert told("clipping", step=clipping(how)) == wanted

"""Modes and randomness: sound modules pass, and what does not follow its mode is stopped."""

import random

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unit.testing.records import check_model
from zoo.testing.spec import ModelSpec

CHECKS = ("determinism", "train_randomness", "modes", "dropout")


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(4, 8)
        self.drop = nn.Dropout(0.5)
        self.norm = nn.BatchNorm1d(8)

    def forward(self, x):
        return self.drop(self.norm(self.lin(x)))


class AlwaysDrops(Plain):
    def forward(self, x):
        return F.dropout(self.lin(x), 0.5)


class NeverDrops(Plain):
    def forward(self, x):
        return F.dropout(self.lin(x), 0.5, training=False)


class DropsIntoNothing(Plain):
    def forward(self, x):
        y = self.lin(x)
        F.dropout(y, 0.5, self.training)
        return y


class NoiseInEval(Plain):
    def forward(self, x):
        return self.lin(x + 0.1 * torch.randn_like(x))


class MaskInEval(Plain):
    def forward(self, x):
        return self.lin(x) * (torch.rand(x.size(0), 1) > 0.3)


class PythonsNoise(Plain):
    def forward(self, x):
        return self.lin(x) * (1 + 0.1 * random.random() * self.training)


class OwnNoise(Plain):
    def forward(self, x):
        y = self.lin(x)
        return y * (1 + 0.1 * random.SystemRandom().random()) if self.training else y


class TrainsInForward(Plain):
    def forward(self, x):
        self.norm.train()
        return self.norm(self.lin(x))


class IgnoresEval(Plain):
    def train(self, mode=True):
        super().train(mode)
        self.norm.training = True
        return self


class Unscaled(nn.Module):
    def forward(self, x):
        return x * (torch.rand_like(x) > 0.3) if self.training else x


class DropPath(nn.Module):
    def forward(self, x):
        return x * (torch.rand(()) > 0.3) / 0.7 if self.training else x


class WithUnscaledDropout(Plain):
    def __init__(self):
        super().__init__()
        self.drop = type("HandDropout", (Unscaled,), {})()


class WithSharedDropPath(Plain):
    def __init__(self):
        super().__init__()
        self.drop = DropPath()


class NeverLearnsStatistics(Plain):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(8, momentum=0.0)


def batch(size):
    return {"x": torch.randn(size, 4), "labels": torch.randint(8, (size,))}


def loss(output, batch):
    return F.cross_entropy(output, batch["labels"])


def spec(build, **facts):
    return ModelSpec(build=build, batch=batch, loss=loss, **facts)


@pytest.mark.parametrize(
    "facts",
    [{}, {"train_noise": True, "deterministic": True, "train_eval_same": False}],
    ids=["bare", "declared"],
)
def test_a_sound_module_passes(facts):
    report = check_model(spec(Plain, **facts), only=CHECKS)
    assert report.findings == (), str(report)
    assert {o.status for o in report.outcomes} == {"passed"}


@pytest.mark.parametrize(
    ("build", "check", "kind", "where"),
    [
        (AlwaysDrops, "determinism", "eval-noise", ""),
        (NoiseInEval, "determinism", "eval-noise", ""),
        (MaskInEval, "determinism", "eval-noise", ""),
        (PythonsNoise, "train_randomness", "hidden-rng", ""),
        (OwnNoise, "train_randomness", "hidden-rng", ""),
        (NeverDrops, "dropout", "no-train-noise", ""),
        (DropsIntoNothing, "dropout", "no-train-noise", ""),
        (WithUnscaledDropout, "dropout", "train-eval", "drop"),
        (WithSharedDropPath, "dropout", "batch-leak", "drop"),
        (TrainsInForward, "modes", "train-eval", "norm"),
        (IgnoresEval, "modes", "train-eval", "norm"),
        (NeverLearnsStatistics, "modes", "train-eval", "norm"),
    ],
)
def test_a_saboteur_is_stopped(build, check, kind, where):
    found = check_model(spec(build), only=(check,)).failures
    assert found, "nothing was found"
    assert (found[0].kind, found[0].where) == (kind, where)


def test_noise_that_was_declared_is_allowed_in_eval_mode():
    (outcome,) = check_model(spec(NoiseInEval, deterministic=False), only=("determinism",)).outcomes
    assert outcome.status == "skipped"


def test_noise_without_labels_is_only_told():
    bare = ModelSpec(build=NoiseInEval, batch=lambda size: {"x": torch.randn(size, 4)})
    report = check_model(bare, only=("determinism",))
    assert [f.severity for f in report.findings] == ["warn"]


@pytest.mark.parametrize(
    ("build", "facts", "check", "kind"),
    [
        (NeverLearnsStatistics, {"train_noise": False}, "train_randomness", "nondeterministic"),
        (nn.Identity, {"train_noise": True}, "dropout", "no-train-noise"),
        (nn.Identity, {"train_eval_same": False}, "modes", "train-eval"),
        (Plain, {"train_eval_same": True}, "modes", "train-eval"),
    ],
)
def test_what_was_declared_must_hold(build, facts, check, kind):
    model = ModelSpec(
        build=build,
        batch=lambda size: {("input" if build is nn.Identity else "x"): torch.randn(size, 4)},
        **facts,
    )
    found = check_model(model, only=(check,)).failures
    assert [f.kind for f in found] == [kind]

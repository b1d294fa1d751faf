"""Gradients in train mode: what passes them is left alone, and what is drawn and cut is stopped."""

import pytest
import torch
from torch import nn
from torch.distributions import Categorical, Normal
from torch.nn import functional as F

from unit.testing.records import check_model
from zoo.testing.spec import ModelSpec

CHECKS = ("training_gradients", "samples")


class Coder(nn.Module):
    def __init__(self):
        super().__init__()
        self.mean, self.spread = nn.Linear(5, 3), nn.Linear(5, 3)
        self.back = nn.Linear(3, 5)

    def forward(self, x):
        mean, std = self.mean(x), F.softplus(self.spread(x)) + 0.1
        code = self.drawn(mean, std) if self.training else mean
        return {"made": self.back(code), "mean": mean, "std": std, "code": code}

    def drawn(self, mean, std):
        return mean + std * torch.randn_like(std)


class Reparametrised(Coder):
    def drawn(self, mean, std):
        return Normal(mean, std).rsample()


class Sampled(Coder):
    def drawn(self, mean, std):
        return Normal(mean, std).sample()


class DrawnByTorchNormal(Coder):
    def drawn(self, mean, std):
        return torch.normal(mean, std)


class DrawnWithoutGradient(Coder):
    def drawn(self, mean, std):
        with torch.no_grad():
            return torch.normal(mean=mean, std=std)


class Mixed(nn.Module):
    """One of four rows is chosen: softly, or in train mode by a draw that nothing comes back of."""

    def __init__(self, how):
        super().__init__()
        self.how, self.ask = how, nn.Linear(5, 4)
        self.rows = nn.Parameter(torch.randn(4, 5))

    def forward(self, x):
        scores = self.ask(x)
        weight = scores.softmax(-1)
        if self.training and self.how == "gumbel":
            weight = F.gumbel_softmax(scores, hard=True)
        if self.training and self.how == "drawn":
            weight = F.one_hot(Categorical(logits=scores).sample(), 4).to(x.dtype)
        if self.training and self.how == "cut":
            weight = weight.detach()
        return {"made": weight @ self.rows, "mean": x, "std": x}


def rebuilt(output, batch):
    return F.mse_loss(output["made"], batch["x"])


def with_divergence(output, batch):
    mean, std = output["mean"], output["std"]
    return rebuilt(output, batch) + (mean**2 + std**2 - 2 * std.log()).mean()


def by_score(output, batch):
    chance = Normal(output["mean"], output["std"]).log_prob(output["code"].detach())
    reward = (output["made"] - batch["x"]).square().mean(1).detach()
    return rebuilt(output, batch) + (reward[:, None] * chance).mean()


def given(build, loss, **facts):
    return ModelSpec(build=build, batch=lambda n: {"x": torch.randn(n, 5)}, loss=loss, **facts)


def failures(spec):
    report = check_model(spec, only=CHECKS)
    assert not [o for o in report.outcomes if o.status == "error"]
    return [(f.kind, f.check, f.where) for f in report.failures]


SOUND = {
    "noise times a learnt spread": given(Coder, with_divergence),
    "rsample": given(Reparametrised, with_divergence),
    "a sample whose likelihood is in the loss": given(Sampled, by_score),
    "a cut that was declared": given(Sampled, with_divergence, stop_gradient=True),
    "a soft choice": given(lambda: Mixed("soft"), rebuilt),
    "a hard choice with a way back": given(lambda: Mixed("gumbel"), rebuilt),
    "a choice that was declared": given(lambda: Mixed("drawn"), rebuilt, stop_gradient=True),
}


@pytest.mark.parametrize("name", SOUND)
def test_what_passes_its_gradients_is_left_alone(name):
    assert failures(SOUND[name]) == []


BROKEN = {
    "sample()": (given(Sampled, with_divergence), "samples", ""),
    "torch.normal": (given(DrawnByTorchNormal, with_divergence), "samples", ""),
    "torch.normal without gradient": (given(DrawnWithoutGradient, with_divergence), "samples", ""),
    "a drawn choice": (given(lambda: Mixed("drawn"), rebuilt), "training_gradients", "ask"),
    "a detached choice": (given(lambda: Mixed("cut"), rebuilt), "training_gradients", "ask"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_cut_in_train_mode_is_stopped(name):
    spec, check, where = BROKEN[name]
    assert failures(spec)[0] == ("detached", check, where)

"""What the loss reads is learnt from, and backward recomputes what forward computed."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from unit.testing.records import check_model
from zoo.testing.spec import ModelSpec

CHECKS = ("loss_gradients", "backward_draws", "forward")


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(5, 6)
        self.word, self.value = nn.Linear(6, 4), nn.Linear(6, 1)

    def forward(self, x):
        h = torch.tanh(self.body(x))
        return {"word": self.word(h), "value": self.value(h)[:, 0]}


class Recomputed(Two):
    keep = True

    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        more = {} if self.keep else {"preserve_rng_state": False}
        y = checkpoint(lambda x: self.drop(self.body(x)), x, use_reentrant=False, **more)
        return {"word": self.word(y), "value": self.value(y)[:, 0]}


class OtherNoise(Recomputed):
    keep = False


class Measured(Two):
    """Gives the entropy of how often each class is chosen, which some never are."""

    eps = 1e-9

    def forward(self, x):
        found = super().forward(x)
        share = F.one_hot(found["word"].argmax(-1), 40).to(x.dtype).mean(0)
        return {**found, "entropy": -(share * (share + self.eps).log()).sum()}


class NeverANumber(Measured):
    eps = 0.0


def words(output, batch):
    return F.cross_entropy(output["word"], batch["labels"])


def both(output, batch):
    return words(output, batch) + F.mse_loss(output["value"], batch["number"])


def with_item(output, batch):
    return words(output, batch) + F.mse_loss(output["value"], batch["number"]).item()


def with_detach(output, batch):
    return words(output, batch) + F.mse_loss(output["value"].detach(), batch["number"])


def spec(build, loss, **facts):
    def batch(n):
        return {
            "x": torch.randn(n, 5),
            "labels": torch.randint(4, (n,)),
            "number": torch.randn(n),
        }

    return ModelSpec(build=build, batch=batch, loss=loss, **facts)


def failures(given):
    report = check_model(given, only=CHECKS)
    assert not [o for o in report.outcomes if o.status == "error"]
    return [(f.kind, f.check, f.where) for f in report.failures]


SOUND = {
    "both heads": spec(Two, both),
    "a head that the loss leaves out": spec(Two, words),
    "a cut that was declared": spec(Two, with_detach, stop_gradient=True),
    "recomputed with the same noise": spec(Recomputed, both),
    "a number that is only looked at": spec(Measured, both),
}


@pytest.mark.parametrize("name", SOUND)
def test_a_sound_step_is_left_alone(name):
    assert failures(SOUND[name]) == []


BROKEN = {
    "item()": (spec(Two, with_item), ("detached", "loss_gradients", "value")),
    "detach()": (spec(Two, with_detach), ("detached", "loss_gradients", "value")),
    "other noise": (spec(OtherNoise, both), ("checkpointing", "backward_draws", "body")),
    "0 times its logarithm": (spec(NeverANumber, both), ("non-finite", "forward", "")),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_step_that_loses_its_gradient_is_stopped(name):
    given, expected = BROKEN[name]
    kind, check, where = failures(given)[0]
    assert (kind, check) == expected[:2]
    assert where == expected[2] or check == "backward_draws"

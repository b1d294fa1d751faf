"""State between calls: sound modules pass, and what remembers, writes or seeds is stopped."""

import pytest
import torch
from torch import nn

from unit.testing.records import check_model
from zoo.testing.spec import ModelSpec

CHECKS = ("state", "inputs_untouched", "outputs_kept", "graph_freed", "global_state")


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(4, 3)

    def forward(self, x):
        return self.lin(x)


class Normed(Plain):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)

    def forward(self, x):
        return self.lin(self.norm(x))


class Remembers(Plain):
    def forward(self, x):
        last = getattr(self, "last", torch.zeros(()))
        self.last = x.detach().mean()
        return self.lin(x + last)


class KeepsTheFirst(Plain):
    def forward(self, x):
        if not hasattr(self, "mean"):
            self.mean = x.detach().mean()
        return self.lin(x - self.mean)


class CountsInEval(Plain):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(4))

    def forward(self, x):
        self.seen += x.detach().mean(0)
        return self.lin(x)


class ClampsItsWeight(Plain):
    def forward(self, x):
        if self.training:
            with torch.no_grad():
                self.lin.weight.mul_(0.9)
        return self.lin(x)


class WritesToTheInput(Plain):
    def forward(self, x):
        return self.lin(x.mul_(2.0))


class GivesItsBuffer(Plain):
    def __init__(self):
        super().__init__()
        self.register_buffer("kept", torch.zeros(3, 3), persistent=False)

    def forward(self, x):
        return self.kept.copy_(self.lin(x).detach())


class KeepsTheGraph(Plain):
    def forward(self, x):
        y = self.lin(x)
        if self.training:
            y = y + getattr(self, "trace", 0.0)
            self.trace = y.mean()
        return y


class SeedsItself(Plain):
    def forward(self, x):
        torch.manual_seed(0)
        return self.lin(x)


class SeedsWhenBuilt(Plain):
    def __init__(self):
        torch.manual_seed(3)
        super().__init__()


class TurnsGradientsOff(Plain):
    def forward(self, x):
        y = self.lin(x)
        torch.set_grad_enabled(False)
        return y


def batch(size):
    return {"x": torch.randn(size, 4), "y": torch.randn(size, 3)}


def loss(output, batch):
    return (output - batch["y"]).pow(2).mean()


def spec(build, **facts):
    return ModelSpec(build=build, batch=batch, loss=facts.pop("loss", loss), **facts)


@pytest.mark.parametrize("build", [Plain, Normed])
def test_a_sound_module_passes(build):
    report = check_model(spec(build), only=CHECKS)
    assert report.findings == (), str(report)
    assert {o.status for o in report.outcomes} == {"passed"}


@pytest.mark.parametrize(
    ("build", "check", "kind", "where"),
    [
        (Remembers, "state", "state-carried", ""),
        (KeepsTheFirst, "state", "state-carried", ""),
        (CountsInEval, "state", "train-eval", ""),
        (ClampsItsWeight, "state", "state-carried", "lin"),
        (WritesToTheInput, "inputs_untouched", "input-mutated", ""),
        (GivesItsBuffer, "outputs_kept", "state-carried", ""),
        (KeepsTheGraph, "graph_freed", "state-carried", ""),
        (SeedsItself, "global_state", "global-state", ""),
        (SeedsWhenBuilt, "global_state", "global-state", ""),
        (TurnsGradientsOff, "global_state", "global-state", ""),
    ],
)
def test_a_saboteur_is_stopped(build, check, kind, where):
    found = check_model(spec(build), only=(check,)).failures
    assert found, "nothing was found"
    assert (found[0].kind, found[0].where) == (kind, where)


def test_a_loss_that_writes_to_the_labels_is_stopped():
    def writes(output, batch):
        return (output - batch["y"].mul_(2.0)).pow(2).mean()

    (found,) = check_model(spec(Plain, loss=writes), only=("inputs_untouched",)).failures
    assert found.kind == "input-mutated" and "'y'" in found.evidence


def test_the_line_that_writes_to_the_input_is_told():
    (found,) = check_model(spec(WritesToTheInput), only=("inputs_untouched",)).failures
    assert "x.mul_(2.0)" in found.line


def test_declared_state_is_allowed_if_reset_forgets_it():
    def forget(module):
        module.__dict__.pop("last", None)

    right = spec(Remembers, stateful=True, reset=forget)
    assert check_model(right, only=("state",)).outcomes[0].status == "passed"
    wrong = spec(Remembers, stateful=True, reset=lambda module: None)
    (found,) = check_model(wrong, only=("state",)).failures
    assert found.kind == "state-carried" and "reset" in found.evidence


def test_settings_and_generators_are_as_before_a_check():
    torch.manual_seed(5)
    before = torch.get_rng_state()
    check_model(spec(TurnsGradientsOff), only=CHECKS)
    assert torch.is_grad_enabled() and torch.equal(before, torch.get_rng_state())
    assert torch.manual_seed.__module__ == "torch.random"

"""What evaluation, or another size, leaves behind: sound modules pass, the others are stopped."""

import pytest
import torch
from torch import nn

from unit.testing.records import check_model
from zoo.testing.spec import ModelSpec

CHECKS = ("evaluation_forgotten", "sizes_forgotten")


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(6, 6)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return self.lin(self.drop(x))


class Normed(Plain):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(6)

    def forward(self, x):
        return super().forward(self.norm(x))


class MergedWhileEvaluated(Plain):
    def __init__(self):
        super().__init__()
        self.low = nn.Parameter(torch.randn(6, 2))

    def train(self, mode=True):
        if mode != self.training:
            with torch.no_grad():
                self.lin.weight += (self.low @ self.low.T) * (-1 if mode else 1)
        return super().train(mode)

    def forward(self, x):
        more = x @ self.low @ self.low.T if self.training else 0
        return self.lin(x) + more


class NoDropoutEverAgain(Plain):
    def forward(self, x):
        if not self.training:
            self.drop.p = 0.0
        return super().forward(x)


class LayerTakenOut(Plain):
    def eval(self):
        self.drop = nn.Identity()
        return super().eval()


class FrozenByEvaluation(Plain):
    def eval(self):
        for p in self.parameters():
            p.requires_grad_(False)
        return super().eval()


class RaisesAfterwards(Plain):
    def forward(self, x):
        if not self.training:
            self.drop = None
        return super().forward(x) if self.drop is not None else self.lin(x)

    def train(self, mode=True):
        if mode and self.drop is None:
            self.lin = None
        return super().train(mode)


class Grid(nn.Module):
    """A convolution that is told where it looks; `key` says when a kept grid fits."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.grid = None

    def fits(self, x):
        return self.grid is not None and self.grid.shape[-2:] == x.shape[-2:]

    def forward(self, x):
        h, w = x.shape[-2:]
        if not self.fits(x):
            self.grid = torch.linspace(0, 1, h * w, dtype=x.dtype).reshape(1, 1, h, w)
        grid = self.grid.reshape(1, 1, h, w).expand(len(x), -1, -1, -1)
        return self.conv(torch.cat([x, grid], 1))


class GridOfAsMany(Grid):
    def forward(self, x):
        return super().forward(x) * self.side

    def fits(self, x):
        self.side = x.new_tensor(x.shape[-1]) if self.grid is None else self.side
        return False


class GridOfOneSize(Grid):
    def fits(self, x):
        return self.grid is not None


class Ramp(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(5, 5)
        self.ramp = None

    def forward(self, x):
        if self.ramp is None or len(self.ramp) < x.shape[1]:
            self.ramp = torch.linspace(0, 1, x.shape[1], dtype=x.dtype)
        return self.lin(x * self.ramp[: x.shape[1], None])


def flat(size):
    return {"x": torch.randn(size, 6)}


def images(size):
    return {"x": torch.randn(size, 2, 4, 6)}


def signals(size):
    return {"x": torch.randn(size, 7, 5)}


def found(build, batch, **facts):
    report = check_model(ModelSpec(build=build, batch=batch, **facts), only=CHECKS)
    assert not [o for o in report.outcomes if o.status == "error"]
    return report.findings


SOUND = {
    "dropout": (Plain, flat),
    "batch norm": (Normed, flat),
    "weights merged for evaluation and taken apart again": (MergedWhileEvaluated, flat),
    "a grid kept for the size at hand": (Grid, images),
}


@pytest.mark.parametrize("name", SOUND)
def test_sound_modules_leave_nothing_behind(name):
    assert not found(*SOUND[name])


BROKEN = {
    "eval mode sets the rate to 0": (NoDropoutEverAgain, flat, "state-carried", "drop"),
    "eval() takes a layer out": (LayerTakenOut, flat, "state-carried", "drop"),
    "eval() freezes": (FrozenByEvaluation, flat, "frozen", "lin"),
    "train() after an evaluation breaks it": (RaisesAfterwards, flat, "state-carried", None),
    "a number of the first size": (GridOfAsMany, images, "state-carried", ""),
    "a grid of the first size": (GridOfOneSize, images, "state-carried", ""),
    "a ramp of the longest": (Ramp, signals, "state-carried", ""),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_left_behind_is_stopped(name):
    build, batch, kind, where = BROKEN[name]
    first = found(build, batch)[0]
    assert (first.kind, first.severity) == (kind, "fail")
    assert where is None or first.where == where


def test_a_model_that_remembers_on_purpose_is_left_alone():
    assert not found(NoDropoutEverAgain, flat, stateful=True)


def test_train_mode_that_changes_the_next_call_is_another_checks():
    class Counts(Plain):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return self.lin(x) * self.calls

    assert not found(Counts, flat)

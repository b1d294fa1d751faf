"""Layers that follow train() and eval(), and dropout: all that is said (records/)."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unit.testing.records import check_model
from zoo.testing.spec import ModelSpec


class Net(nn.Module):
    """A layer, a part between, and a layer."""

    def __init__(self, part=None, **more):
        super().__init__()
        self.body, self.part, self.head = nn.Linear(4, 6), part or nn.Identity(), nn.Linear(6, 3)
        vars(self).update(more)

    def forward(self, x):
        return self.head(self.part(self.body(x)))


class NeverTrains(Net):
    def train(self, mode=True):
        return super().train(False)


class StaysInTrain(Net):
    def train(self, mode=True):
        super().train(mode)
        self.part.train()
        return self


class StaysInEval(Net):
    def train(self, mode=True):
        super().train(mode)
        self.part.eval()
        return self


class Wakes(Net):
    """Changes the mode of its part in a forward pass."""

    def forward(self, x):
        self.part.train(not self.training)
        return super().forward(x)


class Refuses(Wakes):
    def forward(self, x):
        if self.training:
            raise ValueError("no training today")
        return super().forward(x)


class NormOfTheBatch(Net):
    def forward(self, x):
        y = self.body(x)
        mean, spread = torch.zeros(6).to(y), torch.ones(6).to(y)
        return self.head(F.batch_norm(y, mean, spread, training=self.always or self.training))


class Off(Net):
    """Dropout by hand: off, thrown away, in place, twice as large, or for all rows together."""

    def forward(self, x):
        y = self.body(x)
        if self.how == "off":
            y = F.dropout(y, 0.3, training=False)
        if self.how == "rate 0":
            y = F.dropout(y, 0.0, training=False)
        if self.how == "lost":
            F.dropout(y, 0.3, self.training)
        if self.how == "in place":
            F.dropout(y, 0.3, self.training, inplace=True)
        if self.how == "given":
            return F.dropout(self.head(y), 0.3, self.training)
        return self.head(y)


class OwnDrop(nn.Module):
    """Rows or numbers dropped by hand."""

    def __init__(self, kept=0.5, scale=2.0, rows=False, eval_scale=1.0):
        super().__init__()
        self.kept, self.scale, self.rows, self.eval_scale = kept, scale, rows, eval_scale

    def forward(self, x):
        if not self.training:
            return x * self.eval_scale
        shape = (1,) * x.dim() if self.rows else x.shape
        return x * (torch.rand(shape) < self.kept).to(x) * self.scale


class DropPath(OwnDrop):
    pass


class Plus(Net):
    def forward(self, x):
        return super().forward(x) + (1.0 if self.training else 0.0)


def frozen(net):
    net.body.requires_grad_(False)
    net.head.requires_grad_(False)
    return net


def norm(**how):
    return nn.BatchNorm1d(6, **how)


def moving(part):
    with torch.no_grad():
        part.running_mean.add_(1)
    return part


def rows(size):
    return {"x": torch.randn(size, 4)}


def spec(build, **facts):
    return ModelSpec(build=build, batch=rows, **facts)


MODES = {
    "a norm": (spec(lambda: Net(norm())), []),
    "a model that is never in train mode": (spec(NeverTrains), [("fail", "")]),
    "dropout in train mode": (spec(lambda: StaysInTrain(nn.Dropout(0.1))), [("fail", "part")]),
    "dropout of nothing in train mode": (spec(lambda: StaysInTrain(nn.Dropout(0.0))), []),
    "a norm in train mode": (
        spec(lambda: StaysInTrain(norm())),
        [("fail", "part"), ("fail", "part")],
    ),
    "a layer in train mode": (spec(lambda: StaysInTrain(nn.Linear(6, 6))), []),
    "dropout in eval mode": (spec(lambda: StaysInEval(nn.Dropout(0.1))), [("warn", "part")]),
    "dropout in eval mode that was promised": (
        spec(lambda: StaysInEval(nn.Dropout(0.1)), train_noise=True),
        [("fail", "part")],
    ),
    "a norm in eval mode that was promised": (
        spec(lambda: StaysInEval(norm()), train_noise=True),
        [("warn", "part")],
    ),
    "a frozen norm in eval mode": (
        spec(lambda: StaysInEval(norm().requires_grad_(False))),
        [],
    ),
    "a forward that wakes its part": (spec(lambda: Wakes(nn.Dropout(0.1))), [("fail", "part")]),
    "a forward that wakes its part in eval mode": (
        spec(lambda: Refuses(nn.Dropout(0.1))),
        [],
    ),
    "a norm of the batch in eval mode": (
        spec(lambda: NormOfTheBatch(always=True)),
        [("fail", "")],
    ),
    "a norm of the batch in train mode": (spec(lambda: NormOfTheBatch(always=False)), []),
    "a norm that keeps nothing": (spec(lambda: Net(norm(track_running_stats=False))), []),
    "a norm that never moves": (spec(lambda: Net(norm(momentum=0.0))), [("fail", "part")]),
    "a norm that was loaded, and never moves": (
        spec(lambda: Net(moving(norm(momentum=0.0)))),
        [],
    ),
    "a norm of the last batch": (spec(lambda: Net(norm(momentum=0.9))), [("warn", "part")]),
    "a norm of the last few": (spec(lambda: Net(norm(momentum=0.89))), []),
    "a norm of all batches": (spec(lambda: Net(norm(momentum=None))), []),
    "modes that agree, as said": (spec(Net, train_eval_same=True), []),
    "modes that agree, and should not": (spec(Net, train_eval_same=False), [("fail", "")]),
    "modes that agree while a norm learns": (
        spec(lambda: Counting(), train_eval_same=False),
        [("warn", "")],
    ),
    "modes that differ, and should not": (
        spec(lambda: Net(nn.Dropout(0.5)), train_eval_same=True),
        [("fail", "part")],
    ),
    "modes that differ outside, and should not": (spec(Plus, train_eval_same=True), [("fail", "")]),
    "modes that differ, as said": (spec(Plus, train_eval_same=False), []),
}


class Counting(Net):
    """Learns statistics in train mode, and does not use them."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(4))

    def forward(self, x):
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
        return super().forward(x)


DROPOUT = {
    "none": (spec(Net), []),
    "torch's": (spec(lambda: Net(nn.Dropout(0.3)), train_noise=True), []),
    "torch's, of rate 0": (
        spec(lambda: Net(nn.Dropout(0.0)), train_noise=True),
        [("fail", "no-train-noise", "part")],
    ),
    "none that was promised": (spec(Net, train_noise=True), [("fail", "no-train-noise", "")]),
    "off": (spec(lambda: Off(how="off")), [("fail", "no-train-noise", "")]),
    "of rate 0 and off": (spec(lambda: Off(how="rate 0")), []),
    "thrown away": (spec(lambda: Off(how="lost")), [("fail", "no-train-noise", "")]),
    "in place": (spec(lambda: Off(how="in place")), []),
    "of what is given": (spec(lambda: Off(how="given")), []),
    "by hand": (spec(lambda: Net(OwnDrop())), []),
    "by hand, not scaled": (
        spec(lambda: Net(OwnDrop(scale=1.0))),
        [("fail", "train-eval", "part")],
    ),
    "by hand, scaled in eval mode": (
        spec(lambda: Net(OwnDrop(scale=1.0, eval_scale=0.5))),
        [],
    ),
    "by hand, for all rows": (
        spec(lambda: Net(OwnDrop(rows=True))),
        [("warn", "batch-leak", "part")],
    ),
    "a path, for all rows": (
        spec(lambda: Net(DropPath(rows=True))),
        [("fail", "batch-leak", "part")],
    ),
    "a path, for all rows, not scaled": (
        spec(lambda: Net(DropPath(rows=True, scale=1.0))),
        [("fail", "train-eval", "part")],
    ),
    "by hand, never": (spec(lambda: Net(OwnDrop(kept=1.0, scale=1.0))), []),
    "a train mode that does not run": (spec(lambda: Refuses(nn.Dropout(0.1))), None),
}


class OnInEval(nn.Module):
    """Dropout that eval mode does not switch off, of several kinds."""

    def __init__(self, how, rate=0.3):
        super().__init__()
        self.how, self.rate, self.body = how, rate, nn.Linear(4, 4)
        self.heads = nn.MultiheadAttention(4, 1, batch_first=True)
        self.rnn = nn.LSTM(4, 4, 2, batch_first=True, dropout=0.0)
        self.drops = [nn.Dropout(rate)]

    def forward(self, x):
        y = self.body(x)
        if self.how == "a list":
            return self.drops[0](y)
        if self.how == "functional":
            return F.dropout(y, self.rate)
        if self.how == "by name":
            return F.dropout(y, p=self.rate, training=True)
        if self.how == "in train mode":
            return F.dropout(y, self.rate, self.training)
        y = y[:, None] * torch.arange(1.0, 4.0, dtype=y.dtype)[:, None]
        if self.how == "attention":
            return F.scaled_dot_product_attention(y, y, y, dropout_p=self.rate)
        if self.how == "heads":
            self.heads.dropout = self.rate
            return self.heads.train()(y, y, y)[0]
        self.rnn.dropout = self.rate
        return self.rnn.train()(y)[0]


DRAWS = {
    "a layer in a list": ("a list", {}, [("fail", "unregistered", "")]),
    "a function": ("functional", {}, [("fail", "eval-noise", "")]),
    "a function of rate 0": ("functional", {"rate": 0.0}, []),
    "a function, by name": ("by name", {}, [("fail", "eval-noise", "")]),
    "a function that follows the mode": ("in train mode", {}, []),
    "attention": ("attention", {}, [("fail", "eval-noise", "")]),
    "attention of rate 0": ("attention", {"rate": 0.0}, []),
    "heads in train mode": ("heads", {}, [("fail", "eval-noise", "heads")]),
    "a recurrence of two layers": ("two layers", {}, [("warn", "eval-noise", "rnn")]),
}


@pytest.mark.parametrize("name", DRAWS)
def test_what_is_said_of_dropout_in_eval_mode(name):
    how, more, wanted = DRAWS[name]
    (outcome,) = check_model(spec(lambda: OnInEval(how, **more)), only=("determinism",)).outcomes
    assert [(f.severity, f.kind, f.where) for f in outcome.findings] == wanted


@pytest.mark.parametrize("name", MODES)
def test_what_is_said_of_a_mode(name):
    given, wanted = MODES[name]
    (outcome,) = check_model(given, only=("modes",)).outcomes
    assert [(f.severity, f.where) for f in outcome.findings] == wanted
    assert {f.kind for f in outcome.findings} <= {"train-eval"}


@pytest.mark.parametrize("name", DROPOUT)
def test_what_is_said_of_dropout(name):
    given, wanted = DROPOUT[name]
    (outcome,) = check_model(given, only=("dropout",)).outcomes
    said = [(f.severity, f.kind, f.where) for f in outcome.findings]
    assert (None if outcome.status == "skipped" else said) == wanted

"""Gradients that arrive: sound models with odd parameters, and one that gets none each."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from unit.testing.records import check_model
from zoo.testing.spec import ModelSpec


def normal(size):
    return {"x": torch.randn(size, 5), "labels": torch.randint(3, (size,))}


def cross_entropy(output, batch):
    logits = output[0] if isinstance(output, tuple) else output
    return F.cross_entropy(logits, batch["labels"])


class Net(nn.Module):
    """A body, a second branch that a subclass uses or not, and a head."""

    def __init__(self):
        super().__init__()
        self.body, self.side, self.head = nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        x = torch.tanh(self.body(x))
        return self.head(x + self.side(x))


class Forgotten(Net):
    def forward(self, x):
        return self.head(torch.tanh(self.body(x)))


# the base class's forward still names the branch: a class of its own has no such code
class NeverCalled(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.side, self.head = nn.Linear(5, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(torch.tanh(self.body(x)))


class Numbered(nn.Module):
    def __init__(self):
        super().__init__()
        self.side1, self.side2, self.head = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x):
        x = torch.tanh(self.side1(x))
        self.side2(x)
        return self.head(x)


class ThrownAway(Net):
    def forward(self, x):
        x = torch.tanh(self.body(x))
        self.side(x)
        return self.head(x)


class NotAdded(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.bias = nn.Linear(5, 3, bias=False), nn.Parameter(torch.zeros(3))

    def forward(self, x):
        return self.body(x)


class LastLeftOut(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(5, 5) for _ in range(4))
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        for block in self.blocks[:-1]:
            x = torch.tanh(block(x))
        return self.head(x)


class Detached(Net):
    def forward(self, x):
        x = torch.tanh(self.body(x))
        return self.head(x + self.side(x).detach())


class CutBody(Net):
    def forward(self, x):
        x = torch.tanh(self.body(x)).detach()
        return self.head(x + self.side(x))


class ByTheBest(Net):
    """Only where the largest is gets through."""

    def forward(self, x):
        best = self.side(torch.tanh(self.body(x))).argmax(-1)
        return self.head(F.one_hot(best, 6).to(x))


class Momentum(Net):
    """A slow copy that forward itself moves, although it asks for a gradient."""

    def __init__(self):
        super().__init__()
        self.slow = nn.Linear(5, 6)

    def forward(self, x):
        with torch.no_grad():
            self.slow.weight.lerp_(self.body.weight, 0.1)
            self.slow.bias.lerp_(self.body.bias, 0.1)
            key = self.slow(x)
        return super().forward(x), key


class ZeroHead(Net):
    """The last layer begins at zero: at first nothing behind it has a gradient."""

    def __init__(self):
        super().__init__()
        nn.init.zeros_(self.head.weight)


class Attention(nn.Module):
    """The bias of the keys changes nothing, in every transformer."""

    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(5, 1, batch_first=True)
        self.head = nn.Linear(5, 3)

    def forward(self, x):
        x = x[:, None] * torch.arange(1.0, 4.0, dtype=x.dtype)[:, None]
        return self.head(self.attention(x, x, x)[0].mean(1))


class BeforeNorm(Net):
    """A bias before batch normalisation changes nothing."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(6)

    def forward(self, x):
        return self.head(torch.tanh(self.norm(self.body(x))) + self.side(self.body(x)))


class OtherHead(Net):
    """A second output that the loss does not read."""

    def forward(self, x):
        x = torch.tanh(self.body(x))
        return self.head(x), self.side(x)


class ByOption(Net):
    """A branch that another call asks for."""

    def forward(self, x, deep=False):
        x = torch.tanh(self.body(x))
        return self.head(x + self.side(x) if deep else x)


class Average(nn.Module):
    """Its own average, changed in forward and not by an optimizer."""

    def __init__(self):
        super().__init__()
        self.body, self.mean = nn.Linear(5, 3), nn.Parameter(torch.zeros(3))

    def forward(self, x):
        y = self.body(x)
        if self.training:
            self.mean.data.lerp_(y.detach().mean(0), 0.1)
        return y - self.mean.detach()


class Experts(nn.Module):
    """Each row is answered by the expert that it likes best, among the first few."""

    def __init__(self, number, asked):
        super().__init__()
        self.ask, self.asked = nn.Linear(5, number), asked
        self.all = nn.ModuleList(nn.Linear(5, 3) for _ in range(number))

    def forward(self, x):
        weight, best = self.ask(x).softmax(-1).max(-1)
        y = x.new_zeros(len(x), 3)
        for i, expert in enumerate(self.all[: self.asked]):
            rows = (best == i).nonzero()[:, 0]
            if len(rows):
                y = y.index_add(0, rows, expert(x[rows]) * weight[rows, None])
        return y


class Grown(nn.Module):
    def __init__(self, now):
        super().__init__()
        self.stages = nn.ModuleList(nn.Linear(5, 5) for _ in range(2))
        self.head, self.now = nn.Linear(5, 3), now

    def forward(self, x):
        for stage in self.stages[: self.now]:
            x = x + stage(x)
        return self.head(x)


class BothWays(nn.Module):
    def __init__(self, both):
        super().__init__()
        self.rnn, self.both = nn.GRU(3, 4, batch_first=True, bidirectional=True), both
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        _, last = self.rnn(x)
        return self.head(torch.cat([last[0], last[1 if self.both else 0]], -1))


def series(size):
    return {"x": torch.randn(size, 5, 3)}


def frozen_body():
    net = Net()
    net.body.requires_grad_(False)
    return net


def loaded():
    table = nn.Embedding.from_pretrained(torch.linspace(-1, 1, 42).reshape(7, 6))
    return nn.Sequential(table, nn.Linear(6, 2))


def drawn():
    table = nn.Embedding.from_pretrained(torch.randn(7, 6))
    return nn.Sequential(table, nn.Linear(6, 2))


def words(size):
    return {"input": torch.randint(7, (size, 4))}


def spec(build, loss=cross_entropy, **facts):
    return ModelSpec(build=build, batch=facts.pop("batch", normal), loss=loss, **facts)


def findings(given):
    report = check_model(given, only=["gradient_flow"])
    assert report.outcomes[-1].status != "error", report.outcomes[-1].reason
    return [(f.severity, f.kind, f.where) for f in report.outcomes[-1].findings]


SOUND = {
    "two branches": spec(Net),
    "without a loss": spec(Net, None),
    "experts that are all asked": spec(lambda: Experts(4, 4)),
    "a list that grows as training goes on": spec(lambda: Grown(2)),
    "both ways": ModelSpec(build=lambda: BothWays(True), batch=series),
    "a last layer that begins at zero": spec(ZeroHead),
    "attention with a bias of its keys": spec(Attention),
    "a bias before batch norm": spec(BeforeNorm, min_batch_train=2),
    "an output that the loss does not read": spec(OtherHead),
    "an average of its own": spec(Average),
    "a momentum encoder": spec(Momentum),
    "a frozen body that is declared": spec(frozen_body, frozen=["body.*"]),
    "a branch that may be unused": spec(NeverCalled, unused_ok=["side"]),
    "a cut that is declared": spec(Detached, stop_gradient=True),
    "a cut that is declared by name": spec(Detached, stop_gradient=["side"]),
    "an embedding of which few rows are read": ModelSpec(
        build=lambda: nn.Sequential(nn.Embedding(700, 6), nn.Linear(6, 2)), batch=words
    ),
}
BROKEN = {
    "a branch that is never called": (spec(NeverCalled), "fail", "unused-parameter", "side"),
    "a branch whose result is lost": (spec(ThrownAway), "fail", "unused-parameter", "side"),
    "a second layer whose result is lost": (
        spec(Numbered),
        "fail",
        "unused-parameter",
        "side2",
    ),
    "a parameter that is not added": (spec(NotAdded), "fail", "unused-parameter", ""),
    "a last block left out": (spec(LastLeftOut), "fail", "unused-parameter", "blocks.3"),
    "the last of several experts": (
        spec(lambda: Experts(4, 3)),
        "fail",
        "unused-parameter",
        "all.3",
    ),
    "one way of two": (
        ModelSpec(build=lambda: BothWays(False), batch=series),
        "fail",
        "unused-parameter",
        "rnn",
    ),
    "a branch that an option asks for": (spec(ByOption), "warn", "unused-parameter", "side"),
    "a branch that a base class reads": (spec(Forgotten), "warn", "unused-parameter", "side"),
    "a branch that is cut": (spec(Detached), "fail", "detached", ""),
    "a body that is cut": (spec(CutBody), "fail", "detached", ""),
    "a layer of the best": (spec(ByTheBest), "fail", "detached", ""),
    "a loss of numbers": (
        spec(Net, lambda o, b: torch.tensor(cross_entropy(o, b).item(), requires_grad=True)),
        "fail",
        "detached",
        "",
    ),
    "a loss of the best class": (
        spec(Net, lambda o, b: (o.argmax(-1) != b["labels"]).double().mean()),
        "fail",
        "detached",
        "",
    ),
    "a loss of the labels": (
        spec(Net, lambda o, b: b["labels"].double().mean()),
        "fail",
        "loss-constant",
        "",
    ),
    "a declared body that trains": (spec(Net, frozen=["body.*"]), "fail", "frozen", "body"),
    "a frozen body beside a declared head": (
        spec(frozen_body, frozen=["head.weight"]),
        "fail",
        "frozen",
        "head",
    ),
    "a pattern that names nothing": (spec(Net, frozen=["backbone.*"]), "fail", "frozen", ""),
    "a loaded embedding": (ModelSpec(build=loaded, batch=words), "warn", "frozen", "0"),
    "a random one that is frozen": (ModelSpec(build=drawn, batch=words), "fail", "frozen", "0"),
    "a frozen body that is not declared": (spec(frozen_body), "info", "frozen", "body"),
}


@pytest.mark.parametrize("name", SOUND)
def test_a_gradient_reaches_every_parameter_of_a_sound_model(name):
    assert findings(SOUND[name]) == []


@pytest.mark.parametrize("name", BROKEN)
def test_a_parameter_without_its_gradient_is_named(name):
    given, severity, kind, where = BROKEN[name]
    assert findings(given)[0] == (severity, kind, where)


def test_a_step_that_raises_is_a_crash_with_its_line():
    class Overwritten(Net):
        def forward(self, x):
            y = torch.exp(self.body(x))
            z = y * 2
            y.add_(1)
            return self.head(z + self.side(y))

    report = check_model(spec(Overwritten), only=["gradient_flow"])
    assert [(f.kind, f.severity) for f in report.failures] == [("crash", "fail")]
    assert "inplace" in report.failures[0].evidence


def test_a_state_that_hangs_on_the_last_graph_is_told_from_a_crash():
    class Remembering(Net):
        state = 0.0

        def forward(self, x):
            self.state = self.state + torch.tanh(self.body(x))
            return self.head(self.state + self.side(self.state))

    report = check_model(spec(Remembering), only=["gradient_flow"])
    assert [f.kind for f in report.failures] == ["state-carried"]


def test_an_unused_module_is_named_with_its_size():
    report = check_model(spec(NeverCalled), only=["gradient_flow"])
    assert "side (42 parameters) is never used" in report.failures[0].evidence

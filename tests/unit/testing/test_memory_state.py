"""What is kept between calls and what a state dict lacks: all that is said of it (records/)."""

import pytest
import torch
from torch import nn

from unit.testing.records import check_model
from zoo.testing.spec import ModelSpec


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(4, 3)

    def forward(self, x):
        return self.lin(x)


class Sums(Plain):
    """Adds up what it has seen, and forgets it where it is told to."""

    total = 0.0

    def forward(self, x):
        self.total = self.total + self.lin(x).detach().mean()
        return self.lin(x) + self.total

    def forget(self):
        self.total = 0.0

    def forget_half(self):
        self.total = self.total / 2


class Inside(nn.Module):
    def __init__(self, part):
        super().__init__()
        self.part, self.head = part, nn.Linear(3, 2)

    def forward(self, x):
        return {"main": self.head(self.part(x)), "size": x.new_tensor(len(x))}


class SizeOfTheFirst(Plain):
    """Refuses other sizes than that of the call before."""

    def forward(self, x):
        last, self.last = getattr(self, "last", len(x)), len(x)
        return self.lin(x)[:last]


class Places(nn.Module):
    """Words and their places; what is kept of the places is that of the last length."""

    def __init__(self):
        super().__init__()
        self.words, self.length = nn.Embedding(9, 4), None

    def forward(self, ids):
        self.length = min(self.length or ids.size(1), ids.size(1))
        return self.words(ids) * self.length


class Counts(Plain):
    """A buffer of whole numbers, one that is not saved, and a weight, changed by every call."""

    def __init__(self, what):
        super().__init__()
        self.what = what
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))
        self.register_buffer("scratch", torch.zeros(3), persistent=False)
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, x):
        y = self.lin(x) * self.scale.detach().clone()
        with torch.no_grad():
            if self.what == "calls":
                self.calls += 1
            if self.what == "scratch":
                self.scratch.copy_(y[0])
            if self.what == "scale":
                self.scale.mul_(0.5)
                self.lin.bias.add_(1)
        return y


class InTrainMode(Plain):
    """What the last call was, or how many there were, in train mode alone."""

    def __init__(self, what, raises=False):
        super().__init__()
        self.what, self.raises, self.last, self.calls = what, raises, 0.0, 0

    def forward(self, x):
        if not self.training:
            return self.lin(x)
        if self.raises:
            raise ValueError("no training today")
        y = self.lin(x) + (self.last if self.what == "last" else 0.0)
        y = y * (1 + self.calls) if self.what == "calls" else y
        self.last, self.calls = x.detach().mean(), self.calls + 1
        return y


class WritesTwo(Plain):
    def forward(self, x):
        if self.training:
            with torch.no_grad():
                self.lin.weight.mul_(0.9)
                self.lin.bias.add_(0.1)
        return self.lin(x)


class Noise(Plain):
    """Another number in every module, whatever the seed."""

    made = 0

    def __init__(self):
        super().__init__()
        Noise.made += 1
        self.mine = Noise.made

    def forward(self, x):
        return self.lin(x) + self.mine


class Hook(Plain):
    """State that is no tensor, in the state dict."""

    def get_extra_state(self):
        return {"of": Hook}

    def set_extra_state(self, state):
        self.extra = state["of"]


class Grows(Plain):
    """A buffer as long as what was seen."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(0))

    def forward(self, x):
        if self.training:
            self.seen = torch.cat([self.seen, x.detach()[:1, 0]])
        return self.lin(x)


class TrainModeAlone(Plain):
    """A factor that moves in training, that no file holds, and that eval mode does not use."""

    factor = 1.0

    def forward(self, x):
        if self.training:
            self.factor = min(self.factor + 0.5, 2.0)
            return self.lin(x) * self.factor
        return self.lin(x)


class Bare(nn.Module):
    """No parameter and no buffer."""

    def forward(self, x):
        return x * 2


class Hidden(Plain):
    """A table of its own that is trained, and that no state dict holds."""

    def __init__(self):
        super().__init__()
        self.table = torch.randn(4, 4).requires_grad_()

    def forward(self, x):
        return {"main": self.lin(x @ self.table.to(x))}


class OfAList(Plain):
    """The weights of a layer in a list, at random and never trained."""

    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(4, 4).requires_grad_(False)]

    def forward(self, x):
        return self.lin(self.layers[0](x))


def rows(size):
    return {"x": torch.randn(size, 4)}


def words(size):
    return {"ids": torch.randint(9, (size, 5))}


def spec(build, batch=rows, **facts):
    return ModelSpec(build=build, batch=batch, **facts)


CASES = {
    "nothing kept": (spec(Plain), "state", []),
    "a sum": (spec(Sums), "state", [("fail", "state-carried", "")]),
    "a sum in a part": (
        spec(lambda: Inside(Sums()), output="main"),
        "state",
        [("fail", "state-carried", "part")],
    ),
    "a sum that is meant": (spec(Sums, stateful=True), "state", None),
    "a sum that is meant, and forgotten": (spec(Sums, stateful=True, reset="forget"), "state", []),
    "a sum that is forgotten by a function": (
        spec(Sums, stateful=True, reset=lambda net: net.forget()),
        "state",
        [],
    ),
    "a sum that is half forgotten": (
        spec(Sums, stateful=True, reset="forget_half"),
        "state",
        [("fail", "state-carried", "")],
    ),
    "a size": (spec(SizeOfTheFirst), "state", [("fail", "state-carried", "")]),
    "a length": (
        spec(Places, words, tokens="ids", output_sequence_axis=1),
        "state",
        [("fail", "state-carried", "")],
    ),
    "a count in eval mode": (spec(lambda: Counts("calls")), "state", [("warn", "train-eval", "")]),
    "a scratch pad": (spec(lambda: Counts("scratch")), "state", []),
    "weights in eval mode": (
        spec(lambda: Counts("scale")),
        "state",
        [("fail", "state-carried", name) for name in ("", "lin", "lin")],
    ),
    "the last batch, in train mode": (
        spec(lambda: InTrainMode("last")),
        "state",
        [("fail", "state-carried", "")],
    ),
    "a count, in train mode": (
        spec(lambda: InTrainMode("calls")),
        "state",
        [("warn", "state-carried", "")],
    ),
    "a train mode that does not run": (
        spec(lambda: InTrainMode("last", raises=True)),
        "state",
        None,
    ),
    "two weights, in train mode": (spec(WritesTwo), "state", [("fail", "state-carried", "lin")]),
    "no two modules alike": (spec(Noise), "state", None),
    # saving and copying
    "an object in the file": (spec(Hook), "save_load", [("warn", "lost-state", "")]),
    "a buffer that grows": (spec(Grows), "save_load", [("fail", "lost-state", "")]),
    "a factor of train mode": (spec(TrainModeAlone), "save_load", [("fail", "lost-state", "")]),
    "no parameters": (spec(Bare), "save_load", []),
    "a table that is trained": (spec(Hidden), "save_load", [("fail", "unregistered", "")]),
    "a layer in a list": (spec(OfAList), "save_load", [("fail", "lost-state", "")]),
    "state on purpose": (spec(Sums, stateful=True), "save_load", None),
    "state by mistake": (spec(Sums), "save_load", None),
    "state by mistake, copied": (spec(Sums), "copies", None),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_kept_is_said(name):
    given, check, wanted = CASES[name]
    (outcome,) = check_model(given, only=(check,)).outcomes
    said = [(f.severity, f.kind, f.where) for f in outcome.findings]
    assert outcome.status != "error", outcome.reason
    assert (None if outcome.status == "skipped" else said) == wanted

"""Whether a model keeps to its dtype, and loses no more than rounding."""

import pytest
import torch
from torch import nn

from unit.testing.records import check_model
from zoo.testing.spec import ModelSpec


class Net(nn.Module):
    """A sound model that does its norm in float32, as many do, and casts back."""

    def __init__(self, middle=None):
        super().__init__()
        self.embed = nn.Embedding(13, 8)
        self.register_buffer("scale", torch.linspace(0.5, 1.5, 8))
        self.first, self.last = nn.Linear(8, 8), nn.Linear(8, 4)
        self.middle = middle or Norm32()

    def forward(self, ids):
        return self.last(self.middle(self.first(self.embed(ids) * self.scale)))


class Norm32(nn.Module):
    def forward(self, x):
        y = x.float()
        y = (y - y.mean(-1, keepdim=True)) * (y.var(-1, keepdim=True) + 1e-5).rsqrt()
        return y.to(x.dtype)


def batch(size):
    return {"ids": torch.randint(13, (size, 5))}


def told(check, build=Net, batch=batch):
    (outcome,) = check_model(ModelSpec(build=build, batch=batch), only=(check,)).outcomes
    assert outcome.status != "error", outcome.reason
    return outcome


SOUND = {
    "a norm in float32": Net,
    "layer norm": lambda: Net(nn.LayerNorm(8)),
    "softmax": lambda: Net(nn.Softmax(-1)),
    "double by itself": lambda: Net().double(),
}


@pytest.mark.parametrize("build", SOUND.values(), ids=SOUND)
@pytest.mark.parametrize("check", ["mixed_dtypes", "precision"])
def test_a_sound_model_passes(check, build):
    assert told(check, build).status in ("passed", "skipped")


class Refusing(nn.Module):
    def forward(self, x):
        if x.dtype != torch.float32:
            raise TypeError(f"x is {x.dtype}; this layer is float32 only")
        return x


def test_a_model_that_refuses_other_dtypes_is_no_bug():
    assert told("mixed_dtypes", lambda: Net(Refusing())).status == "passed"


class Stays32(nn.Module):
    def forward(self, x):
        return x.float().softmax(-1)


class FixedState(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = nn.Linear(16, 8)

    def forward(self, x):
        state = torch.zeros(*x.shape[:-1], 8, dtype=torch.float32)
        return self.mix(torch.cat([x, state], -1))


class NoBuffer(nn.Module):
    def __init__(self):
        super().__init__()
        self.mean = torch.linspace(0, 1, 8)

    def forward(self, x):
        return x - self.mean


class ReadByALinear(nn.Module):
    """The constant is first seen by a layer of torch's own, whose code is nobody's mistake."""

    def __init__(self):
        super().__init__()
        self.prompt, self.mix = torch.linspace(0, 1, 8), nn.Linear(8, 8)

    def forward(self, x):
        return x + self.mix(self.prompt)


class NoParameter(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(8, 8)]

    def forward(self, x):
        return self.layers[0](x)


LEFT_BEHIND = {
    "a softmax that stays in float32": (Stays32, "dtype", "x.float()"),
    "a state of a fixed dtype": (FixedState, "dtype", "torch.zeros"),
    "a constant that is no buffer": (NoBuffer, "dtype", "x - self.mean"),
    "a layer in a list": (NoParameter, "unregistered", "self.layers[0](x)"),
}


def test_a_constant_that_a_layer_of_torch_reads_is_the_authors():
    (found,) = told("mixed_dtypes", lambda: Net(ReadByALinear())).findings
    assert (found.kind, found.severity, found.where) == ("dtype", "fail", "middle")
    assert "self.mix(self.prompt)" in found.line


@pytest.mark.parametrize(("middle", "kind", "line"), LEFT_BEHIND.values(), ids=LEFT_BEHIND)
def test_a_tensor_that_stays_behind_is_followed_to_its_line(middle, kind, line):
    (found,) = told("mixed_dtypes", lambda: Net(middle())).findings
    assert (found.kind, found.severity, found.where) == (kind, "fail", "middle")
    assert line in found.line


class Soft16(nn.Module):
    def forward(self, x):
        return x.masked_fill(x < 0, -1e9).softmax(-1)


def test_a_constant_too_large_for_float16_is_a_warning():
    (found,) = told("mixed_dtypes", lambda: Net(Soft16())).findings
    assert (found.kind, found.severity, found.where) == ("dtype", "warn", "middle")


# precision


class MeanOfSquares(nn.Module):
    def forward(self, x):
        mean = x.mean(-1, keepdim=True)
        variance = (x * x).mean(-1, keepdim=True) - mean * mean
        return (x - mean) * (variance + 1e-5).rsqrt()


class SoftmaxWithoutMaximum(nn.Module):
    def forward(self, x):
        y = x.exp()
        return y / y.sum(-1, keepdim=True)


@pytest.mark.parametrize("middle", [MeanOfSquares, SoftmaxWithoutMaximum])
def test_a_layer_that_loses_digits_far_from_zero_is_stopped(middle):
    (found,) = told("precision", lambda: Net(middle())).findings
    assert (found.kind, found.severity, found.where) == ("precision", "fail", "middle")


class LosesAll(nn.Module):
    """Adds what float32 cannot hold beside the signal, and takes it away again."""

    def forward(self, x):
        return (x + 3e6) - 3e6


def test_a_result_that_is_lost_in_float32_is_stopped():
    (found,) = told("precision", lambda: Net(LosesAll())).findings
    assert (found.kind, found.severity, found.where) == ("precision", "fail", "middle")
    assert "- 3e6" in found.line or "+ 3e6" in found.line


class CountsPositions(nn.Module):
    """Positions counted up to 4096 in the dtype of the weights: exact to 256 in bfloat16."""

    def forward(self, x):
        steps = torch.ones(4096, dtype=x.dtype).cumsum(0)[-x.shape[1] :]
        return x * torch.cos(steps)[:, None]


def test_positions_counted_in_bfloat16_are_a_warning():
    (found,) = told("precision", lambda: Net(CountsPositions())).findings
    assert (found.kind, found.severity) == ("precision", "warn")
    assert "bfloat16" in found.evidence


class Draws(nn.Module):
    def forward(self, x):
        return x + torch.randn_like(x)


def test_a_model_that_draws_is_left_to_others():
    assert told("precision", lambda: Net(Draws())).status == "skipped"

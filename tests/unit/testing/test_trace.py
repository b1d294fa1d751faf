"""Tracing: every submodule's output in the order of finishing; the innermost cause first."""

import pytest
import torch
from torch import nn

from zoo.testing.trace import difference, first_divergence, trace


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Linear(3, 4), nn.Tanh())
        self.second = nn.LSTM(4, 5, batch_first=True)
        self.idle = nn.Linear(1, 1)

    def forward(self, x, *, shift=0.0):
        return self.second(self.first(x) + shift)[0]


def made():
    torch.manual_seed(0)
    return Net().double()


X = torch.arange(2 * 6 * 3, dtype=torch.float64).view(2, 6, 3) / 20


def test_submodules_come_in_the_order_in_which_they_finish():
    found = trace(made(), X, shift=1.0)
    assert list(found) == ["first.0", "first.1", "first", "second", ""]
    assert found["second"].shape == (2, 6, 5)
    assert not found[""].requires_grad
    assert not torch.equal(found["second"], trace(made(), X)["second"])


def test_hooks_are_removed_even_when_the_pass_fails():
    net = made()
    with pytest.raises(RuntimeError):
        trace(net, torch.zeros(2, 7))
    assert not any(m._forward_hooks for m in net.modules())


def test_the_innermost_difference_is_named():
    sound, wrong = made(), made()
    with torch.no_grad():
        wrong.first[0].bias[1] += 1e-3
    found = first_divergence(trace(wrong, X), trace(sound, X), rtol=1e-9, atol=1e-9)
    assert found.name == "first.0"
    assert found.difference == pytest.approx(1e-3)
    assert str(found).startswith("first differs at first.0 by 0.001 (allowed: ")
    assert first_divergence(trace(sound, X), trace(made(), X), rtol=0.0, atol=0.0) is None


def test_what_the_mask_leaves_out_is_not_compared():
    a, b = {"x": torch.zeros(2, 3, 4)}, {"x": torch.zeros(2, 3, 4)}
    a["x"][0, 2] = 5
    kept = torch.ones(2, 3, dtype=torch.bool)
    assert first_divergence(a, b, rtol=0.0, atol=0.0, kept=kept).difference == 5
    kept[0, 2] = False
    assert first_divergence(a, b, rtol=0.0, atol=0.0, kept=kept) is None


INF, NAN = float("inf"), float("nan")


@pytest.mark.parametrize(
    ("mine", "theirs", "apart"),
    [
        ([1.0, 2.0], [1.0, 2.5], 0.5),
        ([NAN, 1.0], [NAN, 1.0], 0.0),
        ([NAN, 1.0], [0.0, 1.0], INF),
        ([INF, 1.0], [INF, 1.0], 0.0),
        ([INF], [-INF], INF),
        ([INF], [1.0], INF),
        ([1.0], [1.0, 1.0], INF),
        ([], [], 0.0),
    ],
    ids=str,
)
def test_the_largest_difference(mine, theirs, apart):
    size, bound = difference(torch.tensor(mine), torch.tensor(theirs), rtol=0.0, atol=0.25)
    assert size == apart
    assert bound in (0.25, 0.0)


def test_the_number_that_exceeds_its_bound_the_most_is_given():
    size, bound = difference(
        torch.tensor([1001.0, 1.5]), torch.tensor([1000.0, 1.0]), rtol=0.01, atol=0.0
    )
    assert (size, bound) == (0.5, 0.01)


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Tanh()
        self.b = nn.Sigmoid()

    def forward(self, x):
        return self.a(self.b(self.a(x)))


def test_a_part_that_runs_twice_stands_where_it_ran_last():
    found = trace(Twice(), X)
    assert list(found) == ["b", "a", ""]
    assert torch.equal(found["a"], found[""])


def test_parts_that_only_one_trace_has_are_passed_over():
    a, b = {"x": X, "y": X}, {"y": X + 1}
    assert first_divergence(a, b, rtol=0.0, atol=0.0).name == "y"


@pytest.mark.parametrize("theirs", [NAN, INF])
def test_what_is_not_finite_has_no_relative_bound(theirs):
    size, bound = difference(torch.tensor([1.0]), torch.tensor([theirs]), rtol=0.5, atol=0.25)
    assert (size, bound) == (INF, 0.25)

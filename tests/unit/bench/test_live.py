"""What is counted are the bytes that the allocator gave out and that live together."""

import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT))  # the benchmarks are no package of the wheel

from benchmarks.speed.live import Live  # noqa: E402

X = torch.ones(1000)  # 4000 bytes, made before; a number beside it would be given bytes too


def twice_and_drop():
    y = X + X
    del y
    return X * X


def chain():
    return ((X + X) * X) - X  # never more than two at once


def shrinks():
    y = X * X
    z = y[:1].clone()
    del y
    return z + z  # two of 4 bytes are left


def many():
    return [X.clone() for _ in range(5)]


def split():
    return torch.split(X * X, 10)


WORK = [
    pytest.param(lambda: X + X, 4000, id="one-result"),
    pytest.param(lambda: X.double(), 8000, id="another-dtype"),
    pytest.param(lambda: X[3:].view(-1, 1).mT, 0, id="views-of-what-was-there"),
    pytest.param(lambda: X.mul_(X), 0, id="in-place-on-what-was-there"),
    pytest.param(lambda: torch.add(X, X, out=torch.empty(1000)), 4000, id="into-a-given-tensor"),
    pytest.param(twice_and_drop, 4000, id="the-first-is-gone-before-the-second"),
    pytest.param(chain, 8000, id="a-step-has-input-and-output"),
    pytest.param(shrinks, 4004, id="the-peak-is-past"),
    pytest.param(many, 20000, id="all-are-kept"),
    pytest.param(split, 4000, id="pieces-share-a-storage"),
    pytest.param(lambda: torch.empty(0), 0, id="nothing"),
]


@pytest.mark.parametrize(("work", "expected"), WORK)
def test_the_peak_is_what_lives_at_once(work, expected):
    with Live() as live:
        kept = work()
    assert live.peak == expected
    assert kept is not None


def test_gradients_and_what_a_backward_pass_needs_are_counted():
    weight = torch.ones(100, 100, requires_grad=True)
    rows = torch.ones(7, 100)
    with Live() as live:
        y = rows @ weight.mT  # 2,800 bytes
        y.backward(torch.ones_like(y))  # dy, and a gradient of 40,000
    assert weight.grad is not None
    assert live.peak == 4 * (700 + 700 + 10000)
    assert live.now == 4 * (700 + 700 * 0 + 10000)


def test_a_tensor_that_grows_counts_as_it_is():
    with Live() as live:
        x = torch.empty(10)
        x.resize_(1000)
    assert live.peak == 4040  # while it is copied
    assert x.numel() == 1000


def test_a_second_gradient_is_added_in_place_as_it_is_when_nobody_counts():
    weight, a, b, dy = (torch.ones(100, 100) for _ in range(4))
    weight.requires_grad_()
    with Live() as live:
        y = weight * a + weight * b  # two products and their sum
        y.backward(dy)  # the sum and two gradients
    assert live.peak == 3 * 40_000
    assert live.now == 2 * 40_000

"""What is particular to stochastic depth: whole rows, at the stated rate, the mean kept."""

import pytest
import torch

from zoo import ops
from zoo.ops.dropout import keep_mask
from zoo.testing.opinfo import randn

SEED = 29


def test_rows_are_dropped_whole_or_kept_whole():
    x = torch.ones(40, 2, 3, dtype=torch.float64)
    rows = ops.drop_path(x, 0.25, SEED).flatten(1)
    assert {*rows.flatten().tolist()} == {0.0, 4 / 3}
    assert (rows == rows[:, :1]).all()


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_rate_is_the_stated_one_and_the_mean_stays(rate):
    n = 40_000
    y = ops.drop_path(torch.ones(n, 1, dtype=torch.float64), rate, SEED)
    spread = (rate * (1 - rate) / n) ** 0.5
    assert abs((y == 0).double().mean() - rate) < 5 * spread
    assert abs(y.mean() - 1) < 5 * spread / (1 - rate)


def test_rows_are_dropped_independently_of_how_long_they_are():
    x = randn(30, 5).abs() + 1
    assert torch.equal(ops.drop_path(x, 0.4, SEED)[:, 0] == 0, ~keep_mask((30,), 0.4, SEED))
    assert torch.equal(ops.drop_path(x[:, :2], 0.4, SEED), ops.drop_path(x, 0.4, SEED)[:, :2])


def test_the_gradient_drops_the_same_rows():
    x = randn(50, 3).requires_grad_()
    y = ops.drop_path(x, 0.5, SEED)
    (dx,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(dx == 0, y == 0) and 0 < (dx == 0).sum() < 150


def test_another_seed_drops_other_rows():
    masks = [ops.drop_path(torch.ones(64, 1), 0.5, seed).flatten() for seed in range(3)]
    assert len({tuple(mask.tolist()) for mask in masks}) == 3


def test_rate_zero_gives_x_itself():
    x = randn(3, 2)
    assert ops.drop_path(x, 0.0, SEED) is x


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_low_dtype_is_scaled_by_a_scale_that_is_not_rounded(dtype):
    """Rounded first, 1 / 0.7 would turn 15 into 21.5 in bfloat16; 21.428 rounds to 21.375."""
    x = torch.full((20, 1), 15.0, dtype=dtype)
    kept = 15 * 65536 / (65536 - round(0.3 * 65536))
    y = ops.drop_path(x, 0.3, SEED)
    assert {*y.flatten().tolist()} == {0.0, torch.tensor(kept).to(dtype).item()}


def test_each_seed_that_is_mapped_over_draws_its_own_rows():
    x, seeds = randn(6, 3), torch.arange(4)
    mapped = torch.vmap(lambda seed: ops.drop_path(x, 0.5, seed))(seeds)
    assert torch.equal(mapped, torch.stack([ops.drop_path(x, 0.5, int(s)) for s in seeds]))

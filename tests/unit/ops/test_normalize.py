"""What is particular to unit vectors: length, zeros, low precision."""

import pytest
import torch

from zoo import ops
from zoo.testing.opinfo import randn
from zoo.testing.tolerances import assert_near


def test_rows_have_length_one_and_their_own_direction():
    x = randn(3, 4, 5) * torch.tensor([1e-9, 1.0, 1e9], dtype=torch.float64)[:, None, None]
    y = ops.normalize(x)
    torch.testing.assert_close(y.norm(dim=-1), torch.ones(3, 4).double(), rtol=1e-12, atol=0)
    torch.testing.assert_close(y * x.norm(dim=-1, keepdim=True), x, rtol=1e-12, atol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_row_of_zeros_stays_with_a_finite_gradient(dtype):
    x = torch.zeros(2, 3, dtype=dtype).requires_grad_()
    y = ops.normalize(x)
    (dx,) = torch.autograd.grad(y, x, torch.ones_like(y), create_graph=True)
    assert (y == 0).all()
    assert_near(dx, torch.full((2, 3), 1e12, dtype=torch.float64), dtype, 2)
    (twice,) = torch.autograd.grad(dx.sum(), x, allow_unused=True, materialize_grads=True)
    assert (twice == 0).all()


@pytest.mark.parametrize("value", [3e3, 3e-6])
def test_half_precision_is_squared_in_float32(value):
    """The squares themselves, 9e6 and 9e-12, are infinite and zero in float16."""
    y = ops.normalize(torch.full((4,), value, dtype=torch.float16))
    assert_near(y, torch.full((4,), 0.5), torch.float16, 2)


def test_the_gradient_stands_at_right_angles_to_the_row():
    x = randn(4, 6).requires_grad_()
    (dx,) = torch.autograd.grad(ops.normalize(x), x, randn(4, 6, seed=1))
    zero = torch.zeros(4, dtype=torch.float64)
    torch.testing.assert_close((x * dx).sum(-1), zero, rtol=0, atol=1e-12)

"""What is particular to gelu: every form rounds once in low precision, far into the tails."""

import pytest
import torch

from zoo.ops import gelu
from zoo.ops.gelu import FORMS

GRID = torch.linspace(-12, 12, 385, dtype=torch.float64)  # steps of 1/16, exact in bfloat16


def once_rounded(actual, exact):
    """One rounding to the low dtype, after float32 work on numbers of the size of x."""
    bound = torch.finfo(actual.dtype).eps / 2 * exact.abs() + 8 * 2.0**-24 * (1 + GRID.abs())
    return bool(((actual.double() - exact).abs() <= bound).all())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_each_element_is_rounded_once(form, dtype):
    x, low = GRID.clone().requires_grad_(), GRID.to(dtype).requires_grad_()
    exact, y = gelu(x, form), gelu(low, form)
    (dx,) = torch.autograd.grad(exact.sum(), x)
    (kernel,) = torch.autograd.grad(y.sum(), low, retain_graph=True)
    (formula,) = torch.autograd.grad(y.sum(), low, create_graph=True)
    assert torch.equal(low.double(), x)
    assert once_rounded(y, exact) and once_rounded(kernel, dx) and once_rounded(formula, dx)

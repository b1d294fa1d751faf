"""How far two results of one dtype may lie apart, from its rounding unit and nothing else.

    |actual - expected| <= n u (|expected| + max |expected|),   u = eps / 2

for a computation with n roundings in a chain.  The second term is for elements that come out small
because large ones cancelled: their error is of the size of what cancelled.
"""

import torch
from torch import Tensor


def unit(dtype: torch.dtype) -> float:
    """Give the largest relative error of one rounding to `dtype`."""
    return torch.finfo(dtype).eps / 2


def tolerance(dtype: torch.dtype, roundings: int, expected: Tensor) -> tuple[float, float]:
    """Give rtol and atol for `torch.testing.assert_close`."""
    largest = float(expected.detach().abs().max()) if expected.numel() else 0.0
    bound = roundings * unit(dtype)
    return bound, bound * largest


def assert_near(actual: Tensor, expected: Tensor, dtype: torch.dtype, roundings: int) -> None:
    """Assert that `actual` is `expected` up to so many roundings to `dtype`; NaN is never near."""
    rtol, atol = tolerance(dtype, roundings, expected)
    torch.testing.assert_close(actual.double(), expected.double(), rtol=rtol, atol=atol)

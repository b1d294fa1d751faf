"""Tolerances follow from the dtype, the number of roundings, and the largest expected value."""

import pytest
import torch

from zoo.testing.tolerances import assert_near, tolerance, unit

UNITS = {
    torch.float64: 2.0**-53,
    torch.float32: 2.0**-24,
    torch.float16: 2.0**-11,
    torch.bfloat16: 2.0**-8,
}


@pytest.mark.parametrize("dtype", UNITS, ids=str)
def test_the_unit_is_half_the_gap_above_one(dtype):
    assert unit(dtype) == UNITS[dtype]


def test_both_bounds_grow_with_roundings_and_the_second_with_the_largest_value():
    expected = torch.tensor([[0.5, -8.0, 2.0]], requires_grad=True)
    assert tolerance(torch.float32, 3, expected) == (3 * 2.0**-24, 24 * 2.0**-24)


def test_nothing_expected_has_no_absolute_bound():
    assert tolerance(torch.float16, 2, torch.empty(0, 3)) == (2 * 2.0**-11, 0.0)


@pytest.mark.parametrize(("steps", "near"), [(4, True), (5, False)])
def test_as_many_units_as_roundings_are_near_and_more_are_not(steps, near):
    """Two roundings of rtol and two of atol at the largest element: four units together."""
    expected = torch.tensor([1.0, 0.25], dtype=torch.float64)
    actual = expected + torch.tensor([steps * 2.0**-24, 0.0], dtype=torch.float64)
    assert passes(actual, expected) is near


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_what_is_not_a_number_is_never_near(wrong):
    assert not passes(torch.tensor([1.0, wrong]), torch.tensor([1.0, 2.0]))


def test_a_low_dtype_is_compared_with_its_exact_run():
    expected = torch.tensor([1 / 3], dtype=torch.float64)
    assert_near(expected.bfloat16(), expected, torch.bfloat16, 1)


def passes(actual, expected):
    try:
        assert_near(actual, expected, torch.float32, 2)
    except AssertionError:
        return False
    return True

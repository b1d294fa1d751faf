"""Which patterns are seen in two tensors: each helper, and the words and numbers of many pairs."""

import math

import pytest
import torch

from unit.testing.records import hold
from zoo.testing.rounding_tensors import (
    compare_tensors,
    expanded,
    few,
    in_ulps,
    moves,
    orders,
    other_shape,
    place_words,
    reordered,
    root_words,
)


def drawn(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def test_units_in_the_last_place_are_those_of_the_larger_number():
    a = torch.tensor([1.0, -1.0, 3.0, 0.0, 1.9], dtype=torch.float64)
    b = torch.tensor([1.25, -1.0, 5.0, 0.0, 2.1], dtype=torch.float64)
    assert in_ulps(a, b, 0.125).tolist() == pytest.approx([2.0, 0.0, 4.0, 0.0, 0.8])


def test_orders_of_axes():
    assert orders(1) == [] and orders(2) == [(1, 0)]
    assert len(orders(3)) == 5 and (0, 1, 2) not in orders(3)
    assert len(orders(5)) == 119 and orders(6) == []


def test_what_common_mistakes_make_of_a_tensor():
    for shape in ((3, 3), (2, 1), (9,), (2, 2, 2)):
        x = torch.arange(math.prod(shape)).view(shape)
        hold([f"{words}: {made.flatten().tolist()}" for words, made in moves(x)])


def test_slices_are_matched_with_their_nearest_ones():
    x = drawn(4, 3)
    assert reordered(x, x[[2, 0, 3, 1]], 0).tolist() == [2, 0, 3, 1]
    assert reordered(x, x[:, [1, 2, 0]], 1).tolist() == [1, 2, 0]
    assert reordered(x, x[[0, 0, 1, 2]], 0) is None
    assert reordered(x[:1], x[:1], 0) is None
    assert reordered(x[:2], x[:2].flip(0), 0).tolist() == [1, 0]


def test_a_few_numbers_are_written():
    assert few([3]) == "number 3"
    assert few([3, 4]) == "numbers 3, 4"
    assert few([1, 2, 3, 4, 5]) == "numbers 1, 2, 3, 4, 5"
    assert few([1, 2, 3, 4, 5, 6]) == "numbers 1, 2, 3, 4, 5, ..."


ROOTS = {
    0.2: " = 1 / 5",
    5.0: " = 5",
    5**-0.5: " = 1 / sqrt(5)",
    5**0.5 * 1.0009: " = sqrt(5)",
    5**0.5 * 1.0011: "",
    -5.0: "",
    1.0: "",
    768**0.5: " = sqrt(768)",
    1 / 512: " = 1 / 512",
    8.0: " = 8",
    1024.0: " = 1024",
    256.0: " = 256",
    1 / 128: " = 1 / 128",
    32**-0.5: " = 1 / sqrt(32)",
}


@pytest.mark.parametrize(("factor", "words"), ROOTS.items(), ids=map(str, ROOTS))
def test_a_factor_is_a_root_or_a_share_of_a_size(factor, words):
    assert root_words(factor, torch.zeros(1, 5)) == words


def test_the_place_of_the_largest_difference_is_told():
    a, b = torch.zeros(2, 3, 4), torch.zeros(2, 3, 4)
    b[1, 2, 0] = 0.123456789
    said = place_words(a, b, (a - b).abs())
    assert said == "; the largest is at [1, 2, 0]: 0 and 0.123457"


def test_a_mask_of_one_axis_is_spread():
    which = torch.tensor([True, False])
    assert expanded(which, 1, torch.zeros(3, 2, 2)).tolist() == [[[True] * 2, [False] * 2]] * 3


NAN, INF = float("nan"), float("inf")
ODD = {
    "infinite in one": ([1.0, INF], [1.0, 2.0]),
    "of two signs": ([1.0, INF], [1.0, -INF]),
    "infinite and NaN": ([INF, 2.0], [NAN, 2.0]),
    "NaN in both": ([1.0, NAN], [1.0, NAN]),
    "infinite in both": ([1.0, INF], [1.5, INF]),
    "zeros": ([0.0, 0.0], [0.0, 0.0]),
    "nothing at first": ([0.0, 0.0], [1.0, 2.0]),
    "nothing at last": ([1.0, 2.0], [0.0, 0.0]),
    "one number": ([1.0], [1.5]),
    "a number far off": ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.001]),
}


@pytest.mark.parametrize(("one", "other"), ODD.values(), ids=ODD)
def test_numbers_that_are_none_and_few(one, other):
    given = [torch.tensor(x, dtype=torch.float32) for x in (one, other)]
    found = compare_tensors(*given)
    hold(
        [
            found.verdict,
            found.text,
            found.pattern,
            f"{found.relative:.6g} {found.bound * 2**24:.6g}",
        ]
    )


def noisy(x, size):
    return x * (1 + size * drawn(*x.shape, seed=8))


def wrong_rows(x, rows):
    x = x.clone()
    x[rows] += 0.1 * drawn(*x[rows].shape, seed=9)
    return x


U = 2.0**-24
BIG = drawn(8, 6, seed=3)
MEASURED = {
    "noise of a unit": noisy(BIG, U),
    "noise of forty units": noisy(BIG, 40 * U),
    "noise of two hundred units": noisy(BIG, 200 * U),
    "a factor within noise": noisy(BIG, 4 * U) * (1 + U),
    "a factor beyond noise": noisy(BIG, 4 * U) * (1 + 30 * U),
    "an offset within noise": noisy(BIG, 4 * U) + U / 4,
    "an offset beyond noise": noisy(BIG, U) + 30 * U,
    "minus itself, with noise": noisy(-BIG, 1e-3),
    "rows in another order, with noise": noisy(BIG[[3, 1, 2, 0, 4, 5, 7, 6]], 1e-4),
    "shifted back by two": BIG.roll(-2, 1),
    "three wrong rows": wrong_rows(BIG, [1, 4, 5]),
    "five wrong rows": wrong_rows(BIG, [0, 1, 4, 5, 7]),
    "a column of zeros": BIG * torch.tensor([1.0, 1, 0, 1, 1, 1]),
    "most rows are zeros": BIG * (torch.arange(8) < 1)[:, None],
    "one number far off": wrong_rows(noisy(BIG, U), ([2], [3])),
    "in another axis order": BIG.view(2, 4, 6).permute(1, 0, 2).reshape(8, 6),
}


@pytest.mark.parametrize("other", MEASURED.values(), ids=MEASURED)
def test_what_is_measured_of_two_tensors(other):
    lines = []
    for dtype in (torch.float32, torch.bfloat16):
        found = compare_tensors(BIG, other, dtype)
        numbers = (found.largest, found.typical, found.bound, found.relative)
        ulps = [f"{name} {x:.5g}" for name, x in (found.ulps or {}).items()]
        lines += [f"{found.verdict} {found.pattern}: {found.text}"]
        lines += [", ".join([*(f"{x * 2**24:.5g}" for x in numbers), *ulps])]
    hold(lines)


SHAPES = {
    "reshaped": lambda x: x.reshape(6, 4),
    "axes in another order": lambda x: x.permute(2, 0, 1),
    "axes in another order, other numbers": lambda x: x.permute(2, 0, 1) + 1,
    "first rows missing": lambda x: x[:, 1:],
    "last columns missing": lambda x: x[..., :2],
    "rows missing in both": lambda x: torch.cat([x[:1, :2]] * 2, 2),
    "two axes shorter": lambda x: x[:1, :2],
    "one axis fewer": lambda x: x[0],
    "a repeat": lambda x: torch.cat([x, x]),
    "nearly the same, in another shape": lambda x: (x + 0.019 * x.abs().max()).reshape(6, 4),
    "not the same, in another shape": lambda x: (x + 0.021 * x.abs().max()).reshape(6, 4),
}


@pytest.mark.parametrize("change", SHAPES.values(), ids=SHAPES)
def test_another_shape_is_explained_where_it_can_be(change):
    x = drawn(2, 3, 4, seed=11)
    for one, other in ((x, change(x)), (change(x), x)):
        found = other_shape(one, other)
        hold([found.verdict, found.text, found.pattern, str(found.relative)])


def test_a_number_far_off_among_many_is_told_with_its_place():
    signs = torch.ones(32, 32, dtype=torch.float64)
    signs[:, ::2] = -1
    other = noisy(signs, U)
    other[5, 7] += 2000 * 2 * U
    found = compare_tensors(signs, other, torch.float32)
    assert found.verdict == "bug" and not found.pattern
    assert found.text.endswith(
        "; a few numbers are far off; the largest is at [5, 7]: 1 and 1.00024"
    )

"""What is particular to patches: adjoint and inverse, a convolution's order, sizes of any kind."""

import pytest
import torch
from torch.nn import functional as F

from zoo import ops
from zoo.testing.opinfo import randn

# channels, patch, grid
SIZES = [
    pytest.param(3, (2, 5), (4, 3), id="oblong-patch"),
    pytest.param(1, (4, 4), (2, 7), id="square-patch-in-an-oblong-image"),
    pytest.param(2, (3, 1), (1, 6), id="one-pixel-wide"),
    pytest.param(5, (1, 1), (3, 2), id="one-pixel"),
]
each_size = pytest.mark.parametrize(("channels", "patch", "grid"), SIZES)


def image_of(channels, patch, grid):
    return randn(2, channels, grid[0] * patch[0], grid[1] * patch[1])


@each_size
def test_the_two_are_adjoint(channels, patch, grid):
    x = image_of(channels, patch, grid)
    y = randn(2, grid[0] * grid[1], channels * patch[0] * patch[1], seed=1)
    left, right = (ops.patches(x, patch) * y).sum(), (x * ops.unpatches(y, patch, grid)).sum()
    torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-12)


@each_size
def test_each_undoes_the_other_to_the_bit(channels, patch, grid):
    x = image_of(channels, patch, grid)
    rows = ops.patches(x, patch)
    assert torch.equal(ops.unpatches(rows, patch, grid), x)
    assert torch.equal(ops.patches(ops.unpatches(rows, patch, grid), patch), rows)


@each_size
def test_rows_times_a_flat_kernel_are_a_convolution(channels, patch, grid):
    x, kernel = image_of(channels, patch, grid), randn(7, channels, *patch)
    expected = F.conv2d(x, kernel, stride=patch).flatten(2).mT
    actual = F.linear(ops.patches(x, patch), kernel.flatten(1))
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("patch", [(3, 5), (1, 5), (3, 1), (1, 1)])
def test_what_comes_out_is_never_a_view_of_what_came_in(patch):
    x = randn(2, 1, 3, 5)
    rows = ops.patches(x, patch)
    image = ops.unpatches(rows, patch, (3 // patch[0], 5 // patch[1]))
    assert len({t.untyped_storage().data_ptr() for t in (x, rows, image)}) == 3
    assert rows.is_contiguous() and image.is_contiguous()

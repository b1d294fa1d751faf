"""Positions of another grid, pixels at the door."""

import pytest
import torch
from torch.nn import functional as F

from zoo.nn.patch import Patches, check_pixels, positions_for, resizing, with_prefix

GRIDS = [((2, 3), (5, 4)), ((5, 4), (2, 3)), ((4, 7), (4, 5)), ((3, 3), (1, 9)), ((1, 1), (3, 2))]


def table(prefix, grid):
    generator = torch.Generator().manual_seed(0)
    count = prefix + grid[0] * grid[1]
    return torch.randn(count, 6, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize(("held", "wanted"), GRIDS, ids=str)
@pytest.mark.parametrize("prefix", [0, 1, 3])
def test_positions_are_resized_as_torch_resizes_a_picture(held, wanted, prefix, antialias):
    positions = table(prefix, held)
    picture = positions[prefix:].T.reshape(1, 6, *held)
    expected = F.interpolate(
        picture, size=wanted, mode="bicubic", align_corners=False, antialias=antialias
    )
    resized = positions_for(positions, held, wanted, antialias=antialias)
    assert torch.equal(resized[:prefix], positions[:prefix])
    torch.testing.assert_close(resized[prefix:].T, expected.flatten(2)[0], rtol=1e-12, atol=1e-12)


def test_the_same_grid_leaves_the_table_as_it_is():
    positions = table(2, (3, 4))
    assert positions_for(positions, (3, 4), (3, 4), antialias=True) is positions


def test_the_axes_are_not_mixed_up():
    """A table that changes downwards only still does when it is wider."""
    rows = torch.arange(3.0, dtype=torch.float64)[:, None].expand(3, 4).reshape(12, 1)
    wider = positions_for(rows, (3, 4), (3, 7), antialias=True).view(3, 7)
    torch.testing.assert_close(wider, rows.view(3, 4)[:, :1].expand(3, 7), rtol=1e-12, atol=1e-12)


def test_what_is_constant_stays_so():
    assert torch.allclose(resizing(5, 8, True).sum(1), torch.ones(8, dtype=torch.float64))
    assert torch.allclose(resizing(8, 5, False).sum(1), torch.ones(5, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_low_positions_are_resized_in_float32(dtype):
    low = table(1, (3, 4)).to(dtype)
    expected = positions_for(low.float(), (3, 4), (5, 2), antialias=True).to(dtype)
    resized = positions_for(low, (3, 4), (5, 2), antialias=True)
    assert resized.dtype == dtype
    assert torch.equal(resized, expected)


def test_resized_positions_have_gradients():
    positions = table(1, (2, 3)).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda p: positions_for(p, (2, 3), (4, 2), antialias=True), positions
    )


def test_tokens_stand_before_the_patches_in_order():
    patches = torch.zeros(2, 3, 4)
    one, two = torch.ones(1, 4), torch.full((2, 4), 2.0)
    together = with_prefix(patches, one, two)
    assert together[:, :, 0].tolist() == [[1, 2, 2, 0, 0, 0]] * 2


def test_a_patch_is_mapped_as_a_strided_convolution_does():
    layer = Patches(3, (2, 5), 4).double()
    images = torch.randn(2, 3, 6, 10, dtype=torch.float64)
    kernel = layer.weight.view(4, 3, 2, 5)
    expected = F.conv2d(images, kernel, layer.bias, stride=(2, 5)).flatten(2).mT
    torch.testing.assert_close(layer(images), expected, rtol=1e-12, atol=1e-12)
    assert "patch=(2, 5)" in repr(layer)


REFUSED = [
    ((3, 6, 10), {}, ValueError, r"pixel_values has shape \(3, 6, 10\).*pixels\[None\]"),
    ((1, 2, 6, 10), {}, ValueError, r"expected \(batch, 3, height, width\)"),
    ((1, 3, 4, 10), {}, ValueError, "are 4×10, the model reads 6×10: resize them, or pass"),
    ((1, 3, 4, 9), {"interpolate": True}, ValueError, "are 4×9, no multiple of the patch 2×5"),
    ((1, 3, 0, 10), {"interpolate": True}, ValueError, "are 0×10, no multiple"),
]


@pytest.mark.parametrize(("shape", "options", "error", "sentence"), REFUSED, ids=range(5))
def test_pixels_that_cannot_be_read_are_refused(shape, options, error, sentence):
    given = {"channels": 3, "image": (6, 10), "patch": (2, 5), "interpolate": False} | options
    with pytest.raises(error, match=sentence):
        check_pixels(torch.zeros(shape), **given)


def test_bytes_are_not_pixels():
    with pytest.raises(TypeError, match=r"torch.uint8; expected floating point, scaled"):
        check_pixels(
            torch.zeros(1, 3, 6, 10, dtype=torch.uint8),
            channels=3,
            image=(6, 10),
            patch=(2, 5),
            interpolate=False,
        )


def test_the_grid_counts_rows_then_columns():
    pixels = torch.zeros(1, 3, 8, 10)
    given = {"channels": 3, "image": (6, 10), "patch": (2, 5), "interpolate": True}
    assert check_pixels(pixels, **given) == (4, 2)

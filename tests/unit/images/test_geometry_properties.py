"""Sizes, crops and pixels for pictures of any size."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from unit.property_rows import examples, seeds
from zoo.images import ImageError, ImageProcessor
from zoo.images.draw import as_weights, coloured, contained
from zoo.images.processor import center_crop, crop_start, resized

side = st.integers(1, 400)
small = st.integers(1, 9)


@examples(40)
@given(height=side, width=side, edge=side, most=st.none() | side)
def test_a_picture_keeps_its_shape_and_its_sides_trade_places(height, width, edge, most):
    size = {"shortest_edge": edge} | ({} if most is None else {"longest_edge": most})
    made = resized(height, width, size)
    assert resized(width, height, size) == made[::-1]
    short, long = sorted((height, width))
    first, second = sorted(made)
    if most is None or long / short * edge <= most:
        assert first == edge
        assert abs(second - edge * long / short) <= 1  # cut down to a whole pixel
    else:
        assert second <= max(most, long if first == short else 0) + 1
        assert abs(first - most * short / long) <= 0.5
    assert (made[0] <= made[1]) == (height <= width) or first == second


@examples(40)
@given(height=side, width=side, high=side, wide=side)
def test_a_picture_fits_its_largest_size(height, width, high, wide):
    made = resized(height, width, {"max_height": high, "max_width": wide})
    assert made[0] <= high and made[1] <= wide
    scale = min(high / height, wide / width)
    assert all(
        scale * s - 1 <= m <= scale * s + 1e-9 for s, m in zip((height, width), made, strict=True)
    )
    assert resized(width, height, {"max_height": wide, "max_width": high}) == made[::-1]
    assert resized(height, width, {"height": high, "width": wide}) == (high, wide)


@examples(40)
@given(have=st.integers(1, 60), want=st.integers(1, 60), how=st.sampled_from(["down", "even"]))
def test_a_crop_leaves_as_much_on_both_sides(have, want, how):
    start, at = crop_start(have, want, how)
    kept = min(have, want)
    assert 0 <= start <= have - kept and 0 <= at <= want - kept
    assert abs(start - (have - kept - start)) <= 1
    assert abs(at - (want - kept - at)) <= 1


@examples(20)
@given(
    height=small,
    width=small,
    high=small,
    wide=small,
    seed=seeds,
    how=st.sampled_from(["down", "even"]),
)
def test_a_crop_holds_the_middle_and_black_around_it(height, width, high, wide, seed, how):
    pixels = np.random.default_rng(seed).integers(1, 256, (height, width, 3), dtype=np.uint8)
    made = center_crop(pixels, {"height": high, "width": wide}, how)
    assert made.shape == (high, wide, 3)
    rows, columns = min(height, high), min(width, wide)
    assert (made > 0).all(-1).sum() == rows * columns
    top, left = crop_start(height, high, how)[0], crop_start(width, wide, how)[0]
    inner = made[(made > 0).all(-1)].reshape(rows, columns, 3)
    assert np.array_equal(inner, pixels[top : top + rows, left : left + columns])
    again = center_crop(made, {"height": high, "width": wide}, how)
    assert np.array_equal(again, made)


@examples(10)
@given(
    size=st.tuples(small, small),
    out=st.tuples(small, small),
    seed=seeds,
    rescale=st.booleans(),
    normalise=st.booleans(),
    grey=st.booleans(),
)
def test_pixels_are_the_arithmetic_of_the_settings(size, out, seed, rescale, normalise, grey):
    channels = 1 if grey else 3
    mean, std = (0.25, 0.5, 0.125)[:channels], (0.5, 0.25, 2.0)[:channels]
    processor = ImageProcessor(
        do_resize=False,
        do_center_crop=True,
        crop_size={"height": out[0], "width": out[1]},
        do_rescale=rescale,
        do_normalize=normalise,
        image_mean=mean,
        image_std=std,
    )
    array = np.random.default_rng(seed).integers(0, 256, (*size, channels), dtype=np.uint8)
    made = processor(array)
    plane = center_crop(array, {"height": out[0], "width": out[1]}, "down").astype(np.float64)
    wanted = (plane * (1 / 255) if rescale else plane).astype(np.float32)
    if normalise:
        wanted = (wanted - np.float32(mean)) / np.float32(std)
    assert made.dtype == torch.float32
    assert np.array_equal(made[0].numpy(), wanted.transpose(2, 0, 1))


@examples(6)
@given(sizes=st.lists(st.tuples(small, small), min_size=1, max_size=3), seed=seeds, edge=small)
def test_a_picture_does_not_know_the_others(sizes, seed, edge):
    rng = np.random.default_rng(seed)
    arrays = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]
    processor = ImageProcessor(size={"height": edge, "width": edge + 1})
    together = processor(arrays)
    assert together.shape == (len(sizes), 3, edge, edge + 1)
    for row, array in zip(together, arrays, strict=True):
        assert torch.equal(row, processor(array)[0])
        assert torch.equal(row, processor(Image.fromarray(array))[0])
    loose = ImageProcessor(do_resize=False)
    if len(set(sizes)) > 1:
        with pytest.raises(ImageError, match=r"^the pictures come out as "):
            loose(arrays)


@examples(13)
@given(
    shape=st.lists(st.integers(0, 5), max_size=4),
    dtype=st.sampled_from(["uint8", "int64", "float32", "bool"]),
)
def test_an_array_is_a_picture_or_refused_with_its_shape(shape, dtype):
    array = np.ones(shape, dtype=dtype)
    processor = ImageProcessor(size={"height": 2, "width": 2})
    each = list(array) if array.ndim == 4 else [array]
    good = dtype == "uint8" and all(
        a.ndim == 2 or (a.ndim == 3 and a.shape[2] in (1, 3, 4)) for a in each
    )
    if good and all(a.size for a in each):
        assert processor(array).shape == (len(each), 3, 2, 2)
        return
    if not each:
        return
    with pytest.raises(ImageError, match=r"^a picture of "):
        processor(array)


@examples(20)
@given(width=side, height=side, box=st.integers(8, 300))
def test_a_contained_picture_fits_and_touches(width, height, box):
    made = contained(Image.new("L", (width, height)), box)
    assert max(made.size) <= box and min(made.size) >= 1
    if max(width, height) <= box // 2:  # whole steps
        assert made.width % width == 0 and made.width // width == made.height // height
        assert max(made.size) + max(width, height) > box
    else:
        assert max(made.size) == box


@examples(13)
@given(weights=st.lists(st.floats(-1, 2, width=16) | st.just(float("nan")), max_size=5))
def test_weights_lie_between_0_and_1_or_their_reach_is_told(weights):
    if all(0 <= w <= 1 for w in weights):
        array = as_weights(weights, 1)
        colours = coloured(array, [(0, 0, 0), (100, 50, 200)])
        assert np.allclose(colours, array[:, None] * [100, 50, 200], rtol=0, atol=1e-9)
        return
    with pytest.raises(ImageError, match=r"^weights reach from .* scale them to 0\.\.1$"):
        as_weights(weights, 1)

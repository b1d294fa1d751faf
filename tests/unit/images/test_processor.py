"""ImageProcessor against a plain restatement: sizes, crops, and each pixel's arithmetic."""

from itertools import count

import numpy as np
import pytest
import torch
from PIL import Image

from unit.images.pictures import ALPHA, GREY, RGB, RGBA, saved
from zoo.images import ImageError, ImageProcessor
from zoo.images.processor import center_crop, resized

PLAIN = ImageProcessor(do_resize=False, do_rescale=False, do_normalize=False)
UNLIKE = {"image_mean": (0.1, 0.2, 0.3), "image_std": (0.7, 0.8, 0.9)}


@pytest.mark.parametrize(
    ("size", "have", "want"),
    [
        ({"height": 7, "width": 9}, (30, 20), (7, 9)),
        ({"shortest_edge": 8}, (30, 20), (12, 8)),
        ({"shortest_edge": 8}, (20, 30), (8, 12)),
        ({"shortest_edge": 8}, (20, 20), (8, 8)),
        ({"shortest_edge": 20}, (20, 33), (20, 33)),
        ({"shortest_edge": 7}, (3, 5), (7, 11)),  # 11.67 is cut, not rounded
        ({"shortest_edge": 8, "longest_edge": 100}, (30, 20), (12, 8)),
        ({"shortest_edge": 8, "longest_edge": 10}, (30, 20), (10, 7)),  # 10 * 20 / 30 is rounded
        ({"shortest_edge": 8, "longest_edge": 10}, (20, 30), (7, 10)),
        ({"shortest_edge": 20, "longest_edge": 100}, (30, 20), (30, 20)),
        ({"shortest_edge": 20, "longest_edge": 30}, (20, 31), (19, 30)),
        ({"max_height": 10, "max_width": 50}, (30, 20), (10, 6)),
        ({"max_height": 50, "max_width": 10}, (30, 20), (15, 10)),
    ],
    ids=count(),
)
def test_a_picture_is_resized_to(size, have, want):
    assert resized(*have, size) == want


# side of the picture, side asked for -> first pixel taken, first place filled
CROPS = [
    (10, 4, "down", 3, 0),
    (9, 4, "down", 2, 0),
    (11, 4, "down", 3, 0),
    (9, 4, "even", 2, 0),
    (11, 4, "even", 4, 0),
    (4, 4, "down", 0, 0),
    (4, 9, "down", 0, 3),
    (4, 9, "even", 0, 2),
    (4, 10, "down", 0, 3),
]


@pytest.mark.parametrize(("have", "want", "rounding", "start", "place"), CROPS, ids=count())
def test_a_crop_takes_the_middle(have, want, rounding, start, place):
    pixels = np.arange(1, have * 3 + 1, dtype=np.uint8).reshape(have, 3, 1)
    out = center_crop(pixels, {"height": want, "width": 3}, rounding)
    expected = np.zeros((want, 3, 1), dtype=np.uint8)
    taken = pixels[start : start + want]
    expected[place : place + len(taken)] = taken
    np.testing.assert_array_equal(out, expected)
    across = center_crop(pixels.swapaxes(0, 1), {"height": 3, "width": want}, rounding)
    np.testing.assert_array_equal(across.swapaxes(0, 1), expected)


def test_one_side_may_be_cut_and_the_other_filled():
    out = center_crop(np.ones((9, 3, 1), dtype=np.uint8), {"height": 4, "width": 8}, "down")
    np.testing.assert_array_equal(out[..., 0], [[0, 0, 0, 1, 1, 1, 0, 0]] * 4)


@pytest.mark.parametrize("normalize", [True, False], ids=["normalized", "as it is"])
@pytest.mark.parametrize("factor", [None, 1 / 255, 1 / 127.5], ids=["whole", "255", "127.5"])
def test_a_pixel_is_rescaled_and_normalized_in_that_order(factor, normalize):
    processor = ImageProcessor(
        do_resize=False,
        do_rescale=factor is not None,
        rescale_factor=factor or 5.0,
        do_normalize=normalize,
        **UNLIKE,
    )
    image = np.arange(256 * 3, dtype=np.int64).reshape(16, 16, 3).astype(np.uint8)
    expected = (image.astype(np.float64) * (factor or 1.0)).astype(np.float32)
    if normalize:
        mean, std = (np.float32(UNLIKE[name]) for name in UNLIKE)
        expected = (expected - mean) / std
    out = processor(image)
    assert out.dtype == torch.float32 and out.shape == (1, 3, 16, 16)
    np.testing.assert_array_equal(out[0].numpy(), expected.transpose(2, 0, 1))


def test_the_order_is_resize_then_crop():
    image = Image.fromarray(np.repeat(np.repeat(RGB, 9, axis=0), 9, axis=1))
    processor = ImageProcessor(
        size={"shortest_edge": 11},
        resample=3,
        do_center_crop=True,
        crop_size={"height": 5, "width": 7},
        do_rescale=False,
        do_normalize=False,
    )
    expected = np.asarray(image.resize((18, 11), Image.Resampling.BICUBIC))[3:8, 5:12]
    np.testing.assert_array_equal(processor(image)[0].permute(1, 2, 0).numpy(), expected)


@pytest.mark.parametrize("number", range(6))
def test_resample_is_pillows_number(number):
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (23, 31, 3), dtype=np.uint8))
    processor = ImageProcessor(
        size={"height": 7, "width": 12}, resample=number, do_rescale=False, do_normalize=False
    )
    expected = np.asarray(image.resize((12, 7), number))
    np.testing.assert_array_equal(processor(image)[0].permute(1, 2, 0).numpy(), expected)


WHITE = np.round(RGB * (ALPHA[..., None] / 255) + 255 * (1 - ALPHA[..., None] / 255))
GREY3 = np.repeat(GREY[..., None], 3, axis=-1)
# 195 + 60 / 255 * (3, 4, 7) = 195.7, 195.9, 196.6
PARTS = [[[196, 196, 197]]] * 3
KINDS = {
    "array": (RGB, RGB),
    "array that is a view": (np.ascontiguousarray(RGB[::-1])[::-1], RGB),
    "grey array": (GREY, GREY3),
    "grey array with its channel": (GREY[..., None], GREY3),
    "array with alpha, over white": (RGBA, WHITE),
    "array with alpha that comes out in parts": (np.array([[[3, 4, 7, 60]]] * 3, np.uint8), PARTS),
    "picture": (Image.fromarray(RGB), RGB),
    "grey picture": (Image.fromarray(GREY), GREY3),
    "16-bit picture": (Image.fromarray(GREY.astype(np.uint16) * 256 + 9), GREY3),
    "1-bit picture": (Image.fromarray(GREY > 99), np.repeat((GREY > 99)[..., None] * 255, 3, -1)),
    "picture with alpha, over white": (Image.fromarray(RGBA), WHITE),
    "bytes": (saved(RGB), RGB),
    "bytes with alpha, dropped": (saved(RGBA), RGB),
}


@pytest.mark.parametrize("name", KINDS)
def test_pixels_come_from(name):
    image, expected = KINDS[name]
    out = PLAIN(image)
    assert out.shape == (1, 3, *np.shape(expected)[:2])
    np.testing.assert_array_equal(out[0].permute(1, 2, 0).numpy(), expected)


def test_pixels_come_from_a_file(tmp_path):
    file = tmp_path / "picture.png"
    file.write_bytes(saved(RGB))
    for source in (file, str(file)):
        assert torch.equal(PLAIN(source), PLAIN(RGB))


def test_many_pictures_are_a_batch_in_their_order():
    pictures = [RGB, RGB[::-1], saved(GREY)]
    each = torch.cat([PLAIN(picture) for picture in pictures])
    assert torch.equal(PLAIN(pictures), each)
    assert torch.equal(PLAIN(tuple(pictures)), each)
    assert torch.equal(PLAIN(np.stack([RGB, RGB[::-1]])), each[:2])


def test_no_pictures_are_a_batch_of_none():
    assert ImageProcessor.vit((8, 6))([]).shape == (0, 3, 8, 6)
    assert ImageProcessor.clip((8, 6))([]).shape == (0, 3, 8, 6)
    with pytest.raises(ImageError, match="give each a size of its own"):
        PLAIN([])


def test_one_mean_is_a_model_of_grey_pictures():
    grey = ImageProcessor(
        do_resize=False, do_rescale=False, do_normalize=False, image_mean=(0.5,), image_std=(0.5,)
    )
    for image in (GREY, Image.fromarray(GREY), saved(GREY), GREY3, Image.fromarray(GREY3)):
        np.testing.assert_array_equal(grey(image)[0].numpy(), [GREY])


def test_a_picture_is_left_alone():
    image = Image.fromarray(RGBA)
    array = RGB.copy()
    PLAIN([image, array])
    assert image.mode == "RGBA"
    np.testing.assert_array_equal(array, RGB)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([RGB, RGB[:2]], r"come out as \[\(2, 5\), \(3, 5\)\]; set do_center_crop"),
        (RGB.astype(np.float32), r"of float32 \(3, 5, 3\); expected uint8"),
        (RGB.astype(np.int64), r"of int64 \(3, 5, 3\); expected uint8"),
        (RGB.transpose(2, 0, 1).repeat(2, axis=2), r"of uint8 \(3, 3, 10\); expected"),
        (RGB[:, :0], r"of \(3, 0, 3\) has no pixels"),
        (np.zeros((2, 3, 4, 5, 3), dtype=np.uint8), r"of uint8 \(2, 3, 4, 5, 3\)"),
        (Image.fromarray(GREY.astype(np.float32)), "the picture holds floats of 32 bits"),
        (Image.new("RGB", (0, 3)), "of 0 x 3 has no pixels"),
        (b"no picture", "the picture of 10 bytes is damaged"),
        ("missing.png", "missing.png: No such file"),
    ],
    ids=count(),
)
def test_what_makes_no_pixels_is_refused(images, message):
    with pytest.raises(ImageError, match=message):
        PLAIN(images)


def test_a_picture_that_breaks_when_it_is_decoded_is_refused(tmp_path):
    file = tmp_path / "cut.png"
    file.write_bytes(saved(np.random.default_rng(0).integers(0, 256, (50, 50, 3), np.uint8))[:1500])
    with (
        Image.open(file) as image,
        pytest.raises(ImageError, match="cannot be decoded: image file is trunc"),
    ):
        PLAIN(image)
    with Image.open(file) as image, pytest.raises(ImageError, match="cannot be decoded"):
        ImageProcessor.vit((3, 4))(image)


def test_a_thread_of_a_picture_does_not_grow_into_gigabytes():
    with pytest.raises(ImageError, match="1 x 20000 would become 224 x 4480000; cut it"):
        ImageProcessor.clip()(Image.new("RGB", (1, 20_000)))
    small = ImageProcessor(size={"max_height": 9, "max_width": 9})
    with pytest.raises(ImageError, match="would become 9 x 0"):
        small(Image.new("RGB", (1000, 1)))


def test_presets_are_the_published_settings():
    vit, clip = ImageProcessor.vit((32, 48)), ImageProcessor.clip((32, 48))
    assert vit.size == {"height": 32, "width": 48} and vit.resample == 2
    assert vit.image_mean == vit.image_std == (0.5, 0.5, 0.5) and not vit.do_center_crop
    assert clip.size == {"shortest_edge": 48} and clip.resample == 3 and clip.do_center_crop
    assert clip.crop_size == {"height": 32, "width": 48}
    assert clip.image_mean == (0.48145466, 0.4578275, 0.40821073)
    assert clip.image_std == (0.26862954, 0.26130258, 0.27577711)
    assert clip(Image.new("RGB", (7, 90), "white")).min() > 1.9  # nothing is filled with black


def test_pillows_own_word_for_a_filter_is_its_number():
    processor = ImageProcessor(resample=Image.Resampling.BICUBIC)
    assert type(processor.resample) is int and processor.resample == 3


def test_settings_are_values():
    assert ImageProcessor.vit() == ImageProcessor() != ImageProcessor.clip()
    assert len({ImageProcessor.vit(), ImageProcessor(), ImageProcessor.clip()}) == 2
    size = {"height": 3, "width": 4}
    processor = ImageProcessor(size=size)
    size["height"] = 99
    assert processor.size["height"] == 3

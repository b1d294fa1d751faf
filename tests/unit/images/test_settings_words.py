"""Settings for pictures at their bounds, and each refusal with all of its words."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from zoo.images import ImageError
from zoo.images.processor import as_list, as_picture, center_crop, from_array
from zoo.images.published import as_size, class_of, from_timm
from zoo.images.read import name_of
from zoo.images.settings import checked, checked_size, per_channel

FILTERS = "{'nearest': 0, 'lanczos': 1, 'bilinear': 2, 'bicubic': 3, 'box': 4, 'hamming': 5}"
SIZES = (
    "['height', 'width'] or ['shortest_edge'] or ['longest_edge', 'shortest_edge'] or "
    "['max_height', 'max_width']"
)


def fault(function, *arguments):
    with pytest.raises(ImageError) as caught:
        function(*arguments)
    return str(caught.value)


REFUSED = {
    "a word for a switch": ({"do_resize": "no"}, "do_resize is 'no'; expected true or false"),
    "a number for a switch": ({"do_rescale": 1}, "do_rescale is 1; expected true or false"),
    "a filter's word": ({"resample": "box"}, f"resample is 'box'; known: {FILTERS}"),
    "a truth for a filter": ({"resample": True}, f"resample is True; known: {FILTERS}"),
    "no such filter": ({"resample": 6}, f"resample is 6; known: {FILTERS}"),
    "no factor": (
        {"rescale_factor": 0},
        "rescale_factor is 0; expected a number such as 1/255",
    ),
    "a large factor": (
        {"rescale_factor": 1e6},
        "rescale_factor is 1000000.0; expected a number such as 1/255",
    ),
    "a truth for a factor": (
        {"rescale_factor": True},
        "rescale_factor is True; expected a number such as 1/255",
    ),
    "channels": (
        {"image_mean": [0.5]},
        "image_mean (0.5,) and image_std (0.5, 0.5, 0.5) differ in channels",
    ),
    "no spread": (
        {"image_std": [1, 9e-7, 1]},
        "image_std is (1.0, 9e-07, 1.0); pixels cannot be divided by nothing",
    ),
    "two channels": (
        {"image_mean": [0.5, 0.5]},
        "image_mean is [0.5, 0.5]; expected a number a channel, three or one",
    ),
    "words for channels": (
        {"image_std": "0.5"},
        "image_std is '0.5'; expected a number a channel, three or one",
    ),
    "rounding": ({"crop_rounding": "up"}, "crop_rounding is 'up'; expected 'down' or 'even'"),
    "a size of one number": ({"size": 224}, f"size is 224; expected {SIZES}"),
    "a size of one side": ({"size": {"height": 1}}, f"size is {{'height': 1}}; expected {SIZES}"),
    "a crop by its edge": (
        {"crop_size": {"shortest_edge": 3}},
        "crop_size is {'shortest_edge': 3}; expected ['height', 'width']",
    ),
    "half a pixel": (
        {"size": {"shortest_edge": 1.5}},
        "size is {'shortest_edge': 1.5}; expected whole pixels, 1 to 32768",
    ),
    "no pixel": (
        {"crop_size": {"height": 5, "width": 0}},
        "crop_size is {'height': 5, 'width': 0}; expected whole pixels, 1 to 32768",
    ),
    "too many pixels": (
        {"size": {"shortest_edge": 32769}},
        "size is {'shortest_edge': 32769}; expected whole pixels, 1 to 32768",
    ),
    "a truth for a pixel": (
        {"size": {"shortest_edge": True}},
        "size is {'shortest_edge': True}; expected whole pixels, 1 to 32768",
    ),
}


@pytest.mark.parametrize("row", REFUSED)
def test_a_setting_that_no_picture_can_follow_is_refused(row):
    fields, said = REFUSED[row]
    assert fault(checked, fields) == said


def test_settings_at_their_bounds_are_taken():
    assert checked({}) == {"resample": 2, "rescale_factor": 1 / 255}
    fields = {
        "size": {"shortest_edge": 1, "longest_edge": 32768},
        "rescale_factor": -999_999,
        "image_mean": 0.5,
        "image_std": [-1e-6, 1, 1],
        "resample": 0,
        "crop_rounding": "even",
        "do_resize": False,
    }
    assert checked(fields) == fields | {
        "rescale_factor": -999_999.0,
        "image_mean": (0.5, 0.5, 0.5),
        "image_std": (-1e-6, 1.0, 1.0),
    }
    assert checked({"resample": Image.Resampling.HAMMING})["resample"] == 5
    assert checked_size("crop_size", {"height": 1, "width": 32768}) == {"height": 1, "width": 32768}
    assert per_channel("image_mean", (7,)) == (7.0,)


def timm(**changes):
    plain = {"input_size": [3, 8, 8], "mean": [0.5], "std": [0.5], "interpolation": "box"}
    return from_timm(plain | changes, {})


def test_timms_share_of_a_picture_is_taken_to_its_bounds():
    edges = {0.01: 800, 0.5: 16, 0.875: 9, 0.9: 8, 1: 8, None: 9, 0: 9}
    found = {share: timm(crop_pct=share)["size"]["shortest_edge"] for share in edges}
    assert found == edges
    assert timm() == {
        "size": {"shortest_edge": 9},
        "resample": 4,
        "do_center_crop": True,
        "crop_size": {"height": 8, "width": 8},
        "image_mean": [0.5],
        "image_std": [0.5],
        "crop_rounding": "even",
    }
    for share in (0.0099, 1.01, "1", -0.5):
        said = f"crop_pct is {share!r}; expected a share of the picture, up to 1"
        assert fault(lambda share=share: timm(crop_pct=share)) == said
    squashed = timm(input_size=[3, 8, 6], crop_mode="squash", crop_pct=0.5)
    assert squashed["size"] == {"height": 16, "width": 12}
    assert squashed["crop_size"] == {"height": 8, "width": 6}
    for size in ([3, 8], [3, 8, 6, 1], [3, 8.0, 6], None):
        said = f"input_size is {size!r}; expected [channels, height, width]"
        assert fault(lambda size=size: timm(input_size=size)) == said
    plain = {"input_size": [3, 8, 8], "mean": [0.5]}
    assert fault(from_timm, plain, {}) == "pretrained_cfg has no std"


def test_a_class_is_told_by_its_name_or_by_the_model():
    names = {"ViTImageProcessorFast": "ViT", "CLIPFeatureExtractor": "CLIP", "BitPil": "Bit"}
    for name, kind in names.items():
        assert class_of({"image_processor_type": name}, {}) == kind
        assert class_of({"feature_extractor_type": name}, {"model_type": "siglip"}) == kind
    assert class_of({}, {"model_type": "dinov2"}) == "Bit"
    known = ", ".join(f"{kind}ImageProcessor" for kind in ("ViT", "CLIP", "Bit", "DeiT", "Siglip"))
    assert fault(class_of, {}, {"model_type": "x"}) == (
        f"image_processor_type is 'without a name'; known: {known}"
    )
    assert fault(class_of, {"image_processor_type": "x" * 99}, {}) == (
        f"image_processor_type is '{'x' * 80}'; known: {known}"
    )


def test_a_size_is_said_in_todays_words():
    assert as_size("size", 7, True) == {"height": 7, "width": 7}
    assert as_size("size", 7, False) == {"shortest_edge": 7}
    assert as_size("size", [7, 9], False) == {"height": 7, "width": 9}
    assert as_size("size", {"a": 1}, True) == {"a": 1}
    for value in (True, [7], [7, 8, 9], "7", None):
        said = f"size is {value!r}; expected a number of pixels or an object of them"
        assert fault(as_size, "size", value, True) == said


def test_a_source_is_named():
    assert name_of(memoryview(np.zeros(3, dtype=np.uint16))) == "the picture of 6 bytes"
    assert name_of("x" * 501) == "x" * 500
    assert name_of(SimpleNamespace(name="y" * 501)) == "y" * 500
    assert name_of(SimpleNamespace()) == "the SimpleNamespace"


def test_many_pictures_are_a_list_and_one_is_a_list_of_one():
    many = np.zeros((2, 3, 4, 3), dtype=np.uint8)
    assert len(as_list(many)) == 2 and as_list(many)[1].shape == (3, 4, 3)
    assert as_list(many[0])[0] is not None and len(as_list(many[0])) == 1
    assert as_list(("a", "b")) == ("a", "b") and as_list("ab") == ["ab"]


NO_PICTURES = {
    "floats": (np.zeros((2, 3)), "float64 (2, 3)"),
    "two channels": (np.zeros((2, 3, 2), dtype=np.uint8), "uint8 (2, 3, 2)"),
    "a line": (np.zeros(3, dtype=np.uint8), "uint8 (3,)"),
    "many": (np.zeros((2, 2, 3, 3), dtype=np.uint8), "uint8 (2, 2, 3, 3)"),
}


@pytest.mark.parametrize("row", NO_PICTURES)
def test_an_array_that_is_no_picture_is_refused(row):
    array, said = NO_PICTURES[row]
    assert fault(from_array, array) == (
        f"a picture of {said}; expected uint8, 0 to 255, (height, width, 1, 3 or 4 channels)"
    )


def test_a_picture_without_pixels_is_refused():
    said = "a picture of (0, 3, 3) has no pixels"
    assert fault(from_array, np.zeros((0, 3, 3), dtype=np.uint8)) == said
    assert fault(as_picture, Image.new("RGB", (0, 3)), 3) == "a picture of 0 x 3 has no pixels"


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_is_in_as_many_channels_as_the_model_reads(channels):
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    found = as_picture(grey, channels)
    assert found.mode == ("L" if channels == 1 else "RGB")
    assert (np.asarray(found).reshape(16, 16, -1) == grey[..., None]).all()
    coloured = np.stack([grey, grey.T, 255 - grey], -1)
    found = np.asarray(as_picture(coloured, channels))
    expected = np.asarray(Image.fromarray(coloured).convert("L")) if channels == 1 else coloured
    assert (found == expected).all()


def test_a_crop_of_the_pictures_own_size_is_the_picture():
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    found = center_crop(pixels, {"height": 2, "width": 4}, "down")
    assert np.shares_memory(found, pixels) and (found == pixels).all()

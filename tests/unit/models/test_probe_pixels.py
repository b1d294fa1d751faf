"""Settings for pictures as a probe keeps them: the picture, its pixels, and what differs."""

import copy
import json
from dataclasses import replace

import numpy as np
import pytest

from zoo.images import ImageProcessor
from zoo.models import probe_files as files

MADE = ", the probe was made with "


def test_the_picture_is_a_formula():
    picture = files.picture()
    assert picture.shape == (37, 53, 3) and picture.dtype == np.uint8
    red = [255 * y / 37 for y in range(37)]
    for y, x in ((0, 0), (1, 0), (36, 52), (20, 7), (5, 40)):
        green = 127.5 * (1 + np.sin(0.9 * x + 0.05 * y * y))
        blue = 255 if (3 * y + 2 * x) % 17 < 5 else 0
        assert picture[y, x].tolist() == [int(red[y]), int(green), blue]
    assert (picture[..., 2] == 255).mean() == pytest.approx(5 / 17, abs=0.01)


@pytest.fixture(scope="module")
def pictured(tmp_path_factory):
    place = tmp_path_factory.mktemp("pictured")
    processor = replace(ImageProcessor.clip((12, 16)), image_mean=(0.1, 0.2, 0.3))
    processor.save(place)
    return place, processor, files.pixel_facts(place)


def test_settings_are_told_with_pixels_of_the_picture(pictured):
    _, processor, facts = pictured
    pixels = processor(files.picture())
    flat = pixels.reshape(-1).double().tolist()
    golden = (5**0.5 - 1) / 2
    places = [int(len(flat) * ((k + 1) * golden % 1)) for k in range(24)]
    assert facts["shape"] == [1, 3, 12, 16]
    assert facts["values"] == [float(f"{flat[p]:.8e}") for p in places]
    assert len(set(facts["values"])) > 12
    settings = facts["settings"]
    assert settings["image_mean"] == [0.1, 0.2, 0.3] and settings["do_resize"] is True
    assert settings["crop_size"] == processor.crop_size


def test_settings_that_a_switch_leaves_unused_are_not_told(tmp_path):
    ImageProcessor.vit((12, 10)).save(tmp_path)
    settings = files.pixel_facts(tmp_path)["settings"]
    assert settings["do_center_crop"] is False and "size" in settings
    assert not {"crop_size", "crop_rounding"} & settings.keys()


def test_without_settings_there_is_nothing_to_tell(tmp_path):
    assert files.pixel_facts(tmp_path) is None
    (tmp_path / "config.json").write_text("{}")
    assert files.pixel_facts(tmp_path) is None
    assert files.pixel_faults(tmp_path, {}) == []


def test_a_setting_that_differs_is_named_and_comes_before_pixels(pictured):
    place, _, facts = pictured
    assert files.pixel_faults(place, facts) == []
    kept = copy.deepcopy(facts)
    kept["settings"] |= {"resample": 9, "image_mean": [0.1, 0.5, 0.3], "older": 1}
    del kept["settings"]["do_resize"]
    kept["values"][0] += 9
    where = "preprocessor_config.json"
    resample = facts["settings"]["resample"]
    assert files.pixel_faults(place, kept) == [
        f"{where}: do_resize is True{MADE}None",
        f"{where}: image_mean[1] is 0.2{MADE}0.5",
        f"{where}: older is None{MADE}1",
        f"{where}: resample is {resample}{MADE}9",
    ]


def test_pixels_may_be_a_level_off_and_no_more(pictured):
    place, processor, facts = pictured
    said = [
        "preprocessor_config.json: its settings are as they were, and the library gives other "
        "pixels"
    ]
    level = processor.rescale_factor / min(processor.image_std)
    assert files.level_of(facts["settings"]) == level
    for share, faults in ((1.0, []), (-1.0, []), (1.02, said), (-1.02, said)):
        kept = copy.deepcopy(facts)
        kept["values"][3] += share * level
        assert files.pixel_faults(place, kept) == faults
    for change in ({"shape": [3, 16, 12]}, {"values": facts["values"][:-1]}, {"values": []}):
        assert files.pixel_faults(place, facts | change) == said


LEVELS = {
    "none": ({}, 1.0),
    "a factor": ({"rescale_factor": -0.25}, 0.25),
    "a spread": ({"rescale_factor": 0.5, "image_std": [0.5, -0.25, 1.0]}, 2.0),
}


@pytest.mark.parametrize("row", LEVELS)
def test_a_level_is_as_wide_as_the_settings_make_it(row):
    settings, level = LEVELS[row]
    assert files.level_of(settings) == level


def test_the_first_file_that_is_there_is_named_and_a_damaged_one_is_one_fault(pictured, tmp_path):
    place, _, facts = pictured
    settings = json.loads((place / "preprocessor_config.json").read_text())
    nested = {"image_processor": settings | {"do_rescale": False}}
    (tmp_path / "processor_config.json").write_text(json.dumps(nested))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    faults = files.pixel_faults(tmp_path, facts)
    assert faults[0] == f"processor_config.json: do_rescale is False{MADE}True"
    (tmp_path / "processor_config.json").write_text("{")
    (fault,) = files.pixel_faults(tmp_path, facts)
    assert "processor_config.json" in fault

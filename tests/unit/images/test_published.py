"""Settings from the published files, and back."""

import json
import os
from itertools import count

import pytest

from zoo.images import ImageError, ImageProcessor

OPENAI = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
HALVES = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def put(folder, **files):
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (folder / f"{name}.json").write_text(text)
    return folder


def read(folder, **files):
    return ImageProcessor.from_folder(put(folder, **files))


OLD_VIT = {
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "ViTFeatureExtractor",
    **HALVES,
    "resample": 2,
    "size": 224,
}
OLD_CLIP = {
    "crop_size": 224,
    "do_center_crop": True,
    "do_normalize": True,
    "do_resize": True,
    "feature_extractor_type": "CLIPFeatureExtractor",
    **OPENAI,
    "resample": 3,
    "size": 224,
}
NEW_CLIP = {
    **OLD_CLIP,
    "feature_extractor_type": "CLIPFeatureExtractor",
    "image_processor_type": "CLIPImageProcessor",
    "crop_size": {"height": 224, "width": 224},
    "size": {"shortest_edge": 224},
    "do_rescale": True,
    "rescale_factor": 0.00392156862745098,
    "do_convert_rgb": True,
    "_valid_processor_keys": ["images", "do_resize"],
    "device": None,
    "data_format": "channels_first",
    "disable_grouping": None,
    "do_pad": False,
    "pad_size": {"height": 9, "width": 9},
}
SILENT = {"feature_extractor_type": None}

PUBLISHED = {
    "ViT as a feature extractor": ({"preprocessor_config": OLD_VIT}, ImageProcessor.vit()),
    "CLIP as a feature extractor": ({"preprocessor_config": OLD_CLIP}, ImageProcessor.clip()),
    "CLIP with every key": ({"preprocessor_config": NEW_CLIP}, ImageProcessor.clip()),
    "CLIP within a processor": (
        {"processor_config": {"image_processor": NEW_CLIP}, "preprocessor_config": OLD_VIT},
        ImageProcessor.clip(),
    ),
    "a processor without pictures": (
        {"processor_config": {"x": 1}, "preprocessor_config": OLD_VIT},
        ImageProcessor.vit(),
    ),
    "no class, but a model": (
        {"preprocessor_config": OLD_CLIP | SILENT, "config": {"model_type": "clip"}},
        ImageProcessor.clip(),
    ),
    "only a class: CLIP": (
        {"preprocessor_config": {"image_processor_type": "CLIPImageProcessor"}},
        ImageProcessor.clip(),
    ),
    "only a class: ViT": (
        {"preprocessor_config": {"image_processor_type": "ViTImageProcessorFast"}},
        ImageProcessor.vit(),
    ),
    "null switches off, and what is off needs no more": (
        {
            "preprocessor_config": {
                **dict.fromkeys(OLD_CLIP),
                "do_resize": True,
                "size": {"height": 9, "width": 8},
                "resample": 3,
                "image_processor_type": "CLIPImageProcessor",
            }
        },
        ImageProcessor(size={"height": 9, "width": 8}, resample=3, do_normalize=False),
    ),
    "null, as ViT's newer files have it": (
        {"preprocessor_config": OLD_VIT | {"crop_size": None, "do_center_crop": None}},
        ImageProcessor.vit(),
    ),
    "height and width in a list": (
        {"preprocessor_config": OLD_VIT | {"size": [8, 6]}},
        ImageProcessor.vit((8, 6)),
    ),
    "one number, and said to be the shorter side": (
        {"preprocessor_config": OLD_VIT | {"size": 8, "default_to_square": False}},
        ImageProcessor(size={"shortest_edge": 8}),
    ),
    "one mean for all": (
        {"preprocessor_config": OLD_VIT | {"image_mean": 0.5, "image_std": 0.5}},
        ImageProcessor.vit(),
    ),
    "grey": (
        {"preprocessor_config": OLD_VIT | {"image_mean": [0.25], "image_std": [0.5]}},
        ImageProcessor(image_mean=(0.25,), image_std=(0.5,)),
    ),
    "DINOv2": (
        {
            "preprocessor_config": {
                "image_processor_type": "BitImageProcessor",
                "size": {"shortest_edge": 256},
                "image_mean": IMAGENET["mean"],
                "image_std": IMAGENET["std"],
            }
        },
        ImageProcessor(
            size={"shortest_edge": 256},
            resample=3,
            do_center_crop=True,
            image_mean=tuple(IMAGENET["mean"]),
            image_std=tuple(IMAGENET["std"]),
        ),
    ),
    "DeiT": (
        {"preprocessor_config": {"image_processor_type": "DeiTImageProcessor"}},
        ImageProcessor(size={"height": 256, "width": 256}, resample=3, do_center_crop=True),
    ),
    "SigLIP": (
        {"preprocessor_config": {"image_processor_type": "SiglipImageProcessor"}},
        ImageProcessor(resample=3),
    ),
    "timm, a share of the picture": (
        {
            "config": {
                "architecture": "vit_base_patch16_224",
                "pretrained_cfg": {
                    **IMAGENET,
                    "input_size": [3, 224, 224],
                    "interpolation": "bicubic",
                    "crop_pct": 0.9,
                    "crop_mode": "center",
                    "pool_size": None,
                    "first_conv": "patch_embed.proj",
                },
            }
        },
        ImageProcessor(
            size={"shortest_edge": 248},
            resample=3,
            do_center_crop=True,
            image_mean=tuple(IMAGENET["mean"]),
            image_std=tuple(IMAGENET["std"]),
            crop_rounding="even",
        ),
    ),
    "timm, squashed, and its defaults": (
        {
            "config": {
                "pretrained_cfg": {**IMAGENET, "input_size": [3, 28, 42], "crop_mode": "squash"}
            }
        },
        ImageProcessor(
            size={"height": 32, "width": 48},
            resample=3,
            do_center_crop=True,
            crop_size={"height": 28, "width": 42},
            image_mean=tuple(IMAGENET["mean"]),
            image_std=tuple(IMAGENET["std"]),
            crop_rounding="even",
        ),
    ),
    "open_clip": (
        {
            "open_clip_config": {
                "model_cfg": {"embed_dim": 512, "vision_cfg": {"image_size": 224}},
                "preprocess_cfg": {"mean": OPENAI["image_mean"], "std": OPENAI["image_std"]},
            }
        },
        ImageProcessor(
            size={"shortest_edge": 224},
            resample=3,
            do_center_crop=True,
            image_mean=tuple(OPENAI["image_mean"]),
            image_std=tuple(OPENAI["image_std"]),
            crop_rounding="even",
        ),
    ),
    "open_clip, squashed": (
        {
            "open_clip_config": {
                "model_cfg": {},
                "preprocess_cfg": {
                    "size": [24, 16],
                    "mode": "RGB",
                    "mean": [0.5, 0.5, 0.5],
                    "std": [0.5, 0.5, 0.5],
                    "interpolation": "bilinear",
                    "resize_mode": "squash",
                    "fill_color": 0,
                },
            }
        },
        ImageProcessor(
            size={"height": 24, "width": 16},
            do_center_crop=True,
            crop_size={"height": 24, "width": 16},
            crop_rounding="even",
        ),
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_settings_are_read_as_their_maker_means_them(name, tmp_path):
    files, expected = PUBLISHED[name]
    assert read(tmp_path / "model", **files) == expected


def plain(**changes):
    return {"preprocessor_config": OLD_VIT | changes}


def timm(**changes):
    return {"config": {"pretrained_cfg": {**IMAGENET, "input_size": [3, 8, 8]} | changes}}


def open_clip(**changes):
    return {"open_clip_config": {"preprocess_cfg": {"size": 8} | changes}}


REFUSED = [
    ({}, r"has no preprocessor_config.json; save .* ImageProcessor.vit\(size\).save"),
    ({"config": {"model_type": "vit"}}, "has no preprocessor_config.json"),
    ({"preprocessor_config": "{"}, r"preprocessor_config.json is not JSON"),
    ({"preprocessor_config": "[1]"}, r"preprocessor_config.json holds a list, not a JSON object"),
    ({"processor_config": {"image_processor": 5}}, "image_processor is 5, not an object"),
    (plain(feature_extractor_type=None), "image_processor_type is 'without a name'; known: ViTIm"),
    (plain(feature_extractor_type="DetrFeatureExtractor"), "is 'DetrFeatureExtractor'; known: ViT"),
    (plain(size=None), "size is null, and do_resize needs it"),
    (plain(image_std=None), "image_std is null, and do_normalize needs it"),
    (plain(rescale_factor=None), "rescale_factor is null, and do_rescale needs it"),
    (plain(do_center_crop=True, crop_size=None), "crop_size is null, and do_center_crop needs it"),
    (plain(do_pad=True), "no knowledge of {'do_pad': True}; it may change the pixels"),
    (plain(crop_pct=0.9), "no knowledge of {'crop_pct': 0.9}"),
    (plain(auto_map={"AutoImageProcessor": "code.py"}), "no knowledge of {'auto_map'"),
    (plain(do_resize="yes"), "do_resize is 'yes'; expected true or false"),
    (plain(do_resize=1), "do_resize is 1; expected true or false"),
    (plain(size="224"), "size is '224'; expected a number of pixels or an object"),
    (plain(size=True), "size is True; expected a number"),
    (plain(size=[1, 2, 3]), r"size is \[1, 2, 3\]; expected"),
    (plain(size={"longest_edge": 5}), r"size is {'longest_edge': 5}; expected \['height', 'width'"),
    (plain(size={"height": 5}), r"size is {'height': 5}; expected"),
    (plain(size=0), "size is {'height': 0, 'width': 0}; expected whole pixels, 1 to 32768"),
    (plain(size=32769), "expected whole pixels, 1 to 32768"),
    (plain(size={"height": 5.0, "width": 5}), "expected whole pixels"),
    (plain(crop_size={"shortest_edge": 5}), "crop_size is {'shortest_edge': 5}; expected"),
    (plain(resample=6), "resample is 6; known: {'nearest': 0"),
    (plain(resample="bicubic"), "resample is 'bicubic'; known"),
    (plain(resample=True), "resample is True; known"),
    (plain(rescale_factor=0), "rescale_factor is 0; expected a number such as 1/255"),
    (plain(rescale_factor="1/255"), "rescale_factor is '1/255'"),
    (plain(rescale_factor=1e300), "rescale_factor is 1e"),
    (plain(image_mean=[0.5, 0.5]), r"image_mean is \[0.5, 0.5\]; expected a number a channel"),
    (plain(image_mean=[0.5, 0.5, None]), "image_mean is .* expected a number a channel"),
    (plain(image_mean=[0.5, 0.5, float("nan")]), "image_mean is .* expected a number a channel"),
    (plain(image_mean=[0.5]), "differ in channels"),
    (plain(image_std=[0.5, 0.0, 0.5]), "pixels cannot be divided by nothing"),
    (plain(crop_rounding="up"), "crop_rounding is 'up'; expected 'down' or 'even'"),
    (timm(input_size=[224, 224]), r"input_size is \[224, 224\]; expected \[channels, height, wid"),
    (timm(input_size=None), "input_size is None"),
    (timm(crop_pct=1.5), "crop_pct is 1.5; expected a share"),
    (timm(crop_mode="border"), "'border' to .* is not supported; known: 'squash'"),
    (timm(input_size=[3, 8, 6]), "'shortest' to {'height': 9, 'width': 6} is not supported"),
    (timm(interpolation="random"), r"interpolation is 'random'; known: \['bicubic'"),
    (timm(mean=None), "image_mean is None"),
    (open_clip(resize_mode="longest"), "'longest' to .* is not supported"),
    (open_clip(new=1), "no knowledge of {'new': 1}"),
    (open_clip(size=None), "size is None; expected"),
    ({"open_clip_config": {"preprocess_cfg": 5}}, "preprocess_cfg and model_cfg should be objects"),
]


@pytest.mark.parametrize(("files", "message"), REFUSED, ids=count())
def test_settings_that_are_not_understood_are_refused(files, message, tmp_path):
    folder = put(tmp_path / "model", **files)
    with pytest.raises(ImageError, match=rf"^{folder}.*{message}"):
        ImageProcessor.from_folder(folder)


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(ImageError, match="missing is not a folder"):
        ImageProcessor.from_folder(tmp_path / "missing")


def test_a_pipe_for_settings_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "preprocessor_config.json")
    with pytest.raises(ImageError, match=r"config\.json is not a plain file"):
        ImageProcessor.from_folder(tmp_path)


EACH = {
    "vit": ImageProcessor.vit((8, 6)),
    "clip": ImageProcessor.clip((8, 6)),
    "grey": ImageProcessor(image_mean=(0.25,), image_std=(0.5,)),
    "unlike": ImageProcessor(
        do_resize=False,
        size={"shortest_edge": 9, "longest_edge": 31},
        resample=4,
        do_center_crop=True,
        crop_size={"height": 3, "width": 7},
        do_rescale=False,
        rescale_factor=0.3,
        do_normalize=False,
        image_mean=(0.1, 0.2, 0.3),
        image_std=(1.0, 2.0, 3.0),
        crop_rounding="even",
    ),
}


@pytest.mark.parametrize("name", EACH)
def test_what_is_saved_is_read_back(name, tmp_path):
    folder = tmp_path / "new" / "model"
    EACH[name].save(folder)
    assert ImageProcessor.from_folder(folder) == EACH[name]
    assert [file.name for file in folder.iterdir()] == ["preprocessor_config.json"]


def test_a_setting_of_ours_is_only_written_where_it_says_something(tmp_path):
    for name, there in (("clip", False), ("unlike", True)):
        EACH[name].save(tmp_path)
        held = json.loads((tmp_path / "preprocessor_config.json").read_text())
        assert ("crop_rounding" in held) is there


def test_a_file_is_replaced_whole(tmp_path):
    EACH["vit"].save(tmp_path)
    file, old = tmp_path / "preprocessor_config.json", tmp_path / "old.json"
    os.link(file, old)
    before = old.read_text()
    EACH["clip"].save(tmp_path)
    assert old.read_text() == before != file.read_text()


def test_saving_is_heard_also_where_a_reader_looks_first(tmp_path):
    folder = put(tmp_path / "model", processor_config={"image_processor": NEW_CLIP, "x": [1]})
    EACH["unlike"].save(folder)
    assert ImageProcessor.from_folder(folder) == EACH["unlike"]
    kept = json.loads((folder / "processor_config.json").read_text())
    assert kept["x"] == [1] and "device" not in kept["image_processor"]


def test_a_save_that_fails_leaves_what_was_there(tmp_path):
    EACH["vit"].save(tmp_path)
    blocked = tmp_path / f".preprocessor_config.json.{os.getpid()}.partial"
    blocked.mkdir()
    with pytest.raises(ImageError, match=f"cannot write to {tmp_path}: Is a directory"):
        EACH["clip"].save(tmp_path)
    assert ImageProcessor.from_folder(tmp_path) == EACH["vit"]


def test_a_save_that_fails_leaves_nothing_behind(tmp_path):
    (tmp_path / "preprocessor_config.json").mkdir()
    with pytest.raises(ImageError, match=f"cannot write to {tmp_path}"):
        EACH["vit"].save(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["preprocessor_config.json"]


def test_a_file_is_no_folder_to_save_in(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ImageError, match=r"cannot write to .*file"):
        EACH["vit"].save(tmp_path / "file")

"""The files that hold settings for pictures, both ways.

A folder's file says what its maker's library does with pictures. Three libraries, three languages:
Hugging Face's preprocessor_config.json (or the `image_processor` of processor_config.json),
open_clip's open_clip_config.json and timm's config.json. A number or a `true` under a name that no
table here knows might change the pixels, so it is refused.
"""

import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from zoo.images.bounds import ImageError
from zoo.images.read import read_file
from zoo.images.settings import FIELDS, FILTERS, OPENAI_MEAN, OPENAI_STD, SWITCHES, checked

LARGEST_JSON = 2**24  # bytes
NESTED, PLAIN, OPEN_CLIP, CONFIG = (
    "processor_config.json",
    "preprocessor_config.json",
    "open_clip_config.json",
    "config.json",
)

# which switch a setting belongs to
USED_BY = {
    "size": "do_resize",
    "resample": "do_resize",
    "crop_size": "do_center_crop",
    "rescale_factor": "do_rescale",
    "image_mean": "do_normalize",
    "image_std": "do_normalize",
    "crop_rounding": "do_center_crop",
}
# what the class that a file names does where the file is silent; `square` is what a size of one
# number means
CLIP = {
    "square": False,
    "size": {"shortest_edge": 224},
    "resample": 3,
    "do_center_crop": True,
    "image_mean": OPENAI_MEAN,
    "image_std": OPENAI_STD,
}
CLASSES: dict[str, dict[str, Any]] = {
    "ViT": {"square": True, "do_center_crop": False},
    "CLIP": CLIP,
    "Bit": CLIP,
    "DeiT": {
        "square": True,
        "size": {"height": 256, "width": 256},
        "resample": 3,
        "do_center_crop": True,
    },
    "Siglip": {"square": False, "resample": 3, "do_center_crop": False},
}
# the class that goes with a model, for a file that names none
MODELS = {"vit": "ViT", "clip": "CLIP", "dinov2": "Bit", "deit": "DeiT", "siglip": "Siglip"}
# names that change no pixel here: every picture is made RGB, every batch is channels first
HARMLESS = frozenset(
    "do_convert_rgb default_to_square disable_grouping _valid_processor_keys use_fast".split()
)


def read_settings(folder: Path) -> dict[str, Any]:
    """Give the fields of an ImageProcessor from the first file of the folder that has them."""
    if not folder.is_dir():
        raise ImageError(f"{folder} is not a folder")
    config = read_json(folder / CONFIG)
    sources: tuple[tuple[str, str, Callable[..., dict[str, Any]]], ...] = (
        (NESTED, "image_processor", from_hugging_face),
        (PLAIN, "", from_hugging_face),
        (OPEN_CLIP, "", from_open_clip),
        (CONFIG, "pretrained_cfg", from_timm),
    )
    for name, part, read in sources:
        found = config if name == CONFIG else read_json(folder / name)
        found = found.get(part, {}) if part else found
        if not isinstance(found, dict):
            raise ImageError(f"{folder / name}: {part} is {found!r}, not an object")
        if found:
            try:
                return checked(read(found, config))
            except ImageError as error:
                raise ImageError(f"{folder / name}: {error}") from None
    raise ImageError(
        f"{folder} has no {PLAIN}; save the settings its model was trained with: "
        "ImageProcessor.vit(size).save(folder) or ImageProcessor.clip(size).save(folder)"
    )


def from_hugging_face(found: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Read what transformers writes now, and what it wrote when they were feature extractors.

    A null is not the class's own value there: it switches off, or is a value that is not needed.
    """
    usual = CLASSES[class_of(found, config)]
    refuse_unknown(found, HARMLESS | {*FIELDS, "pad_size"})
    given = {name: found[name] for name in FIELDS if name in found}
    given |= {name: False for name in SWITCHES if name in given and given[name] is None}
    fields = {name: value for name, value in usual.items() if name in FIELDS} | given
    for name in [name for name, value in fields.items() if value is None]:
        if fields.get(USED_BY[name], True):
            raise ImageError(f"{name} is null, and {USED_BY[name]} needs it")
        del fields[name]
    if "size" in fields:
        square = found.get("default_to_square", usual["square"])
        fields["size"] = as_size("size", fields["size"], square)
    if "crop_size" in fields:
        fields["crop_size"] = as_size("crop_size", fields["crop_size"], True)
    return fields


def class_of(found: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """Give the class of transformers that a file stands for, without its suffixes."""
    name = found.get("image_processor_type") or found.get("feature_extractor_type")
    if name is None:
        name = MODELS.get(str(config.get("model_type")), "without a name")
    kind = str(name)
    for suffix in ("Fast", "Pil", "ImageProcessor", "FeatureExtractor"):
        kind = kind.removesuffix(suffix)
    if kind not in CLASSES:
        known = ", ".join(f"{known}ImageProcessor" for known in CLASSES)
        raise ImageError(f"image_processor_type is {str(name)[:80]!r}; known: {known}")
    return kind


def refuse_unknown(found: Mapping[str, Any], known: frozenset[str]) -> None:
    strange = {
        name: value
        for name, value in found.items()
        if name not in known and value and not isinstance(value, str)
    }
    if strange:
        raise ImageError(f"no knowledge of {str(strange)[:200]}; it may change the pixels")


def as_size(name: str, value: Any, square: bool) -> Any:
    """Give a size in today's words: older files hold one number, or [height, width]."""
    if isinstance(value, int) and not isinstance(value, bool):
        return {"height": value, "width": value} if square else {"shortest_edge": value}
    if isinstance(value, list) and len(value) == 2:
        return {"height": value[0], "width": value[1]}
    if isinstance(value, dict):
        return value
    raise ImageError(f"{name} is {value!r}; expected a number of pixels or an object of them")


def from_open_clip(found: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Read open_clip's settings: torchvision's Resize and CenterCrop."""
    given = found.get("preprocess_cfg") or {}
    model = found.get("model_cfg") or {}
    if not isinstance(given, dict) or not isinstance(model, dict):
        raise ImageError("preprocess_cfg and model_cfg should be objects")
    refuse_unknown(
        given, frozenset("size mode mean std interpolation resize_mode fill_color".split())
    )
    vision = model.get("vision_cfg")
    size = given.get("size") or (vision.get("image_size") if isinstance(vision, dict) else None)
    mean = given.get("mean") or OPENAI_MEAN
    std = given.get("std") or OPENAI_STD
    target = as_size("size", size, True)
    mode = given.get("resize_mode") or "shortest"
    filter_name = given.get("interpolation") or "bicubic"
    return as_torchvision(mode, target, target, filter_name, mean, std)


def from_timm(found: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Read timm's settings, by the rules of its `create_transform` for evaluation."""
    size = found.get("input_size")
    if not (isinstance(size, list) and len(size) == 3 and all(type(side) is int for side in size)):
        raise ImageError(f"input_size is {size!r}; expected [channels, height, width]")
    share = found.get("crop_pct") or 0.875
    if not isinstance(share, int | float) or not 0.01 <= share <= 1:
        raise ImageError(f"crop_pct is {share!r}; expected a share of the picture, up to 1")
    crop = {"height": size[1], "width": size[2]}
    before = {name: math.floor(side / share) for name, side in crop.items()}
    mode = {"center": "shortest"}.get(found.get("crop_mode") or "center", found.get("crop_mode"))
    filter_name = found.get("interpolation") or "bicubic"
    for name in ("mean", "std"):
        if name not in found:
            raise ImageError(f"pretrained_cfg has no {name}")
    return as_torchvision(mode, before, crop, filter_name, found["mean"], found["std"])


def as_torchvision(
    mode: Any, before: Mapping[str, Any], crop: Any, filter_name: Any, mean: Any, std: Any
) -> dict[str, Any]:
    """Say in our fields: resize to `before` (or its shorter side to that), then crop the middle."""
    if filter_name not in FILTERS:
        raise ImageError(f"interpolation is {filter_name!r}; known: {sorted(FILTERS)}")
    if mode == "squash":
        size = dict(before)
    elif mode == "shortest" and before["height"] == before["width"]:
        size = {"shortest_edge": before["height"]}
    else:
        raise ImageError(
            f"{mode!r} to {before} is not supported; known: 'squash', and 'shortest' (timm: "
            "'center') to a square"
        )
    return {
        "size": size,
        "resample": FILTERS[filter_name],
        "do_center_crop": True,
        "crop_size": crop,
        "image_mean": mean,
        "image_std": std,
        "crop_rounding": "even",
    }


def write_settings(processor: Any, folder: Path) -> None:
    """Write in transformers' words; in a folder whose reader looks elsewhere first, there as well.

    Each file is replaced whole. The one that readers look at last is written first.
    """
    settings = asdict(processor)
    if settings["crop_rounding"] == "down":
        del settings["crop_rounding"]  # transformers knows only this one
    kind = "CLIP" if processor.do_center_crop else "ViT"
    settings["image_processor_type"] = f"{kind}ImageProcessor"
    settings["do_convert_rgb"] = len(processor.image_mean) == 3
    nested = read_json(folder / NESTED)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / PLAIN, settings)
        if "image_processor" in nested:
            write_json(folder / NESTED, {**nested, "image_processor": settings})
    except OSError as error:
        raise ImageError(f"cannot write to {folder}: {error.strerror or error}") from None


def write_json(file: Path, value: Mapping[str, Any]) -> None:
    draft = file.with_name(f".{file.name}.{os.getpid()}.partial")
    try:
        draft.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object; an empty one where there is no file."""
    if not os.path.lexists(file):
        return {}
    try:
        data = read_file(file, str(file), LARGEST_JSON)
        value = json.loads(data.decode("utf-8"))
    except OSError as error:
        raise ImageError(f"{file}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise ImageError(f"{file} is not JSON: {str(error)[:200]}") from None
    if not isinstance(value, dict):
        raise ImageError(f"{file} holds a {type(value).__name__}, not a JSON object")
    return value

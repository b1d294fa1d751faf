"""What a setting of an ImageProcessor may be."""

from collections.abc import Mapping
from typing import Any

from zoo.images.bounds import ImageError

LARGEST = 2**15  # pixels a side

SWITCHES = ("do_resize", "do_center_crop", "do_rescale", "do_normalize")
SIZES = (
    {"height", "width"},
    {"shortest_edge"},
    {"shortest_edge", "longest_edge"},
    {"max_height", "max_width"},
)
FILTERS = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}

HALF = (0.5, 0.5, 0.5)
OPENAI_MEAN = (0.48145466, 0.4578275, 0.40821073)
OPENAI_STD = (0.26862954, 0.26130258, 0.27577711)

FIELDS = (
    *SWITCHES,
    "size",
    "resample",
    "crop_size",
    "rescale_factor",
    "image_mean",
    "image_std",
    "crop_rounding",
)


def checked(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Give fields in their final form; raise ImageError for one that no picture can follow."""
    result = dict(fields)
    for name, value in fields.items():
        if name in SWITCHES and not isinstance(value, bool):
            raise ImageError(f"{name} is {value!r}; expected true or false")
        if name in ("size", "crop_size"):
            result[name] = checked_size(name, value)
        if name in ("image_mean", "image_std"):
            result[name] = per_channel(name, value)
    number = fields.get("resample", 2)  # also as one of Pillow's own words
    if type(number) is bool or number not in FILTERS.values():
        raise ImageError(f"resample is {number!r}; known: {FILTERS}")
    result["resample"] = int(number)
    factor = fields.get("rescale_factor", 1 / 255)
    if not is_number(factor) or not factor:
        raise ImageError(f"rescale_factor is {factor!r}; expected a number such as 1/255")
    result["rescale_factor"] = float(factor)
    mean, std = result.get("image_mean", HALF), result.get("image_std", HALF)
    if len(mean) != len(std):
        raise ImageError(f"image_mean {mean} and image_std {std} differ in channels")
    if min(abs(number) for number in std) < 1e-6:
        raise ImageError(f"image_std is {std}; pixels cannot be divided by nothing")
    rounding = fields.get("crop_rounding", "down")
    if rounding not in ("down", "even"):
        raise ImageError(f"crop_rounding is {rounding!r}; expected 'down' or 'even'")
    return result


def checked_size(name: str, value: Any) -> dict[str, int]:
    kinds = SIZES if name == "size" else SIZES[:1]
    if not isinstance(value, dict) or set(value) not in kinds:
        wanted = " or ".join(str(sorted(kind)) for kind in kinds)
        raise ImageError(f"{name} is {value!r}; expected {wanted}")
    for side in value.values():
        if type(side) is not int or not 1 <= side <= LARGEST:
            raise ImageError(f"{name} is {value!r}; expected whole pixels, 1 to {LARGEST}")
    return dict(value)


def per_channel(name: str, value: Any) -> tuple[float, ...]:
    """Give a number for each channel; one for all of them is meant for three."""
    each = tuple(value) if isinstance(value, list | tuple) else (value,) * 3
    if len(each) not in (1, 3) or not all(is_number(number) for number in each):
        raise ImageError(f"{name} is {value!r}; expected a number a channel, three or one")
    return tuple(float(number) for number in each)


def is_number(value: Any) -> bool:
    """Tell whether it is a number that float32 computes with safely."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e6

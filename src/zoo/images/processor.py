"""From pictures to the pixels that a model was trained on: resize, crop, rescale, normalise.

    x = float32(pixel * rescale_factor)       (in float64, rounded once)
    y = (x - mean) / std                      (in float32)

as Hugging Face's processors compute it, to the last bit. A pixel is one of 256, so both lines are a
table of 256 entries a channel, made once; Pillow's resize is what the time goes to.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from zoo.images.bounds import MAX_PIXELS, ImageError
from zoo.images.pillow import Image
from zoo.images.published import read_settings, write_settings
from zoo.images.read import read_image, to_rgb
from zoo.images.settings import FIELDS, HALF, OPENAI_MEAN, OPENAI_STD, checked

WHITE = (255, 255, 255)


def square() -> dict[str, int]:
    return {"height": 224, "width": 224}


@dataclass(frozen=True, kw_only=True)
class ImageProcessor:
    """What preprocessor_config.json says, under its own names.

    `size` is {"height", "width"}, {"shortest_edge"}, {"shortest_edge", "longest_edge"} (the longest
    allowed) or {"max_height", "max_width"}; `resample` is Pillow's number of a filter. One mean
    stands for a model of grey pictures. `crop_rounding` says where a crop begins that cannot be in
    the middle: "down" as in Hugging Face's, "even" as torchvision's, so timm's and open_clip's.
    """

    do_resize: bool = True
    size: dict[str, int] = field(default_factory=square, hash=False)
    resample: int = 2
    do_center_crop: bool = False
    crop_size: dict[str, int] = field(default_factory=square, hash=False)
    do_rescale: bool = True
    rescale_factor: float = 1 / 255
    do_normalize: bool = True
    image_mean: tuple[float, ...] = HALF
    image_std: tuple[float, ...] = HALF
    crop_rounding: str = "down"

    def __post_init__(self) -> None:
        mine = {name: getattr(self, name) for name in FIELDS}
        for name, value in checked(mine).items():
            object.__setattr__(self, name, value)

    @classmethod
    def from_folder(cls, folder: str | Path) -> "ImageProcessor":
        """Read processor_config.json, preprocessor_config.json, open_clip's or timm's settings.

        The first that has any is taken. Raises ImageError where there is none, and for a setting
        that is not known here, as it might change the pixels.
        """
        return cls(**read_settings(Path(folder)))

    @classmethod
    def vit(cls, size: tuple[int, int] = (224, 224)) -> "ImageProcessor":
        """Give ViT's settings: squeezed to (height, width), bilinear, from -1 to 1."""
        return cls(size={"height": size[0], "width": size[1]})

    @classmethod
    def clip(cls, size: tuple[int, int] = (224, 224)) -> "ImageProcessor":
        """Give CLIP's settings: the shorter side resized, bicubic; (height, width) cut out."""
        return cls(
            size={"shortest_edge": max(size)},
            resample=3,
            do_center_crop=True,
            crop_size={"height": size[0], "width": size[1]},
            image_mean=OPENAI_MEAN,
            image_std=OPENAI_STD,
        )

    def save(self, folder: str | Path) -> None:
        """Write preprocessor_config.json, which Hugging Face's AutoImageProcessor reads as well."""
        write_settings(self, Path(folder))

    def __call__(self, images: Any) -> Float[Tensor, "b c h w"]:
        """Make pixels of one picture or of many: PIL's, uint8 arrays (h, w, c), or for read_image.

        A PIL picture with alpha is laid over white and is not turned, as Hugging Face does; a file
        is read as `read_image` reads it. Raises ImageError; also for pictures that come out
        unlike in size.
        """
        planes = [self.plane(image) for image in as_list(images)]
        sizes = {plane.shape[:2] for plane in planes}
        if len(sizes) > 1:
            raise ImageError(
                f"the pictures come out as {sorted(sizes)}; set do_center_crop or a "
                "size of height and width, or give one at a time"
            )
        height, width = sizes.pop() if sizes else self.out_size()
        pixels = np.empty((len(planes), self.channels, height, width), dtype=np.float32)
        for plane, rows in zip(planes, pixels, strict=True):
            for c, table in enumerate(self.tables):
                # "clip" only keeps numpy from making a copy: no pixel is out of range
                np.take(table, plane[..., c], out=rows[c], mode="clip")
        return torch.from_numpy(pixels)

    @cached_property
    def tables(self) -> Any:
        return make_tables(self)

    @property
    def channels(self) -> int:
        return len(self.image_mean)

    def out_size(self) -> tuple[int, int]:
        """Give the (height, width) that pictures of every size come out with."""
        last = self.crop_size if self.do_center_crop else self.size
        if not (self.do_center_crop or (self.do_resize and "height" in last)):
            raise ImageError("no pictures, and these settings give each a size of its own")
        return last["height"], last["width"]

    def plane(self, image: Any) -> Any:
        """Give a picture's uint8 array (h, w, c), resized and cropped."""
        image = as_picture(image, self.channels)
        if self.do_resize:
            height, width = resized(image.height, image.width, self.size)
            if height * width > MAX_PIXELS or not height or not width:
                raise ImageError(
                    f"a picture of {image.width} x {image.height} would become {width} x {height}; "
                    "cut it to a shape that is less narrow"
                )
            if (width, height) != image.size:
                image = image.resize((width, height), Image.Resampling(self.resample))
        pixels = np.asarray(image)
        pixels = pixels.reshape(image.height, image.width, self.channels)
        if self.do_center_crop:
            return center_crop(pixels, self.crop_size, self.crop_rounding)
        return pixels


def make_tables(processor: ImageProcessor) -> Any:
    """Give what each of 256 pixel values becomes, a row a channel."""
    values = np.arange(256, dtype=np.float64)
    if processor.do_rescale:
        values = values * processor.rescale_factor
    rows = np.repeat(values.astype(np.float32)[None], processor.channels, axis=0)
    if processor.do_normalize:
        mean = np.array(processor.image_mean, dtype=np.float32)[:, None]
        std = np.array(processor.image_std, dtype=np.float32)[:, None]
        rows = (rows - mean) / std
    return rows


def as_list(images: Any) -> Iterable[Any]:
    """Give many pictures as they are, and one as a list of one."""
    if isinstance(images, np.ndarray):
        return list(images) if images.ndim == 4 else [images]
    if isinstance(images, list | tuple):
        return images
    return [images]


def as_picture(image: Any, channels: int) -> Image.Image:
    """Give any kind of picture as a PIL picture in RGB, or in grey for one channel."""
    if isinstance(image, np.ndarray):
        image = from_array(image)
    if not isinstance(image, Image.Image):
        image = read_image(image)
    try:
        image.load()  # a file that was only opened is read here
        if image.mode not in ("RGB", "L" if channels == 1 else "RGB"):
            image = to_rgb(image, "the picture", WHITE)
    except ImageError:
        raise
    except Exception as error:  # a decoder may fail in any way
        raise ImageError(f"the picture cannot be decoded: {error}") from None
    if not image.width or not image.height:
        raise ImageError(f"a picture of {image.width} x {image.height} has no pixels")
    return image.convert("L") if channels == 1 and image.mode != "L" else image


def from_array(array: Any) -> Image.Image:
    """Give a uint8 array as a picture; alpha is laid over white in Hugging Face's arithmetic."""
    shape = array.shape
    if array.dtype != np.uint8 or not (
        len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3, 4))
    ):
        raise ImageError(
            f"a picture of {array.dtype} {shape}; expected uint8, 0 to 255, "
            "(height, width, 1, 3 or 4 channels)"
        )
    if not array.size:
        raise ImageError(f"a picture of {shape} has no pixels")
    if len(shape) == 3 and shape[2] == 4:
        alpha = array[..., 3:] / 255
        array = np.round(alpha * array[..., :3] + (1 - alpha) * 255).astype(np.uint8)
    return Image.fromarray(array[..., 0] if len(shape) == 3 and shape[2] == 1 else array)


def resized(height: int, width: int, size: Mapping[str, int]) -> tuple[int, int]:
    """Give the (height, width) that a picture is resized to, in Hugging Face's rounding."""
    if "height" in size:
        return size["height"], size["width"]
    if "max_height" in size:
        scale = min(size["max_height"] / height, size["max_width"] / width)
        return int(height * scale), int(width * scale)
    short, long = min(height, width), max(height, width)
    edge: float = size["shortest_edge"]
    most = size.get("longest_edge")
    first = int(edge)
    if most is not None and long / short * edge > most:
        edge = most * short / long
        first = round(edge)
    if most is not None and first == short:
        second = long
    else:
        second = int(edge * long / short)
    return (first, second) if height <= width else (second, first)


def center_crop(pixels: Any, size: Mapping[str, int], rounding: str) -> Any:
    """Cut the middle out of (h, w, c); what a small picture lacks is black, before rescaling."""
    target = (size["height"], size["width"])
    (top, above), (left, before) = (
        crop_start(have, want, rounding) for have, want in zip(pixels.shape, target, strict=False)
    )
    middle = pixels[top : top + target[0], left : left + target[1]]
    if middle.shape[:2] == target:
        return middle
    result = np.zeros((*target, pixels.shape[2]), dtype=np.uint8)
    result[above : above + middle.shape[0], before : before + middle.shape[1]] = middle
    return result


def crop_start(have: int, want: int, rounding: str) -> tuple[int, int]:
    """Give where along one side the picture is cut, and where that goes in the result."""
    if have >= want:
        return (have - want) // 2 if rounding == "down" else round((have - want) / 2), 0
    return 0, (want - have + (rounding == "down")) // 2

"""Samples of pictures: with a class, with hidden patches, with a caption.

Pictures are decoded, resized and cropped by an ImageProcessor when a batch first asks for them, and
kept as bytes while there is room. Without a view, pixels are the processor's own to the last bit.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from zoo.data.errors import DataError
from zoo.data.masking import single
from zoo.data.order import uniform
from zoo.data.pack import fingerprint
from zoo.data.samples import Named, columns, numbers_of, row_seeds, version_of
from zoo.data.views import DRAWS, View, viewed
from zoo.tokenizers import Tokenizer

HELD = 2**30  # bytes of decoded pictures kept; 7,000 of 224 x 224 in colour


class Pictures:
    """The pixels of picture files by their number; at most `held` bytes of them are kept.

    Raises DataError for a picture that cannot be read, when it is asked for.
    """

    def __init__(
        self,
        names: Sequence[str],
        paths: Sequence[str],
        processor: Any,
        view: View | None,
        held: int = HELD,
    ) -> None:
        self.names, self.paths, self.processor, self.view = names, paths, processor, view
        self.room = held
        self.planes: dict[int, Any] = {}  # uint8 (y, x, c)
        self.size = size_of(processor)
        tables = torch.from_numpy(processor.tables)
        self.low, self.high = tables[:, 0], tables[:, 255]

    def settings(self) -> list[Any]:
        """Give what changes pixels, as JSON: the processor's settings and the view."""
        return [str(self.processor), str(self.view)]

    def pixels(
        self, numbers: Sequence[int], draws: Float[Tensor, "n k"]
    ) -> Float[Tensor, "n c y x"]:
        """Give pictures as the model reads them, each in its own view."""
        channels = self.processor.channels
        result = np.empty((len(numbers), channels, *self.size), dtype=np.float32)
        for number, rows in zip(numbers, result, strict=True):
            plane = self.plane(number)
            for c, table in enumerate(self.processor.tables):
                np.take(table, plane[..., c], out=rows[c], mode="clip")
        images = torch.from_numpy(result)
        if self.view is None:
            return images
        return viewed(images, draws, self.view, self.low, self.high)

    def plane(self, number: int) -> Any:
        """Give a picture's bytes, resized and cropped."""
        from zoo.images import ImageError

        known = self.planes.get(number)
        if known is not None:
            return known
        try:
            plane = self.processor.plane(self.paths[number])
        except ImageError as error:
            raise DataError(f"row {self.names[number]}: {error}") from None
        if plane.nbytes <= self.room:
            self.room -= plane.nbytes
            self.planes[number] = np.ascontiguousarray(plane)
        return plane


class LabelledImages(Named):
    """Pictures with a class each: `labels` (b,). `view` is for training; None shows them as they
    are.

    `labels` are the classes in the order of their numbers, by default the rows' own.
    """

    unit = "images"

    def __init__(
        self,
        rows: Any,
        processor: Any,
        view: View | None = None,
        *,
        labels: Sequence[str] | None = None,
        held: int = HELD,
    ) -> None:
        self.ids, paths, names = columns(rows, "id", "image", "label")
        self.labels = tuple(labels or rows.labels or ())
        self.numbers = numbers_of(names, self.labels, self.ids)
        self.pictures = Pictures(self.ids, paths, processor, view, held)
        self.version = version_of(
            "labelled images", rows.order(), self.pictures.settings(), self.labels
        )

    def batch(
        self, chosen: Int[Tensor, " n"], generator: torch.Generator, own: slice
    ) -> dict[str, Tensor]:
        draws = view_draws(row_seeds(len(chosen), generator, own))
        return {
            "pixel_values": self.pictures.pixels(chosen[own].tolist(), draws),
            "labels": self.numbers[chosen[own]],
        }


class MaskedImages(Named):
    """Pictures of which a share of the patches is hidden: `bool_masked_pos` (b, p), True = hidden.

    As many are hidden of each, the nearest whole number and at least one, drawn anew each epoch
    (SimMIM, Xie et al. 2022, hides 0.6). `patch` is (height, width) in pixels.
    Raises ValueError when the processor's pictures are no whole number of patches.
    """

    unit = "images"

    def __init__(
        self,
        rows: Any,
        processor: Any,
        patch: tuple[int, int],
        view: View | None = None,
        *,
        rate: float = 0.6,
        held: int = HELD,
    ) -> None:
        self.ids, paths = columns(rows, "id", "image")
        self.pictures = Pictures(self.ids, paths, processor, view, held)
        size = self.pictures.size
        if any(side % step for side, step in zip(size, patch, strict=True)):
            raise ValueError(f"pictures of {size} are no whole number of patches of {patch}")
        if not 0 < rate < 1:
            raise ValueError(f"rate is {rate}; expected a share of patches between 0 and 1")
        self.patches, self.rate = size[0] // patch[0] * (size[1] // patch[1]), rate
        self.version = version_of(
            "masked images", rows.order(), self.pictures.settings(), list(patch), rate
        )

    def batch(
        self, chosen: Int[Tensor, " n"], generator: torch.Generator, own: slice
    ) -> dict[str, Tensor]:
        seeds = row_seeds(len(chosen), generator, own)
        hidden = uniform(seeds, self.patches, skip=DRAWS)
        return {
            "pixel_values": self.pictures.pixels(chosen[own].tolist(), view_draws(seeds)),
            "bool_masked_pos": torch.from_numpy(
                single(np.ones(hidden.shape, dtype=bool), hidden, self.rate)
            ),
        }


class Pairs(Named):
    """Pictures and their captions, row for row; captions lose what is beyond `length` tokens."""

    unit = "pairs"

    def __init__(
        self,
        rows: Any,
        processor: Any,
        tokenizer: Tokenizer,
        length: int | None = None,
        view: View | None = None,
        *,
        held: int = HELD,
    ) -> None:
        self.ids, paths, self.captions = columns(rows, "id", "image", "caption")
        self.tokenizer, self.length = tokenizer, length
        self.pictures = Pictures(self.ids, paths, processor, view, held)
        self.version = version_of(
            "pairs", rows.order(), self.pictures.settings(), fingerprint(tokenizer), length
        )

    def batch(
        self, chosen: Int[Tensor, " n"], generator: torch.Generator, own: slice
    ) -> dict[str, Tensor]:
        draws = view_draws(row_seeds(len(chosen), generator, own))
        rows = chosen[own].tolist()
        texts = self.tokenizer.batch([self.captions[i] for i in rows], longest=self.length)
        return {"pixel_values": self.pictures.pixels(rows, draws)} | texts


def size_of(processor: Any) -> tuple[int, int]:
    """Give the (height, width) of all pictures; raise DataError when each has its own."""
    from zoo.images import ImageError

    try:
        return processor.out_size()
    except ImageError:
        raise DataError(
            "the processor gives pictures a size of their own each, and a batch needs one: set "
            "do_center_crop, or a size of height and width"
        ) from None


def view_draws(seeds: Int[Tensor, " n"]) -> Float[Tensor, "n k"]:
    return torch.from_numpy(uniform(seeds, DRAWS))


def bytes_of(
    pixels: Float[Tensor, "b c y x"], low: Float[Tensor, " c"], high: Float[Tensor, " c"]
) -> Any:
    """Undo rescaling and normalisation: give the uint8 picture (b, y, x, c) that pixels are of."""
    span = (high - low)[:, None, None]
    shares = (pixels - low[:, None, None]) / span
    return (255 * shares).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()

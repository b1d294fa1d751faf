"""Reading pictures for a model that sees, batch by batch.

A picture comes as a path, bytes, an open file or a PIL picture. It is read when its batch is due
and dropped behind it, so that any number of them goes through.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypedDict

import torch
from jaxtyping import Float
from torch import Tensor

from zoo.checkpoint import CheckpointError
from zoo.checkpoint.packaged import find
from zoo.models import CLIP, ViT, load

Device = str | torch.device


@dataclass(frozen=True)
class Label:
    """A class for a picture, and how likely it is."""

    name: str
    probability: float


@dataclass(frozen=True)
class Unreadable:
    """A picture that could not be read: its place among those given, and why."""

    index: int
    why: str


class Reading(TypedDict, total=False):
    """How pictures are read, `at_once` in a batch (default 16).

    `unreadable` hears of each that cannot be read, and the work goes on; without it, the first ends
    the work. `done` hears how many more are ready.
    """

    at_once: int
    unreadable: Callable[[Unreadable], None] | None
    done: Callable[[int], None] | None


class Seer:
    """A model that sees and the processor that makes its pixels, an ImageProcessor."""

    def __init__(self, model: Any, processor: Any) -> None:
        check_fits(processor, model.config)
        self.model = model
        self.processor = processor

    @property
    def weight(self) -> Tensor:
        return next(self.model.parameters())

    def batches(
        self,
        images: Iterable[Any],
        *,
        at_once: int = 16,
        unreadable: Callable[[Unreadable], None] | None = None,
        done: Callable[[int], None] | None = None,
    ) -> Iterator[tuple[list[bool], Float[Tensor, "b c y x"]]]:
        """Give pixels batch by batch, and of which pictures in turn; of no pictures, one of none.

        Raises ImageError for a picture that cannot be read, unless `unreadable` is to hear of it.
        """
        check_pictures(images, at_once)
        numbered = enumerate(images)
        batch = list(islice(numbered, at_once))
        while True:
            made = [self.pixels(index, image, unreadable) for index, image in batch]
            held = [pixels for pixels in made if pixels is not None]
            pixels = torch.cat(held) if held else self.processor([])
            like = self.weight
            yield [pixels is not None for pixels in made], pixels.to(like.device, like.dtype)
            if done is not None:
                done(len(made))
            del made, held, pixels
            batch = list(islice(numbered, at_once))
            if not batch:
                return

    def pixels(
        self, index: int, image: Any, unreadable: Callable[[Unreadable], None] | None
    ) -> Tensor | None:
        """Give the pixels of a picture; None for one that cannot be read, when someone hears it."""
        from zoo.images import ImageError

        try:
            made: Tensor = self.processor([image])
        except ImageError as error:
            if unreadable is None:
                named = isinstance(image, str | os.PathLike)
                raise ImageError(f"{error}" if named else f"picture {index}: {error}") from None
            unreadable(Unreadable(index, str(error)))
            return None
        return made

    def vectors(
        self,
        images: Iterable[Any],
        compute: Callable[[Tensor], Tensor],
        reading: Reading,
    ) -> Float[Tensor, "b e"]:
        """Give a vector a picture; of one that could not be read, all is NaN."""
        parts = []
        for kept, pixels in self.batches(images, **reading):
            with torch.no_grad():
                rows = compute(pixels).cpu()
            part = rows.new_full((len(kept), rows.shape[1]), torch.nan)
            part[torch.tensor(kept, dtype=torch.bool)] = rows
            parts.append(part)
        return torch.cat(parts)

    def labelled(
        self,
        images: Iterable[Any],
        compute: Callable[[Tensor], Tensor],
        names: Sequence[str],
        top: int,
        reading: Reading,
    ) -> list[list[Label]]:
        """Give each picture's likeliest classes, best first; none for one that cannot be read."""
        if top < 1:
            raise ValueError(f"top is {top}; expected at least 1")
        result: list[list[Label]] = []
        for kept, pixels in self.batches(images, **reading):
            with torch.no_grad():
                chances = wide(compute(pixels)).softmax(-1)
            rows = iter(named(names, chances, top))
            result += [next(rows) if readable else [] for readable in kept]
        return result


def named(names: Sequence[str], chances: Float[Tensor, "b v"], top: int) -> list[list[Label]]:
    """Give each row's likeliest classes, best first; all when there are fewer than `top`."""
    best = chances.topk(min(top, len(names)))
    return [
        [Label(names[index], chance) for chance, index in zip(row, where, strict=True)]
        for row, where in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    ]


def wide(x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Give at least float32, in which probabilities are taken."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def kind(model: Any) -> str:
    return f"{type(model).__name__} with head {model.head_name!r}"


def read(folder: str | Path, dtype: torch.dtype, device: Device) -> tuple[Any, Any]:
    """Read a model of any family, and its processor if the family sees."""
    place = find(folder)
    model = load(place, dtype=dtype, device=device)
    if not isinstance(model, ViT | CLIP):
        return model, None
    from zoo.images import ImageProcessor  # needs Pillow, which is an extra

    return model, ImageProcessor.from_folder(place)


def check_fits(processor: Any, config: Any) -> None:
    """Raise CheckpointError for a processor that makes other pixels than the model reads."""
    from zoo.images import ImageError

    try:
        size = processor.out_size()
    except ImageError:
        size = "sizes of all kinds"
    if (size, processor.channels) != (tuple(config.image), config.channels):
        raise CheckpointError(
            f"the processor makes {size} pixels in {processor.channels} channels, the model reads "
            f"{tuple(config.image)} in {config.channels}: its preprocessor_config.json is another's"
        )


def check_pictures(images: Any, at_once: int) -> None:
    one = isinstance(images, str | bytes | bytearray | memoryview | os.PathLike)
    if one or not isinstance(images, Iterable) or getattr(images, "ndim", 4) != 4:
        raise TypeError("images is one picture; pass a list: [image]")
    if at_once < 1:
        raise ValueError(f"at_once is {at_once}; expected at least 1")

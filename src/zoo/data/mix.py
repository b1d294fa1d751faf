"""Two pictures in one: mixup (Zhang et al. 2018) and cutmix (Yun et al. 2019).

    mixup   x = s a + (1 - s) b
    cutmix  a box of b's pixels is put in its place in a; s is the share of a's pixels that is left
    loss    s loss(labels) + (1 - s) loss(other labels)

Before a cutmix, its box has (1 - s) of the area, s from Beta(alpha, alpha), and lies about a point
drawn anywhere, so a part of it may be outside; s is then counted again, in pixels.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from zoo.data.samples import Samples, version_of


@dataclass(frozen=True)
class Mix:
    """How the rows of a batch are mixed: with which row, by which share, in which box."""

    partner: Int[Tensor, " b"]
    share: Float[Tensor, " b"]  # drawn; of cutmix not yet counted in pixels
    cut: Any  # bool (b,)
    centre: Any  # (b, 2) from 0 to 1


class Mixed:
    """Labelled pictures, each mixed with another of its global batch.

    A batch has `other_labels` (b,), those of the others, and `share` (b,), that of `labels`.
    `mixup` and `cutmix` are the alphas of their Beta distributions, 0 for none; with both, a coin
    decides for each picture. The other picture has a view of its own.
    Raises ValueError when neither is asked for, or the samples have no pixels and labels.
    """

    def __init__(self, samples: Samples, *, mixup: float = 0.0, cutmix: float = 0.0) -> None:
        for name, alpha in (("mixup", mixup), ("cutmix", cutmix)):
            if not 0 <= alpha < math.inf:
                raise ValueError(f"{name} is {alpha}; expected 0 or more, such as 0.2")
        if not mixup and not cutmix:
            raise ValueError("neither mixup nor cutmix is above 0: use the samples as they are")
        self.samples, self.mixup, self.cutmix = samples, mixup, cutmix
        self.unit = samples.unit
        self.version = version_of("mixed", samples.version, mixup, cutmix)

    def __len__(self) -> int:
        return len(self.samples)

    def names(self, chosen: Sequence[int]) -> list[str]:
        return self.samples.names(chosen)

    def batch(
        self, chosen: Int[Tensor, " n"], generator: torch.Generator, own: slice
    ) -> dict[str, Tensor]:
        mix = self.draw(len(chosen), generator)
        batch = self.samples.batch(chosen, generator, own)
        other = self.samples.batch(chosen[mix.partner], generator, own)
        if not {"pixel_values", "labels"} <= batch.keys():
            raise ValueError(
                f"mixup and cutmix need pixel_values and labels, and these samples give "
                f"{sorted(batch)}: leave them out"
            )
        pixels, share = batch["pixel_values"].clone(), mix.share[own].clone()
        images = zip(pixels, other["pixel_values"], mix.cut[own], mix.centre[own], strict=True)
        for row, (image, partner, cut, centre) in enumerate(images):
            if cut:
                share[row] = put_box(image, partner, float(share[row]), centre)
            else:
                image.lerp_(partner, 1 - float(share[row]))
        mixed = {"pixel_values": pixels, "other_labels": other["labels"], "share": share}
        return batch | mixed

    def draw(self, rows: int, generator: torch.Generator) -> Mix:
        """Draw partners, shares and boxes for the whole global batch."""
        partner = torch.randperm(rows, generator=generator)
        # torch's Beta distribution takes no generator
        random = np.random.default_rng(int(torch.randint(2**63 - 1, (), generator=generator)))
        coins, centre = random.random(rows), random.random((rows, 2))
        cut = coins < 0.5 if self.mixup and self.cutmix else np.full(rows, bool(self.cutmix))
        shares = [
            random.beta(alpha, alpha, rows) if alpha else np.ones(rows)
            for alpha in (self.mixup, self.cutmix)
        ]
        share = torch.from_numpy(np.where(cut, shares[1], shares[0])).float()
        return Mix(partner, share, cut, centre)


def put_box(
    image: Float[Tensor, "c y x"], other: Float[Tensor, "c y x"], share: float, centre: Any
) -> float:
    """Put a box of another image into one, in place; give the share of pixels that is left."""
    box = box_of(image.shape[1], image.shape[2], share, centre)
    image[:, *box] = other[:, *box]
    filled = math.prod(side.stop - side.start for side in box)
    return 1 - filled / math.prod(image.shape[1:])


def box_of(height: int, width: int, share: float, centre: Any) -> tuple[slice, slice]:
    """Give the rows and columns of a box of 1 - share of the area about a centre, cut at the
    edges."""
    result = []
    for side, place in zip((height, width), centre, strict=True):
        half = int(side * math.sqrt(1 - share)) / 2
        middle = int(place * side)
        start, stop = math.floor(middle - half), math.floor(middle + half)
        result.append(slice(max(0, start), min(side, stop)))
    return result[0], result[1]

"""The tour's second pupil: a small ViT learns handwritten digits.

The scans are scikit-learn's: 1,797 real digits of 8 x 8 pixels, from the UCI repository (Alpaydin
and Kaynak 1998). They are drawn dark on white, larger and with an edge, as pictures to look at.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from zoo.cli.lesson_time import taught
from zoo.cli.lesson_views import View, moved
from zoo.images import ImageProcessor
from zoo.models import ViT, ViTConfig
from zoo.objectives import classification
from zoo.train import Step

HELD_OUT = 360  # scans that it never sees, a fifth
SCAN, EDGE = 8, 1  # pixels of a scan's side, and of white paper around it
SIDE = 8 * (SCAN + 2 * EDGE)  # pixels of a picture's side
CONFIG = ViTConfig(
    image=(20, 20),
    patch=(5, 5),
    channels=1,
    width=64,
    depth=4,
    heads=4,
    hidden=128,
    classes=10,
    labels=tuple("0123456789"),
)
PROCESSOR = ImageProcessor(size={"height": 20, "width": 20}, image_mean=(0.5,), image_std=(0.5,))
BATCH, PEAK, WARMUP = 64, 4e-3, 50
STEPS = 1000  # of a whole lesson
VIEW = View(turn=8.0, scale=0.08, shift=0.06)


@dataclass(frozen=True)
class Scans:
    """Digits as pictures, as what the model reads, and the number that each is."""

    pictures: list[Image.Image]
    pixels: Float[Tensor, "n 1 20 20"]
    labels: Int[Tensor, " n"]


def read_scans(seed: int) -> tuple[Scans, Scans]:
    """Give the scans to learn from, and some that are kept back to judge by."""
    from sklearn.datasets import load_digits  # an extra

    data, target = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(data))
    held_out, learnt = order[:HELD_OUT], order[HELD_OUT:]

    def scans(chosen: np.ndarray) -> Scans:
        pictures = [picture(data[i].reshape(SCAN, SCAN)) for i in chosen]
        return Scans(pictures, PROCESSOR(pictures), torch.from_numpy(target[chosen]).long())

    return scans(learnt), scans(held_out)


def picture(scan: np.ndarray) -> Image.Image:
    """Draw a scan, 0 for paper to 16 for ink, dark on white and smoothly enlarged."""
    paper = np.pad(255 - scan * (255 / 16), EDGE, constant_values=255)
    small = Image.fromarray(np.round(paper).astype(np.uint8))
    return small.resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def enrol(seed: int) -> ViT:
    """Make a ViT that knows nothing yet."""
    torch.manual_seed(seed)
    return ViT(CONFIG)


def lessons(
    model: ViT, scans: Scans, *, seconds: float, steps: int, seed: int
) -> Iterator[tuple[float, Step]]:
    """Train for so many steps, or seconds; give the share that is over and the step taken."""
    batches = scan_batches(scans, seed)
    return taught(
        model, batches, classification, peak=PEAK, warmup=WARMUP, seconds=seconds, most=steps
    )


def scan_batches(scans: Scans, seed: int) -> Iterator[dict[str, Tensor]]:
    """Give batches for ever, each scan a little turned, enlarged and moved."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(scans.labels), generator=generator)
        for chosen in order.split(BATCH)[: len(order) // BATCH]:
            # paper is 1, and what comes in from outside is 0
            pixels = moved(scans.pixels[chosen] - 1, CONFIG.image, generator, VIEW) + 1
            yield {"pixel_values": pixels, "labels": scans.labels[chosen]}

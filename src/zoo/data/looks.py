"""What a picture is for comparisons: a digest of its pixels, a small copy, and some numbers.

The small copy has SIDE x SIDE pixels in three channels, mean 0 and standard deviation 1, so that a
picture that was only made lighter, or flatter, is the same. Two are alike when

    rms(a - b) <= ALIKE   and   max |a - b| <= APART

Both are in standard deviations. On 36 photographs and scans JPEG at quality 75 gives a median of
0.014, half the size 0.032 and both at quality 50 0.047; the nearest two of scikit-learn's 1,797
digits, which are different scans, stand 0.091 apart, and of 5,000 MNIST digits 0.15. A crop, a
mirror image or a turn is not seen.

To compare all pairs at once the 8 x 8 lowest frequencies of the grey copy are enough: they are a
projection of it, so no two are farther apart there than in full, and none that is alike is missed.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from zoo.data.groups import Groups

SIDE = 32  # pixels
LOW = 8  # frequencies an axis
ALIKE = 0.06
APART = 0.35
DETAIL = 4.0  # grey levels: below it a picture is an empty page, and all of these are alike
BLOCK = 256  # pictures compared with all others at once
CHANNELS = ("red", "green", "blue")


@dataclass(frozen=True)
class Look:
    """One picture, read once."""

    digest: bytes  # of its size and its RGB pixels
    width: int
    height: int
    grey: bool
    means: tuple[float, ...]  # a channel, 0 to 255
    deviations: tuple[float, ...]
    uniform: bool  # one colour
    small: Float[np.ndarray, "32 32 3"] | None  # None when there is too little to see


def look_at(path: str) -> Look:
    """Read a picture; raise ImageError for what is none."""
    from zoo.images import read_image  # an extra

    image = read_image(path)
    pixels = np.asarray(image)  # (h, w, 3)
    digest = hashlib.sha256(f"{image.width} {image.height} ".encode() + pixels.tobytes())
    flat = pixels.reshape(-1, 3)
    return Look(
        digest=digest.digest(),
        width=image.width,
        height=image.height,
        grey=bool((pixels[..., 0] == pixels[..., 1]).all() and (flat[:, 1] == flat[:, 2]).all()),
        means=tuple(map(float, flat.mean(0))),
        deviations=tuple(map(float, flat.std(0))),
        uniform=bool((flat == flat[0]).all()),
        small=small_copy(image),
    )


def small_copy(image: Any) -> Float[np.ndarray, "32 32 3"] | None:
    """Give the normalised small copy, or None when the picture is an empty page.

    A page that is only lit unevenly is empty too: what is left without the slowest waves counts.
    """
    from PIL import Image

    box = Image.Resampling.BOX
    resample = box if min(image.size) >= SIDE else Image.Resampling.BICUBIC
    small = np.asarray(image.resize((SIDE, SIDE), resample), dtype=np.float32)
    waves = frequencies(small.mean(2), SIDE)
    waves[:3, :3] = 0.0
    if float(np.sqrt((waves**2).mean())) < DETAIL:
        return None
    return (small - small.mean()) / small.std()


def frequencies(grey: Float[np.ndarray, "32 32"], count: int) -> Float[np.ndarray, "k k"]:
    """Give the lowest frequencies of a grey picture: the orthonormal cosine transform.

    c_u(x) = sqrt(2 / n) cos(pi u (2 x + 1) / 2 n),   c_0(x) = sqrt(1 / n)
    """
    u, x = np.arange(count)[:, None], np.arange(SIDE)[None]
    waves = np.sqrt(2 / SIDE) * np.cos(np.pi * u * (2 * x + 1) / (2 * SIDE))
    waves[0] = np.sqrt(1 / SIDE)
    return np.asarray(waves @ grey @ waves.T, dtype=np.float32)


def alike(a: Float[np.ndarray, "32 32 3"], b: Float[np.ndarray, "32 32 3"]) -> bool:
    """Tell whether two small copies show one picture."""
    apart = np.abs(a - b)
    return bool(np.sqrt((apart**2).mean()) <= ALIKE and apart.max() <= APART)


def join_near(smalls: Sequence[Float[np.ndarray, "32 32 3"]], groups: Groups) -> None:
    """Join pictures that are alike; the time grows with the square of their number."""
    if not smalls:
        return
    low = np.stack([frequencies(small.mean(2), LOW).ravel() for small in smalls])  # (n, 64)
    squares = (low**2).sum(1)
    # rms over 32 x 32 numbers; the projection of a mean of channels is no longer than the whole.
    # What is added covers the rounding of squares near 1024 in float32
    most = SIDE * SIDE * ALIKE**2 + 0.01
    for start in range(0, len(low), BLOCK):
        rows = slice(start, start + BLOCK)
        apart = squares[rows, None] + squares[None, start:] - 2 * low[rows] @ low[start:].T
        for i, j in zip(*np.nonzero(apart <= most), strict=True):
            one, other = start + int(i), start + int(j)
            if one < other and not groups.same(one, other) and alike(smalls[one], smalls[other]):
                groups.join(one, other)

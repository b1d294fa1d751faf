"""safetensors files, read with nothing taken on trust.

    8 bytes: length n, little endian | n bytes: JSON | data
    JSON: name -> {"dtype", "shape", "data_offsets": [start, stop]}, and "__metadata__"

The header is checked whole before a byte of data is read: tensors tile the data without overlap or
hole, and each has as many bytes as its shape and dtype say. Files that we write carry a checksum of
every tensor, which is compared when it is read. Tensors are read into memory of their own: a mapped
file that somebody cuts would take the process with it.
"""

import errno
import json
import math
import os
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.checkpoint.errors import CheckpointError
from zoo.checkpoint.files import open_inside, read_up_to
from zoo.checkpoint.jsons import parse_json

LARGEST_HEADER = 100 * 10**6  # bytes, as the format says
CHECKSUMS = "zoo.crc32"  # metadata: JSON of name -> crc32
PIECE = 2**20  # bytes read at a time, so that they are summed up while the processor holds them

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
CODES = {dtype: code for code, dtype in DTYPES.items()}


@dataclass(frozen=True)
class LazyTensor:
    """A tensor that is still in its file; `start` counts from the file's first byte."""

    folder: Path
    file: str
    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    checksum: int | None

    def read(self) -> Tensor:
        """Read the tensor into fresh memory; raise CheckpointError when the bytes are damaged."""
        where = f"{self.folder / self.file}: {self.name[:80]!r}"
        try:
            result = torch.empty(self.shape, dtype=self.dtype)
        except (RuntimeError, MemoryError) as error:
            said = str(error).splitlines()[0][:200]
            raise CheckpointError(f"{where} does not fit into memory: {said}") from None
        with open_inside(self.folder, self.file) as file:
            file.seek(self.start)
            found = fill(file, bytes_of(result), None if self.checksum is None else seed(result))
        if found is None:
            raise CheckpointError(f"{where} is cut off: the file has become shorter")
        if self.checksum is not None and found != self.checksum:
            raise CheckpointError(
                f"{where} is damaged: its checksum differs. "
                f"If another tool changed the file, it should have dropped {CHECKSUMS!r} "
                "from the metadata"
            )
        if self.dtype == torch.bool and bytes_of(result).tobytes().strip(b"\0\1"):
            raise CheckpointError(f"{where} is BOOL and holds bytes other than 0 and 1")
        return result


def fill(file: FileIO, memory: memoryview, total: int | None) -> int | None:
    """Read until memory is full; give its checksum, begun with `total`, or None at the file's end.

    Without `total` nothing is summed up.
    """
    done = 0
    while done < len(memory):
        count = file.readinto(memory[done : done + PIECE])
        if not count:
            return None
        if total is not None:
            total = zlib.crc32(memory[done : done + count], total)
        done += count
    return total or 0


def read_header(folder: Path, file: str) -> tuple[dict[str, LazyTensor], dict[str, str]]:
    """Read and check a file's header; give its tensors by name, and its metadata.

    The sum of our own files is taken out of the metadata.
    """
    where = str(folder / file)
    with open_inside(folder, file) as stream:
        size = os.fstat(stream.fileno()).st_size
        length = int.from_bytes(read_up_to(stream, 8), "little")
        if length > min(size - 8, LARGEST_HEADER):
            raise CheckpointError(
                f"{where} is cut short or no safetensors file: "
                f"{size} bytes, and a header of {length} is announced"
            )
        header = parse_json(read_up_to(stream, length), f"{where}: header")
    metadata = check_metadata(where, header.pop("__metadata__", {}))
    checksums = check_checksums(where, metadata.pop(CHECKSUMS, None), header)
    tensors = {}
    spans = []
    for name, entry in header.items():
        dtype, shape, start, stop = check_entry(where, name, entry)
        spans.append((start, stop, name))
        tensors[name] = LazyTensor(
            folder=folder,
            file=file,
            name=name,
            dtype=dtype,
            shape=shape,
            start=8 + length + start,
            checksum=checksums.get(name),
        )
    check_tiling(where, sorted(spans), size - 8 - length)
    return tensors, metadata


def check_entry(where: str, name: str, entry: Any) -> tuple[torch.dtype, tuple[int, ...], int, int]:
    """Check one tensor's entry by itself."""
    what = f"{where}: {name[:80]!r}"
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise CheckpointError(f"{what} is not described by dtype, shape and data_offsets")
    code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(code, str) or code not in DTYPES:
        raise CheckpointError(f"{what} has dtype {str(code)[:20]!r}; known are {sorted(DTYPES)}")
    if not is_counts(shape) or len(shape) > 32:
        raise CheckpointError(f"{what} has shape {str(shape)[:80]}")
    if not is_counts(offsets) or len(offsets) != 2:
        raise CheckpointError(f"{what} has data_offsets {str(offsets)[:80]}")
    start, stop = offsets
    dtype = DTYPES[code]
    if math.prod(max(n, 1) for n in shape) * dtype.itemsize >= 2**63:
        raise CheckpointError(f"{what} has shape {tuple(shape)}: its strides overflow")
    if stop - start != math.prod(shape) * dtype.itemsize:
        raise CheckpointError(
            f"{what} has {stop - start} bytes; its shape {tuple(shape)} needs "
            f"{math.prod(shape) * dtype.itemsize}"
        )
    return dtype, tuple(shape), start, stop


def is_counts(value: Any) -> bool:
    """Tell whether this is a list of whole numbers from 0 to 2^63 - 1."""
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 2**63 for n in value)


def check_tiling(where: str, spans: list[tuple[int, int, str]], size: int) -> None:
    """Require that sorted spans follow each other from 0 to the end of the data."""
    reached = 0
    for start, stop, name in spans:
        if start != reached:
            fault = "overlaps the tensor before it" if start < reached else "follows a hole"
            raise CheckpointError(f"{where}: {name[:80]!r} {fault}")
        reached = stop
    if reached != size:
        raise CheckpointError(f"{where}: tensors take {reached} bytes, the file holds {size}")


def check_metadata(where: str, metadata: Any) -> dict[str, str]:
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise CheckpointError(f"{where}: __metadata__ is not a table of texts")
    return metadata


def check_checksums(where: str, text: str | None, header: Mapping[str, Any]) -> dict[str, int]:
    """Give each tensor's checksum, when the file carries them."""
    if text is None:
        return {}
    sums = parse_json(text.encode(), f"{where}: {CHECKSUMS}")
    if sums.keys() != header.keys() or not all(type(v) is int for v in sums.values()):
        raise CheckpointError(f"{where}: {CHECKSUMS} does not belong to these tensors")
    return sums


def write_file(
    place: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> dict[str, int]:
    """Write contiguous CPU tensors to a new file and wait for the disk; give their checksums.

    Raises OSError; a file that is there already is an error too.
    """
    sums = {name: checksum(tensor) for name, tensor in tensors.items()}
    write_parts(place, lay_out(tensors, dict(metadata) | {CHECKSUMS: json.dumps(sums)}))
    return sums


def lay_out(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> list[memoryview]:
    """Give a file's parts in their order: the header, and each tensor's own memory."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    # as the published library orders them: large elements first, so that all are aligned
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    at = 0
    for name in order:
        tensor = tensors[name]
        header[name] = {
            "dtype": CODES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [at, at + tensor.nbytes],
        }
        at += tensor.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    head = memoryview(len(text).to_bytes(8, "little") + text)
    return [head, *(bytes_of(tensors[name]) for name in order)]


def write_parts(place: Path, parts: Sequence[memoryview]) -> None:
    """Write a new file and wait for the disk; raises OSError."""
    # a buffer would copy every tensor, which takes five times as long
    with open(place, "xb", buffering=0) as file:
        for part in parts:
            write_all(file, part)
        size = os.fstat(file.fileno()).st_size
        if size != sum(map(len, parts)):
            raise OSError(errno.EIO, f"{size} bytes have arrived of {sum(map(len, parts))}")
        os.fsync(file.fileno())


def write_all(file: FileIO, memory: memoryview) -> None:
    """Write on until all is written: one call may write a part. Raises OSError for one of none."""
    done = 0
    while done < len(memory):
        count = file.write(memory[done:])
        if not count:
            raise OSError(errno.EIO, "the file takes no more bytes")
        done += count


def checksum(tensor: Tensor) -> int:
    """Sum up a CPU tensor's dtype, shape and bytes."""
    return zlib.crc32(bytes_of(tensor), seed(tensor))


def seed(tensor: Tensor) -> int:
    return zlib.crc32(f"{tensor.dtype} {tuple(tensor.shape)}".encode())


def bytes_of(tensor: Tensor) -> memoryview:
    """Give a contiguous CPU tensor's own memory."""
    array: Any = tensor.view(-1).view(torch.uint8).numpy()
    return memoryview(array)

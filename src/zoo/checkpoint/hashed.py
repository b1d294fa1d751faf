"""safetensors files written and read together with their SHA-256, each byte touched once.

Files of this kind carry no checksums of their own: a manifest beside them holds the hash. While one
thread hashes, another writes; hashing (about 1.2 GB/s a thread) is what bounds both ways.
"""

import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from io import FileIO
from pathlib import Path

import torch
from torch import Tensor

from zoo.checkpoint.errors import CheckpointError
from zoo.checkpoint.files import open_inside
from zoo.checkpoint.safetensors import PIECE, bytes_of, lay_out, read_header, write_parts
from zoo.checkpoint.write import check_tensor


def write_hashed(place: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write tensors of any device to a new file and wait for the disk; give its SHA-256.

    Raises CheckpointError that names the file when it cannot be written.
    """
    for name, tensor in tensors.items():
        check_tensor(name, tensor)
    held = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return write_bytes(place, *lay_out(held, {"format": "pt"}))


def write_bytes(place: Path, *parts: memoryview | bytes) -> str:
    """Write a new file of these parts and wait for the disk; give its SHA-256."""
    views = [memoryview(part) for part in parts]
    try:
        if sum(map(len, views)) < PIECE:  # a thread takes longer to start
            write_parts(place, views)
            return hash_parts(views)
        with ThreadPoolExecutor(1) as hasher:
            digest = hasher.submit(hash_parts, views)
            write_parts(place, views)
            return digest.result()
    except OSError as error:
        raise CheckpointError(f"cannot write {place}: {error.strerror or error}") from None


def hash_parts(parts: list[memoryview]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def read_hashed(folder: Path, file: str) -> tuple[dict[str, Tensor], str]:
    """Read a whole file into fresh memory, and give its SHA-256, which the caller compares.

    Raises CheckpointError when the file is no safetensors file, or shorter than it says.
    """
    described, _ = read_header(folder, file)
    order = sorted(described.values(), key=lambda entry: entry.start)
    digest = hashlib.sha256()
    result = {}
    with open_inside(folder, file) as stream:
        head = bytearray(order[0].start if order else stream.seek(0, 2))
        stream.seek(0)
        pass_by(stream, memoryview(head), digest.update, folder / file)
        for entry in order:
            result[entry.name] = torch.empty(entry.shape, dtype=entry.dtype)
            pass_by(stream, bytes_of(result[entry.name]), digest.update, folder / file)
    return result, digest.hexdigest()


def pass_by(
    stream: FileIO, memory: memoryview, look: Callable[[memoryview], None], where: Path
) -> None:
    """Fill memory from a file; each piece is looked at while the processor still holds it."""
    done = 0
    while done < len(memory):
        count = stream.readinto(memory[done : done + PIECE])
        if not count:
            raise CheckpointError(f"{where} is cut off: the file has become shorter")
        look(memory[done : done + count])
        done += count


def hash_file(folder: Path, file: str) -> str:
    """Give the SHA-256 of a file of the folder."""
    digest = hashlib.sha256()
    memory = memoryview(bytearray(PIECE))
    with open_inside(folder, file) as stream:
        while count := stream.readinto(memory):
            digest.update(memory[:count])
    return digest.hexdigest()

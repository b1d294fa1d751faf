"""Frames: one JSON record and binary parts, as they pass between the door and a worker.

    4 bytes, big-endian: the head's length      head: JSON [record, [sizes of parts]]      parts

Nothing is unpickled, and no frame is larger than LARGEST. The door reads with asyncio, a worker
with a blocking file; both take an end in the middle of a frame for the end: the other has died.
"""

import asyncio
import json
import struct
from collections.abc import Sequence
from typing import Any, BinaryIO

HEAD = struct.Struct("!I")
LARGEST = 2**30  # bytes; whatever an operator allows for a body is far below it

Frame = tuple[dict[str, Any], list[bytes]]


def pack(record: dict[str, Any], parts: Sequence[bytes] = ()) -> bytes:
    """Give a frame's bytes; raise ValueError when there are more than LARGEST."""
    sizes = [len(part) for part in parts]
    head = json.dumps([record, sizes], separators=(",", ":")).encode()
    bounded(len(head) + sum(sizes))
    return b"".join((HEAD.pack(len(head)), head, *parts))


def bounded(size: int) -> int:
    """Give a size back; raise ValueError when it is larger than a frame may be."""
    if not 0 <= size <= LARGEST:
        raise ValueError(f"a frame of {size} bytes; at most {LARGEST} pass")
    return size


def unpack_head(head: bytes) -> tuple[dict[str, Any], list[int]]:
    """Give a head's record and the sizes of its parts; raise ValueError for what is no head."""
    record, sizes = json.loads(head)
    bounded(sum(bounded(size) for size in sizes))
    return record, sizes


def read(stream: BinaryIO) -> Frame | None:
    """Wait for the next frame of a blocking stream; None is the end."""
    try:
        size = bounded(HEAD.unpack(exactly(stream, HEAD.size))[0])
        record, sizes = unpack_head(exactly(stream, size))
        return record, [exactly(stream, size) for size in sizes]
    except (EOFError, ConnectionError):
        return None


def exactly(stream: BinaryIO, size: int) -> bytes:
    """Read so many bytes; raise EOFError when there are fewer."""
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data


async def receive(reader: asyncio.StreamReader) -> Frame | None:
    """Wait for the next frame; None is the end."""
    try:
        size = bounded(HEAD.unpack(await reader.readexactly(HEAD.size))[0])
        record, sizes = unpack_head(await reader.readexactly(size))
        return record, [await reader.readexactly(size) for size in sizes]
    except (EOFError, ConnectionError):  # asyncio's IncompleteReadError is an EOFError
        return None

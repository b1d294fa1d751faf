"""What a file may ask of its decoder: work stays in proportion to the picture that comes of it.

Pillow bounds pixels and text. These bound what is left, of which a small file can ask for minutes
or gigabytes: the chunks of a PNG, the tiles and tags of a TIFF, the scans of a JPEG, EXIF. All are
counted in the bytes, before anything is decoded.
"""

import struct
from typing import Any

MAX_PIXELS = 89_478_485  # Pillow's own: 256 MiB in RGB
MAX_BYTES = 2**27
MAX_PARTS = 100_000  # chunks of a PNG, numbers under a tag of a TIFF: a second of Pillow's time
MAX_TAGS = 2**16 - 1
MAX_SCANS = 32  # of a progressive JPEG of MAX_PIXELS; cameras and editors write about ten
MAX_EXIF = 2**20  # bytes

TILE_SIDES = (322, 323)  # tags of TIFF
BYTES = (1, 2, 6, 7)  # types of TIFF whose values stay one string of bytes
KINDS_OF_NUMBER = {3: "H", 4: "L", 16: "Q"}


class ImageError(ValueError):
    """A picture that cannot be read, or settings for pictures that cannot be followed."""


def check_bytes(data: bytes, where: str) -> None:
    """Raise ImageError for a PNG or a TIFF of so many parts that opening it takes long."""
    if data.startswith(b"\x89PNG\r\n\x1a\n") and chunks(data) > MAX_PARTS:
        raise ImageError(f"{where} is in more than {MAX_PARTS:,} pieces; save it anew")
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        check_tags(data, where)


def chunks(data: bytes) -> int:
    """Count the chunks of a PNG, up to one more than is allowed."""
    count, at = 0, 8
    while at < len(data) and count <= MAX_PARTS:
        at += 12 + int.from_bytes(data[at : at + 4], "big")
        count += 1
    return count


def check_tags(data: bytes, where: str) -> None:
    """Look through the tags of a TIFF's first picture."""
    order = "<" if data.startswith(b"II") else ">"
    big = 43 in data[2:4]
    offset, head, tag_at = ("Q", "Q", "HHQ") if big else ("L", "H", "HHL")
    step = struct.calcsize(order + tag_at + offset)
    tile = 1  # pixels
    try:
        (at,) = struct.unpack_from(order + offset, data, 8 if big else 4)
        (count,) = struct.unpack_from(order + head, data, at)
        at += struct.calcsize(order + head)
        if count > MAX_TAGS:
            raise ImageError(f"{where} has {count:,} tags; save it anew")
        for place in range(at, at + count * step, step):
            tag, kind, length = struct.unpack_from(order + tag_at, data, place)
            if length > MAX_PARTS and kind not in BYTES:
                raise ImageError(f"{where} is in {length:,} pieces; save it anew")
            if tag in TILE_SIDES:
                number = order + KINDS_OF_NUMBER.get(kind, "L")
                tile *= struct.unpack_from(number, data, place + struct.calcsize(order + tag_at))[0]
    except (struct.error, OverflowError):
        return  # cut short: Pillow will say so
    if tile > MAX_PIXELS:
        raise ImageError(f"{where} is in tiles of {tile:,} pixels; save it anew")


def check_header(image: Any, data: bytes, where: str, max_pixels: int) -> None:
    """Raise ImageError for what a header says is too much to decode; Pillow refuses no pixels."""
    width, height = image.size
    if width * height > max_pixels:
        raise ImageError(
            f"{where} is {width} x {height}, more than {max_pixels:,} pixels; "
            "make it smaller, or raise max_pixels if you trust it"
        )
    # a progressive JPEG may paint each pixel many times over: a scan takes ten bytes of file, and
    # as long as a picture. FF DA does not occur among the pixels themselves
    scans = data.count(b"\xff\xda") if image.format in ("JPEG", "MPO") else 1
    if scans * width * height > MAX_SCANS * MAX_PIXELS:
        raise ImageError(f"{where} paints {width} x {height} pixels {scans} times; save it anew")


def check_exif(image: Any, where: str) -> None:
    """Raise ImageError for EXIF that is no camera's."""
    size = len(image.info.get("exif", b""))
    if size > MAX_EXIF:
        raise ImageError(f"{where} holds {size:,} bytes of EXIF; save it anew without")

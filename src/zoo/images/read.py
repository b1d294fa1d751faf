"""One picture from outside: upright, RGB, 8 bits a channel, or one ImageError.

Where Hugging Face's `load_image` gives a picture, this gives the same pixels: the first frame of an
animation, turned as its EXIF says, `convert("RGB")`, colour profiles not applied. Alpha is dropped,
as there, in OpenAI's CLIP and in timm; with a `background` it is laid over that instead.

Three are read otherwise, as `convert` clips them at 255, which is white nearly everywhere: 16-bit
grey keeps its upper byte, as Pillow itself does for 16-bit colour; 12-bit grey is scaled likewise;
whole numbers and floats of 32 bits have no white that a reader could know, and are refused.
"""

import os
import stat
import threading
import warnings
from io import BytesIO
from typing import Any, Protocol, runtime_checkable

import numpy as np

from zoo.images.bounds import (
    MAX_BYTES,
    MAX_PIXELS,
    ImageError,
    check_bytes,
    check_exif,
    check_header,
)
from zoo.images.pillow import Image, UnidentifiedImageError

# the kinds that photographs and drawings come in. Pillow knows more: of them EPS would run a
# program, others hold a picture of another kind and size
KINDS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF")

ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# what people take for a picture, by its first bytes
OTHERS = (
    (4, b"ftyphei", "HEIC"),
    (4, b"ftypmif1", "HEIC"),
    (0, b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (0, b"\0\0\0\x0cJXL ", "JPEG XL"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\0\0\1\0", "an icon"),
    (0, b"P5", "PGM"),
    (0, b"P6", "PPM"),
    (0, b"8BPS", "Photoshop"),
    (0, b"%!PS", "PostScript"),
    (0, b"%PDF", "PDF"),
    (0, b"<svg", "SVG"),
    (0, b"<?xml", "SVG or other XML"),
)


@runtime_checkable
class Readable(Protocol):
    """A file opened for reading bytes, or what can stand for one."""

    def read(self, size: int, /) -> bytes: ...


Source = str | os.PathLike[str] | bytes | bytearray | memoryview | Readable
Colour = tuple[int, int, int]


def read_image(
    source: Source,
    *,
    background: Colour | None = None,
    max_pixels: int = MAX_PIXELS,
    max_bytes: int = MAX_BYTES,
) -> Image.Image:
    """Read a picture from a path, from bytes, or from a file opened for reading bytes.

    The result is RGB and upright and carries no metadata. What is transparent shows its hidden
    colour, or `background`. Raises ImageError for everything that is no sound picture of KINDS, of
    at most `max_pixels` and in a regular file of at most `max_bytes`.
    """
    where = name_of(source)
    try:
        with QUIET:
            return decode(read_bytes(source, where, max_bytes), where, background, max_pixels)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError(f"{where} is damaged, or no {', '.join(KINDS)}: get it again") from None
    except Image.DecompressionBombError as error:  # Pillow's own limit, when max_pixels is above it
        raise ImageError(f"{where}: {error}; make it smaller") from None
    except OSError as error:
        if error.errno is not None:
            raise ImageError(f"{where}: {error.strerror}") from None
        raise ImageError(f"{where} is cut short or damaged ({error}): get it again") from None
    except Exception as error:  # a decoder may fail in any way on damaged bytes
        why = f"{type(error).__name__}: {str(error)[:200]}"
        raise ImageError(f"{where} cannot be read ({why}): get it again, or save it anew") from None


def name_of(source: Any) -> str:
    """Name a source for messages."""
    if isinstance(source, bytes | bytearray | memoryview):
        return f"the picture of {memoryview(source).nbytes} bytes"
    if isinstance(source, str | os.PathLike):
        return str(source)[:500]
    return str(getattr(source, "name", f"the {type(source).__name__}"))[:500]


def read_bytes(source: Any, where: str, limit: int) -> bytes:
    """Give all bytes of a source; raise ImageError when they are too many or none."""
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
    elif isinstance(source, str | os.PathLike):
        data = read_file(source, where, limit)
    elif hasattr(source, "read"):
        data = read_up_to(source, where, limit + 1)
    else:
        kind = type(source).__name__
        raise ImageError(f"a picture comes as a path, bytes or an open file, not as {kind}")
    if len(data) > limit:
        raise ImageError(f"{where} is longer than {limit:,} bytes; raise max_bytes to accept it")
    if not data:
        raise ImageError(f"{where} is empty")
    return data


def read_file(path: str | os.PathLike[str], where: str, limit: int) -> bytes:
    """Read a regular file: a pipe would be waited for, and a device has no end."""
    require_regular(os.stat(path), where)  # before it is opened: a device may do something then
    with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
        require_regular(os.fstat(file.fileno()), where)
        return read_up_to(file, where, limit + 1)


def require_regular(found: os.stat_result, where: str) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise ImageError(f"{where} is a folder; name a picture in it")
    if not stat.S_ISREG(found.st_mode):
        raise ImageError(f"{where} is not a plain file")


def read_up_to(file: Any, where: str, count: int) -> bytes:
    """Read on until `count` bytes or the file's end."""
    pieces = []
    while count > 0 and (piece := file.read(count)):
        if not isinstance(piece, bytes):
            raise ImageError(f"{where} gives {type(piece).__name__}; open it with mode 'rb'")
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)


def decode(data: bytes, where: str, background: Colour | None, max_pixels: int) -> Image.Image:
    check_bytes(data, where)
    Image.init()
    try:
        image = Image.open(BytesIO(data), formats=[kind for kind in KINDS if kind in Image.OPEN])
    except UnidentifiedImageError:
        refuse_other(data, where)
        raise
    check_header(image, data, where, max_pixels)
    image.load()
    check_exif(image, where)
    turn = turn_of(image)
    rgb = to_rgb(image, where, background)
    return rgb if turn is None else rgb.transpose(turn)


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """Give how a picture is turned upright; damaged EXIF turns nothing, as in every viewer."""
    try:
        return TURNS.get(int(image.getexif().get(ORIENTATION, 1)))
    except Exception:  # its parser may fail in any way
        return None


def refuse_other(data: bytes, where: str) -> None:
    """Say what a file is that is none of KINDS, where its first bytes tell."""
    for start, magic, name in OTHERS:
        if data.startswith(magic, start):
            raise ImageError(f"{where} is {name}; save it as PNG or JPEG")


def to_rgb(image: Image.Image, where: str, background: Colour | None = None) -> Image.Image:
    """Give a new picture in RGB, without metadata: pixels are upright, so no tag may say more."""
    if image.mode.startswith("I;16"):
        image = upper_byte(image)
    if image.mode in ("I", "F"):
        kind = "whole numbers" if image.mode == "I" else "floats"
        raise ImageError(
            f"{where} holds {kind} of 32 bits, and nothing says which is white; "
            "scale to 0..255 and save as 8 bits"
        )
    if background is not None and has_alpha(image):
        below = Image.new("RGBA", image.size, (*background, 255))
        image = Image.alpha_composite(below, image.convert("RGBA"))
    # `convert` would copy what is RGB already, a third of the time that reading takes
    rgb = image._new(image.im) if image.mode == "RGB" else image.convert("RGB")
    rgb.info = {}
    return rgb


def has_alpha(image: Image.Image) -> bool:
    return "A" in image.getbands() or image.info.get("transparency") is not None


def upper_byte(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey to 8 bits; a TIFF may use 12 of them, or count from white."""
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(258, (16,))[0]
    values = np.asarray(image).astype(np.int64) >> (bits - 8)
    grey = values.clip(0, 255).astype(np.uint8)
    return Image.fromarray(255 - grey if tags.get(262) == 0 else grey)


class Quiet:
    """Keep Pillow's warnings from escaping, also when threads decode at once.

    Python's own block puts back the filters that it found, so two that overlap in time would leave
    them changed for ever: the first thread in changes them, the last one out puts them back.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inside = 0
        self.block = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self.lock:
            if self.inside == 0:
                self.block = warnings.catch_warnings()
                self.block.__enter__()
                warnings.simplefilter("ignore")
            self.inside += 1

    def __exit__(self, *error: object) -> None:
        with self.lock:
            self.inside -= 1
            if self.inside == 0:
                self.block.__exit__(None, None, None)


QUIET = Quiet()

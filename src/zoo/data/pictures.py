"""Pictures that rows name: found beside their table, read once, and known by their bytes."""

import hashlib
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from zoo.data.errors import DataError, counted, shown
from zoo.data.version import netstring

THREADS = 8


class Named(BytesIO):
    """Bytes that are called as their file is."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = name


def find_picture(value: Any, folder: Path, where: str) -> Any:
    """Give the path of a picture that a table names; what is no text is the schema's to refuse."""
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        return value
    path = os.path.normpath(folder / value)
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise DataError(
            f"{where}: image {shown(value)} leads out of {folder}; move it there, or give the "
            "`folder` that pictures are named from"
        )
    return path


def read_pictures(
    paths: Iterable[str], place: Callable[[str], str], decode: bool
) -> dict[str, bytes]:
    """Read every picture once; give the digests of their bytes.

    Raises DataError for the first that is missing or cannot be read, and says how many there are.
    """
    asked = list(dict.fromkeys(paths))
    with ThreadPoolExecutor(min(THREADS, os.cpu_count() or 1)) as pool:
        found = list(pool.map(partial(read_picture, decode=decode), asked))
    bad = [(path, why) for path, why in zip(asked, found, strict=True) if isinstance(why, str)]
    if bad:
        path, why = bad[0]
        more = f" ({counted(len(bad) - 1, 'picture')} more cannot be read)" if bad[1:] else ""
        raise DataError(f"{place(path)}: image {why}{more}")
    return {path: digest for path, digest in zip(asked, found, strict=True) if digest}  # type: ignore[misc]


def read_picture(path: str, decode: bool) -> bytes | str:
    """Give the digest of a picture's bytes, or why it cannot be read."""
    from zoo.images import ImageError, read_image
    from zoo.images.bounds import MAX_BYTES
    from zoo.images.read import read_bytes

    if not os.path.lexists(path):
        return f"{path} is not there: put it there, or mend its name"
    try:
        data = read_bytes(path, path, MAX_BYTES)
        if decode:
            read_image(Named(data, path))
        else:
            check_head(data, path)
    except ImageError as error:
        return str(error)
    except OSError as error:
        return f"{path}: {error.strerror or error}"
    return netstring(hashlib.sha256(data).digest())


def check_head(data: bytes, path: str) -> None:
    """Raise ImageError when a picture's first bytes are none of a kind that is read."""
    from zoo.images import ImageError
    from zoo.images.bounds import MAX_PIXELS, check_bytes, check_header
    from zoo.images.pillow import Image
    from zoo.images.read import KINDS, QUIET

    check_bytes(data, path)
    with QUIET:
        Image.init()
        try:
            image = Image.open(
                BytesIO(data), formats=[kind for kind in KINDS if kind in Image.OPEN]
            )
            check_header(image, data, path, MAX_PIXELS)
        except ImageError:
            raise
        except Exception:  # a decoder may fail in any way on damaged bytes
            raise ImageError(f"{path} is damaged, or no {', '.join(KINDS)}: get it again") from None

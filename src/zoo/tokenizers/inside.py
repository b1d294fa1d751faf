"""Files of a tokenizer, read so that nothing outside of their folder and nothing huge is read.

A link may stay within the folder, or within a hub cache's own `models--owner--name` folder, where
snapshots are links to blobs. What is not a plain file is refused: a pipe would wait for ever.
"""

import gzip
import io
import json
import os
import stat
import zlib
from pathlib import Path
from typing import Any

LIMIT = 256 * 2**20  # bytes; the largest published tokenizer.json is a seventh of it
UNPACKED = 32 * 2**20  # bytes in a .gz and out of it; the published one unpacks to a tenth
HOW = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)


class TokenizerError(ValueError):
    """A tokenizer file that is missing or cannot be read."""


def exists(file: Path) -> bool:
    """Whether a folder names the file, be it readable or not."""
    return os.path.lexists(file)


def read_bytes(file: Path, limit: int = LIMIT) -> bytes:
    """Read a plain file of at most `limit` bytes; raise TokenizerError for whatever fails."""
    root = Path(os.path.realpath(file.parent))
    real = Path(os.path.realpath(root / file.name))
    if not real.is_relative_to(allowed_root(root)):
        raise TokenizerError(f"{file} is a link that leads out of its folder")
    try:
        require_plain(os.stat(real), file)  # before it is opened, as that may do something
        with open(os.open(real, HOW), "rb") as opened:
            require_plain(os.fstat(opened.fileno()), file)
            size = os.fstat(opened.fileno()).st_size
            data = b"" if size > limit else opened.read(limit + 1)
    except OSError as error:
        raise TokenizerError(f"{file}: {error.strerror or error}") from None
    if max(size, len(data)) > limit:
        raise TokenizerError(f"{file} is larger than {limit} bytes: no tokenizer is that large")
    return data


def require_plain(found: os.stat_result, file: Path) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise TokenizerError(f"{file} is not a plain file")


def allowed_root(root: Path) -> Path:
    """Give the folder that links may lead to: itself, or its cache's when it is a snapshot."""
    if root.parent.name == "snapshots" and root.parent.parent.name.startswith("models--"):
        return root.parent.parent
    return root


def read_text(file: Path) -> str:
    return decoded(read_bytes(file), file)


def read_packed(file: Path) -> str:
    """Read a text that gzip packed; what unpacks to too much is refused before it has done so."""
    packed = io.BytesIO(read_bytes(file, UNPACKED))
    try:
        data = gzip.GzipFile(fileobj=packed).read(UNPACKED + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise TokenizerError(f"{file} is not whole gzip data: {error}") from None
    if len(data) > UNPACKED:
        raise TokenizerError(f"{file} unpacks to more than {UNPACKED} bytes: no vocabulary does")
    return decoded(data, file)


def decoded(data: bytes, file: Path) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise TokenizerError(f"{file} is not UTF-8 text: {error}") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")  # every kind of line's end


def read_json(file: Path, kind: type = dict) -> Any:
    text = read_text(file)
    try:
        value = json.loads(text)
        if "\\ud" in text.lower():  # an escape may hold half of a character
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise TokenizerError(f"{file} holds half of a character: {error}") from None
    except (ValueError, RecursionError) as error:
        raise TokenizerError(f"{file} is not JSON: {error}") from None
    if not isinstance(value, kind):
        raise TokenizerError(f"{file} holds a {type(value).__name__}; expected a {kind.__name__}")
    return value

"""Texts as token ids in one file that is mapped into memory, however large it is.

    4,096 bytes   a JSON object, spaces, a line's end: what is in FIELDS, and a SHA-256 over that
    ids           little-endian uint16, or uint32 where the vocabulary needs it; one text after the
                  other, each ended by the end token; zeros up to a multiple of 8 bytes
    ends          little-endian int64: where each text ends, its end token included

Written whole or not at all: beside its place, synchronised, then renamed.
"""

import glob
import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from zoo.checkpoint.write import synchronise
from zoo.data.errors import DataError
from zoo.tokenizers import Tokenizer
from zoo.tokenizers.tokenizer import check_texts

FORMAT = "zoo packed ids 1"
HEADER = 4096  # bytes
AT_ONCE, MOST = 256, 2**20  # texts tokenized at once, and characters of them
PIECE = 2**22  # bytes hashed at once
PARTIAL = ".partial"
FIELDS = {
    "format": str,
    "dtype": str,
    "tokens": int,
    "texts": int,
    "end": int,  # the id that ends a text
    "tokenizer": str,  # its fingerprint
    "version": str,  # of the data that was packed
    "sha256": str,  # of everything after the header
}
DTYPES = {"uint16": "<u2", "uint32": "<u4"}


class Packed:
    """A packed file: `ids` (tokens,) and `ends` (texts,) are arrays mapped from it.

    All of it is read once to check it, unless `verify` is off. Raises DataError for a file that is
    no such file, damaged, cut short or longer than it says, or made with another tokenizer.
    """

    def __init__(
        self, path: str | Path, tokenizer: Tokenizer | None = None, *, verify: bool = True
    ) -> None:
        self.path = Path(path)
        header = read_header(self.path)
        if tokenizer is not None and header["tokenizer"] != fingerprint(tokenizer):
            raise DataError(
                f"{self.path} was packed with another tokenizer: pack the texts again with this "
                "one, or give the one that it was packed with"
            )
        if verify:
            check_content(self.path, header["sha256"])
        self.end: int = header["end"]
        self.version: str = header["version"]
        self.sha256: str = header["sha256"]
        dtype = np.dtype(DTYPES[header["dtype"]])
        tokens, texts = header["tokens"], header["texts"]
        behind = HEADER + whole(tokens * dtype.itemsize)
        self.ids = mapped(self.path, dtype, HEADER, tokens)
        self.ends = mapped(self.path, np.dtype("<i8"), behind, texts)

    def __len__(self) -> int:
        return len(self.ends)

    def text(self, index: int) -> list[int]:
        """Give the ids of a text, without the end token."""
        start = self.ends[index - 1] if index else 0
        return self.ids[start : self.ends[index] - 1].tolist()


def pack(
    texts: Iterable[str], tokenizer: Tokenizer, path: str | Path, *, version: str = ""
) -> Packed:
    """Write the ids of texts, without special tokens but the end, to a file; give it opened.

    The texts are taken a few at a time; `version` is that of the data, to be found again.
    After a crash the file is the old one or the new one. Raises DataError when there is no text,
    the tokenizer has no token for an end, or the file cannot be written.
    """
    path = Path(path)
    end = tokenizer.sep_id if tokenizer.eos_id is None else tokenizer.eos_id
    if end is None:
        raise DataError("the tokenizer has neither an eos nor a sep token to end a text with")
    about = {"end": end, "tokenizer": fingerprint(tokenizer), "version": version}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path)
        beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PARTIAL}")
        try:
            with open(beside, "xb") as file:
                lock(file)
                write_packed(file, texts, tokenizer, about)
                file.flush()
                os.fsync(file.fileno())
                beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        synchronise(path.parent)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from None
    return Packed(path, tokenizer, verify=False)


def write_packed(
    file: BinaryIO, texts: Iterable[str], tokenizer: Tokenizer, about: dict[str, Any]
) -> None:
    """Write ids and ends while they are made, and the header, which counts them, last."""
    dtype = dtype_of(tokenizer.vocab_size)
    sha256 = hashlib.sha256()
    lengths = []
    file.write(bytes(HEADER))
    for ids in encoded(texts, tokenizer):
        data = np.array([*ids, about["end"]], dtype=DTYPES[dtype]).tobytes()
        sha256.update(data)
        file.write(data)
        lengths.append(len(ids) + 1)
    if not lengths:
        raise DataError("there is no text to pack: give at least one")
    ends = np.cumsum(np.array(lengths, dtype="<i8"))
    size = int(ends[-1]) * np.dtype(DTYPES[dtype]).itemsize
    tail = bytes(whole(size) - size) + ends.astype("<i8").tobytes()
    sha256.update(tail)
    file.write(tail)
    header = about | {
        "format": FORMAT,
        "dtype": dtype,
        "tokens": int(ends[-1]),
        "texts": len(ends),
        "sha256": sha256.hexdigest(),
    }
    file.seek(0)
    file.write(header_bytes(header))


def dtype_of(vocab: int) -> str:
    """Give the narrowest of DTYPES that holds every id of a vocabulary."""
    return "uint16" if vocab <= 2**16 else "uint32"


def encoded(texts: Iterable[str], tokenizer: Tokenizer) -> Iterator[list[int]]:
    """Give each text's ids, tokenizing a few texts at once."""
    if isinstance(texts, str):
        raise TypeError("texts is one string; pass a list: [text]")
    for some in pieces(texts):
        check_texts(some)
        for encoding in tokenizer.backend.encode_batch_fast(some, add_special_tokens=False):
            yield encoding.ids


def pieces(texts: Iterable[str]) -> Iterator[list[str]]:
    """Give texts some at once: an encoding takes a hundred times the room of its text."""
    some: list[str] = []
    held = 0
    for text in texts:
        some.append(text)
        held += len(text) if isinstance(text, str) else 0  # what is no text is refused later
        if len(some) == AT_ONCE or held >= MOST:
            yield some
            some, held = [], 0
    if some:
        yield some


def fingerprint(tokenizer: Tokenizer) -> str:
    """Give a SHA-256 of how a tokenizer makes ids: of its tokenizer.json, however laid out."""
    parts = json.loads(tokenizer.backend.to_str())
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def header_bytes(header: dict[str, Any]) -> bytes:
    text = json.dumps(header | {"check": check_of(header)}, sort_keys=True).encode()
    if len(text) >= HEADER:
        raise DataError(f"a header of {len(text)} bytes; the version should be a short text")
    return text.ljust(HEADER - 1) + b"\n"


def check_of(header: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(header, sort_keys=True).encode()).hexdigest()


def read_header(path: Path) -> dict[str, Any]:
    """Read a file's header; raise DataError unless it is sound and the file as long as it says."""
    try:
        with open(path, "rb") as file:
            data = file.read(HEADER)
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}; pack the texts first") from None
    try:
        header = json.loads(data)
    except ValueError:
        header = None
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise DataError(f"{path} is no file of packed ids, {FORMAT!r}: pack the texts first")
    check = header.pop("check", None)
    sound = all(isinstance(header.get(name), kind) for name, kind in FIELDS.items())
    if not sound or check != check_of(header) or header["dtype"] not in DTYPES:
        raise DataError(f"{path} has a damaged header: pack the texts again")
    itemsize = np.dtype(DTYPES[header["dtype"]]).itemsize
    expected = HEADER + whole(header["tokens"] * itemsize) + 8 * header["texts"]
    if size != expected:
        how = "cut short" if size < expected else "longer than it says"
        raise DataError(
            f"{path} is {how}, {size:,} bytes and not {expected:,}: pack the texts again"
        )
    return header


def check_content(path: Path, expected: str) -> None:
    """Raise DataError unless the hash of what follows the header is the one that it names."""
    sha256 = hashlib.sha256()
    with open(path, "rb") as file:
        file.seek(HEADER)
        while piece := file.read(PIECE):
            sha256.update(piece)
    if sha256.hexdigest() != expected:
        raise DataError(
            f"{path} is damaged, its content has another SHA-256 than its header says: "
            "pack the texts again"
        )


def mapped(path: Path, dtype: Any, offset: int, count: int) -> Any:
    """Map an array from a file; plain arrays are cut ten times faster than numpy's own memmap."""
    return np.memmap(path, dtype, "r", offset, (count,)).view(np.ndarray)


def whole(size: int) -> int:
    """Round up to 8 bytes."""
    return -(-size // 8) * 8


def lock(file: BinaryIO) -> bool:
    """Mark a file as being written, for as long as it is open; tell whether no one else does."""
    try:
        import fcntl
    except ImportError:  # no such locks on this system: nothing can be told to be left over
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def sweep(path: Path) -> None:
    """Remove what writers that were killed have left beside a file."""
    for old in path.parent.glob(f".{glob.escape(path.name)}.*{PARTIAL}"):
        try:
            with open(old, "rb") as file:
                if lock(file):
                    old.unlink()
        except FileNotFoundError:  # its writer has just finished
            continue

"""Files to read: found in folders, opened, and taken apart into lines, with nothing trusted.

A link in a folder may stay in it; what is no plain file is refused, as a pipe would be waited for.
"""

import codecs
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from zoo.data.errors import DataError
from zoo.data.kinds import SPLIT_NAMES

TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
TEXTS = (".txt",)
PICTURES = (".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
KNOWN = (*TABLES, *TEXTS, *PICTURES)
HOW = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)
WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass(frozen=True)
class Source:
    """A file to read: what messages call it, what ids do, and what its folders say of it."""

    path: Path
    where: str
    name: str
    folders: tuple[str, ...]  # that it lies in, from the one that was given down

    def ending(self) -> str:
        return self.path.suffix.lower()

    def split(self, classes: bool = False) -> str | None:
        """Give the split that the file's name, or the innermost of its folders', says.

        With `classes` a file is an example, and its folder a class, which may be called `test`.
        """
        folders = self.folders[:-1] if classes else self.folders
        own = split_in(self.path.stem, tokens=self.ending() in TABLES)
        if own is not None and not classes and self.ending() not in PICTURES:
            return own
        found = [SPLIT_NAMES.get(folder.lower()) for folder in reversed(folders)]
        return next((split for split in found if split), None)

    def label(self) -> str:
        """Give the class that the file's folder names."""
        return self.folders[-1]


def split_in(stem: str, tokens: bool) -> str | None:
    """Find the one split that a file's name says: `train`, `train-00001`, or `mails_test`.

    Without `tokens` the name is a split's, with a number at most: a document may be called a-test.
    """
    parts = re.split(r"[-_. ]+", stem.lower())
    if not tokens and not all(re.fullmatch(r"\d+|of", part) for part in parts[1:]):
        return None
    found = {SPLIT_NAMES[part] for part in parts if part in SPLIT_NAMES}
    return found.pop() if len(found) == 1 else None


def find_sources(paths: Sequence[str | Path]) -> list[Source]:
    """List the files of paths, those of a folder in the order of their names.

    Raises DataError for a path that is not there or is given twice.
    """
    sources: list[Source] = []
    for path in paths:
        try:
            sources.extend(in_folder(Path(path)) if os.path.isdir(path) else [single(Path(path))])
        except OSError as error:
            raise DataError(f"{error.filename or path}: {error.strerror or error}") from None
    seen: dict[str, Source] = {}
    for source in sources:
        first = seen.setdefault(os.path.realpath(source.path), source)
        if first is not source:
            raise DataError(f"{source.where} is given twice: name each file once")
    return named_apart(sources)


def named_apart(sources: list[Source]) -> list[Source]:
    """Let ids begin with the whole path where two files have one name."""
    names = [source.name for source in sources]
    if len({*names}) == len(names):
        return sources
    return [Source(s.path, s.where, Path(s.where).as_posix(), s.folders) for s in sources]


def single(path: Path) -> Source:
    if not os.path.lexists(path):
        raise DataError(f"{path} is not there")
    if path.suffix.lower() not in KNOWN:
        raise DataError(f"{path} is not read; expected a file that ends in {' '.join(KNOWN)}")
    whole = Path(os.path.abspath(path))
    return Source(whole, str(path), path.name, (whole.parent.name,))


def in_folder(folder: Path) -> Iterator[Source]:
    """Yield the files of a folder and its folders that end as something that is read."""
    whole = Path(os.path.abspath(folder))
    for place, folders, files in os.walk(whole, onerror=fail):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        inside = Path(place).relative_to(whole)
        for name in folders:
            if os.path.islink(os.path.join(place, name)):
                link = folder / inside / name
                raise DataError(f"{link} is a link to a folder: name that folder itself")
        for name in sorted(files):
            if not name.startswith(".") and name.lower().endswith(KNOWN):
                path = Path(place, name)
                if os.path.islink(path):  # nothing else can lead out: folders are no links here
                    check_inside(path, whole, str(folder / inside / name))
                below = (whole.name, *inside.parts)
                yield Source(path, str(folder / inside / name), (inside / name).as_posix(), below)


def fail(error: OSError) -> None:
    raise error


def check_inside(path: Path, folder: Path, where: str) -> None:
    """Raise DataError for a path that leads out of its folder."""
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise DataError(f"{where} leads out of {folder}: name or copy the file itself")


def open_plain(path: Path, where: str) -> BufferedReader:
    """Open a plain file for reading bytes; raise DataError for anything else."""
    try:
        require_plain(os.stat(path), where)  # first: opening a device may do something
        file = open(os.open(path, HOW), "rb")  # noqa: SIM115  (whoever asked closes it)
    except OSError as error:
        raise DataError(f"{where}: {error.strerror or error}") from None
    require_plain(os.fstat(file.fileno()), where)
    return file


def require_plain(found: os.stat_result, where: str) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise DataError(f"{where} is not a plain file")


def lines_of(file: BufferedReader, where: str, longest: int) -> Iterator[str]:
    """Yield lines of UTF-8 with their ends, a byte order mark left out.

    Raises DataError for a line of more than `longest` bytes.
    """
    start = 0  # bytes
    number = 0
    while data := file.readline(longest + 1):
        number += 1
        if len(data) > longest and not data.endswith(b"\n"):
            raise DataError(
                f"{where} line {number} is longer than {longest:,} bytes; "
                "break it up, or raise `longest`"
            )
        text = decoded(data, where, start, number)
        yield text.removeprefix("\ufeff") if number == 1 else text
        start += len(data)


def decoded(data: bytes, where: str, start: int = 0, line: int = 1) -> str:
    """Decode bytes that begin at an offset of a file, in a line of it."""
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line += data.count(b"\n", 0, error.start)
        offset = start + error.start
        wide = start == 0 and data.startswith(WIDE)
        looks = "UTF-16" if wide else "LATIN1"
        raise DataError(
            f"{where} line {line} is not UTF-8: byte 0x{data[error.start]:02x} at offset "
            f"{offset:,}; save it as UTF-8, for instance by iconv -f {looks} -t UTF-8"
        ) from None

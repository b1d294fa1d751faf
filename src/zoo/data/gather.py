"""Which of the files that were found are read for a kind, and as what.

tables        for every kind; where a folder holds one, its pictures are what the table names
.txt          a document each for `text`; for `labelled_text` the folder is the class
pictures      the folder is the class; for `pairs` the caption is the .txt of the same name
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from zoo.data.errors import DataError, listed
from zoo.data.files import (
    PICTURES,
    TABLES,
    TEXTS,
    Source,
    decoded,
    lines_of,
    open_plain,
)
from zoo.data.kinds import KINDS, SPLIT_NAMES
from zoo.data.tables import Table, read_table

LARGEST = 2**30  # bytes of a document


@dataclass(frozen=True)
class Found:
    tables: list[Table]
    classes: bool  # whether the folder of a file is its class


def gather(sources: Sequence[Source], kind: str, lines: bool, longest: int) -> Found:
    """Read the files that fit a kind; raise DataError when none does."""
    tables = [source for source in sources if source.ending() in TABLES]
    texts = [source for source in sources if source.ending() in TEXTS]
    pictures = [source for source in sources if source.ending() in PICTURES]
    images = "image" in KINDS[kind].columns
    if kind == "text":
        require([*tables, *texts], kind, TABLES + TEXTS)
        return Found(
            [
                *(read_table(source, longest) for source in tables),
                *([text_lines(source, longest) for source in texts] if lines else documents(texts)),
            ],
            False,
        )
    if tables:
        return Found([read_table(source, longest) for source in tables], False)
    if kind == "labelled_text":
        require(texts, kind, TABLES + TEXTS)
        return Found([labelled(table) for table in documents(texts)], True)
    require(pictures if images else [], kind, TABLES + (PICTURES if images else ()))
    return Found([PICTURE_ROWS[kind](pictures)], kind == "labelled_images")


def check_classes(found: Found, labels: Sequence[str] | None) -> None:
    """Raise DataError when the folders that files are in can hardly be meant as their classes."""
    if not found.classes or labels is not None:
        return
    names = sorted({*found.tables[0].frame["label"]})
    if len(names) == 1 or all(name.lower() in SPLIT_NAMES for name in names):
        raise DataError(
            f"{found.tables[0].source.where} and all others would be of class {listed(names)}, "
            "after the folders they are in: name the folder above those of two classes or more, "
            "a table with a column 'label', or `labels`"
        )


def require(sources: Sequence[Source], kind: str, endings: Sequence[str]) -> None:
    if not sources:
        raise DataError(
            f"no file to read {kind} from; expected one that ends in {' '.join(endings)}"
        )


def documents(sources: Sequence[Source]) -> list[Table]:
    """Read text files as a text each; none where there are none."""
    if not sources:
        return []
    texts = [document(source) for source in sources]
    return [Table(sources[0], pd.DataFrame({"text": texts}), files=sources)]


def document(source: Source) -> str:
    """Read a text file; its lines end in \\n whatever they ended in."""
    text = read_text(source.path, source.where)
    if not text.strip():
        raise DataError(f"{source.where} is empty: write something in it, or leave it out")
    at = text.find("\0")
    if at >= 0:
        line = text.count("\n", 0, at) + 1
        raise DataError(f"{source.where} line {line} has a NUL byte: is it text, in UTF-8?")
    return text


def read_text(path: Path, where: str) -> str:
    with open_plain(path, where) as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise DataError(f"{where} is longer than {LARGEST:,} bytes: break it up")
    return decoded(data, where).removeprefix("\ufeff").replace("\r\n", "\n")


def text_lines(source: Source, longest: int) -> Table:
    """Read each line of a text file that says something as a text."""
    texts, numbers = [], []
    with open_plain(source.path, source.where) as file:
        for number, line in enumerate(lines_of(file, source.where, longest), 1):
            if line.strip():
                texts.append(line.removesuffix("\n").removesuffix("\r"))
                numbers.append(number)
    if not texts:
        raise DataError(f"{source.where} is empty: write something in it, or leave it out")
    return Table(source, pd.DataFrame({"text": texts}), numbers)


def labelled(table: Table) -> Table:
    """Add the class that each file's folder names."""
    labels = [file.label() for file in table.files or ()]
    return replace(table, frame=table.frame.assign(label=labels))


def picture_rows(sources: Sequence[Source]) -> Table:
    names = [source.path.name for source in sources]
    return Table(sources[0], pd.DataFrame({"image": names}), files=sources)


def captioned(table: Table) -> Table:
    """Add the caption that lies beside each picture."""
    captions = [caption_of(file) for file in table.files or ()]
    return replace(table, frame=table.frame.assign(caption=captions))


def caption_of(source: Source) -> str:
    beside = source.path.with_suffix(".txt")
    if not beside.exists():
        raise DataError(f"{source.where} has no caption: write one in {beside.name} beside it")
    return read_text(beside, str(Path(source.where).with_suffix(".txt"))).strip()


PICTURE_ROWS: dict[str, Callable[[Sequence[Source]], Table]] = {
    "images": picture_rows,
    "labelled_images": lambda sources: labelled(picture_rows(sources)),
    "pairs": lambda sources: captioned(picture_rows(sources)),
}

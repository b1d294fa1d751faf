"""What verbs for pictures share: finding the files, captions of them, a sheet to look at.

Nothing here imports torch or Pillow, so that every --help answers at once.
"""

import argparse
import csv
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from zoo.cli import UsageError
from zoo.cli.common import say

ENDINGS = (".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
ON_A_SHEET = 60  # pictures: more are too small to look at, or take too long to draw
CELL = 192  # pixels a side of one picture on a sheet

# what the columns of a captions file are called, here and in what others publish
FILE_NAMES = ("file", "file_name", "filepath", "image")
CAPTION_NAMES = ("caption", "text", "title")


def picture_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --skip-unreadable, --sheet and --batch."""
    parser.add_argument(
        "--skip-unreadable",
        action="store_true",
        help="name pictures that cannot be read and go on; default: stop at the first",
    )
    parser.add_argument(
        "--sheet", metavar="FILE.png", help=f"draw what was found, up to {ON_A_SHEET} pictures"
    )
    parser.add_argument("--batch", type=int, default=16, metavar="N", help="default: 16 at once")


def check_picture_arguments(args: argparse.Namespace) -> None:
    """Raise UsageError, before any work is done, for what would fail behind it."""
    if args.batch < 1:
        raise UsageError(f"--batch {args.batch}; expected 1 or more")
    if args.sheet is None:
        return
    sheet = Path(args.sheet)
    if sheet.suffix.lower() != ".png" or sheet.is_dir():
        raise UsageError(f"--sheet {sheet}; expected a file that ends in .png")
    if not sheet.absolute().parent.is_dir():
        raise UsageError(f"--sheet {sheet}: there is no folder {sheet.parent}")


def gather(given: Iterable[str]) -> tuple[list[Path], list[str]]:
    """Give the files, in the place of a folder the pictures in it, sorted; and a line a folder.

    What is in a folder and does not end as a picture does is counted and left alone; a file that is
    named by itself is taken as it is. Raises UsageError for a folder without a picture.
    """
    files: list[Path] = []
    lines = []
    for name in given:
        if not os.path.isdir(name):
            files.append(Path(name))
            continue
        found = list(below(Path(name)))
        pictures = [file for file in found if file.suffix.lower() in ENDINGS]
        if not pictures:
            raise UsageError(
                f"{name} holds no picture among {counted(len(found), 'file')}; pictures end in "
                f"{' '.join(ENDINGS)}"
            )
        others = len(found) - len(pictures)
        left = f"; {counted(others, 'other file')} left alone" if others else ""
        lines.append(f"{name}: {counted(len(pictures), 'picture')}{left}")
        files.extend(pictures)
    return files, lines


def below(folder: Path) -> Iterator[Path]:
    """Give the files in a folder and in its folders, in the order of their names."""
    for place, folders, files in os.walk(folder, onerror=fail):
        folders.sort()
        yield from (Path(place, name) for name in sorted(files) if not name.startswith("."))


def fail(error: OSError) -> None:
    raise error


def counted(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "s")


class Skips:
    """Hear of pictures that cannot be read, and name them on stderr as they come."""

    def __init__(self, args: argparse.Namespace, files: Sequence[Path]) -> None:
        self.files = files
        self.why: dict[int, str] = {}
        self.hear = self.heard if args.skip_unreadable else None

    def heard(self, unreadable: Any) -> None:
        self.why[unreadable.index] = unreadable.why
        say(f"skipped: {unreadable.why}")

    def conclude(self) -> None:
        if self.why:
            total = counted(len(self.files), "picture")
            say(f"{len(self.why):,} of {total} could not be read and were skipped")


def stopped(error: ValueError) -> UsageError:
    """Add to an unreadable picture's error how to go on."""
    return UsageError(f"{error} (--skip-unreadable goes on without)")


def read_captions(file: Path, folder: Path) -> list[tuple[Path, str]]:
    """Read (picture, caption) rows from .csv, .tsv or .jsonl; pictures are named from a folder.

    The columns are `file` and `caption`, or as FILE_NAMES and CAPTION_NAMES say.
    Raises UsageError that names the line.
    """
    readers = {".csv": ",", ".tsv": "\t"}
    ending = file.suffix.lower()
    if ending in readers:
        rows = separated(file, readers[ending])
    elif ending == ".jsonl":
        rows = objects(file)
    else:
        raise UsageError(f"--captions {file}; expected a file that ends in .csv, .tsv or .jsonl")
    result = []
    for line, row in rows:
        picture, caption = (
            next((row[name] for name in names if row.get(name)), None)
            for names in (FILE_NAMES, CAPTION_NAMES)
        )
        if not isinstance(picture, str) or not isinstance(caption, str) or not caption.strip():
            raise UsageError(
                f"{file} line {line}: expected a `file` and a `caption`, there is {row!r}"[:300]
            )
        if not (folder / picture).is_file():
            raise UsageError(f"{file} line {line}: {folder / picture} is not there")
        result.append((folder / picture, caption))
    if not result:
        raise UsageError(f"{file} holds no rows: expected `file` and `caption`, and a row each")
    return result


def separated(file: Path, delimiter: str) -> Iterator[tuple[int, dict[str, Any]]]:
    with file.open(encoding="utf-8-sig", newline="") as opened:
        reader = csv.DictReader(opened, delimiter=delimiter)
        try:
            for row in reader:
                yield reader.line_num, row
        except csv.Error as error:
            raise UsageError(f"{file} line {reader.line_num + 1}: {error}") from None


def objects(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    with file.open(encoding="utf-8") as opened:
        for line, text in enumerate(opened, 1):
            if not text.strip():
                continue
            try:
                row = json.loads(text)
            except ValueError as error:
                raise UsageError(f"{file} line {line} is not JSON: {error}") from None
            if not isinstance(row, dict):
                raise UsageError(f"{file} line {line} is no JSON object")
            yield line, row


def draw_sheet(
    args: argparse.Namespace, shown: Sequence[tuple[Path, str]], title: str | None = None
) -> None:
    """Write the contact sheet that was asked for, of (picture, caption)."""
    if args.sheet is None:
        return
    if not shown:
        say(f"nothing to draw: {args.sheet} was not written")
        return
    from zoo.images import contact_sheet, read_image

    if len(shown) > ON_A_SHEET:
        say(f"{args.sheet} shows the first {ON_A_SHEET} of {len(shown):,}")
    images = []
    for file, _ in shown[:ON_A_SHEET]:
        image = read_image(file)
        image.thumbnail((2 * CELL, 2 * CELL))  # many large photographs need not be held at once
        images.append(image)
    captions = [caption for _, caption in shown[:ON_A_SHEET]]
    columns = min(max(1, len(images)), 6 if len(images) > 12 else 4)
    sheet = contact_sheet(images, captions, columns=columns, title=title, cell=CELL)
    draft = Path(f"{args.sheet}.partial")
    sheet.save(draft, format="PNG")
    draft.replace(args.sheet)
    say(f"wrote {args.sheet}")

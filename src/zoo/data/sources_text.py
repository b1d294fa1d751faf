"""Texts to learn a language from: Python's reference, presidents' speeches, Moby-Dick.

Each function gives the rows of a table, ready to be written as JSON lines.
"""

import re
from pathlib import Path
from typing import Any

from zoo.data.errors import DataError

CODE = re.compile(r">>>|::=|^ *(\*{4,}|={4,}|-{4,}|[|+])|^ {6,}|:$", re.MULTILINE)
BREAK = re.compile(r"\r\n|\r|\f")
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
SPEECH = re.compile(r"(?P<year>\d{4})_(?P<name>.+)_(?P<party>[a-z]+)")
PARTIES = {"d": "Democratic", "r": "Republican", "w": "Whig", "f": "Federalist"}


def python_reference() -> list[dict[str, Any]]:
    """Give Python's language reference, a topic a row; each Python has its own."""
    return [{"text": text} for text in python_topics()]


def python_topics() -> list[str]:
    """Give the topics of the language reference that every Python carries for `help()`."""
    from pydoc_data import topics

    texts = without_repeats([topics.topics[name] for name in sorted(topics.topics)])
    return [unwrapped(text) for text in texts]


def without_repeats(texts: list[str], least: int = 400) -> list[str]:
    """Keep each paragraph where it comes first, and texts that are still `least` characters.

    The reference says a fifth of itself twice ("if" is also a part of "compound"), and a model
    must not be judged by what it has read.
    """
    seen: set[str] = set()
    result = []
    for text in texts:
        kept = []
        for paragraph in text.split("\n\n"):
            words = " ".join(paragraph.split())
            if words not in seen:
                kept.append(paragraph)
            seen.add(words)
        result.append("\n\n".join(kept))
    return [text for text in result if len(text) >= least]


def unwrapped(text: str) -> str:
    """Write each paragraph of prose on one line: where lines were broken is nothing to learn."""
    return "\n\n".join(
        paragraph if CODE.search(paragraph) else " ".join(paragraph.split())
        for paragraph in text.split("\n\n")
    )


def speeches(package: Path) -> list[dict[str, Any]]:
    """Give the addresses on the State of the Union, 1790 to 2021, with the year and the speaker."""
    rows = []
    for file in sorted((package / "sotu" / "data").glob("*.txt")):
        told = SPEECH.fullmatch(file.stem)
        if told is None:
            raise DataError(f"{file} is not named YEAR_NAME_PARTY.txt; unpack the package anew")
        name = told["name"].replace("_", " ").title()
        party = PARTIES.get(told["party"], "none")
        row = {"id": file.stem, "year": int(told["year"]), "name": name, "party": party}
        rows.append({**row, "text": read_text(file)})
    return rows


def moby_dick(package: Path) -> list[dict[str, Any]]:
    """Give the chapters of Moby-Dick in their order, with what goes before and after them."""
    folder = package / "moby-dick" / "data"
    chapters = sorted(folder.glob("chapter_*.txt"), key=lambda f: int(f.stem.split("_")[1]))
    front, back = ("etymology", "extracts"), ("epilogue",)
    files = [folder / f"{name}.txt" for name in front], [folder / f"{name}.txt" for name in back]
    found = [file for file in (*files[0], *chapters, *files[1]) if file.is_file()]
    return [{"id": file.stem, "text": read_text(file)} for file in found]


def read_text(file: Path) -> str:
    """Read a file of a package that is known to be UTF-8."""
    try:
        return tidy(file.read_bytes().decode())
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: {error}; unpack the package anew") from None


def tidy(text: str) -> str:
    """Leave out control characters, spaces at the ends of lines, and more than one blank line."""
    text = CONTROL.sub("", BREAK.sub("\n", text))
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)).strip()

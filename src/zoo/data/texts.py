"""Texts that are empty, far too long, or were read in the wrong encoding."""

import re
from collections.abc import Callable, Iterator

from zoo.data.findings import Finding, plural
from zoo.data.view import View

LONG = 1_000_000  # letters: a book; a row of this length is rarely one text
TIMES = 1000  # as many times the median, when that is more than LETTERS
LETTERS = 100_000

# What the bytes of UTF-8 look like when each is read as a letter of Windows-1252, which most
# programs mean by Latin-1: runs outside ASCII that are UTF-8 again when written as such bytes
RUN = re.compile("[^\x00-\x7f]{2,}")
OFTEN = "ÂÃâ"  # what begins é, £ and quotes: a run of one such letter is enough
SURE = 6  # letters: shorter runs may be so by chance, as in É» and é»…
LOST = re.compile("\ufffd")
CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f]")


def lengths(view: View) -> Iterator[Finding]:
    """Find texts that are empty or far longer than the others."""
    empty = [i for i, text in enumerate(view.folded) if not text]
    if empty:
        yield Finding(
            "warning",
            "lengths",
            f"{plural(len(empty), 'row')} ({len(empty) / len(view.ids):.1%}) with an empty text: "
            "drop them",
            view.told(empty),
            {"rows": len(empty)},
            view.told(empty),
        )
    sizes = [len(text) for text in view.texts]
    median = sorted(sizes)[len(sizes) // 2] if sizes else 0
    most = min(LONG, max(LETTERS, TIMES * median))
    long = [i for i, size in enumerate(sizes) if size > most]
    if long and view.kind != "text":  # there a row may well be a book
        yield Finding(
            "warning",
            "lengths",
            f"{plural(len(long), 'row')} of more than {most:,} letters; half of all have at most "
            f"{median:,}: is a quote or a line's end missing?",
            view.told(long),
            {"rows": len(long), "median": median},
            tuple(f"{view.ids[i]}: {sizes[i]:,} letters" for i in long),
        )


def encodings(view: View) -> Iterator[Finding]:
    """Find texts whose bytes were taken for other letters."""
    for what, fix, count in KINDS:
        found = [i for i, text in enumerate(view.texts) if not text.isascii() or what == "control"]
        hit = {i: place for i in found if (place := count(view.texts[i])) is not None}
        if hit:
            yield Finding(
                "warning",
                "encodings",
                f"{plural(len(hit), 'row')} ({len(hit) / len(view.ids):.1%}) with {NAMES[what]}: "
                f"{fix}",
                view.told(hit),
                {"rows": len(hit), "what": what},
                tuple(
                    f"{view.ids[i]}: {around(view.texts[i], place)!r}" for i, place in hit.items()
                ),
            )


def mojibake(text: str) -> int | None:
    """Tell where letters first are that were UTF-8, when most letters outside ASCII were."""
    runs = list(RUN.finditer(text))
    good = [run.start() for run in runs if was_utf8(run.group())]
    return good[0] if 2 * len(good) > len(runs) else None


def was_utf8(run: str) -> bool:
    try:
        b"".join(map(byte, run)).decode("utf-8")
    except UnicodeError:
        return False
    return run[0] in OFTEN or len(run) >= SURE


def byte(letter: str) -> bytes:
    """Give the byte that was read as a letter; those that Windows-1252 lacks are as in Latin-1."""
    try:
        return letter.encode("cp1252")
    except UnicodeError:
        return letter.encode("latin-1")


def first(pattern: re.Pattern[str]) -> Callable[[str], int | None]:
    """Give a function that tells where a pattern first is."""

    def find(text: str) -> int | None:
        found = pattern.search(text)
        return found.start() if found else None

    return find


def around(text: str, place: int) -> str:
    return " ".join(text[max(0, place - 20) : place + 20].split())


NAMES = {
    "mojibake": "letters such as Ã© for é",
    "lost": "the sign \ufffd for lost bytes",
    "control": "control characters",
}
KINDS = (
    ("mojibake", "UTF-8 was read as Latin-1 or Windows-1252; read it as UTF-8", mojibake),
    ("lost", "read the file in the encoding that it was written in", first(LOST)),
    ("control", "is this text, and in its right encoding?", first(CONTROL)),
)

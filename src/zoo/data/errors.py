"""What is raised for data that cannot be used: one sentence with its place and its fix."""

from difflib import get_close_matches
from typing import Any

LONGEST_SHOWN = 60  # characters


class DataError(ValueError):
    """Data that cannot be used: says the file, the row, what is wrong with it, and the fix."""


def shown(value: Any) -> str:
    """Give a value as a message shows it: on one line, and cut."""
    if isinstance(value, str):  # what is left out need not be made visible first
        text = repr(value[:LONGEST_SHOWN])
        return text if len(value) <= LONGEST_SHOWN else f"{text}..."
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."


def counted(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def listed(values: Any, most: int = 12) -> str:
    """List values for a message, the first of them when they are many."""
    values = list(values)
    more = f" and {len(values) - most:,} more" if len(values) > most else ""
    return ", ".join(shown(value) for value in values[:most]) + more


def nearest(name: str, names: Any) -> str | None:
    """Give the name that is most like another one, or None when none is."""
    names = [str(known) for known in names]
    found = get_close_matches(name.lower(), [known.lower() for known in names], n=1)
    return next((known for known in names if known.lower() == found[0]), None) if found else None

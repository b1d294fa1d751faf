"""Stop strings in text that arrives in pieces.

The match that ends first stops the text, and of those that end together the longest: so the result
does not depend on where the pieces were cut. Text that may still become a stop string is held.
"""

from collections.abc import Sequence


def first_match(text: str, stops: Sequence[str]) -> int | None:
    """Find where the match that ends first begins; of those that end together, the longest."""
    found = [(at + len(stop), at) for stop in stops if (at := text.find(stop)) >= 0]
    return min(found)[1] if found else None


def undecided(text: str, stops: Sequence[str]) -> int:
    """Count the characters at the end of `text` that may be the beginning of a stop string."""
    longest = max(map(len, stops), default=1) - 1
    for start in range(max(0, len(text) - longest), len(text)):
        tail = text[start:]
        if any(len(tail) < len(stop) and stop.startswith(tail) for stop in stops):
            return len(tail)
    return 0


class StopStrings:
    """Let text through up to the first stop string; `hit` tells that there was one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self.stops = tuple(stops)
        self.held = ""
        self.hit = False

    def push(self, piece: str) -> str:
        """Take the next piece; give what can no longer belong to a stop string."""
        if self.hit:
            return ""
        text = self.held + piece
        cut = first_match(text, self.stops)
        if cut is not None:
            self.hit, self.held = True, ""
            return text[:cut]
        cut = len(text) - undecided(text, self.stops)
        self.held = text[cut:]
        return text[:cut]

    def flush(self) -> str:
        """End the text; give what was held."""
        text, self.held = self.held, ""
        return text

"""Numbers drawn from a name: the same on every machine and with every version of every library."""

import hashlib


class Draw:
    """A stream of numbers that is a pure function of a name: SHA-256 of the name and a count."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.count = 0

    def data(self, size: int) -> bytes:
        """Give so many bytes, evenly spread."""
        self.count += 1
        return hashlib.shake_256(f"{self.name}#{self.count}".encode()).digest(size)

    def below(self, end: int) -> int:
        """Give a whole number from 0 to end - 1, evenly spread."""
        return int.from_bytes(self.data(8), "big") % end  # of 2^64: what is uneven is unseen

    def some(self, count: int, of: int) -> list[int]:
        """Give `count` different numbers from 0 to `of` - 1, in their order."""
        left = list(range(of))
        return sorted(left.pop(self.below(len(left))) for _ in range(count))

"""Groups of rows that are the same or nearly so: what is alike is joined, and so are its likes.

In a group that is connected by pairs and has two colours, some pair has two colours. So a group
that stands in two splits (or has two labels) holds a pair that does, and pairs inside one group
need not be looked at again.
"""

from collections.abc import Hashable, Iterable, Sequence


class Groups:
    """Disjoint sets of the numbers 0 to count - 1, joined pair by pair."""

    def __init__(self, count: int) -> None:
        self.parents = list(range(count))

    def find(self, i: int) -> int:
        """Give the number that stands for i's group."""
        parents = self.parents
        while parents[i] != i:
            parents[i] = parents[parents[i]]
            i = parents[i]
        return i

    def same(self, i: int, j: int) -> bool:
        return self.find(i) == self.find(j)

    def join(self, i: int, j: int) -> None:
        one, other = sorted((self.find(i), self.find(j)))
        self.parents[other] = one

    def lists(self) -> list[list[int]]:
        """Give the groups of two or more, each in order, by their first."""
        members: dict[int, list[int]] = {}
        for i in range(len(self.parents)):
            members.setdefault(self.find(i), []).append(i)
        return [group for group in members.values() if len(group) > 1]


def equal(values: Sequence[Hashable], chosen: Iterable[int]) -> list[list[int]]:
    """Group the chosen numbers by equal values; also those that are alone."""
    members: dict[Hashable, list[int]] = {}
    for i in chosen:
        members.setdefault(values[i], []).append(i)
    return list(members.values())

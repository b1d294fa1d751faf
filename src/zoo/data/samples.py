"""What a loader reads from: numbered samples, and how a batch of them is made.

Whatever is random about a sample is drawn for the whole global batch, and a slice keeps its own
rows: so the split over processes and micro batches changes no number.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Int
from torch import Tensor

from zoo.data.errors import DataError, listed, shown

IGNORE = -100  # a label that does not count


@runtime_checkable
class Samples(Protocol):
    """Samples 0 to len - 1, each the same whenever it is asked for."""

    @property
    def version(self) -> str:
        """Tell the data and how it is cut: "sha256:...". Another version is another run."""
        ...

    @property
    def unit(self) -> str:
        """Say what is counted: "tokens", "images", "pairs" or "texts"."""
        ...

    def __len__(self) -> int: ...

    def names(self, chosen: Sequence[int]) -> list[str]:
        """Name samples for messages."""
        ...

    def batch(
        self, chosen: Int[Tensor, " n"], generator: torch.Generator, own: slice
    ) -> dict[str, Tensor]:
        """Make the rows `own` of the global batch `chosen`.

        The generator is drawn from alike whatever `own` is, and row i of the result is the same in
        every slice that holds it, but for padding at its end.
        """
        ...


class Named:
    """Samples that are rows: one for each of `ids`, which names it."""

    ids: list[str]

    def __len__(self) -> int:
        return len(self.ids)

    def names(self, chosen: Sequence[int]) -> list[str]:
        """Name samples for messages."""
        return [self.ids[i] for i in chosen]


def version_of(*parts: Any) -> str:
    """Give one version for parts that are JSON: another part, or order, is another version."""
    text = json.dumps(parts, sort_keys=True, allow_nan=False)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def row_seeds(rows: int, generator: torch.Generator, own: slice) -> Int[Tensor, " n"]:
    """Draw a seed for each row of the global batch; give those of `own`, for `uniform`."""
    return torch.randint(2**63 - 1, (rows,), generator=generator)[own]


def columns(rows: Any, *names: str) -> list[list[Any]]:
    """Give columns of rows as lists; raise DataError for rows of another kind, or none."""
    lacking = [name for name in names if name not in rows.frame.columns]
    if lacking:
        raise DataError(
            f"rows of {rows.kind} have no {listed(lacking)}: read them as a kind that has"
        )
    if not len(rows):
        raise DataError(f"there are no rows of {rows.kind} to learn from: give at least one")
    return [rows.frame[name].tolist() for name in names]


def numbers_of(
    names: Iterable[str], labels: Sequence[str], rows: Sequence[str]
) -> Int[Tensor, " n"]:
    """Give the number of each label; `rows` say where it stands, for messages."""
    known = {label: number for number, label in enumerate(labels)}
    result = []
    for name, row in zip(names, rows, strict=True):
        if name not in known:
            raise DataError(
                f"row {row} has the label {shown(name)}, which is none of {listed(labels)}: "
                "correct it, or give all labels with labels=[...]"
            )
        result.append(known[name])
    return torch.tensor(result, dtype=torch.int64)


def padded(rows: Sequence[Sequence[int]], fill: int) -> Int[Tensor, "n t"]:
    """Give rows as one tensor, filled up at their ends."""
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[fill] * (longest - len(row))] for row in rows])

"""Rows: validated data of one kind, as a frame, with its version."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from zoo.data.errors import DataError, counted
from zoo.data.kinds import SPLITS
from zoo.data.version import order_of, version_of


@dataclass(frozen=True, eq=False)
class Rows:
    """Validated rows of one kind.

    `frame` has a RangeIndex and the columns `id` (unique text), `split` (train, valid or test), the
    kind's own, and others as they came. A label is text, tokens and tags are lists of texts, a
    picture is the path of its file, and a missing pair is None. `labels` are the classes (of
    tags, too) in the order of their numbers. `version` is "sha256:..." over the content: the same
    in any format, in files of any name, in any order.
    """

    kind: str
    frame: pd.DataFrame
    labels: tuple[str, ...] | None
    version: str
    digests: Sequence[bytes] = field(default=(), repr=False)  # of each row's content

    def __len__(self) -> int:
        return len(self.frame)

    def part(self, split: str) -> "Rows":
        """Give the rows of one split, in their order; their version is that of the part."""
        if split not in SPLITS:
            raise DataError(f"there is no split {split!r}; expected one of {', '.join(SPLITS)}")
        chosen = (self.frame["split"] == split).to_numpy()
        frame = self.frame[chosen].reset_index(drop=True)
        if len(self.digests) != len(self.frame):
            return Rows(self.kind, frame, self.labels, f"{self.version}/{split}")
        kept = [row for row, taken in zip(self.digests, chosen, strict=True) if taken]
        version = version_of(self.kind, kept, [split] * len(kept))
        return Rows(self.kind, frame, self.labels, version, kept)

    def order(self) -> str:
        """Give a digest of the content in its order, which numbers of rows refer to.

        Rows that were put into another order have the same version and another one of these.
        """
        return order_of(self.version, self.digests)

    def to_table(self, path: str | Path) -> Path:
        """Write the rows to a .jsonl, .csv, .tsv or .parquet that `read` reads as the same rows.

        Raises DataError for what a table of that format cannot hold.
        """
        from zoo.data.write import write_table

        return write_table(self, Path(path))

    def summary(self) -> dict[str, Any]:
        """Give what a run records of its data: the version, and how many rows each split has."""
        counts = self.frame["split"].value_counts()
        return {
            "kind": self.kind,
            "version": self.version,
            "order": self.order(),
            "rows": {split: int(counts.get(split, 0)) for split in SPLITS},
        }

    def __repr__(self) -> str:
        return f"Rows({self.kind}, {counted(len(self), 'row')}, {self.version[:19]})"

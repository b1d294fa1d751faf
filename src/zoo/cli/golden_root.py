"""Where the golden sets are, for the verbs that read them."""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo.cli import UsageError

MANIFEST = "manifest.json"


def root_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--root", metavar="DIR", help="the folder of golden sets (default: ./golden, or zoo's own)"
    )


def root_of(given: str | None) -> Path:
    """Give the folder of golden sets: the one named, ./golden, or that of zoo itself."""
    if given is not None:
        if not Path(given).is_dir():
            raise UsageError(f"--root {given}: there is no such folder")
        return Path(given)
    from zoo.checkpoint.packaged import HOMES

    places = (Path("golden"), *HOMES)
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        raise UsageError("no golden sets here: go to zoo's checkout, or name their folder (--root)")
    return found


def names_in(root: Path) -> list[str]:
    """Name the sets of a root: the folders with a manifest."""
    return sorted(p.parent.name for p in root.glob(f"*/{MANIFEST}") if p.parent.name[0] != ".")


def chosen(root: Path, names: Sequence[str]) -> list[Path]:
    """Give the folders of the sets that are named, or of all."""
    known = names_in(root)
    for name in names:
        if name not in known:
            raise UsageError(f"no set {name!r} in {root}; there are {', '.join(known) or 'none'}")
    if not known:
        raise UsageError(f"{root} holds no golden set")
    return [root / name for name in dict.fromkeys(names or known)]


def rows_folder(root: Path, name: str) -> Path:
    """Give the folder of a rows set, accepted or not as yet: a name in the root, or a folder."""
    for place in (root / name, Path(name)):
        if (place / "rows.jsonl").is_file():
            return place
    there = sorted(p.parent.name for p in root.glob("*/rows.jsonl"))
    raise UsageError(f"no set {name!r} of rows in {root}; there are {', '.join(there) or 'none'}")


def finite(value: Any) -> Any:
    """Give a number, or None where JSON holds none: the interval of too few rows has no ends."""
    return value if value is not None and math.isfinite(value) else None

"""The planted bugs: three tables, and what they say of a file.

core      ops and their derivatives: the classes that a suite of 700 tests was seen to miss
newest    everything above them: the classes of which 2,514 tests caught one in three
thread    what users of other libraries reported, each with a thread to read

A bug is an edit: `old` stands in `file` exactly once and `new` takes its place.  Each changes what
some sensible use gives; none only changes speed, a message or a last bit.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CLASSES = ("core", "newest", "thread")


@dataclass(frozen=True)
class Bug:
    """One edit of one file, in words."""

    id: str
    kind: str  # of CLASSES
    file: str
    old: str
    new: str
    says: str
    thread: str  # "owner/name#number", or "seeded"

    @property
    def room(self) -> str:
        """Name the part of src/zoo that the file is in."""
        return self.file.removeprefix("src/zoo/").split("/")[0].removesuffix(".py")

    def tests(self) -> list[str]:
        """Name the unit tests of the room."""
        return unit_of(self.room)

    def edited(self, source: str) -> str:
        """Give the file's text with the bug in it; raise ValueError unless it fits once."""
        count = source.count(self.old)
        if count != 1:
            raise ValueError(
                f"{self.id}: {self.old!r} stands {count} times in {self.file}; expected once: "
                "follow the code in benchmarks/power"
            )
        return source.replace(self.old, self.new)


def read_bugs() -> list[Bug]:
    """Read the tables, in their order; raise ValueError for an id that stands twice."""
    bugs = [
        Bug(
            id=row["id"],
            kind=kind,
            file=row["file"],
            old=row["old"],
            new=row["new"],
            says=row["says"],
            thread=row.get("thread", "seeded"),
        )
        for kind in CLASSES
        for row in tomllib.loads((HERE / f"{kind}.toml").read_text())["bug"]
    ]
    ids = [bug.id for bug in bugs]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if twice:
        raise ValueError(f"two bugs are called {twice[0]!r}; an id is its own")
    return bugs


def unit_of(room: str) -> list[str]:
    """Name the unit tests of a room: its folder, or the files of a room that is one file."""
    unit = ROOT / "tests" / "unit"
    if (unit / room).is_dir():
        return [f"tests/unit/{room}"]
    return sorted(f"tests/unit/{file.name}" for file in unit.glob(f"test_{room}*.py"))


def rest_of(room: str) -> list[str]:
    """Name the unit tests of all the other rooms."""
    mine = set(unit_of(room))
    unit = ROOT / "tests" / "unit"
    parts = [p for p in unit.iterdir() if p.is_dir() or p.name.startswith("test_")]
    names = sorted(f"tests/unit/{part.name}" for part in parts if part.name != "__pycache__")
    # rules of layout read the sources from the disk, where no bug is
    return [name for name in names if name not in mine and "test_architecture" not in name]

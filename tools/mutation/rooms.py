"""The room table: which files have mutants, which tests must kill them, and the floor."""

import fnmatch
import tomllib
from dataclasses import dataclass
from pathlib import Path

TABLE = Path(__file__).parent / "rooms.toml"
SOURCE = "src/zoo"


@dataclass(frozen=True, kw_only=True)
class Room:
    """A row of rooms.toml."""

    name: str
    source: tuple[str, ...]
    tests: tuple[str, ...]
    floor: float
    leave: dict[str, str]
    files: tuple[str, ...]  # from the checkout's root


def read(table: Path = TABLE, root: Path = Path()) -> tuple[dict[str, Room], dict[str, str]]:
    """Give the rooms by name, and what is excluded with its reason."""
    rows = tomllib.loads(table.read_text())
    excluded = rows.pop("excluded")
    rooms = {}
    for name, row in rows.items():
        unknown = sorted(set(row) - {"source", "tests", "floor", "leave"})
        if unknown:
            raise ValueError(f"room {name}: unknown {unknown} in {table.name}")
        rooms[name] = Room(
            name=name,
            source=tuple(row["source"]),
            tests=tuple(test for one in row["tests"] for test in tests_of(one, root)),
            floor=float(row["floor"]),
            leave=row.get("leave", {}),
            files=tuple(files_of(row["source"], excluded, root)),
        )
    return rooms, excluded


def files_of(source: list[str], excluded: dict[str, str], root: Path) -> list[str]:
    """Give the files of a room's source that are not excluded."""
    found = []
    for name in source:
        place = root / SOURCE / name
        found += [place] if place.is_file() else sorted(place.rglob("*.py"))
    names = [file.relative_to(root).as_posix() for file in found]
    return [name for name in names if not why_excluded(name, excluded)]


def tests_of(pattern: str, root: Path) -> list[str]:
    """Give the test files of a pattern, or the name itself where it is none."""
    if "*" not in pattern:
        return [pattern]
    return [file.relative_to(root).as_posix() for file in sorted(root.glob(pattern))]


def why_excluded(file: str, excluded: dict[str, str]) -> str:
    """Give the reason that a file has no mutants, or ''."""
    place = file.removeprefix(SOURCE + "/")
    for pattern, reason in excluded.items():
        if fnmatch.fnmatch(place, pattern) or place.startswith(pattern.rstrip("/") + "/"):
            return reason
    return ""


def homeless(rooms: dict[str, Room], excluded: dict[str, str], root: Path = Path()) -> list[str]:
    """Give the files of src/zoo that are in no room and not excluded: there must be none."""
    housed = {file for room in rooms.values() for file in room.files}
    files = [f.relative_to(root).as_posix() for f in sorted((root / SOURCE).rglob("*.py"))]
    return [f for f in files if f not in housed and not why_excluded(f, excluded)]

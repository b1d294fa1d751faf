"""Read what else is known of a suite: its power, its flakes, its coverage.

Power is any JSON (one document, or a line each) that holds objects of this form; the rest of such a
file is left alone, so that a tool may write more:

    {"tier": "unit", "what": "mutmut, zoo.ops", "killed": 1880, "of": 1904}

`killed` counts mutants (or planted bugs) that a test of the tier failed for, `of` those that could
be killed: without equivalents, and without what timed out or crashed. Objects with `mutants`,
`killed` and `survivors` are rooms of a mutation run; they are summed up. What `zoo mutate --json`
writes has `killed` and `decided`, and the file's name says what it was. Flakes are what
`zoo flake --json` writes: `test` and `verdict`, and sums of a `suite`. Coverage is `coverage json`.
"""

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.pyramid.tally import ReportError

Z = 1.959963984540054  # 95 %, both sides
PART = "operators_and_numbers"  # a room's mutants that flatter least


@dataclass(frozen=True, kw_only=True)
class Power:
    """How many planted bugs a tier caught."""

    tier: str
    what: str
    killed: int
    of: int


def objects(path: Path) -> list[dict[str, Any]]:
    """Give every JSON object of a file, however deep it lies; raise ReportError for other text."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ReportError(f"{path} cannot be read: {error}") from None
    try:
        return list(walk(json.loads(text)))
    except ValueError:
        pass
    found: list[dict[str, Any]] = []
    for at, line in enumerate(text.splitlines(), 1):
        try:
            found += walk(json.loads(line)) if line.strip() else ()
        except ValueError as error:
            raise ReportError(f"{path}, line {at}: no JSON: {error}") from None
    return found


def walk(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every object inside a JSON value, from the outside in."""
    if isinstance(value, dict):
        yield value
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from walk(part)


def read_power(paths: Iterable[Path], tier: str) -> list[Power]:
    """Read power; rooms of mutation belong to `tier`."""
    found = []
    for path in paths:
        rooms = []
        for record in objects(path):
            if {"tier", "what", "killed", "of"} <= record.keys():
                found.append(one_power(record, path))
            elif {"killed", "decided"} <= record.keys():
                own = {"tier": tier, "what": path.stem, "of": record["decided"]}
                found.append(one_power({"killed": record["killed"], **own}, path))
            elif {"mutants", "killed", "survivors"} <= record.keys():
                rooms.append(record)
        found += room_power(rooms, tier, path)
    return found


def one_power(record: dict[str, Any], path: Path) -> Power:
    """Make one line of power; raise ReportError for numbers that cannot be."""
    killed, of = record["killed"], record["of"]
    if not (isinstance(killed, int) and isinstance(of, int) and 0 <= killed <= of):
        raise ReportError(f"{path}: {killed!r} killed of {of!r}; expected two numbers of bugs")
    return Power(tier=str(record["tier"]), what=str(record["what"]), killed=killed, of=of)


def room_power(rooms: list[dict[str, Any]], tier: str, path: Path) -> list[Power]:
    """Sum rooms of mutation up: all mutants, and operators and numbers alone.

    Killed and survivors alone count: an equivalent mutant, a timeout and a crash are neither.
    """
    drawn = " (samples)" if any(room.get("sampled") for room in rooms) else ""
    small = [room[PART] for room in rooms if isinstance(room.get(PART), dict)]
    found = []
    for what, some in (("mutants", rooms), ("operators and numbers", small)):
        if some:
            counts = [(room["killed"], room["survivors"]) for room in some]
            if not all(isinstance(count, int) for pair in counts for count in pair):
                raise ReportError(f"{path}: {counts} killed and left; expected numbers of mutants")
            killed, left = (sum(column) for column in zip(*counts, strict=True))
            said = f"{what} of {len(some)} rooms{drawn}"
            found.append(Power(tier=tier, what=said, killed=killed, of=killed + left))
    return found


def wilson(killed: int, of: int) -> tuple[float, float]:
    """Give Wilson's 95 % interval of a share (Wilson 1927)."""
    if not of:
        return 0.0, 1.0
    share, z2 = killed / of, Z * Z
    middle = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = Z / (1 + z2 / of) * math.sqrt(share * (1 - share) / of + z2 / (4 * of * of))
    return max(0.0, middle - half), min(1.0, middle + half)


def read_flakes(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """Give the last verdict of each test that has one, and the sums of whole hunts as they are."""
    last: dict[str, dict[str, Any]] = {}
    sums = []
    for path in paths:
        for record in objects(path):
            if record.get("suite") is True:
                sums.append(record)
            elif {"test", "verdict"} <= record.keys():
                last[str(record["test"])] = record
    return [*sums, *last.values()]


def read_coverage(path: Path) -> dict[str, int] | None:
    """Give the totals of `coverage json`: lines and branches, covered and all."""
    if not path.is_file():
        return None
    for record in objects(path):
        totals = record.get("totals")
        if isinstance(totals, dict):
            return {
                "lines": int(totals.get("covered_lines", 0)),
                "lines_of": int(totals.get("num_statements", 0)),
                "branches": int(totals.get("covered_branches", 0)),
                "branches_of": int(totals.get("num_branches", 0)),
            }
    raise ReportError(f"{path} holds no totals; write it with `coverage json`")

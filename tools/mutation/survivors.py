"""Survivors that are known: tests/mutation/survivors/<room>.toml, and rules for whole classes.

An entry is known by its function and its diff without indentation, so a moved line changes nothing:

    [[survivor]]
    function = "zoo.data.pack.pack"
    diff = '''
    - size = max(1, n)
    + size = max(2, n)
    '''
    status = "equivalent"      # or "accepted": counted as a survivor, but the run passes
    reason = "n is at least 2 here"      # accepted: until when
"""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path("tests/mutation/survivors")
RULES = Path("tests/mutation/rules.toml")
STATUS = ("equivalent", "accepted")


@dataclass(frozen=True, kw_only=True)
class Known:
    """One tracked survivor."""

    function: str
    diff: str
    status: str
    reason: str

    @property
    def key(self) -> tuple[str, str]:
        return self.function, self.diff


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A class of survivors that are equivalent: which lines become which, and why."""

    name: str
    kinds: tuple[str, ...]
    removed: re.Pattern[str]  # searched in the removed lines
    added: re.Pattern[str]  # and in the added ones
    reason: str

    def fits(self, kind: str, diff: str) -> bool:
        """Say whether a survivor of this kind and diff is of the class."""
        removed, added = sides(diff)
        return kind in self.kinds and bool(
            self.removed.search(removed) and self.added.search(added)
        )


def sides(diff: str) -> tuple[str, str]:
    """Give the removed and the added lines of a diff."""
    lines = diff.splitlines()
    removed, added = ([x[2:] for x in lines if x[:1] == sign] for sign in "-+")
    return "\n".join(removed), "\n".join(added)


def plain(diff: str) -> str:
    """Give a diff as it is compared: lines without what surrounds them."""
    lines = [line.strip() for line in diff.strip().splitlines()]
    return "\n".join(f"{line[:1]} {line[1:].strip()}" for line in lines if line)


def read_known(room: str, folder: Path = FOLDER) -> list[Known]:
    """Read a room's tracked survivors; a broken entry is refused by its place."""
    file = folder / f"{room}.toml"
    if not file.exists():
        return []
    found = []
    for i, row in enumerate(tomllib.loads(file.read_text()).get("survivor", [])):
        reason = row.get("reason") or row.get("rule", "")
        if row.get("status") not in STATUS or not reason.strip():
            raise ValueError(f"{file} entry {i + 1}: give status {STATUS} and a reason")
        diff = plain(row["diff"])
        found.append(
            Known(function=row["function"], diff=diff, status=row["status"], reason=reason)
        )
    return found


def read_rules(file: Path = RULES) -> list[Rule]:
    """Read the table of rules."""
    rows = tomllib.loads(file.read_text()).get("rule", []) if file.exists() else []
    return [
        Rule(
            name=row["name"],
            kinds=tuple(row["kinds"]),
            removed=re.compile(row["removed"]),
            added=re.compile(row.get("added", "")),
            reason=row["reason"],
        )
        for row in rows
    ]


def mark(rows: list[dict], known: list[Known], rules: list[Rule]) -> None:
    """Write `status` and `reason` into the rows of survivors that an entry or a rule explains."""
    entries = {entry.key: entry for entry in known}
    for row in rows:
        if row["verdict"] not in ("survived", "no tests"):
            continue
        entry = entries.get((row["function"], plain(row["diff"])))
        rule = next((rule for rule in rules if rule.fits(row["kind"], row["diff"])), None)
        if entry:
            row |= {"status": entry.status, "reason": entry.reason}
        elif rule:
            row |= {"status": "equivalent", "reason": f"{rule.name}: {rule.reason}"}


def new(rows: list[dict]) -> list[dict]:
    """Give the survivors that nothing explains."""
    return [r for r in rows if r["verdict"] in ("survived", "no tests") and "status" not in r]


def stale(rows: list[dict], known: list[Known], functions: set[str], *, whole: bool) -> list[str]:
    """Say which entries are to be removed: their function is gone, or they no longer survive.

    That a mutant no longer survives is known only where it was run: `whole` says that all were.
    """
    survive = {(r["function"], plain(r["diff"])) for r in rows if r["verdict"] != "killed"}
    ran = {(r["function"], plain(r["diff"])) for r in rows if r.get("diff")}
    said = []
    for entry in known:
        if entry.function not in functions:
            said.append(f"{entry.function} is gone: remove its entry {entry.diff!r}")
        elif entry.key not in survive and (whole or entry.key in ran):
            said.append(f"{entry.function}: no longer survives, remove its entry {entry.diff!r}")
    return said

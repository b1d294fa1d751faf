"""Run a room's mutants, all or some, and keep what came out as one JSON record."""

import datetime
import json
import random
import resource
import subprocess
import time
from collections.abc import Collection
from pathlib import Path

from tools.mutation import survivors, tree
from tools.mutation.mutants import Mutant, of_files
from tools.mutation.rooms import Room

BUILD = Path("build/mutation")


def drawn(mutants: list[Mutant], count: int, seed: int) -> list[Mutant]:
    """Draw `count` of them uniformly, or give all where there are no more."""
    if count >= len(mutants):
        return mutants
    return random.Random(seed).sample(mutants, count)


def run(room: Room, chosen: Collection[Mutant], *, jobs: int, how: dict, place: Path) -> dict:
    """Run the chosen mutants of a room; give the record with a row each."""
    began, used = time.monotonic(), seconds_used()
    by_id = {mutant.id: mutant for mutant in chosen}
    ids = tree.make(room, set(by_id), place)
    records = tree.run(room, sorted(ids), place, jobs=jobs) if ids else []
    known = survivors.read_known(room.name)
    tracked = {entry.function for entry in known}
    rows = [row_of(by_id[ids[record["mutant"]]], record, tracked) for record in records]
    survivors.mark(rows, known, survivors.read_rules())
    taken = sum(record.get("seconds", 0.0) for record in records)
    return {
        "room": room.name,
        "commit": commit(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "minutes": round((time.monotonic() - began) / 60, 2),
        "cpu": round(taken, 1),  # in the mutants' children
        "fixed": round(seconds_used() - used - taken, 1),  # all else
        "rows": sorted(rows, key=lambda row: row["id"]),
    } | how


def seconds_used() -> float:
    """Give the CPU seconds of this process and of all children that have ended."""
    whose = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, whose))


def row_of(mutant: Mutant, record: dict, tracked: set[str]) -> dict:
    """Join a mutant with its verdict; the diff is kept where somebody will read it."""
    row = {
        "id": mutant.id,
        "function": mutant.function,
        "kind": mutant.kind,
        "computes": mutant.computes,
        "file": mutant.file,
        "line": mutant.line,
    }
    row |= {name: value for name, value in record.items() if name != "mutant"}
    if row["verdict"] != "killed" or mutant.function in tracked:
        row["diff"] = mutant.diff()
    return row


def commit() -> str:
    """Give the short name of the commit that is checked out, with `+` when files differ from it."""
    name = _git("rev-parse", "--short", "HEAD")
    return name + ("+" if _git("status", "--porcelain", "src", "tests") else "")


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def mutants_of(room: Room) -> list[Mutant]:
    """Give all mutants of a room, without those of an error's words."""
    return list(of_files(list(room.files)))


def lived(record: dict, mutants: list[Mutant]) -> list[Mutant]:
    """Give the mutants that a record has as not killed, by function and diff."""
    keys = {_key(row) for row in record["rows"] if row["verdict"] != "killed"}
    functions = {function for function, _ in keys}
    return [m for m in mutants if m.function in functions and (m.function, m.diff()) in keys]


def again(record: dict, newer: dict) -> dict:
    """Put the newer verdicts in a record's place; what is no longer a mutant goes."""
    rows = [row for row in record["rows"] if row["verdict"] == "killed"]
    minutes = round(record["minutes"] + newer["minutes"], 2)
    kept = {name: record[name] for name in ("sampled", "of", "cpu", "fixed") if name in record}
    return newer | kept | {"minutes": minutes, "rows": rows + newer["rows"]}


def _key(row: dict) -> tuple[str, str]:
    return row["function"], row.get("diff", "")


def keep(record: dict, file: Path) -> None:
    """Write a record, a row a line, so that it can be read and compared."""
    file.parent.mkdir(parents=True, exist_ok=True)
    head = {name: value for name, value in record.items() if name != "rows"}
    rows = ",\n".join(json.dumps(row, ensure_ascii=False) for row in record["rows"])
    file.write_text(json.dumps(head)[:-1] + ', "rows": [\n' + rows + "\n]}\n")

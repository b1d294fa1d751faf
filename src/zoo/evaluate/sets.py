"""A golden set of kind "rows": its rows, its gate, what was accepted, and its history.

manifest.json     what it is of (`subject`), its sheets and perturbations, its files, its history
rows.jsonl        the questions                          gate.toml         what must hold
accepted.jsonl    an Outcome a line, by `zoo golden accept` alone
metrics.jsonl     a line a version: when, why, of which weights, and every metric
"""

import dataclasses
import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.evaluate.golden import (
    MANIFEST,
    SCHEMA,
    GoldenError,
    GoldenSet,
    files_below,
    open_set,
)
from zoo.evaluate.outcome import Outcome, Row
from zoo.evaluate.rows import DRAFT, read_lines, read_rows

GATE = "gate.toml"
ACCEPTED = "accepted.jsonl"
HISTORY = "metrics.jsonl"
KEPT = 6  # decimals of an outcome's numbers: finer ones are another machine's


@dataclass(frozen=True)
class GoldenRows:
    """A rows set on disk; `golden` is its manifest."""

    golden: GoldenSet
    rows: tuple[Row, ...]

    @classmethod
    def open(cls, folder: str | Path) -> "GoldenRows":
        """Read a set of kind rows; its files are not verified here, its rows are checked."""
        return open_rows(Path(folder))

    @property
    def folder(self) -> Path:
        return self.golden.folder

    @property
    def name(self) -> str:
        return self.golden.name

    @property
    def gate(self) -> Path:
        return self.folder / GATE

    @property
    def subject(self) -> str:
        return str(self.golden.manifest["subject"])

    @property
    def perturbations(self) -> tuple[str, ...]:
        return tuple(self.golden.manifest.get("perturbations", ()))

    @property
    def sheets(self) -> dict[str, int]:
        return dict(self.golden.manifest.get("sheets", {}))

    def accepted(self) -> dict[str, Outcome]:
        """Give the accepted outcomes by row id, perturbed twins too; {} before the first."""
        return read_outcomes(self.folder / ACCEPTED)

    def history(self) -> list[dict[str, Any]]:
        """Give the metrics of each accepted version, the first one first."""
        path = self.folder / HISTORY
        return read_lines(path) if path.exists() else []


def open_rows(folder: Path) -> GoldenRows:
    golden = open_set(folder)
    where = folder / MANIFEST
    if golden.kind != "rows":
        raise GoldenError(f"{where} is of kind {golden.kind!r}; a set of kind 'rows' is asked for")
    if not isinstance(golden.manifest.get("subject"), str):
        raise GoldenError(f'{where} needs "subject", the name of the model that its rows are asked')
    return GoldenRows(golden, read_rows(folder))


def read_outcomes(path: Path) -> dict[str, Outcome]:
    """Read outcomes by id; {} where the file is not; GoldenError for a line that is none."""
    if not path.exists():
        return {}
    known = {field.name for field in dataclasses.fields(Outcome)}
    found: dict[str, Outcome] = {}
    for number, line in enumerate(read_lines(path), 1):
        if not {"id", "answer", "value"} <= line.keys() <= known or line["id"] in found:
            raise GoldenError(
                f"{path}:{number} is no outcome; `zoo golden accept` writes this file"
            )
        found[line["id"]] = Outcome(**line)
    return found


def outcome_line(outcome: Outcome) -> dict[str, Any]:
    """Give an outcome as a file keeps it: numbers rounded, and what is usual left out."""
    usual: dict[str, Any] = {
        "passed": None,
        "right": None,
        "confidence": None,
        "weight": 1.0,
        "scores": {},
    }
    line = {
        field.name: rounded(getattr(outcome, field.name)) for field in dataclasses.fields(outcome)
    }
    return {
        name: value for name, value in line.items() if name not in usual or value != usual[name]
    }


def rounded(value: Any) -> Any:
    """Round every number; whole numbers, words and verdicts stay as they are."""
    if isinstance(value, float):
        return round(value, KEPT) + 0.0  # no -0.0
    if isinstance(value, Mapping):
        return {name: rounded(inner) for name, inner in value.items()}
    return value


def lines_of(records: Iterable[Mapping[str, Any]]) -> bytes:
    """Give records as the bytes of a JSON lines file."""
    text = "".join(
        json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n" for record in records
    )
    return text.encode("utf-8")


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Put files in place, in their order; each is the old one or the new one, whatever happens.

    All are written beside their places first, so that a full disk changes nothing.
    """
    staged: list[tuple[Path, Path]] = []
    try:
        for name, data in files.items():
            beside = folder / f".{name}.{secrets.token_hex(4)}.partial"
            staged.append((beside, folder / name))
            with open(beside, "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        for beside, place in staged:
            beside.replace(place)
    finally:
        for beside, _ in staged:
            beside.unlink(missing_ok=True)


def describe(data: bytes) -> dict[str, Any]:
    """Give what a manifest says of a file."""
    return {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def files_of(folder: Path, fresh: Mapping[str, bytes] | None = None) -> dict[str, Any]:
    """Describe every file of a folder and below, by posix path; `fresh` are about to be written."""
    fresh = fresh or {}
    there = files_below(folder)
    there.pop(DRAFT, None)  # what it says, the manifest says
    described = {name: describe(path.read_bytes()) for name, path in there.items()}
    return dict(sorted((described | {n: describe(d) for n, d in fresh.items()}).items()))


def manifest_bytes(manifest: Mapping[str, Any]) -> bytes:
    return (json.dumps(manifest, indent=2, ensure_ascii=False) + "\n").encode("utf-8")


def next_version(
    old: Mapping[str, Any] | None, because: str, date: str, **facts: Any
) -> dict[str, Any]:
    """Give the manifest of the next version, with its reason; what `facts` do not say stays."""
    version = 1 if old is None else old["version"] + 1
    entry = {"version": version, "date": date, "why": because}
    history = [entry, *([] if old is None else old["history"])]
    made = dict(old or {}) | facts
    first = {"schema": SCHEMA, "name": made.pop("name"), "kind": made.pop("kind")}
    files = {"files": made.pop("files")}
    return first | {"version": version, "history": history} | without(made, first) | files


def without(table: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    taken = {*other, "version", "history"}
    return {name: value for name, value in table.items() if name not in taken}

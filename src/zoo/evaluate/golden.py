"""Golden sets: what the house must give, in git, each in a folder with a manifest.

    kind                        what is compared                                   in
    model, layout, tokenizer    our numbers with another implementation's          golden_parity
    checkpoint                  a trained model's files and its probe              golden_quality
    rows                        what a checkpoint answers, with the set's gate     golden_quality

A set's files are verified byte for byte before anything is compared. Parity sets are recorded by
`tools/record_golden.py`, the other two by `zoo golden accept`; nothing here writes.
"""

import hashlib
import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
SCHEMA = 1
NEEDED = {"schema", "name", "kind", "version", "history", "source", "files"}
# kind -> what its manifest needs beside that
ALSO = {"checkpoint": {"recipe", "config", "data", "machine"}, "rows": {"subject"}}
# kind -> the file and the function that compares it; what it needs is imported when it is asked for
COMPARISONS = {
    "checkpoint": ("zoo.evaluate.golden_quality", "compare_checkpoint"),
    "layout": ("zoo.evaluate.golden_parity", "compare_layout"),
    "model": ("zoo.evaluate.golden_parity", "compare_model"),
    "rows": ("zoo.evaluate.golden_quality", "compare_rows"),
    "tokenizer": ("zoo.evaluate.golden_parity", "compare_tokenizer"),
}


class GoldenError(ValueError):
    """A golden set that is damaged or not what its manifest says."""


@dataclass(frozen=True)
class GoldenSet:
    """A set on disk and its manifest."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.manifest["name"])

    @property
    def kind(self) -> str:
        return str(self.manifest["kind"])

    @property
    def version(self) -> int:
        return int(self.manifest["version"])


@dataclass
class Report:
    """What a comparison found; without faults when all is as recorded.

    `changes` are rows that answer otherwise, which a gate may allow, and `verdict` is its whole
    answer, of a set of kind rows.
    """

    name: str
    compared: int = 0
    faults: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    verdict: Any = None

    @property
    def ok(self) -> bool:
        return not self.faults

    def __str__(self) -> str:
        if self.ok:
            return f"{self.name}: {self.compared} comparisons, all as recorded"
        return f"{self.name}: " + "; ".join(self.faults)


def find_sets(root: str | Path) -> list[GoldenSet]:
    """Open every set below a folder, sorted by name; what begins with a dot is being written."""
    root = Path(root)
    places = [path.parent for path in root.rglob(MANIFEST)]
    seen = [p for p in places if not any(x.startswith(".") for x in p.relative_to(root).parts)]
    return sorted(map(open_set, seen), key=lambda golden: golden.name)


def open_set(folder: str | Path) -> GoldenSet:
    """Read a set's manifest; raise GoldenError unless it is one."""
    folder = Path(folder)
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GoldenError(f"{folder / MANIFEST}: {error}") from None
    needed = NEEDED | (ALSO.get(str(manifest.get("kind")), set()) if is_table(manifest) else set())
    if not is_table(manifest) or not needed <= manifest.keys():
        raise GoldenError(f"{folder / MANIFEST} needs {sorted(needed)}")
    if manifest["schema"] != SCHEMA:
        raise GoldenError(f"{folder / MANIFEST} has schema {manifest['schema']!r}, not {SCHEMA}")
    check_history(folder / MANIFEST, manifest)
    for name, about in manifest["files"].items() if is_table(manifest["files"]) else [("", None)]:
        if not isinstance(about, dict) or not {"bytes", "sha256"} <= about.keys():
            raise GoldenError(f"{folder / MANIFEST}: files {name!r} needs bytes and sha256")
    return GoldenSet(folder, manifest)


def is_table(value: Any) -> bool:
    return isinstance(value, dict)


def check_history(where: Path, manifest: Mapping[str, Any]) -> None:
    """Raise GoldenError unless each version down to the first stands there with its reason.

    Version 0, without a history, is a set that was never accepted.
    """
    history, version = manifest["history"], manifest["version"]
    if not isinstance(history, list) or not all(map(is_table, history)) or type(version) is not int:
        raise GoldenError(f"{where} needs a whole number as version and a list as history")
    versions = [entry.get("version") for entry in history]
    if versions != list(range(version, 0, -1)):
        raise GoldenError(f"{where}: version {version}, but its history is of {versions}")
    for entry in history:
        if not str(entry.get("why") or "").strip():
            raise GoldenError(f"{where}: version {entry['version']} has no reason; state `why`")


def verify(golden: GoldenSet) -> None:
    """Raise GoldenError unless the folder and those in it hold just the manifest's files.

    Each must have its bytes.
    """
    stated: Mapping[str, Any] = golden.manifest["files"]
    there = files_below(golden.folder)
    if golden.version == 0:
        raise GoldenError(f"{golden.folder} was never accepted: {recorder(golden)}")
    if there.keys() != stated.keys():
        more, fewer = sorted(there.keys() - stated.keys()), sorted(stated.keys() - there.keys())
        raise GoldenError(
            f"{golden.folder} is not what the manifest names: "
            f"too many are {more}, not there are {fewer}"
        )
    for name, about in stated.items():
        data = there[name].read_bytes()
        if len(data) != about["bytes"] or hashlib.sha256(data).hexdigest() != about["sha256"]:
            raise GoldenError(
                f"{there[name]} is not the file that was recorded; to change a set, "
                f"record it again with a reason: {recorder(golden)}"
            )


def files_below(folder: Path) -> dict[str, Path]:
    """Give every file of a set but its manifest, by its path from there with slashes."""
    found = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if not p.is_dir()}
    found.pop(MANIFEST, None)
    return dict(sorted(found.items()))


def recorder(golden: GoldenSet) -> str:
    """Say what records a set again."""
    if golden.kind in ALSO:
        return f'zoo golden accept {golden.name} --because "..."'
    return "tools/record_golden.py"


def compare(golden: GoldenSet, subject: Any = None) -> Report:
    """Verify a set and compare what we compute with what it holds.

    `subject` stands in for the model or tokenizer that is otherwise read: from the set's own
    folder, or, of a set of kind rows, from the checkpoint that it names.
    Raises GoldenError for a damaged set; what differs is a fault of the report.
    """
    verify(golden)
    if golden.kind not in COMPARISONS:
        raise GoldenError(
            f"{golden.name} is of kind {golden.kind!r}; known are {sorted(COMPARISONS)}"
        )
    module, function = COMPARISONS[golden.kind]
    report = Report(golden.name)
    getattr(importlib.import_module(module), function)(golden, subject, report)
    return report

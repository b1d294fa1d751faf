"""Accepting: the only way in which what a golden set expects may change, and with a reason alone.

    rows          asks the subject, writes accepted.jsonl, adds a line to metrics.jsonl
    checkpoint    takes over the model of a run (`accept_checkpoint.py`)

Both raise the version and write the reason into the manifest's history. Everything is computed
before anything is written, and a set whose gate refuses the new answers keeps the old ones.
"""

import datetime
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.evaluate.drafts import manifest_of, opened
from zoo.evaluate.gate import Gate, check_gate
from zoo.evaluate.golden import ALSO, MANIFEST, GoldenError, open_set
from zoo.evaluate.golden_quality import Answered, ask, metrics_of, subject_of, told
from zoo.evaluate.outcome import Outcome
from zoo.evaluate.rows import DRAFT, ROWS, read_lines
from zoo.evaluate.sets import (
    ACCEPTED,
    GATE,
    HISTORY,
    files_of,
    lines_of,
    manifest_bytes,
    next_version,
    outcome_line,
    read_outcomes,
    write_files,
)
from zoo.evaluate.tally import tally
from zoo.evaluate.versions import ROUNDING, kind_of, settle

LEAST_WORDS, LEAST_LETTERS = 3, 5  # of a reason; of the first one, which has nothing to compare


@dataclass(frozen=True)
class Moved:
    """A metric before and after, with the 95 % interval of the change where rows are the same."""

    name: str
    before: float | None
    after: float | None
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        numbers = ["-" if v is None else f"{v:.4f}" for v in (self.before, self.after)]
        said = f"{self.name} {numbers[0]} to {numbers[1]}"
        if self.low is None or self.high is None:
            return said
        return f"{said} (95 % interval of the change: {self.low:+.4f} to {self.high:+.4f})"


@dataclass(frozen=True)
class Accepted:
    """What accepting changed."""

    name: str
    version: int
    changed: bool
    says: str
    metrics: tuple[Moved, ...] = ()
    rows: tuple[str, ...] = ()  # a sentence for each row that answers otherwise


def accept(
    folder: str | Path,
    because: str,
    *,
    source: str | Path | None = None,
    subject: str | None = None,
) -> Accepted:
    """Make what is now computed what a golden set expects, for a reason; say what changed.

    `source` is a run or its model, of a set of kind checkpoint; `subject` the model of which a set
    of kind rows asks, stated the first time. Raises GoldenError and changes nothing for a reason
    that says nothing, a source that does not fit, and answers that the set's own gate refuses.
    """
    folder = Path(folder)
    old = open_set(folder) if (folder / MANIFEST).exists() else None
    why = reason(because, first=old is None or old.version == 0)
    kind = old.kind if old is not None else "checkpoint" if source is not None else "rows"
    if kind not in ALSO:
        raise GoldenError(f"{folder.name} is of kind {kind}: tools/record_golden.py records it")
    if kind == "checkpoint":
        from zoo.evaluate.accept_checkpoint import accept_checkpoint

        return accept_checkpoint(folder, old, why, source)
    if source is not None:
        raise GoldenError(f"{folder.name} is of kind rows; a run is taken over by a checkpoint's")
    if not (folder / ROWS).exists():
        raise GoldenError(f"{folder} holds no {ROWS}; write rows, or give a run for a checkpoint")
    return accept_rows(folder, why, subject)


def reason(because: str, *, first: bool = False) -> str:
    """Give a reason on one line; raise GoldenError for one that tells a reader nothing."""
    why = " ".join(because.split())
    words = [word for word in why.split() if any(map(str.isalpha, word))]
    if sum(map(len, words)) < LEAST_LETTERS or (len(words) < LEAST_WORDS and not first):
        raise GoldenError(
            f"the reason {why!r} says too little; tell a reader in {LEAST_WORDS} words or more "
            "what changed and why that is right"
        )
    return why


def today() -> str:
    return datetime.date.today().isoformat()


def accept_rows(folder: Path, why: str, subject: str | None) -> Accepted:
    manifest = manifest_of(folder, subject)
    model = subject_of(folder.resolve().parent, manifest["subject"])
    with opened(folder, manifest) as held:
        answered = ask(held, model)
    check_own_gate(folder, manifest["subject"], answered)
    before = read_outcomes(folder / ACCEPTED) if manifest["version"] else {}
    moved, changed = compared(answered, before)
    history = [line for line in held_history(folder) if line["version"] <= manifest["version"]]
    weights = weights_of(model.folder)
    same_files = manifest["files"] == files_of(folder)
    if same_files and not changed and history and history[-1]["checkpoint"] == weights:
        says = f"{folder.name}: nothing changed; it stays at version {manifest['version']}"
        return Accepted(folder.name, manifest["version"], False, says)
    version, date = manifest["version"] + 1, today()
    kept = [outcome_line(outcome) for outcome in answered.outcomes]
    line = {
        "version": version,
        "date": date,
        "why": why,
        "checkpoint": weights,
        "rows": hashlib.sha256((folder / ROWS).read_bytes()).hexdigest(),
        "metrics": metrics_of(answered.rows, [Outcome(**line) for line in kept]),
    }
    fresh = {
        ACCEPTED: lines_of(kept),
        HISTORY: lines_of([*history, line]),
    }
    made = next_version(manifest, why, date, files=files_of(folder, fresh))
    write_files(folder, {**fresh, MANIFEST: manifest_bytes(made)})
    (folder / DRAFT).unlink(missing_ok=True)
    says = f"{folder.name}: version {version}, {len(answered.outcomes)} answers accepted: {why}"
    return Accepted(folder.name, version, True, says, moved, changed)


def held_history(folder: Path) -> list[dict[str, Any]]:
    return read_lines(folder / HISTORY) if (folder / HISTORY).exists() else []


def check_own_gate(folder: Path, subject: str, answered: Answered) -> None:
    """Raise GoldenError when the gate would refuse the very answers that are to be accepted."""
    found = answered.outcomes
    verdict = check_gate(Gate.read(folder / GATE), answered.rows, found, found, subject=subject)
    if not verdict.ok:
        raise GoldenError(
            f"{folder.name}: its gate refuses these answers, so nothing is accepted: "
            f"{'; '.join(verdict.sentences)}"
        )


def compared(
    answered: Answered, before: Mapping[str, Outcome]
) -> tuple[tuple[Moved, ...], tuple[str, ...]]:
    """Give the metrics that moved and the rows that changed, against what was accepted."""
    after = tally(answered.rows, answered.outcomes)
    kept = [row for row in answered.rows if row.id in before]
    earlier = tally(kept, [before[row.id] for row in kept]) if kept else {}
    moved = []
    for name in dict.fromkeys([*after, *earlier]):
        old, new = earlier.get(name), after.get(name)
        if old is None or new is None or old.rows != new.rows:
            values = [None if metric is None else metric.value for metric in (old, new)]
            moved.append(Moved(name, *values))
        elif abs(old.value - new.value) > ROUNDING:
            moved.append(Moved(name, old.value, new.value, *old.change(new)))
    found = answered.by_id()
    pairs = {name: (before.get(name), found.get(name)) for name in [*found, *before]}
    return tuple(moved), tuple(told(n, *pair) for n, pair in pairs.items() if not alike(*pair))


def alike(old: Outcome | None, new: Outcome | None) -> bool:
    """Tell whether two outcomes of a row are one, but for rounding."""
    return old is not None and new is not None and kind_of(old, settle(old, new)) is None


def weights_of(folder: Path) -> str:
    """Give the SHA-256 of a folder's weights; of several files that of their sums."""
    sums = [
        hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.glob("*.safetensors")) or sorted(folder.glob("*.bin"))
    ]
    return sums[0] if len(sums) == 1 else hashlib.sha256("".join(sums).encode()).hexdigest()

"""Golden rows: read from rows.jsonl, and checked before anything is asked of a model.

    task        fields of a row                                  ? may be left out
    choice      prompt, choices, answer
    text        text
    fill        text with one [MASK], answers, choices?
    label       text or image, label
    closer      anchor, near, far
    caption     image, captions, answer
    picture     text, images, answer
    retrieve    image, caption, group

Every row has `id` and `task`, and may have `test` (mft where it is left out), `segments`, `flags`,
`note`, and for a variant `of`, `expect` and `by`; a variant has the answer, answers, choices and
label of its row where it does not say its own. An image is a file of the set's folder, or
`sheet.png#17`: tile 17 of a sheet, counted from 0.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.checkpoint.errors import CheckpointError
from zoo.checkpoint.jsons import parse_json
from zoo.evaluate.golden import MANIFEST, GoldenError
from zoo.evaluate.outcome import Row

ROWS = "rows.jsonl"
DRAFT = "draft.json"  # subject, source, sheets and perturbations of a set without a manifest as yet

# task -> field -> form; `text?` and `texts?` may be left out
TASKS: dict[str, dict[str, str]] = {
    "choice": {"prompt": "text", "choices": "texts", "answer": "text"},
    "text": {"text": "text"},
    "fill": {"text": "text", "answers": "texts", "choices": "texts?"},
    "label": {"text": "text?", "image": "image?", "label": "text?"},
    "closer": {"anchor": "text", "near": "text", "far": "text"},
    "caption": {"image": "image", "captions": "texts", "answer": "text"},
    "picture": {"text": "text", "images": "images", "answer": "image"},
    "retrieve": {"image": "image", "caption": "text", "group": "text"},
}
COMMON = ("id", "task", "test", "segments", "flags", "note", "of", "expect", "by")
LEAST_GROUP = 10  # of fewer rows to rank, five are half: recall at 5 says nothing


def read_rows(folder: str | Path, sheets: Mapping[str, int] | None = None) -> tuple[Row, ...]:
    """Read a folder's rows.jsonl and check every row; `sheets` are the manifest's, or the draft's.

    Raises GoldenError that names the file, the line, the row, what is wrong and the fix.
    """
    from zoo.evaluate.row_rules import check_rows  # pandas and pandera, an extra

    folder = Path(folder)
    lines = read_lines(folder / ROWS)
    if not lines:
        raise GoldenError(f"{folder / ROWS} holds no rows; write one JSON object a line")
    check_rows(folder, lines, stated(folder).get("sheets", {}) if sheets is None else sheets)
    return tuple(map(row_of, lines))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a file of one JSON object a line; raise GoldenError for a line that is none."""
    try:
        lines = path.read_bytes().split(b"\n")
        if lines[-1] == b"":
            lines.pop()
        return [parse_json(line, f"{path}:{number}") for number, line in enumerate(lines, 1)]
    except CheckpointError as error:
        raise GoldenError(str(error)) from None
    except OSError as error:
        raise GoldenError(f"{path}: {error.strerror or error}") from None


def stated(folder: Path) -> dict[str, Any]:
    """Give what a set's manifest says, or its draft; nothing where neither is."""
    path = next((folder / n for n in (MANIFEST, DRAFT) if (folder / n).exists()), None)
    if path is None:
        return {}
    try:
        return parse_json(path.read_bytes(), str(path))
    except CheckpointError as error:
        raise GoldenError(str(error)) from None


def row_of(line: Mapping[str, Any]) -> Row:
    """Make a Row of a line that was checked."""
    fields = {name: line[name] for name in TASKS[line["task"]] if name in line}
    return Row(
        id=line["id"],
        task=line["task"],
        fields=fields,
        test=line.get("test", "mft"),
        segments=tuple(line.get("segments", ())),
        flags=tuple(line.get("flags", ())),
        of=line.get("of"),
        expect=line.get("expect"),
        by=float(line.get("by", 0.0)),
    )


def write_rows(path: str | Path, lines: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as JSON lines, with letters as they are: people read and review them."""
    text = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)
    Path(path).write_text(text, encoding="utf-8", newline="\n")

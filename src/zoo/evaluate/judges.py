"""Putting golden rows to a model: rows in, outcomes out, in the order of the rows.

What each task asks, and its number, stands at the top of `judge_text.py` and `judge_pictures.py`.
All rows of a task are judged at once, in batches that change nothing but rounding; then each row
has its verdict:

    mft    the answer is the known one (`text`: no verdict, its bits are what counts)
    inv    the answer is that of the row `of`
    dir    value - value of `of` >= by (expect up), <= -by (down), and more than rounding;
           `right` is None

A twin that a perturbation made is an mft row: its answer must still be right. An inv or dir row
that names no answer, answers, label or choices of its own has those of its `of`, so that their
values are of the same thing; `retrieve` counts ranks, where down is better.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from zoo.evaluate.judge_pictures import caption, label_pictures, one_picture, retrieve
from zoo.evaluate.judge_text import choice, closer, fill, label_texts, text
from zoo.evaluate.judging import JudgeError, wrong
from zoo.evaluate.outcome import Outcome, Row
from zoo.evaluate.subject import Subject

KNOWN = ("answer", "answers", "label", "choices")  # fields that a variant need not say again
ROUNDING = 1e-5  # share of a value by which its place in a batch may move it
UNANSWERED = ("text",)  # tasks whose answers are all alike: nothing there can be the same


def judge(rows: Sequence[Row], subject: Subject, folder: str | Path) -> list[Outcome]:
    """Ask a model all rows of a set, whose pictures lie in the folder.

    Raises JudgeError that names the row, and SubjectError when a task needs what the model lacks.
    """
    by_id = {row.id: row for row in rows}
    if len(by_id) < len(rows):
        raise JudgeError(f"{len(rows)} rows have {len(by_id)} ids; expected one each")
    whole = [completed(row, by_id) for row in rows]
    found: dict[str, Outcome] = {}
    training = subject.model.training
    subject.model.eval()
    try:
        with torch.no_grad():
            for task in dict.fromkeys(row.task for row in whole):
                some = [row for row in whole if row.task == task]
                outcomes = TASKS[task](some, subject, Path(folder))
                found.update((outcome.id, outcome) for outcome in outcomes)
    finally:
        subject.model.train(training)
    return [settled(row, found) for row in whole]


def completed(row: Row, by_id: Mapping[str, Row]) -> Row:
    """Give a variant the known answer of the row that it is of, unless it has one of its own."""
    if row.task not in TASKS:
        raise wrong(row, f"there is no task {row.task!r}; known are {sorted(TASKS)}")
    if row.test == "mft":
        return row
    first = by_id.get(row.of or "")
    if first is None or first.task != row.task or first is row:
        raise wrong(row, f"of is {row.of!r}; expected another row with task {row.task!r}")
    if row.test == "inv" and row.task in UNANSWERED:
        raise wrong(row, f"rows of task {row.task!r} have no answer to be the same: use dir")
    held = {n: first.fields[n] for n in KNOWN if n in first.fields} | dict(row.fields)
    mine, theirs = held.get("label"), first.fields.get("label")
    if row.test == "dir" and mine != theirs:
        why = f"its label is {mine!r}, that of {row.of!r} {theirs!r}"
        raise wrong(row, f"{why}: their values cannot be compared")
    return replace(row, fields=held)


def settled(row: Row, found: Mapping[str, Outcome]) -> Outcome:
    """Give a row's outcome with the verdict of its own test."""
    mine = found[row.id]
    if row.test == "mft":
        return mine
    first = found[str(row.of)]
    if row.test == "inv":
        return replace(mine, passed=mine.answer == first.answer)
    if row.test != "dir" or row.expect not in SIGNS:
        raise wrong(
            row,
            f"test {row.test!r} that expects {row.expect!r}; expected inv, or dir: "
            f"{' or '.join(SIGNS)}",
        )
    moved = SIGNS[row.expect] * (mine.value - first.value)
    far = moved >= row.by and moved > ROUNDING * abs(first.value)
    return replace(mine, passed=far, right=None)


def label(rows: Sequence[Row], subject: Subject, folder: Path) -> list[Outcome]:
    """Judge classes of texts and of pictures; a model reads one of them."""
    for row in rows:
        if (row.fields.get("image") is None) == (row.fields.get("text") is None):
            raise wrong(row, "task 'label' needs a text or an image, one of them")
    seeing = [row for row in rows if row.fields.get("image") is not None]
    reading = [row for row in rows if row.fields.get("text") is not None]
    result = label_pictures(seeing, subject, folder) if seeing else []
    return result + (label_texts(reading, subject, folder) if reading else [])


SIGNS = {"up": 1.0, "down": -1.0}
TASKS: dict[str, Callable[[Sequence[Row], Subject, Path], list[Outcome]]] = {
    "caption": caption,
    "choice": choice,
    "closer": closer,
    "fill": fill,
    "label": label,
    "picture": one_picture,
    "retrieve": retrieve,
    "text": text,
}

"""Rows with their outcomes, as if a model had been asked: what figures are filled from."""

from dataclasses import replace
from pathlib import Path

from zoo.evaluate.gate_file import Bound
from zoo.evaluate.outcome import Outcome, Row
from zoo.evaluate.tally import tally
from zoo.report.judged import Judged


def label_row(name, truth, answer, sure, **changes):
    """Make a row of a text with a label, and its outcome."""
    row = Row(id=name, task="label", fields={"text": f"text of {name}", "label": truth})
    right = truth == answer
    made = Outcome(id=name, answer=answer, value=sure, passed=right, right=right, confidence=sure)
    return replace(row, **changes), made


def held_of(pairs, *, bounds=(), folder=Path("of-no-folder"), **changes):
    rows = tuple(row for row, _ in pairs)
    found = {made.id: made for _, made in pairs}
    settings = {
        "name": "mails",
        "folder": folder,
        "version": 2,
        "accepted": True,
        "history": (),
        "ok": True,
    }
    return Judged(
        rows=rows,
        found=found,
        metrics=tally(rows, found.values()),
        bounds={bound.name: bound for bound in bounds},
        **settings | changes,
    )


# of twelve mails nine are right; "short" holds six, all right, "long" six, three right
MAILS = [
    *(label_row(f"ham-{i}", "ham", "ham", 0.95, segments=("short",)) for i in range(6)),
    *(label_row(f"spam-{i}", "spam", "spam", 0.75, segments=("long",)) for i in range(3)),
    *(label_row(f"sly-{i}", "spam", "ham", 0.55 + i / 10, segments=("long",)) for i in range(3)),
]
TWINS = [
    label_row("ham-0@typos", "ham", "ham", 0.9, of="ham-0", under="typos"),
    label_row("ham-1@typos", "ham", "spam", 0.6, of="ham-1", under="typos"),
    label_row("spam-0@typos", "spam", "spam", 0.6, of="spam-0", under="typos"),
    label_row("sly-0@typos", "spam", "ham", 0.6, of="sly-0", under="typos"),
    label_row("sly-1@typos", "spam", "ham", 0.6, of="sly-1", under="typos"),
]
BOUNDS = (
    Bound(name="accuracy", at_least=0.7, drop=0.05),
    Bound(name="accuracy[long]", at_least=0.4),
    Bound(name="ece", at_most=0.25),
)
HISTORY = (
    {"version": 1, "date": "2026-11-20", "why": "first", "metrics": {"accuracy": 0.5}},
    {"version": 2, "date": "2026-11-21", "why": "more", "metrics": {"accuracy": 0.75, "ece": 0.2}},
)


def mails(**changes):
    settings = {"bounds": BOUNDS, "history": HISTORY}
    return held_of([*MAILS, *TWINS], **settings | changes)

"""The figures that every model has: scores, slices, robustness, calibration, confusion, changes."""

from collections.abc import Sequence

import numpy as np

from zoo.evaluate import gate
from zoo.evaluate.calibration import reliability
from zoo.evaluate.outcome import Outcome, Row
from zoo.evaluate.statistics import wilson
from zoo.report import words
from zoo.report.judged import Judged, estimate, score
from zoo.report.page import Bar, Bars, Bin, Change, Confusion, Estimate, Figure, Score

SLICED = {
    "accuracy": "Right answers in each slice of the rows. The weakest come first.",
    "recall@5": "How often the right picture is among the first five, by slice.",
    "bits_per_byte": "What a byte of text costs the model, by slice, the dearest first.",
    "invariance": "How often the answer stays the same where nothing that matters was changed.",
    "direction": "How often the answer moves the right way where something that matters changed.",
}
KINDS = ("broke", "mended", "answer", "moved")
TURNS = {
    "broke": "broke",
    "mended": "mended",
    "answer": "answered otherwise, no better and no worse",
    "moved": "moved in number alone",
}
CHANGED = 40  # rows that changed are shown at most
CLASSES = 12  # more make no matrix that one can read


def common(held: Judged, subject: str) -> list[Figure]:
    """Give the figures that rest on the outcomes alone; those without data are left out."""
    command = held.command(subject)
    made = [
        scores(held, command),
        *(sliced(held, base, command) for base in SLICED),
        robustness(held, command),
        curve(held, command),
        confusion(held, command),
        changes(held, command),
    ]
    return [figure for figure in made if figure is not None]


def main_scores(held: Judged) -> list[Score]:
    """Give the one or two numbers that say most about a model."""
    names = [n for n in ("bits_per_byte", "recall@5", "accuracy") if n in held.metrics]
    return [score(name, held) for name in names[:2]]


def scores(held: Judged, command: str) -> Figure:
    names = [name for name in held.metrics if "[" not in name]
    says = "How the model does now, what its gate asks for, and how each accepted version did."
    return Figure(
        id=f"{held.name}-scores",
        title=f"Scores on {held.name}",
        says=says,
        kind="scores",
        data=tuple(score(name, held) for name in names),
        command=command,
    )


def bar(name: str, label: str, held: Judged) -> Bar:
    metric = held.metrics[name]
    bound = held.bounds.get(name)
    floor = None if bound is None else bound.at_least
    return Bar(label=label, estimate=estimate(metric), rows=len(metric.rows), floor=floor)


def sliced(held: Judged, base: str, command: str) -> Figure | None:
    """Give a bar for each segment of a metric; None where there are fewer than two."""
    names = [n for n in held.metrics if n.startswith(f"{base}[") and "[under:" not in n]
    if len(names) < 2:
        return None
    share = words.is_share(base)
    bars = [bar(n, words.spaced(n[len(base) + 1 : -1]), held) for n in names]
    bars.sort(key=lambda each: each.estimate.value if share else -each.estimate.value)
    return Figure(
        id=f"{held.name}-{base.replace('@', '-')}-slices",
        title=f"{words.named(base).capitalize()}, slice by slice",
        says=SLICED[base],
        kind="bars",
        data=Bars(what="slice", bars=tuple(bars), top=top_of(bars, share), share=share),
        command=command,
    )


def top_of(bars: Sequence[Bar], share: bool) -> float:
    """Give where a chart's axis ends: at all for shares, else at the largest number on it."""
    if share:
        return 1.0
    return max(max(b.estimate.value, b.estimate.high or 0.0, b.floor or 0.0) for b in bars)


def robustness(held: Judged, command: str) -> Figure | None:
    """Give what is left of the right answers under each perturbation, beside the same rows bare."""
    names = [name for name in held.metrics if name.startswith("accuracy[under:")]
    if not names:
        return None
    robust = {row.of for row in held.rows if row.under is not None}
    bare = [held.found[row.id] for row in held.rows if row.id in robust]
    passed = sum(outcome.passed is True for outcome in bare)
    low, high = wilson(passed, len(bare))
    value = Estimate(value=passed / len(bare), low=low, high=high)
    untouched = Bar(label="untouched", estimate=value, rows=len(bare))
    bars = [bar(name, words.spaced(name[len("accuracy[") : -1]), held) for name in names]
    bars.sort(key=lambda each: -each.estimate.value)
    return Figure(
        id=f"{held.name}-robustness",
        title="Under perturbations",
        says="The same rows, damaged in ways that should not matter: what is still right.",
        kind="bars",
        data=Bars(what="perturbation", bars=(untouched, *bars)),
        command=command,
    )


def curve(held: Judged, command: str) -> Figure | None:
    """Give the reliability curve over rows with a known answer; None without confidences."""
    rows = [(r, held.found[r.id]) for r in held.rows if r.under is None and r.test == "mft"]
    sure = [o for _, o in rows if o.confidence is not None and o.right is not None]
    if len(sure) < 2:
        return None
    confidence = np.array([min(1.0, o.confidence or 0.0) for o in sure])
    right = np.array([o.right is True for o in sure])
    bins = [
        Bin(
            confidence=point.sure,
            right=share(round(point.right * point.count), point.count),
            rows=point.count,
        )
        for point in reliability(confidence, right)
    ]
    says = (
        "Of the answers that it gave so much confidence, how many were right. On the dashed line "
        "both agree; below it the model is too sure of itself. A larger point holds more rows."
    )
    if "ece" in held.metrics:
        error = score("ece", held)
        between = words.interval(error.estimate, True)
        says += f" Expected calibration error: {words.told(error.estimate.value, True)}"
        says += f" ({between})." if between else "."
    return Figure(
        id=f"{held.name}-reliability",
        title="Is it as sure as it is right?",
        says=says,
        kind="reliability",
        data=tuple(bins),
        command=command,
    )


def share(hits: int, count: int) -> Estimate:
    """Give a share with Wilson's interval."""
    low, high = wilson(hits, count)
    return Estimate(value=hits / count, low=low, high=high)


def confusion(held: Judged, command: str) -> Figure | None:
    """Count truths against answers of a classifier of a few classes."""
    rows = [
        pair for pair in held.plain("label") if pair[0].test == "mft" and "label" in pair[0].fields
    ]
    labels = sorted({str(r.fields["label"]) for r, _ in rows} | {o.answer for _, o in rows})
    if not 2 <= len(labels) <= CLASSES:
        return None
    place = {label: i for i, label in enumerate(labels)}
    counts = [[0] * len(labels) for _ in labels]
    for row, outcome in rows:
        counts[place[str(row.fields["label"])]][place[outcome.answer]] += 1
    return Figure(
        id=f"{held.name}-confusion",
        title="What it takes for what",
        says="Each line is a truth, each column an answer. Off the diagonal stand the mistakes.",
        kind="confusion",
        data=Confusion(labels=tuple(labels), counts=tuple(map(tuple, counts))),
        command=command,
    )


def changes(held: Judged, command: str) -> Figure | None:
    """List rows that are answered otherwise than the accepted version did; broken ones first."""
    if not held.accepted:
        return None
    by_id = {row.id: row for row in held.rows}
    found = sorted(held.changes, key=lambda each: KINDS.index(each.kind))
    counts = {kind: sum(each.kind == kind for each in found) for kind in KINDS}
    says = "Against the accepted version: no row is answered otherwise."
    if found:
        told = [f"{count} {TURNS[kind]}" for kind, count in counts.items() if count]
        says = f"Against the accepted version, of {len(held.rows):,} rows: {', '.join(told)}"
        says += f"; the first {CHANGED} are shown." if len(found) > CHANGED else "."
    return Figure(
        id=f"{held.name}-changes",
        title="Rows that changed",
        says=says,
        kind="changes",
        data=tuple(change(by_id[each.id], each) for each in found[:CHANGED]),
        command=command,
    )


def change(row: Row, found: gate.Change) -> Change:
    return Change(
        id=row.id,
        kind=found.kind,
        asked=asked(row),
        before=answered(row, found.before),
        now=answered(row, found.after),
    )


def asked(row: Row) -> str:
    """Say in words what a row asks."""
    fields = row.fields
    text = {
        "choice": lambda: f"goes on “{words.shortened(fields['prompt'], 120)}”",
        "text": lambda: f"reads “{words.shortened(fields['text'], 80)}”",
        "fill": lambda: f"fills “{words.shortened(fields['text'], 120)}”",
        "closer": lambda: f"what is nearer to “{words.shortened(fields['anchor'], 80)}”",
        "caption": lambda: f"names a picture of “{fields.get('answer', '?')}”",
        "picture": lambda: f"finds a picture for “{fields['text']}”",
        "retrieve": lambda: f"finds the picture of “{fields['caption']}”",
        "label": lambda: labelled(row),
    }[row.task]()
    return f"{text} (under {words.spaced(row.under)})" if row.under is not None else text


def labelled(row: Row) -> str:
    truth = row.fields.get("label", "something")
    if "text" in row.fields:
        return f"calls {truth} what reads “{words.shortened(row.fields['text'], 80)}”"
    return f"calls {truth} a picture of it"


def answered(row: Row, outcome: Outcome) -> str:
    """Say in words what was answered, and how sure."""
    if row.task == "retrieve":
        return f"rank {outcome.value:.0f}"
    if row.task == "text":
        return f"{outcome.value:.1f} bits"
    said = words.shortened(outcome.answer, 60) or "nothing"
    if outcome.confidence is None:
        return f"{said} ({outcome.value:+.3f})"
    return f"{said} ({words.told(min(1.0, outcome.confidence), True)})"

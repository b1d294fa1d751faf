"""Labels that are one but written twice, or that a split has none of."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from zoo.data.findings import Finding, plural, some
from zoo.data.kinds import TRAIN
from zoo.data.view import View
from zoo.data.words import fold

EXPECTED = 7  # rows: a label that should have as many has none with a chance of e^-7, 0.001


def spellings(view: View) -> Iterator[Finding]:
    """Find labels that differ only in case, spaces or the form of letters."""
    names = {name for row in view.labels for name in row} | set(view.rows.labels or ())
    known = (view.reference or {}).get("labels") or {}
    ways = defaultdict(set)
    for name in names | set(known.get("counts", ())):
        ways[fold(name)].add(name)
    for same in sorted(sorted(way) for way in ways.values() if len(way) > 1):
        chosen = [i for i, row in enumerate(view.labels) if not set(row).isdisjoint(same[1:])]
        yield Finding(
            "error",
            "labels",
            f"{' and '.join(map(repr, same))} are one label written in {len(same)} ways, and would "
            "be learnt as as many; write it one way",
            view.told(chosen),
            {"labels": same},
        )
    if without := [i for i, row in enumerate(view.labels) if not row]:
        yield Finding(
            "warning",
            "labels",
            f"{plural(len(without), 'row')} without a label: label or drop them",
            view.told(without),
            {"rows": len(without)},
            view.told(without),
        )


def coverage(view: View) -> Iterator[Finding]:
    """Find labels that one split has and another lacks, and splits with one label only."""
    if not view.labels:  # a kind without any
        return
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    for split, names in zip(view.splits, view.labels, strict=True):
        rows[split].update(set(names))  # rows, not tokens: those of a row come together
    for split in sorted(rows):
        if len(rows[split]) == 1 and sum(rows[split].values()) > 1:
            (only,) = rows[split]
            yield Finding(
                "error" if split == TRAIN else "warning",
                "splits",
                f"all rows of {split} have the label {only!r}: "
                + ("there is nothing to tell apart" if split == TRAIN else "it tests nothing else"),
                (),
                {"split": split, "label": only},
            )
    if TRAIN not in rows:
        return
    sizes = Counter(view.splits)
    for split in view.held_out:
        unseen = sorted(set(rows[split]) - set(rows[TRAIN]))
        if unseen:
            chosen = [
                i
                for i, names in enumerate(view.labels)
                if view.splits[i] == split and not set(names).isdisjoint(unseen)
            ]
            yield Finding(
                "error",
                "splits",
                f"{split} has labels that {TRAIN} never shows, in {plural(len(chosen), 'row')}: "
                f"{some(list(map(repr, unseen)))}; no model can learn them",
                view.told(chosen),
                {"split": split, "labels": unseen},
            )
        expected = {name: n * sizes[split] / sizes[TRAIN] for name, n in rows[TRAIN].items()}
        absent = sorted(
            name for name, n in expected.items() if n >= EXPECTED and name not in rows[split]
        )
        if absent:
            yield Finding(
                "warning",
                "splits",
                f"{split} has no row with {some(list(map(repr, absent)))}, where {TRAIN}'s share "
                f"would give {expected[absent[0]]:.0f}: it cannot say how well that is learnt",
                (),
                {"split": split, "labels": absent},
            )

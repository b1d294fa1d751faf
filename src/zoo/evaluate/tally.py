"""From rows and outcomes to metrics: what each row adds, and what their sums make.

    accuracy              share of rows with a known answer (mft) that passed
    accuracy[SEGMENT]     the same of a segment's rows
    accuracy[under:NAME]  share of the rows perturbed by NAME that passed; they count nowhere else
    invariance            share of the inv rows that passed
    direction             share of the dir rows that passed
    bits_per_byte         bits of all texts over their bytes
    recall@1, recall@5    share of the retrieve rows whose rank is at most that
    macro_f1              mean of the classes' F1, over the classes that labels name
    ece                   expected calibration error of the answers with a confidence, ten bins of
                          equal width

All but macro_f1 and ece are also told for each segment, as `NAME[SEGMENT]`, where it has at least
five such rows; those two say little of a few rows. Every metric is a function of sums over its
rows, which is what the statistics take.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from zoo.evaluate.calibration import BINS, equal_width
from zoo.evaluate.outcome import Outcome, Row
from zoo.evaluate.statistics import Statistic, interval, interval_of_change

LEAST = 5  # rows of a segment that a metric is told for
RECALLS = (1, 5)
SMALL_IS_GOOD = ("bits_per_byte", "ece")

Pair = tuple[Row, Outcome]


@dataclass(frozen=True, eq=False)
class Metric:
    """A number over rows, with what each row adds to it."""

    name: str
    kind: str  # of STATISTICS
    rows: tuple[str, ...]  # ids of the rows that it rests on
    parts: Float[np.ndarray, "n f"]  # what each row adds
    value: float
    larger_is_better: bool

    def interval(self) -> tuple[float, float]:
        """Give the 95 % interval of the value."""
        return interval(self.parts, STATISTICS[self.kind])

    def change(self, after: "Metric") -> tuple[float, float]:
        """Give the 95 % interval of `after` minus this; both must rest on the same rows."""
        check_same_rows(self, after)
        return interval_of_change(self.parts, after.parts, STATISTICS[self.kind])


def tally(rows: Sequence[Row], outcomes: Iterable[Outcome]) -> dict[str, Metric]:
    """Give every metric that the rows have, by name.

    Raises ValueError unless there is one outcome for each row.
    """
    pairs = paired(rows, outcomes)
    asked = [(row, made) for row, made in pairs if row.under is None]
    result: dict[str, Metric] = {}
    for name, (kind, chosen, parts) in METRICS.items():
        mine = [pair for pair in asked if chosen(*pair)]
        add(result, name, kind, mine, parts, least=1)
        if kind not in ("f1", "ece"):
            for segment in segments_of(mine):
                some = [pair for pair in mine if segment in pair[0].segments]
                add(result, f"{name}[{segment}]", kind, some, parts)
    for under in sorted({row.under for row in rows if row.under is not None}):
        some = [(r, o) for r, o in pairs if r.under == under and o.passed is not None]
        add(result, f"accuracy[under:{under}]", "share", some, passes)
    return result


def paired(rows: Sequence[Row], outcomes: Iterable[Outcome]) -> list[Pair]:
    """Give each row with its outcome; raise ValueError unless there is one for each."""
    made = {}
    for outcome in outcomes:
        if outcome.id in made:
            raise ValueError(f"two outcomes of row {outcome.id!r}; expected one")
        made[outcome.id] = outcome
    twice = [name for name, count in Counter(row.id for row in rows).items() if count > 1]
    if twice:
        raise ValueError(f"two rows are called {twice[0]!r}; a row's id is its own")
    odd = sorted({row.id for row in rows} ^ made.keys())
    if odd:
        what = "an outcome without its row" if odd[0] in made else "a row without its outcome"
        raise ValueError(f"{len(odd)} without a partner; the first is {odd[0]!r}, {what}")
    return [(row, made[row.id]) for row in rows]


def segments_of(pairs: list[Pair]) -> list[str]:
    return sorted({segment for row, _ in pairs for segment in row.segments})


def add(
    result: dict[str, Metric],
    name: str,
    kind: str,
    pairs: list[Pair],
    parts_of: Callable[[list[Pair]], np.ndarray],
    *,
    least: int = LEAST,
) -> None:
    """Put a metric of these rows under its name, if they are enough."""
    if len(pairs) < least:
        return
    parts = parts_of(pairs)
    value = float(STATISTICS[kind](parts.sum(0)))
    small = name.partition("[")[0] in SMALL_IS_GOOD
    ids = tuple(row.id for row, _ in pairs)
    result[name] = Metric(name, kind, ids, parts, value, not small)


def check_same_rows(before: Metric, after: Metric) -> None:
    odd = sorted(set(before.rows) ^ set(after.rows))
    if before.rows != after.rows:
        why = f"{odd[0]!r} is in one of them" if odd else "their order differs"
        raise ValueError(f"two {before.name} of different rows cannot be compared: {why}")


# --- what a row adds


def passes(pairs: list[Pair]) -> Float[np.ndarray, "n 2"]:
    return np.array([[float(made.passed is True), 1.0] for _, made in pairs])


def bits_and_bytes(pairs: list[Pair]) -> Float[np.ndarray, "n 2"]:
    return np.array([[made.value, made.weight] for _, made in pairs])


def within(k: int) -> Callable[[list[Pair]], np.ndarray]:
    """Make the parts of recall@k: a row's value is the rank of its right answer."""
    return lambda pairs: np.array([[float(made.value <= k), 1.0] for _, made in pairs])


def hits_of_classes(pairs: list[Pair]) -> Float[np.ndarray, "n f"]:
    """Give by class whether a row is a hit of it, then how often label and answer name it."""
    labels = [str(row.fields["label"]) for row, _ in pairs]
    names = sorted(set(labels))
    label = np.array([[kind == name for name in names] for kind in labels], dtype=np.float64)
    answer = np.array([[o.answer == name for name in names] for _, o in pairs], dtype=np.float64)
    return np.concatenate([label * answer, label + answer], axis=1)


def gaps_of_bins(pairs: list[Pair]) -> Float[np.ndarray, "n f"]:
    """Give by bin how much surer than right a row is, then 1."""
    sure = np.array([made.confidence for _, made in pairs], dtype=np.float64)
    right = np.array([made.right is True for _, made in pairs], dtype=np.float64)
    parts = np.zeros((len(pairs), BINS + 1))
    parts[np.arange(len(pairs)), equal_width(sure)] = sure - right
    parts[:, -1] = 1.0
    return parts


# --- what sums make


def ratio(sums: np.ndarray) -> np.ndarray:
    return np.asarray(sums[..., 0] / np.where(sums[..., 1] > 0, sums[..., 1], np.nan))


def mean_f1(sums: np.ndarray) -> np.ndarray:
    """Give the mean of 2 hits / (labels + answers) over the classes that came up."""
    hits, named = np.split(sums, 2, axis=-1)
    there = named > 0
    scores = np.where(there, 2 * hits / np.where(there, named, 1.0), 0.0)
    return np.asarray(scores.sum(-1) / np.where(there.any(-1), there.sum(-1), np.nan))


def bins_error(sums: np.ndarray) -> np.ndarray:
    gaps, rows = np.abs(sums[..., :-1]).sum(-1), sums[..., -1]
    return np.asarray(gaps / np.where(rows > 0, rows, np.nan))


STATISTICS: dict[str, Statistic] = {
    "share": ratio,
    "ratio": ratio,
    "f1": mean_f1,
    "ece": bins_error,
}


def has_known_answer(row: Row, made: Outcome) -> bool:
    return row.test == "mft" and made.passed is not None


# name -> kind, the rows that it rests on, what they add
METRICS: dict[
    str, tuple[str, Callable[[Row, Outcome], bool], Callable[[list[Pair]], np.ndarray]]
] = {
    "accuracy": ("share", has_known_answer, passes),
    "invariance": ("share", lambda r, o: r.test == "inv" and o.passed is not None, passes),
    "direction": ("share", lambda r, o: r.test == "dir" and o.passed is not None, passes),
    "bits_per_byte": ("ratio", lambda r, o: r.test == "mft" and r.task == "text", bits_and_bytes),
    **{
        f"recall@{k}": ("share", lambda r, o: r.test == "mft" and r.task == "retrieve", within(k))
        for k in RECALLS
    },
    "macro_f1": (
        "f1",
        lambda r, o: r.test == "mft" and r.task == "label" and r.fields.get("label") is not None,
        hits_of_classes,
    ),
    "ece": (
        "ece",
        lambda r, o: r.test == "mft" and o.confidence is not None and o.right is not None,
        gaps_of_bins,
    ),
}

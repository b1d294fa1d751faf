"""What rows are like, in a few numbers that a run records and later data are compared with.

    features   text: letters, words, bytes a letter, the share of letters outside ASCII
               pictures: width, height, width / height, greyness, mean and deviation a channel
               each as its count, mean, deviation and POINTS quantiles x with the shares of rows
               below x and up to x
    words      the words that most texts have: in how many texts, and how often in all
    labels     rows a label; a row with many tags is shared out among them
    columns    the type of each, how many are missing, and values or range

The record is JSON of less than 64 kB, and does not depend on the order of rows: what is longest in
it (words, labels, columns) is cut, the rarest first, and says how much.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from zoo.data.leakage import is_missing, number, seconds
from zoo.data.looks import CHANNELS
from zoo.data.rows import Rows
from zoo.data.view import View, view_of

FORMAT = "zoo data statistics 1"
POINTS = 41
WORDS = 400
LONGEST = 24  # letters of a word that is listed
VALUES = 12  # of a column that has few
# bytes of JSON: together with the features less than 64 kB
MOST_WORDS, MOST_LABELS, MOST_COLUMNS = 16_000, 20_000, 12_000
DIGITS = 9  # a quantile is rounded to as many, and then compared as it is written


WHOLE = re.compile(r"[+-]?\d{1,18}(\.0*)?", re.ASCII)
FRACTION = re.compile(r"[+-]?\d{0,18}\.?\d{1,18}(e[+-]?\d{1,2})?", re.ASCII | re.IGNORECASE)


def statistics(rows: Rows) -> dict[str, Any]:
    """Describe rows as JSON, for `inspect(other, reference=...)`."""
    return statistics_of(view_of(rows))


def statistics_of(view: View) -> dict[str, Any]:
    splits = Counter(view.splits)
    return {
        "format": FORMAT,
        "kind": view.kind,
        "version": view.rows.version,
        "rows": len(view.ids),
        "splits": {name: splits[name] for name in sorted(splits)},
        "columns": columns_of(view),
        "labels": labels_of(view),
        "features": {name: spread(values) for name, values in features_of(view).items()},
        "words": words_of(view),
    }


def features_of(view: View) -> dict[str, Float[np.ndarray, " _"]]:
    """Measure each text and each picture that can be read."""
    found: dict[str, list[float]] = {}
    if view.texts:
        sizes = [max(1, len(text)) for text in view.texts]
        bytes_ = [len(text.encode("utf-8", "surrogatepass")) for text in view.texts]
        found["letters"] = [float(len(text)) for text in view.texts]
        found["words"] = [float(len(words)) for words in view.words.texts]
        found["bytes a letter"] = [b / n for b, n in zip(bytes_, sizes, strict=True)]
        found["share outside ASCII"] = [
            outside(text) / n for text, n in zip(view.texts, sizes, strict=True)
        ]
    looks = [look for look in view.looks if look is not None]
    if view.looks:
        found["width"] = [float(look.width) for look in looks]
        found["height"] = [float(look.height) for look in looks]
        found["width / height"] = [look.width / look.height for look in looks]
        found["greyness"] = [float(look.grey) for look in looks]
        for c, channel in enumerate(CHANNELS):
            found[f"mean {channel}"] = [look.means[c] for look in looks]
            found[f"deviation {channel}"] = [look.deviations[c] for look in looks]
    return {name: np.array(values, dtype=np.float64) for name, values in found.items()}


def outside(text: str) -> int:
    """Count letters outside ASCII."""
    return 0 if text.isascii() else len(text) - len(text.encode("ascii", "ignore"))


def spread(values: Float[np.ndarray, " n"]) -> dict[str, Any]:
    """Describe numbers by quantiles, each with the shares below it and up to it."""
    count = len(values)
    if not count:
        return {"count": 0, "mean": None, "deviation": None, "points": []}
    ordered = np.sort(values)
    places = np.linspace(0, count - 1, POINTS).round().astype(int)
    xs = sorted({float(f"{x:.{DIGITS}g}") for x in ordered[places]})
    below, upto = shares_at(ordered, xs)
    return {
        "count": count,
        "mean": rounded(math.fsum(values) / count),
        "deviation": rounded(float(ordered.std())),
        "points": [
            [x, rounded(low), rounded(high)] for x, low, high in zip(xs, below, upto, strict=True)
        ],
    }


def shares_at(
    ordered: Float[np.ndarray, " n"], xs: Sequence[float]
) -> tuple[list[float], list[float]]:
    """Give the share of sorted numbers that are below each x, and up to it."""
    below = np.searchsorted(ordered, xs, side="left") / len(ordered)
    upto = np.searchsorted(ordered, xs, side="right") / len(ordered)
    return below.tolist(), upto.tolist()


def rounded(x: float) -> float:
    return float(f"{x:.6g}")


def labels_of(view: View) -> dict[str, Any] | None:
    """Count rows a label, the most frequent first; None for a kind without labels."""
    if not view.labels:
        return None
    counts = label_counts(view.labels)
    ordered = sorted(counts, key=lambda name: (-counts[name], name))
    kept = within(ordered, MOST_LABELS, lambda name: [name, counts[name]])
    return {
        "rows": sum(map(bool, view.labels)),
        "counts": {name: rounded(counts[name]) for name in kept},
        "more": len(ordered) - len(kept),
    }


def label_counts(labels: Iterable[Sequence[str]]) -> dict[str, float]:
    """Count rows a label; a row of many tags counts as one, shared out among them."""
    parts: dict[str, list[float]] = {}
    for names in labels:
        for name, count in Counter(names).items():
            parts.setdefault(name, []).append(count / len(names))
    return {name: math.fsum(shares) for name, shares in parts.items()}


def words_of(view: View) -> dict[str, Any] | None:
    """Count the words that most texts have; None for a kind without text."""
    if not view.texts:
        return None
    texts, tokens = word_counts(view)
    vocabulary = view.words.vocabulary
    short = [k for k, word in enumerate(vocabulary) if len(word) <= LONGEST]
    ordered = sorted(short, key=lambda k: (-texts[k], vocabulary[k]))[:WORDS]
    listed = [[vocabulary[k], int(texts[k]), int(tokens[k])] for k in ordered]
    kept = within(listed, MOST_WORDS, lambda row: row)
    return {"texts": len(view.texts), "tokens": int(tokens.sum()), "list": kept}


def word_counts(view: View) -> tuple[Any, Any]:
    """Count in how many texts each word is, and how often in all."""
    size = len(view.words.vocabulary)
    texts, tokens = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
    for numbers in view.words.texts:
        found, times = np.unique(numbers, return_counts=True)
        texts[found] += 1
        tokens[found] += times
    return texts, tokens


def columns_of(view: View) -> dict[str, Any]:
    """Describe every column but `id` and `split`, which are made on reading."""
    frame = view.rows.frame
    names = [str(name) for name in frame.columns if name not in ("id", "split")]
    described = {name: describe(list(frame[name])) for name in names}
    if size(described) > MOST_COLUMNS:  # then by type and missing values alone
        described = {
            name: {key: about[key] for key in ("type", "missing")}
            for name, about in described.items()
        }
    kept = within(names, MOST_COLUMNS, lambda name: [name, described[name]])
    return {name: described[name] for name in kept}


def describe(values: Sequence[Any]) -> dict[str, Any]:
    """Give a column's type, how many are missing, and its range or its few values."""
    there = [value for value in values if not is_missing(value)]
    type_ = type_of(there)
    about: dict[str, Any] = {"type": type_, "missing": len(values) - len(there)}
    if type_ in ("whole number", "number"):
        finite = [x for x in map(number, there) if x is not None]
        if finite:
            about["low"], about["high"] = min(finite), max(finite)
    elif type_ in ("text", "true or false"):
        counts = Counter(map(str, there))
        about["distinct"] = len(counts)
        if len(counts) <= VALUES and all(len(value) <= LONGEST for value in counts):
            about["values"] = {value: counts[value] for value in sorted(counts)}
    return about


def type_of(values: Sequence[Any]) -> str:
    """Name what a column holds, whichever format it came from: in a csv all is text."""
    written = {type_of_text(value) for value in values if isinstance(value, str)}
    others = {type_of_one(value) for value in values if not isinstance(value, str)}
    # a text may be a number or a date
    found = {joined(written, "text"), joined(others, "mixed")} - {"empty"}
    return joined(found, "mixed")


def joined(types: Iterable[str], otherwise: str) -> str:
    """Give the one name for several types."""
    found = set(types)
    if found == {"whole number", "number"}:
        return "number"
    return found.pop() if len(found) == 1 else otherwise if found else "empty"


def type_of_text(text: str) -> str:
    if WHOLE.fullmatch(text):
        return "whole number"
    if FRACTION.fullmatch(text):
        return "number"
    if text.casefold() in ("true", "false"):
        return "true or false"
    dated = len(text) >= 10 and text[:4].isdigit() and seconds(text) is not None
    return "time" if dated else "text"


def type_of_one(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "true or false"
    if isinstance(value, int | np.integer):
        return "whole number"
    if isinstance(value, float | np.floating):  # a whole column with a gap comes as floats
        return "whole number" if float(value).is_integer() else "number"
    if isinstance(value, Mapping):
        return "record"
    if hasattr(value, "__len__"):
        return "list"
    return "time" if seconds(value) is not None else type(value).__name__


def within(items: Sequence[Any], most: int, shown: Callable[[Any], Any]) -> list[Any]:
    """Keep the first items, as many as fit into a number of bytes of JSON."""
    kept = []
    for item in items:
        most -= size(shown(item)) + 2
        if most < 0:
            break
        kept.append(item)
    return kept


def size(value: Any) -> int:
    return len(json.dumps(value))

"""Rows beside a record of others: lengths, pixels, words and labels that moved.

Two things must hold for an alarm: the difference is not chance, and it is large enough to care.
Chance is bounded, not estimated: for n rows then and m now, drawn independently from one
distribution, and a share (or any mean of numbers from 0 to 1),

    P(|share now - share then| >= e) <= 2 exp(-2 e^2 n m / (n + m))            (Hoeffding 1963)
    P(sup_x |F now(x) - F then(x)| >= e) <= e exp(-2 e^2 n m / (n + m))    (Wei & Dudley 2012)

The second is the two-sample Kolmogorov-Smirnov distance. The record holds F only at its quantiles
x, below and up to each: the largest difference there is at most the one over all x, so the bound
holds for it too. Labels have the G test over their counts, those expected fewer than RARE times
taken together. All tests of a report share RISK, so rows like those recorded raise a false alarm
about drift in fewer than one report of a thousand. Rows that depend on each other (paragraphs of
one book) may do so more often; that is what the second condition is for: a distance of at least
LITTLE is a warning, of at least MUCH an error.

Words as a whole are compared by the Jensen-Shannon distance (0 equal, 1 nothing in common) of
their shares of all words, less what chance adds to it, (k - 1) (1/n + 1/m) / (8 ln 2) for k words.
Its bounds are measured, not derived. Random halves of 233 speeches, of Moby-Dick's chapters and of
5,916 mails stand 0.02 to 0.04 apart, pieces of 5,000 words of one of the books 0.22 at most, the
speeches and Moby-Dick 0.28.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from zoo.data.findings import Finding, plural, some
from zoo.data.statistics import (
    LONGEST,
    features_of,
    label_counts,
    shares_at,
    word_counts,
)
from zoo.data.view import View

RISK = 1e-3  # of any false alarm about drift in one report
FAMILIES = 4  # features, words, labels, missing cells: RISK is split evenly
LITTLE, MUCH = 0.1, 0.3  # KS distance, or a difference of shares
APART, FAR = 0.25, 0.4  # Jensen-Shannon distance of words
TOKENS = 5000  # below it the Jensen-Shannon distance is not looked at
RARE = 5  # rows expected


def level_of(distance: float, little: float = LITTLE, much: float = MUCH) -> str | None:
    if distance < little:
        return None
    return "error" if distance >= much else "warning"


def chance(n: int | float, m: int | float, tests: int, constant: float = 2.0) -> float:
    """Give the difference that chance exceeds with a probability of RISK / FAMILIES / tests."""
    if not n or not m:
        return math.inf
    risk = RISK / FAMILIES / max(1, tests)
    return math.sqrt(math.log(constant / risk) / 2 * (1 / n + 1 / m))


def features(view: View) -> Iterator[Finding]:
    """Compare lengths of texts, and sizes and colours of pictures."""
    recorded = view.reference["features"]
    ours = {name: values for name, values in features_of(view).items() if name in recorded}
    for name, values in ours.items():
        then, now = recorded[name], np.sort(values)
        if not len(now) or not then["points"]:
            continue
        distance = ks_distance(then["points"], now)
        level = level_of(distance)
        if level and distance >= chance(then["count"], len(now), len(ours), math.e):
            middle = median(then["points"])
            yield Finding(
                level,
                "features",
                f"{name} moved: half had at most {middle:.4g} in the record and "
                f"{float(now[(len(now) - 1) // 2]):.4g} here (Kolmogorov-Smirnov distance "
                f"{distance:.2f})",
                (),
                {
                    "feature": name,
                    "distance": distance,
                    "then": middle,
                    "now": float(np.median(now)),
                },
            )


def ks_distance(points: Sequence[Sequence[float]], ordered: Any) -> float:
    """Give the largest difference of two distribution functions at recorded points."""
    below, upto = shares_at(ordered, [x for x, _, _ in points])
    return max(
        max(abs(low - a), abs(high - b))
        for (_, low, high), a, b in zip(points, below, upto, strict=True)
    )


def median(points: Sequence[Sequence[float]]) -> float:
    return next((x for x, _, upto in points if upto >= 0.5), points[-1][0])


def balance(view: View) -> Iterator[Finding]:
    """Compare how often each label is there; name labels that are new, and that are gone."""
    then = view.reference["labels"]
    if then is None or not view.labels:
        return
    now = label_counts(view.labels)
    rows = sum(map(bool, view.labels))
    unseen = sorted(set(now) - set(then["counts"])) if not then["more"] else []
    if unseen:
        chosen = [i for i, row in enumerate(view.labels) if not set(row).isdisjoint(unseen)]
        yield Finding(
            "error",
            "balance",
            f"{plural(len(unseen), 'label')} the record does not know: "
            f"{some(list(map(repr, unseen)))} ({plural(len(chosen), 'row')}); a model trained on "
            "it has no such class",
            view.told(chosen),
            {"labels": unseen},
        )
    known = {name: now.get(name, 0.0) for name in then["counts"]}
    total, before = sum(known.values()), sum(then["counts"].values())
    if not total or not before:
        return
    shares = {name: (then["counts"][name] / before, known[name] / total) for name in known}
    distance = sum(abs(a - b) for a, b in shares.values()) / 2
    level = level_of(distance)
    p = g_test(list(then["counts"].values()), list(known.values()))
    if level and p < RISK / FAMILIES:
        moved = sorted(shares, key=lambda name: -abs(shares[name][1] - shares[name][0]))
        yield Finding(
            level,
            "balance",
            f"labels are shared out otherwise than in the record: {distance:.0%} of rows would "
            f"need another label (G test, p = {p:.1g})",
            (),
            {"distance": distance, "p": p, "rows": rows, "then_now": as_lists(shares)},
            tuple(f"{n!r}: {shares[n][0]:.1%} then, {shares[n][1]:.1%} here" for n in moved[:5]),
        )


def as_lists(shares: Mapping[str, tuple[float, float]]) -> dict[str, list[float]]:
    """Give pairs as JSON has them."""
    return {name: list(pair) for name, pair in shares.items()}


def g_test(then: Sequence[int | float], now: Sequence[int | float]) -> float:
    """Give the chance of counts that differ so much, both drawn from one distribution.

        G = 2 sum_ij o_ij ln(o_ij / e_ij)   is chi-square with k - 1 degrees of freedom

    Source: Sokal and Rohlf, Biometry. Counts expected fewer than RARE times are taken together.
    """
    import torch

    counts = np.array([then, now], dtype=np.float64)
    totals = counts.sum(1, keepdims=True)
    expected = totals * counts.sum(0) / counts.sum()
    rare = expected.min(0) < RARE
    if rare.any():
        counts = np.hstack([counts[:, ~rare], counts[:, rare].sum(1, keepdims=True)])
        expected = totals * counts.sum(0) / counts.sum()
    if counts.shape[1] < 2:
        return 1.0
    seen = counts > 0
    g = 2 * float((counts[seen] * np.log(counts[seen] / expected[seen])).sum())
    half = torch.tensor([(counts.shape[1] - 1) / 2, max(0.0, g) / 2], dtype=torch.float64)
    return float(torch.special.gammaincc(half[0], half[1]))


def words(view: View) -> Iterator[Finding]:
    """Compare in how many texts words are, and their shares of all words."""
    then = view.reference["words"]
    if then is None or not view.texts or not then["list"]:
        return
    texts, tokens = word_counts(view)
    numbers = {word: k for k, word in enumerate(view.words.vocabulary)}
    moved = moved_words(then, texts, view.words.vocabulary, numbers, len(view.texts))
    listed = [numbers.get(word) for word, _, _ in then["list"]]
    now = [int(tokens[k]) if k is not None else 0 for k in listed]
    distance = js_distance([row[2] for row in then["list"]], then["tokens"], now, int(tokens.sum()))
    enough = min(then["tokens"], int(tokens.sum())) >= TOKENS
    far = level_of(distance, APART, FAR) if enough else None
    largest = max((abs(b - a) for a, b in moved.values()), default=0.0)
    levels = {far, level_of(largest)} - {None}
    if levels:
        overlap = sum(k is not None for k in listed) / len(listed)
        yield Finding(
            "error" if "error" in levels else "warning",
            "words",
            f"the words are others than in the record: {plural(len(moved), 'word')} moved, and all "
            f"together stand {distance:.2f} apart (Jensen-Shannon distance); {overlap:.0%} of the "
            "most frequent words then are here at all",
            (),
            {"distance": distance, "overlap": overlap, "then_now": as_lists(moved)},
            tuple(f"{w!r}: in {a:.0%} of texts then, {b:.0%} here" for w, (a, b) in moved.items()),
        )


def moved_words(
    then: Mapping[str, Any],
    texts: Any,
    vocabulary: Sequence[str],
    numbers: Mapping[str, int],
    rows: int,
) -> dict[str, tuple[float, float]]:
    """Give the words whose share of texts moved, then and now, those that moved most first.

    A word that the record does not list was in no more texts than the last one that it lists.
    """
    before = {word: count / then["texts"] for word, count, _ in then["list"]}
    last = min(before.values())
    frequent = np.flatnonzero(texts >= LITTLE * rows)
    fresh = [word for k in frequent if len(word := vocabulary[int(k)]) <= LONGEST]
    pairs = {word: (before.get(word, last), texts[numbers[word]] / rows) for word in fresh}
    for word, share in before.items():
        pairs.setdefault(word, (share, texts[numbers[word]] / rows if word in numbers else 0.0))
    least = max(LITTLE, chance(then["texts"], rows, len(before) + len(vocabulary)))
    moved = {
        word: (float(a), float(b))
        for word, (a, b) in pairs.items()
        if (b - a if word not in before else abs(b - a)) >= least
    }
    return dict(sorted(moved.items(), key=lambda item: (-abs(item[1][1] - item[1][0]), item[0])))


def js_distance(then: Sequence[int], all_then: int, now: Sequence[int], all_now: int) -> float:
    """Give the Jensen-Shannon distance, base 2, of counts of words and the rest of all words.

    Source: Lin 1991; the square root is a metric (Endres and Schindelin 2003).
    """
    if not all_then or not all_now:
        return 0.0
    p = np.array([*then, all_then - sum(then)], dtype=np.float64) / all_then
    q = np.array([*now, all_now - sum(now)], dtype=np.float64) / all_now
    middle = (p + q) / 2
    divergence = 0.0
    for share in (p, q):
        seen = share > 0
        divergence += 0.5 * float((share[seen] * np.log2(share[seen] / middle[seen])).sum())
    by_chance = (len(then)) * (1 / all_then + 1 / all_now) / (8 * math.log(2))
    return math.sqrt(max(0.0, divergence - by_chance))

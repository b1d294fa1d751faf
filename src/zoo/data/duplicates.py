"""Rows that are in the data twice: to the letter, but for case and spaces, or nearly.

Texts are near when their sets of shingles (runs of three words) have a Jaccard index of at least
NEAR and share at least EVIDENCE of them, about 22 words in a row: fewer say too little, so short
texts count only when they are equal. Candidates come from MinHash sketches (Broder 1997) in
BANDS bands of EACH numbers: a pair with Jaccard index s becomes one with a chance of
1 - (1 - s^EACH)^BANDS, which is 0.9999 at 0.8; each candidate is then verified on the sets, so
nothing is reported that is not near. Pictures are compared as `zoo.data.looks` says.

In two splits that is a leak, and an error: what was learnt by heart is taken for understanding.
Texts of fewer than SHORT words come again by themselves, so for them it is a warning.
"""

from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt64

from zoo.data.findings import Finding, plural
from zoo.data.groups import Groups, equal
from zoo.data.kinds import KINDS, TRAIN
from zoo.data.looks import join_near
from zoo.data.view import View, content
from zoo.data.words import cut, resemblance, shingles

NEAR = 0.8
EVIDENCE = 20  # shingles that both have
SHORT = 5  # words
BANDS, EACH = 25, 5
KEPT = 50  # texts of one group that later ones are compared with
CHUNK = 4096  # shingles sketched at once


def exact(view: View) -> Iterator[Finding]:
    """Find rows of equal content, across splits by the kind's key and within one by all of it."""
    kind = KINDS[view.kind]
    keys = content(view, kind.key, folded=True)
    usable = [i for i in range(len(view.ids)) if says_something(view, i)]
    across = [group for group in equal(keys, usable) if spans(view, group)]
    long = [group for group in across if not is_short(view, group[0])]
    short = [group for group in across if is_short(view, group[0])]
    letters = content(view, kind.key, folded=False)
    yield from leak(view, long, "error", "duplicates", f"{equally(letters, long)}")
    yield from leak(view, short, "warning", "duplicates", f"of fewer than {SHORT} words")
    leaked = {i for group in across for i in group}
    own = [name for name, form in kind.columns.items() if not form.startswith("label")]
    rest = [i for i in usable if i not in leaked]
    within = [group for group in equal(content(view, own, folded=True), rest) if len(group) > 1]
    yield from repeated(view, within, "duplicates", "equal")
    if view.labels:
        yield from conflicts(view, equal(keys, usable), "duplicates", "equal")


def near(view: View) -> Iterator[Finding]:
    """Find rows of nearly equal content."""
    found = near_groups(view)
    across = [group for group in found if spans(view, group)]
    yield from leak(view, across, "error", "near duplicates", "nearly equal")
    if view.kind not in ("answers", "pairs"):  # there one content has many rows by nature
        within = [group for group in found if not spans(view, group)]
        yield from repeated(view, within, "near duplicates", "nearly equal")
    if view.labels:
        yield from conflicts(view, found, "near duplicates", "nearly equal")


def near_groups(view: View) -> list[list[int]]:
    """Give the groups of rows whose content is nearly equal, and not only equal."""
    kind = KINDS[view.kind]
    keys = content(view, kind.key, folded=True)
    usable = [i for i in range(len(view.ids)) if says_something(view, i)]
    # one row stands for all that are equal and in its split
    copies = equal(list(zip(keys, view.splits, strict=True)), usable)
    groups = Groups(len(copies))
    firsts = [rows[0] for rows in copies]
    if view.looks:
        seen = [k for k, i in enumerate(firsts) if small_of(view, i) is not None]
        pictures = Groups(len(seen))
        join_near([small_of(view, firsts[k]) for k in seen], pictures)
        for group in pictures.lists():
            for k in group[1:]:
                groups.join(seen[group[0]], seen[k])
    else:
        # the words of a row, or of its context alone where only that must not be shared
        whole = view.kind != "answers"
        words = view.words if whole else cut([" ".join(map(str, key)) for key in keys])
        join_near_texts([shingles(words.texts[i]) for i in firsts], groups)
    found = []
    for group in groups.lists():
        if len({keys[firsts[k]] for k in group}) > 1:  # else they are equal, and told already
            found.append(sorted(i for k in group for i in copies[k]))
    return found


def join_near_texts(sets: Sequence[UInt64[np.ndarray, " _"]], groups: Groups) -> None:
    """Join sets of shingles that are near; a group is known by its first KEPT sets."""
    from datasketch import MinHash, MinHashLSH  # heavy: it loads scipy

    index = MinHashLSH(num_perm=BANDS * EACH, params=(BANDS, EACH))
    empty = MinHash(num_perm=BANDS * EACH, seed=1, hashfunc=int)
    known: Counter[int] = Counter()  # sets in the index, by their group
    for i, one in enumerate(sets):
        if len(one) < EVIDENCE:
            continue
        sketch = empty.copy()
        hashes = one & np.uint64(0xFFFFFFFF)
        for start in range(0, len(hashes), CHUNK):
            sketch.update_batch(hashes[start : start + CHUNK].tolist())
        for j in sorted(index.query(sketch)):
            if not groups.same(i, j) and is_near(one, sets[j]):
                count = known.pop(groups.find(i), 0) + known.pop(groups.find(j), 0)
                groups.join(i, j)
                known[groups.find(i)] = count
        if known[groups.find(i)] < KEPT:
            known[groups.find(i)] += 1
            index.insert(i, sketch, check_duplication=False)


def is_near(one: UInt64[np.ndarray, " n"], other: UInt64[np.ndarray, " m"]) -> bool:
    """Tell whether two sets of shingles are near; sizes too far apart are not counted out."""
    small, large = sorted((len(one), len(other)))
    if small < NEAR * large:
        return False
    index, shared = resemblance(one, other)
    return index >= NEAR and shared >= EVIDENCE


def says_something(view: View, i: int) -> bool:
    """Tell whether a row has content: a word or a sign, a picture of more than one colour."""
    if view.looks:
        look = view.looks[i]
        return look is not None and not look.uniform
    return bool(view.folded[i])


def small_of(view: View, i: int) -> Any:
    look = view.looks[i]
    return None if look is None else look.small


def is_short(view: View, i: int) -> bool:
    return not view.looks and len(view.words.texts[i]) < SHORT


def spans(view: View, group: Sequence[int]) -> bool:
    return len({view.splits[i] for i in group}) > 1


def equally(letters: Sequence[Hashable], groups: Sequence[Sequence[int]]) -> str:
    """Say how equal the rows of groups are."""
    loose = sum(len({letters[i] for i in group}) > 1 for group in groups)
    return f"equal ({loose:,} but for case, spaces or the form of letters)" if loose else "equal"


def leak(
    view: View, groups: list[list[int]], level: str, check: str, how: str
) -> Iterator[Finding]:
    """Report groups that stand in more than one split."""
    if not groups:
        return
    rows = [i for group in groups for i in group]
    touched = Counter(view.splits[i] for i in rows)
    sizes = Counter(view.splits)
    shares = {name: touched[name] / sizes[name] for name in view.held_out if touched[name]}
    told = " and ".join(f"{share:.1%} of {name}" for name, share in shares.items())
    content_ = contents(view)
    yield Finding(
        level,
        check,
        f"{told} is not new: {plural(len(groups), 'group')} of {content_} that are {how} "
        f"{'stands' if len(groups) == 1 else 'stand'} in more than one split "
        f"({plural(len(rows), 'row')}); drop the copies outside {TRAIN}, or put each group into "
        "one split",
        view.told(rows),
        {"shares": shares, "groups": named(view, groups)},
        examples(view, groups),
    )


def repeated(view: View, groups: list[list[int]], check: str, how: str) -> Iterator[Finding]:
    """Report groups within one split; of short texts only that they are there."""
    for short in (False, True):
        chosen = [group for group in groups if is_short(view, group[0]) == short]
        if chosen:
            rows = [i for group in chosen for i in group]
            more = len(rows) - len(chosen)
            yield Finding(
                "note" if short else "warning",
                check,
                f"{plural(more, 'row')} ({more / len(view.ids):.1%}) say what another row of the "
                f"same split says: {plural(len(chosen), 'group')} of {contents(view)} that are "
                f"{how}"
                + (f", of fewer than {SHORT} words" if short else "")
                + "; they count more than others in training",
                view.told(rows),
                {"rows": more, "groups": named(view, chosen)},
                examples(view, chosen),
            )


def conflicts(
    view: View, groups: Sequence[Sequence[int]], check: str, how: str
) -> Iterator[Finding]:
    """Report groups whose rows have different labels."""
    found = [list(group) for group in groups if len({view.labels[i] for i in group}) > 1]
    if found:
        rows = [i for group in found for i in group]
        yield Finding(
            "warning",
            check,
            f"{plural(len(found), 'group')} of {contents(view)} that are {how} have different "
            f"labels ({plural(len(rows), 'row')}): at most one of them is right; correct or drop "
            "them",
            view.told(rows),
            {"groups": named(view, found)},
            examples(view, found, labels=True),
        )


def contents(view: View) -> str:
    return {"answers": "contexts"}.get(view.kind, "pictures" if view.looks else "texts")


def named(view: View, groups: Sequence[Sequence[int]]) -> list[list[str]]:
    return [list(view.told(group)) for group in groups]


def examples(view: View, groups: Sequence[Sequence[int]], labels: bool = False) -> tuple[str, ...]:
    """Show each group by two rows: of two splits, or of two labels, where it has them."""
    return tuple(example(view, group, labels) for group in groups)


def example(view: View, group: Sequence[int], labels: bool) -> str:
    sides = [view.labels[i] if labels else view.splits[i] for i in group]
    other = next((k for k, side in enumerate(sides) if side != sides[0]), 1)
    pair = group[0], group[other]
    told = [
        f"{view.ids[i]} ({' '.join(view.labels[i]) if labels else view.splits[i]})" for i in pair
    ]
    more = f" and {len(group) - 2:,} more" if len(group) > 2 else ""
    text = "" if view.looks else f": {' '.join(view.texts[group[0]].split())[:50]!r}"
    return f"{' = '.join(told)}{more}{text}"

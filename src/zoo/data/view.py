"""Rows as the checks see them: what is read or counted once, and used by many."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import Any

from zoo.data.kinds import KINDS, SPLITS, TRAIN
from zoo.data.looks import Look, look_at
from zoo.data.rows import Rows
from zoo.data.words import Words, cut, fold

BETWEEN = "\n"  # stands between the texts of one row


@dataclass(frozen=True)
class View:
    """Rows, and what was found out about them; made by `view_of`.

    `texts` are all texts of a row in one, `folded` the same folded; both are empty for a kind
    without text. `looks` are the pictures, None where one cannot be read (`unreadable` says why).
    `labels` are each row's: none, one, or a tag for each token.
    """

    rows: Rows
    ids: list[str]
    splits: list[str]
    texts: list[str]
    folded: list[str]
    words: Words
    looks: list[Look | None]
    unreadable: dict[str, str]
    labels: list[tuple[str, ...]]
    reference: Any = None
    entity: str | None = None
    time: str | None = None
    kept: dict[tuple[str, bool], list[Hashable]] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return self.rows.kind

    @property
    def held_out(self) -> list[str]:
        """Name the splits that are there and are not trained on."""
        return [name for name in SPLITS if name != TRAIN and name in set(self.splits)]

    def told(self, numbers: Iterable[int]) -> tuple[str, ...]:
        """Name rows by their ids."""
        return tuple(self.ids[i] for i in numbers)


def view_of(rows: Rows, **given: Any) -> View:
    """Read the pictures of rows and cut their texts into words."""
    frame = rows.frame
    texts = texts_of(rows.kind, frame)
    folded = [fold(text) for text in texts]
    looks, unreadable = looks_of(rows.kind, frame)
    return View(
        rows=rows,
        ids=[str(name) for name in frame["id"]],
        splits=[str(name) for name in frame["split"]],
        texts=texts,
        folded=folded,
        words=cut(folded),
        looks=looks,
        unreadable=unreadable,
        labels=labels_of(rows.kind, frame),
        **given,
    )


def texts_of(kind: str, frame: Any) -> list[str]:
    """Give the texts of each row in one; an answer is left out, as it is a part of the context."""
    names = [name for name in KINDS[kind].of_form("text", "tokens") if name != "answer"]
    columns = [map(plain, frame[name]) for name in names if name in frame.columns]
    return [BETWEEN.join(filter(None, parts)) for parts in zip(*columns, strict=True)]


def plain(value: Any) -> str:
    """Give a cell as text: tokens with a space between, nothing for what is missing."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, float):  # pandas' NaN
        return ""
    return " ".join(map(str, value))


def looks_of(kind: str, frame: Any) -> tuple[list[Look | None], dict[str, str]]:
    """Read the pictures of a frame, each file once."""
    names = KINDS[kind].of_form("image")
    if not names:
        return [], {}
    from zoo.images import ImageError

    known: dict[str, Look | None] = {}
    unreadable = {}
    for path in map(str, frame[names[0]]):
        if path not in known:
            try:
                known[path] = look_at(path)
            except ImageError as error:
                known[path] = None
                unreadable[path] = str(error)
    return [known[str(path)] for path in frame[names[0]]], unreadable


def labels_of(kind: str, frame: Any) -> list[tuple[str, ...]]:
    """Give each row's labels; a missing one is none."""
    names = KINDS[kind].of_form("label", "labels")
    if not names or names[0] not in frame.columns:
        return []
    found = []
    for value in frame[names[0]]:
        one = (value,) if isinstance(value, str) else value
        found.append(() if one is None or isinstance(one, float) else tuple(map(str, one)))
    return found


def content(view: View, names: Iterable[str], folded: bool) -> list[tuple[Hashable, ...]]:
    """Give the content of some columns, row by row: texts as they are or folded, pixels."""
    there = [name for name in names if name in view.rows.frame.columns]
    columns = [column_of(view, name, folded) for name in there]
    return list(zip(*columns, strict=True))


def column_of(view: View, name: str, folded: bool) -> list[Hashable]:
    """Give the content of one column; it is made once."""
    if (name, folded) not in view.kept:
        values = view.rows.frame[name]
        form = KINDS[view.kind].columns[name]
        if form == "image":
            made: list[Hashable] = [look and look.digest for look in view.looks]
        elif form == "number":
            made = [int(value) for value in values]
        else:
            texts = map(plain, values)
            made = [fold(text) for text in texts] if folded else list(texts)
        view.kept[name, folded] = made
    return view.kept[name, folded]

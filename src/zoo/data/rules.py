"""What must be true of the cells of each kind, and the sentence for a value of which it is not.

A rule is a question about a whole column, or about whole rows.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from zoo.data.errors import counted, listed, nearest, shown
from zoo.data.kinds import SPLIT_NAMES

TYPES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
    bytes: "bytes",
}


@dataclass(frozen=True)
class Rule:
    """Something that must be true of each value; of each row where `column` is None."""

    name: str
    good: Callable[[Any], "pd.Series[bool]"]
    say: Callable[[Any], str]
    column: str | None = None


def each(values: pd.Series, good: Callable[[Any], bool]) -> "pd.Series[bool]":
    return pd.Series([good(value) for value in values], index=values.index, dtype=bool)


def is_missing(value: Any) -> bool:
    if isinstance(value, float | np.floating):
        return math.isnan(value)
    return value is None or value is pd.NA or value is pd.NaT


def called(value: Any) -> str:
    """Name a value's type as people do."""
    value = value.item() if isinstance(value, np.generic) else value
    name = next((name for kind, name in TYPES.items() if type(value) is kind), None)
    return f"{shown(value)}, {name or type(value).__name__}"


def filled(values: pd.Series) -> "pd.Series[bool]":
    if values.dtype == object:
        return each(values, lambda value: isinstance(value, list | dict) or not is_missing(value))
    return values.notna()


def texts(values: pd.Series) -> "pd.Series[bool]":
    """Tell what is text; what is missing is another rule's."""
    if values.dtype == "str" and values.dtype != object:
        return pd.Series(True, index=values.index)
    return each(
        values,
        lambda value: (
            isinstance(value, str) or (not isinstance(value, list | dict) and is_missing(value))
        ),
    )


def strings(values: pd.Series) -> pd.Series:
    """Give the texts of a column alone: other rules speak of the rest."""
    return values[texts(values) & filled(values)].astype("str")


def over(values: pd.Series, test: Callable[[pd.Series], Any]) -> "pd.Series[bool]":
    """Ask of the texts alone; the rest is good."""
    good = pd.Series(True, index=values.index)
    chosen = strings(values)
    if len(chosen):
        good[chosen.index] = test(chosen).to_numpy(dtype=bool)
    return good


def short(values: pd.Series, longest: int) -> "pd.Series[bool]":
    if values.str.len().max() * 4 <= longest:  # a character has four bytes at most
        return pd.Series(True, index=values.index)
    return each(values, lambda value: len(value.encode()) <= longest)


def missing_rule(name: str) -> Rule:
    return Rule(
        f"{name} is there",
        filled,
        lambda _: f"{name} is missing; fill it in, or leave the row out",
        name,
    )


def text_rules(name: str, longest: int | None) -> list[Rule]:
    """Rules for a column of texts."""
    rules = [
        missing_rule(name),
        Rule(
            f"{name} is text",
            texts,
            lambda value: f"{name} is {called(value)}; expected text, in quotes",
            name,
        ),
        Rule(
            f"{name} says something",
            partial(over, test=lambda v: v.str.strip() != ""),
            lambda value: f"{name} is {shown(value)}, empty; fill it in, or leave the row out",
            name,
        ),
        Rule(
            f"{name} has no NUL",
            partial(over, test=lambda v: ~v.str.contains("\0", regex=False)),
            lambda value: (
                f"{name} has a NUL byte at character {value.index(chr(0))}; "
                "take it out, or save the file as UTF-8"
            ),
            name,
        ),
    ]
    if longest is not None:
        rules.append(
            Rule(
                f"{name} is short",
                partial(over, test=partial(short, longest=longest)),
                lambda value: (
                    f"{name} has {len(value.encode()):,} bytes, more than {longest:,}; "
                    "break it up, or raise `longest`"
                ),
                name,
            )
        )
    return rules


def known_rule(name: str, labels: Sequence[str]) -> Rule:
    """Only classes that were seen at training."""

    def say(value: Any) -> str:
        strange = value if isinstance(value, str) else next(v for v in value if v not in known)
        close = nearest(strange, labels)
        meant = f" (did you mean {shown(close)}?)" if close else ""
        return (
            f"{name} has {shown(strange)}, a class that is not known{meant}; known are {shown_all}"
        )

    known = {*labels}
    shown_all = listed(labels)
    return Rule(
        f"{name} is known",
        lambda values: each(
            values,
            lambda v: v in known if isinstance(v, str) else not is_texts(v) or known.issuperset(v),
        ),
        say,
        name,
    )


def is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(part, str) for part in value)


def list_rules(name: str) -> list[Rule]:
    """Rules for a column of lists of texts."""
    example = '["The", "cat"]'
    return [
        missing_rule(name),
        Rule(
            f"{name} is a list",
            partial(
                each, good=lambda value: is_texts(value) or filled(pd.Series([value])).eq(False)[0]
            ),
            lambda value: f"{name} is {called(value)}; expected a list of texts, as {example}",
            name,
        ),
        Rule(
            f"{name} says something",
            partial(
                each, good=lambda v: not is_texts(v) or (bool(v) and all(p.strip() for p in v))
            ),
            lambda value: f"{name} is {shown(value)}, with nothing in it; leave it out",
            name,
        ),
        Rule(
            f"{name} has no NUL",
            partial(each, good=lambda v: not is_texts(v) or not any("\0" in p for p in v)),
            lambda value: f"{name} is {shown(value)}, with a NUL byte; take it out",
            name,
        ),
    ]


def number_rules(name: str) -> list[Rule]:
    """Rules for a column of whole numbers from 0."""
    return [
        missing_rule(name),
        Rule(
            f"{name} is a number",
            lambda values: each(values, lambda v: type(v) is int) | ~filled(values),
            lambda value: f"{name} is {called(value)}; expected a whole number",
            name,
        ),
        Rule(
            f"{name} is in range",
            partial(each, good=lambda value: type(value) is not int or value >= 0),
            lambda value: f"{name} is {value}; expected 0 or more: characters are counted from 0",
            name,
        ),
    ]


def one_of_rule(name: str, values: Sequence[str]) -> Rule:
    return Rule(
        f"{name} is known",
        lambda column: column.isin(list(values)) | ~filled(column),
        lambda value: f"{name} is {shown(value)}; expected one of {', '.join(SPLIT_NAMES)}",
        name,
    )


def unique_rule(name: str) -> Rule:
    return Rule(
        f"{name} is unique",
        lambda values: ~values.duplicated(),
        lambda value: f"{name} {shown(value)} stands in an earlier row, too; give each its own",
        name,
    )


def tags_fit(row: Any) -> bool:
    return not (is_texts(row.tokens) and is_texts(row.tags)) or len(row.tokens) == len(row.tags)


def say_tags(row: Any) -> str:
    return (
        f"{counted(len(row.tokens), 'token')} and {counted(len(row.tags), 'tag')}; "
        "give each token one tag"
    )


def span_fits(row: Any) -> bool:
    whole = isinstance(row.context, str) and isinstance(row.answer, str) and type(row.start) is int
    if not whole or row.start < 0 or not row.answer:
        return True  # another rule speaks of it
    return row.context.startswith(row.answer, row.start) and row.start < len(row.context)


def say_span(row: Any) -> str:
    size = len(row.context)
    if row.start >= size:
        what = f"start is {row.start}, the context has {counted(size, 'character')}"
    else:
        there = row.context[row.start : row.start + len(row.answer)]
        what = f"at start {row.start} stands {shown(there)}, the answer is {shown(row.answer)}"
    found = row.context.find(row.answer)
    if found < 0:
        return f"{what}; it is not in the context: copy it from there"
    return f"{what}; it is found at {found}: characters are counted, from 0"


WHOLE_ROWS = {
    "tagged_text": (Rule("tags fit tokens", lambda f: by_row(f, tags_fit), say_tags),),
    "answers": (Rule("answer is in context", lambda f: by_row(f, span_fits), say_span),),
}


def by_row(frame: pd.DataFrame, good: Callable[[Any], bool]) -> "pd.Series[bool]":
    return pd.Series(
        [good(row) for row in frame.itertuples(index=False)], index=frame.index, dtype=bool
    )

"""Columns of a table put into the form that their kind asks for, where that loses nothing.

Text in a csv becomes a number or a list; a class that is a number becomes text. What cannot be put
so stays as it is, and the schema says so.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from zoo.data.errors import DataError, listed, nearest
from zoo.data.kinds import KINDS
from zoo.data.rules import filled, is_texts
from zoo.data.tables import Table

WHOLE = re.compile(r"-?\d{1,18}", re.ASCII)


def fit_columns(table: Table, kind: str) -> None:
    """Convert a table's columns in place; raise DataError for one that is not there."""
    frame = table.frame
    check_columns(list(frame.columns), kind, table.source.where)
    forms = {"id": "label", **KINDS[kind].columns}
    for name in list(frame.columns):
        form = forms.get(name)
        if form and isinstance(frame[name].dtype, pd.CategoricalDtype):
            frame[name] = frame[name].astype(frame[name].cat.categories.dtype)
        if form == "label":
            frame[name] = as_labels(frame[name])
        elif form == "number":
            frame[name] = pd.Series(list(map(as_number, frame[name])), dtype=object)
        elif form in ("tokens", "labels"):
            frame[name] = pd.Series(list(map(as_list, frame[name])), dtype=object)
        if name in KINDS[kind].optional and not filled(frame[name]).any():
            del frame[name]


def check_columns(has: Sequence[str], kind: str, where: str) -> None:
    """Raise DataError for a column that a kind needs and that is not there."""
    for name in KINDS[kind].required():
        if name in has:
            continue
        close = nearest(name, has) or "THEIRS"
        apart = [mark for mark in ";\t|," if len(has) == 1 and mark in str(has[0])]
        fix = (
            f"cells are kept apart by {apart[0]!r}: save it with commas, as .csv"
            if apart
            else f'rename one, or say columns={{"{name}": "{close}"}}'
        )
        raise DataError(
            f"{where}: there is no column {name!r}, which {kind} needs; it has {listed(has)}: {fix}"
        )


def as_labels(values: pd.Series) -> pd.Series:
    """Write whole numbers and truth as text, as JSON does."""
    if types.is_bool_dtype(values.dtype) or types.is_integer_dtype(values.dtype):
        return values.astype("str").str.lower()
    if values.dtype == object:
        return pd.Series(list(map(as_label, values)), index=values.index)
    return values


def as_label(value: Any) -> Any:
    if isinstance(value, bool | np.bool_):
        return str(value).lower()
    return str(value) if isinstance(value, int | np.integer) else value


def as_number(value: Any) -> Any:
    if isinstance(value, str) and WHOLE.fullmatch(value):
        return int(value)
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return int(value)
    return value


def as_list(value: Any) -> Any:
    if isinstance(value, np.ndarray | tuple):
        return [as_list(part) if isinstance(part, np.ndarray) else part for part in value]
    if isinstance(value, str) and value.startswith("["):
        try:
            made = json.loads(value)
        except (ValueError, RecursionError):
            return value
        return made if is_texts(made) else value
    return value

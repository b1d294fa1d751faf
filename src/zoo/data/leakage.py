"""Splits that know of each other: one entity in two of them, a past that has seen the future."""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from typing import Any

import pandas as pd

from zoo.data.errors import DataError, listed, nearest
from zoo.data.findings import Finding, plural
from zoo.data.kinds import TRAIN
from zoo.data.view import View


def entities(view: View) -> Iterator[Finding]:
    """Find entities that stand in more than one split; rows without one are left alone."""
    values = column(view, view.entity)
    rows = defaultdict(list)
    for i, value in enumerate(values):
        if not is_missing(value):
            rows[str(value).strip()].append(i)
    shared = {name: of for name, of in rows.items() if len({view.splits[i] for i in of}) > 1}
    without = sum(map(is_missing, values))
    if without:
        yield Finding(
            "note",
            "entities",
            f"{plural(without, 'row')} without a {view.entity!r} cannot be placed",
            view.told(i for i, value in enumerate(values) if is_missing(value)),
            {"rows": without},
        )
    if shared:
        touched = sorted(i for of in shared.values() for i in of)
        yield Finding(
            "error",
            "entities",
            f"{len(shared):,} of {len(rows):,} values of {view.entity!r} stand in more than one "
            f"split ({plural(len(touched), 'row')}): what {TRAIN} tells of one is known before it "
            "is tested; put all rows of a value into one split",
            view.told(touched),
            {"entities": len(shared), "of": len(rows), "names": sorted(shared)},
            tuple(
                f"{name!r}: {', '.join(f'{s} {n:,}' for s, n in counts(view, of).items())}"
                for name, of in sorted(shared.items())
            ),
        )


def counts(view: View, rows: Sequence[int]) -> dict[str, int]:
    found: dict[str, int] = {}
    for i in rows:
        found[view.splits[i]] = found.get(view.splits[i], 0) + 1
    return found


def times(view: View) -> Iterator[Finding]:
    """Find rows of train that are later than the first row of valid or test."""
    values = column(view, view.time)
    known = [i for i, value in enumerate(values) if not is_missing(value)]
    moments = dict(zip(known, moments_of([values[i] for i in known], view), strict=True))
    if len(known) < len(values):
        without = [i for i in range(len(values)) if i not in moments]
        yield Finding(
            "note",
            "times",
            f"{plural(len(without), 'row')} without a {view.time!r} cannot be placed",
            view.told(without),
            {"rows": len(without)},
        )
    trained = [i for i in known if view.splits[i] == TRAIN]
    for split in view.held_out:
        held = [i for i in known if view.splits[i] == split]
        if not held or not trained:
            continue
        first = min(held, key=moments.__getitem__)
        later = [i for i in trained if moments[i] > moments[first]]
        if later:
            last = max(later, key=moments.__getitem__)
            yield Finding(
                "error",
                "times",
                f"{plural(len(later), 'row')} of {TRAIN} ({len(later) / len(trained):.1%}) are "
                f"later than the first of {split}, which is of {values[first]}; the last is of "
                f"{values[last]}: split at one moment",
                view.told(later),
                {"split": split, "rows": len(later), "share": len(later) / len(trained)},
            )


def column(view: View, name: str | None) -> list[Any]:
    return list(view.rows.frame[name])


def require_column(frame: Any, name: str) -> None:
    """Raise DataError, with the nearest name, for a column that is not there."""
    columns = list(map(str, frame.columns))
    if name not in columns:
        near = nearest(name, columns)
        meant = f"; did you mean {near!r}?" if near else f"; there are {listed(columns)}"
        raise DataError(f"no column {name!r}{meant}")


def is_missing(value: Any) -> bool:
    """Tell whether a cell holds nothing; a list always holds something."""
    if isinstance(value, str):
        return not value.strip()
    return not hasattr(value, "__len__") and bool(pd.isna(value))


def moments_of(values: Sequence[Any], view: View) -> list[float]:
    """Give numbers, or ISO dates as seconds; a date without a zone is taken for UTC.

    Raises DataError for what is neither, and for a column that holds both.
    """
    as_numbers = [number(value) for value in values]
    if all(found is not None for found in as_numbers):
        return [found for found in as_numbers if found is not None]
    as_dates = [seconds(value) for value in values]
    if all(found is not None for found in as_dates):
        return [found for found in as_dates if found is not None]
    wrong = as_dates if any(found is not None for found in as_dates) else as_numbers
    bad = next(value for value, found in zip(values, wrong, strict=True) if found is None)
    raise DataError(
        f"column {view.time!r} holds {bad!r}: times are all numbers, or all ISO dates such as "
        "2024-03-31 or 2024-03-31T23:59:00Z"
    )


def number(value: Any) -> float | None:
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found) and not isinstance(value, bool) else None


def seconds(value: Any) -> float | None:
    """Give a date in seconds since 1970."""
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()

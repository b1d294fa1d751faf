"""The record that data are compared with: read from a file, or a run, and checked."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.data.errors import DataError, shown
from zoo.data.statistics import FORMAT

AGAIN = "record it again with `zoo data check ... --record FILE`"


def read_reference(path: str | Path) -> dict[str, Any]:
    """Read a record of statistics: its own file, a run's run.json, or a run's folder.

    Raises DataError for what is none, and OSError for what cannot be read.
    """
    path = Path(path)
    file = path / "run.json" if path.is_dir() else path
    try:
        found = json.loads(file.read_bytes())
    except ValueError as error:  # JSON's errors, and bytes that are no UTF-8
        raise DataError(f"{file} is not JSON ({error}); {AGAIN}") from None
    if isinstance(found, dict) and str(found.get("format", "")).startswith("zoo run"):
        data = found.get("data")
        found = data.get("reference") if isinstance(data, dict) else None
        if not isinstance(found, dict):
            raise DataError(f"{file} is a run that recorded no statistics; {AGAIN}")
    check_reference(found, str(file))
    return dict(found)


def check_reference(reference: Any, where: str = "the reference") -> None:
    """Raise DataError, naming what is wrong, unless this is what `statistics` gives."""
    if not isinstance(reference, Mapping) or reference.get("format") != FORMAT:
        said = reference.get("format") if isinstance(reference, Mapping) else reference
        raise DataError(f"{where} is no record of statistics: its format is {shown(said)}; {AGAIN}")
    for key, good in PARTS.items():
        if not good(reference.get(key)):
            raise DataError(f"{where} is damaged at {key!r}: {shown(reference.get(key))}; {AGAIN}")


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_words(value: Any) -> bool:
    return value is None or (
        isinstance(value, Mapping)
        and is_number(value.get("texts"))
        and is_number(value.get("tokens"))
        and isinstance(value.get("list"), list)
        and all(
            isinstance(row, list)
            and len(row) == 3
            and isinstance(row[0], str)
            and all(map(is_number, row[1:]))
            for row in value["list"]
        )
    )


def is_labels(value: Any) -> bool:
    return value is None or (
        isinstance(value, Mapping)
        and is_number(value.get("rows"))
        and is_number(value.get("more"))
        and isinstance(value.get("counts"), Mapping)
        and all(map(is_number, value["counts"].values()))
    )


def is_features(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(about, Mapping)
        and is_number(about.get("count"))
        and isinstance(about.get("points"), list)
        and all(
            isinstance(row, list) and len(row) == 3 and all(map(is_number, row))
            for row in about["points"]
        )
        for about in value.values()
    )


def is_columns(value: Any) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(about, Mapping)
        and isinstance(about.get("type"), str)
        and is_number(about.get("missing"))
        for about in value.values()
    )


PARTS = {
    "kind": lambda value: isinstance(value, str),
    "rows": is_number,
    "columns": is_columns,
    "labels": is_labels,
    "features": is_features,
    "words": is_words,
}

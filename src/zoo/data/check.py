"""What is in data beyond its schema: leaks, doubles, drift, labels gone, columns that changed.

A check is a row of CHECKS: the question it answers, what it needs, and a function from a View of
the rows to findings. `error` means that a run on these rows would mislead or fail; `warning`, that
somebody should look; `note`, that it is worth knowing.

What the checks do not see: a text that is a part of another one, a crop or a mirror image of a
picture, a translation, and whether a label is right.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from zoo.data import drift, duplicates, evolution, labels, leakage, texts
from zoo.data.errors import DataError
from zoo.data.findings import Finding, Report, plural
from zoo.data.kinds import SPLITS
from zoo.data.leakage import require_column
from zoo.data.reference import check_reference, read_reference
from zoo.data.rows import Rows
from zoo.data.statistics import statistics
from zoo.data.view import View, view_of

__all__ = [
    "CHECKS",
    "Check",
    "Finding",
    "Report",
    "inspect",
    "read_reference",
    "statistics",
]


@dataclass(frozen=True)
class Check:
    """One check: what it asks, how it looks, and which of reference, entity and time it needs."""

    asks: str
    find: Callable[[View], Iterable[Finding]]
    needs: str | None = None


def pictures(view: View) -> Iterator[Finding]:
    """Find pictures that cannot be read, and those of one colour."""
    if view.unreadable:
        lost = [i for i, look in enumerate(view.looks) if look is None]
        yield Finding(
            "error",
            "pictures",
            f"{plural(len(lost), 'row')} with a picture that cannot be read",
            view.told(lost),
            {"rows": len(lost), "why": view.unreadable},
            tuple(view.unreadable.values()),
        )
    flat = [i for i, look in enumerate(view.looks) if look is not None and look.uniform]
    if flat:
        yield Finding(
            "warning",
            "pictures",
            f"{plural(len(flat), 'row')} ({len(flat) / len(view.ids):.1%}) with a picture of one "
            "colour: there is nothing to see",
            view.told(flat),
            {"rows": len(flat)},
            view.told(flat),
        )


CHECKS: dict[str, Check] = {
    "pictures": Check("Can each picture be read, and is there something in it?", pictures),
    "lengths": Check("Is a text empty, or far too long?", texts.lengths),
    "encodings": Check("Was a text read in the wrong encoding?", texts.encodings),
    "duplicates": Check("Are rows equal, across splits or within one?", duplicates.exact),
    "near duplicates": Check("Are rows nearly equal?", duplicates.near),
    "labels": Check("Is a label written in two ways, or missing?", labels.spellings),
    "splits": Check("Does every split show every label?", labels.coverage),
    "constants": Check("Does a column hold one value only?", evolution.constants),
    "entities": Check("Does an entity stand in two splits?", leakage.entities, "entity"),
    "times": Check("Is a row of train later than valid or test?", leakage.times, "time"),
    "schema": Check("Did columns come, go or change?", evolution.schema, "reference"),
    "gaps": Check("Are more cells missing than in the record?", evolution.gaps, "reference"),
    "balance": Check("Did labels change their shares?", drift.balance, "reference"),
    "features": Check("Did lengths, sizes or colours move?", drift.features, "reference"),
    "words": Check("Are the words others?", drift.words, "reference"),
}


def inspect(
    rows: Rows,
    *,
    reference: Mapping[str, Any] | None = None,
    entity: str | None = None,
    time: str | None = None,
) -> Report:
    """Look at rows with every check; `reference` is what `statistics` gave for other rows.

    `entity` names a column whose values (a patient, an author) may not stand in two splits; `time`
    one of numbers or ISO dates, in which no row of train may be later than the first row of valid
    or test. Raises DataError for columns that are not there, and for a reference that is none or of
    another kind.
    """
    return report_of(seen(rows, reference=reference, entity=entity, time=time))


def seen(
    rows: Rows,
    *,
    reference: Mapping[str, Any] | None = None,
    entity: str | None = None,
    time: str | None = None,
) -> View:
    """Make a View for `report_of` and `statistics_of`: pictures are read, and words cut, once."""
    if reference is not None:
        check_reference(reference)
        if reference["kind"] != rows.kind:
            raise DataError(
                f"the reference is of kind {reference['kind']!r} and these rows of {rows.kind!r}: "
                "compare rows with a record of their own kind"
            )
    for name in (entity, time):
        if name is not None:
            require_column(rows.frame, name)
    return view_of(rows, reference=reference, entity=entity, time=time)


def report_of(view: View) -> Report:
    """Run every check that has what it needs."""
    ran = [
        name
        for name, one in CHECKS.items()
        if one.needs is None or getattr(view, one.needs) is not None
    ]
    findings = [found for name in ran for found in CHECKS[name].find(view)]
    counts = Counter(view.splits)
    facts = {
        "kind": view.kind,
        "rows": len(view.ids),
        "splits": {name: counts[name] for name in SPLITS if counts[name]},
        "version": view.rows.version,
    }
    return Report(facts, tuple(findings), tuple(ran))

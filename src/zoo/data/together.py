"""Copies that two splits share are learnt from: what is kept back to judge by is new."""

from zoo.data.duplicates import near_groups, says_something
from zoo.data.groups import Groups, equal
from zoo.data.kinds import KINDS, TRAIN
from zoo.data.rows import Rows
from zoo.data.version import version_of
from zoo.data.view import content, view_of


def together(rows: Rows) -> Rows:
    """Give the rows with all that are equal, or nearly so, in one split: in train, if any is there.

    Of copies in valid and test, test has them all. Nothing else moves; without copies the rows are
    as they were. What is near is told in `zoo.data.duplicates`.
    """
    view = view_of(rows)
    groups = Groups(len(rows))
    keys = content(view, KINDS[rows.kind].key, folded=True)
    usable = [i for i in range(len(rows)) if says_something(view, i)]
    for group in (*equal(keys, usable), *near_groups(view)):
        for i in group[1:]:
            groups.join(group[0], i)
    splits = list(view.splits)
    for group in groups.lists():
        held = {splits[i] for i in group}
        for i in group:
            splits[i] = TRAIN if TRAIN in held else max(held, key=("valid", "test").index)
    if splits == view.splits:
        return rows
    frame = rows.frame.assign(split=splits)
    version = version_of(rows.kind, list(rows.digests), splits)
    return Rows(rows.kind, frame, rows.labels, version, rows.digests)

"""What must be true between golden rows: ids, doubles, variants, groups that are ranked."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from zoo.data.errors import counted, shown
from zoo.evaluate.rows import LEAST_GROUP, TASKS

Line = Mapping[str, Any]


def together(lines: Sequence[Line]) -> Iterable[tuple[int, str]]:
    """Give the number of each row that does not fit the others, and why."""
    first: dict[str, int] = {}
    same: dict[str, str] = {}
    for number, line in enumerate(lines):
        if line["id"] in first:
            yield number, f"id stands in line {first[line['id']] + 1}, too; give each row its own"
        first.setdefault(line["id"], number)
        content = json.dumps({n: line.get(n) for n in ("task", *TASKS[line["task"]])})
        if content in same:
            yield number, f"asks the same as {same[content]}; leave one of them out"
        same.setdefault(content, line["id"])
    for number, line in enumerate(lines):
        if line.get("of") is not None:
            complaint = unfit(line, lines[first[line["of"]]] if line["of"] in first else None)
            if complaint:
                yield number, complaint
    yield from small_groups(lines)


def unfit(line: Line, base: Line | None) -> str | None:
    """Say why a row is no variant of the row that it names."""
    name = line["of"]
    if base is None:
        return f"of is {shown(name)}, and no row has this id"
    if base.get("of") is not None:
        return f"of is {name}, itself a variant; name {base['of']}, or another row that is none"
    if base["task"] != line["task"]:
        return f"of is {name}, a row of task {base['task']}; a variant has the task of its row"
    pinned = "label" if line["task"] == "label" else "answer"
    if None not in (line.get(pinned), base.get(pinned)) and line[pinned] != base[pinned]:
        return (
            f"{pinned} is {shown(line[pinned])}, that of {name} is {shown(base[pinned])}: "
            "a variant is compared by the same one; copy it"
        )
    return None


def small_groups(lines: Sequence[Line]) -> Iterable[tuple[int, str]]:
    """A rank says something only among enough others, and only where captions differ."""
    groups: dict[str, list[int]] = {}
    for number, line in enumerate(lines):
        if line["task"] == "retrieve":
            groups.setdefault(line["group"], []).append(number)
    for name, members in groups.items():
        if len(members) < LEAST_GROUP:
            size = counted(len(members), "row")
            yield members[0], f"group {name} has {size}; ranks need {LEAST_GROUP} or more"
        seen: dict[str, str] = {}
        for number in members:
            caption = lines[number]["caption"]
            if caption in seen:
                yield number, f"caption {shown(caption)} is that of {seen[caption]}, too"
            seen.setdefault(caption, lines[number]["id"])

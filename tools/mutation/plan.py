"""Shards: which functions a machine takes, so that each is done in its time, and on which night.

The parts follow from the functions' names and their measured cost (tests/mutation/costs.json)
alone, so that any machine that knows `--shard 2/5` takes the same functions. When all rooms are
more than a night's worth, nights rotate: night = day number mod N, and N nights cover all.
"""

import ast
import datetime
import json
import math
from dataclasses import dataclass
from pathlib import Path

from tools.mutation.escapes import functions, module_name
from tools.mutation.rooms import Room

COSTS = Path("tests/mutation/costs.json")
MINUTES = 45.0  # of the hour that a shard may take; the rest is for a slower machine
CORES = 2
FIXED, EACH = 60.0, 0.2  # CPU seconds where nothing has been measured


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a room's run takes, in CPU seconds."""

    fixed: float  # importing, collecting, running each test once
    each: float  # a mutant, on average
    files: dict[str, float]  # a mutant of this file, where that is known

    def of(self, file: str) -> float:
        return self.files.get(file, self.each)


def read_costs(file: Path = COSTS) -> dict[str, Cost]:
    """Read what rooms have taken."""
    rows = json.loads(file.read_text()) if file.exists() else {}
    return {name: Cost(**row) for name, row in rows.items()}


UNKNOWN = Cost(fixed=FIXED, each=EACH, files={})


def count(node: ast.AST) -> int:
    """Estimate the mutants of a function from its syntax tree."""
    found = 0
    for n in ast.walk(node):
        match n:
            case ast.Call(args=args, keywords=words):
                given = len(args) + len(words)
                found += given + (given if given > 1 else 0)
            case ast.Constant(value=bool() | int() | float()):
                found += 1
            case ast.Constant(value=str(text)) if "\n" not in text:
                found += 2
            case ast.AugAssign() | ast.IfExp():
                found += 2
            case ast.Assign() | ast.AnnAssign() | ast.Lambda() | ast.BinOp() | ast.Compare():
                found += 1
            case ast.BoolOp(values=values):
                found += len(values) - 1
            case ast.UnaryOp(op=ast.Not()) | ast.Break() | ast.Continue():
                found += 1
    return found


def weights(room: Room, cost: Cost) -> dict[str, float]:
    """Give the CPU seconds that each function of a room is thought to take."""
    found: dict[str, float] = {}
    for file in room.files:
        tree = ast.parse(Path(file).read_text())
        for name, function, where in functions(tree, module_name(file)):
            if where == "own":
                found[name] = found.get(name, 0.0) + count(function) * cost.of(file)
    return found


def parts(weighed: dict[str, float], number: int) -> list[set[str]]:
    """Split functions into `number` parts of like cost: the dearest first, to the lightest part."""
    loads, chosen = [0.0] * number, [set() for _ in range(number)]
    for name in sorted(weighed, key=lambda name: (-weighed[name], name)):
        i = min(range(number), key=lambda i: (loads[i], i))
        loads[i] += weighed[name]
        chosen[i].add(name)
    return chosen


def shards(room: Room, cost: Cost, minutes: float = MINUTES) -> int:
    """Give the number of parts so that each fits in `minutes` on two cores."""
    room_for = minutes * 60 * CORES - cost.fixed
    if room_for <= 0:
        raise ValueError(f"room {room.name}: {cost.fixed:.0f} s before its first mutant")
    return max(1, math.ceil(sum(weights(room, cost).values()) / room_for))


def part_of(room: Room, shard: str, cost: Cost) -> set[str]:
    """Give the functions of part `2/5` of a room."""
    i, _, n = shard.partition("/")
    if not (i.isdigit() and n.isdigit() and 1 <= int(i) <= int(n)):
        raise ValueError(f"shard {shard!r}: give a number of how many, such as 2/5")
    return parts(weights(room, cost), int(n))[int(i) - 1]


def all_shards(rooms: dict[str, Room], costs: dict[str, Cost], minutes: float) -> list[dict]:
    """Give every shard of every room, with the minutes that it is thought to take."""
    found = []
    for name, room in rooms.items():
        cost = costs.get(name, UNKNOWN)
        number, weighed = shards(room, cost, minutes), weights(room, cost)
        for i, part in enumerate(parts(weighed, number)):
            seconds = cost.fixed + sum(weighed[function] for function in part)
            taken = round(seconds / CORES / 60, 1)
            found.append({"room": name, "shard": f"{i + 1}/{number}", "minutes": taken})
    return found


def tonight(every: list[dict], most: int, day: int | None) -> tuple[list[dict], int, int]:
    """Give the shards of one night, the night's number, and how many nights cover all."""
    nights = max(1, math.ceil(len(every) / most))
    night = (datetime.date.today().toordinal() if day is None else day) % nights
    return every[night::nights], night, nights

"""Time several ways to do the same work: in turns, so that a busy machine slows all of them alike.

A round times every way once. The order turns from round to round and is reversed in every other
one, so no way always follows the same neighbour or comes first.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Took:
    """Seconds of the processor, over all threads of the process, and of the clock on the wall."""

    cpu: float
    wall: float


def took(call: Callable[[], Any], times: int = 1) -> Took:
    """Time one call, as the mean of `times` in a row.

    A call that measures itself, as one of another process does, returns what it Took.
    """
    began = time.process_time(), time.perf_counter()
    found = [call() for _ in range(times)]
    cpu, wall = time.process_time() - began[0], time.perf_counter() - began[1]
    own = [one for one in found if isinstance(one, Took)]
    if own:
        cpu, wall = sum(one.cpu for one in own), sum(one.wall for one in own)
    return Took(cpu / times, wall / times)


def order(names: Sequence[str], number: int) -> list[str]:
    """Give the order of a round: turned by its number, and every other one reversed."""
    start = (number // 2) % len(names) if names else 0
    turned = [*names[start:], *names[:start]]
    return turned[::-1] if number % 2 else turned


def times_for(once: Took, least: float) -> int:
    """Tell how often to call so that a sample takes at least `least` seconds."""
    return max(1, min(10_000, round(least / max(once.wall, 1e-7))))


def in_turns(
    calls: Mapping[str, Callable[[], Any]],
    rounds: int,
    *,
    least: float = 0.0,
    each_round: Callable[[], Any] = lambda: None,
    warm: Mapping[str, Took] | None = None,
) -> dict[str, list[Took]]:
    """Time every call in each round; `each_round` runs in between.

    Each is called once before that, but for those in `warm`, which ran already and took so long.
    """
    times = {}
    for name, call in calls.items():
        once = (warm or {}).get(name) or took(call)
        times[name] = 1 if once.wall >= least else times_for(took(call), least)
    result: dict[str, list[Took]] = {name: [] for name in calls}
    for number in range(rounds):
        for name in order([*calls], number):
            result[name].append(took(calls[name], times[name]))
        each_round()
    return result

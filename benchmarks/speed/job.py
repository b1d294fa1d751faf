"""What an item is made of while it is measured: one way to do the work, and all of them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from benchmarks.speed.work import Work
from torch import Tensor

Answer = dict[str, Tensor]


class Absent(Exception):
    """This way to do the work does not exist here; the message says what would bring it."""


@dataclass
class Side:
    """One implementation, ready to run.

    `answer` gives the numbers that all sides must agree on, from weights that no step has changed;
    `modules` are those whose gradients a measurement of memory starts without. `arithmetic` says
    which limit holds; None where none is known. A side that is `opaque` has its memory counted by
    nobody: it computes outside of torch, or is compiled (which would run uncompiled while counted);
    for one that is `warm`, the answer is a call and more.
    """

    call: Callable[[], Any]
    answer: Callable[[], Answer] | None = None
    modules: tuple[torch.nn.Module, ...] = ()
    arithmetic: str | None = "float32"
    opaque: bool = False
    warm: bool = False


@dataclass
class Job:
    """The work of one item, and how to build each side of it; building is left to who measures."""

    sides: dict[str, Callable[[], Side]]
    work: Work = ()
    count: float = 1.0  # units of a call
    unit: str = "calls"
    bound: Callable[[str], float | None] = lambda arithmetic: None  # see `bound_of`


def need(module: str, package: str | None = None) -> Any:
    """Import a peer; raise Absent that says how to install it."""
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        if error.name != module.split(".")[0]:
            raise
        raise Absent(f"not installed: pip install {package or module}") from None


def bound_of(inner: int, depth: int, arithmetic: str) -> float | None:
    """Bound what rounding does to the answer of `depth` blocks, relative to its largest number.

    A dot product of length `inner` in float32 rounds like a random walk, eps sqrt(inner), and so
    do the two sublayers of each block on the stream, sqrt(2 depth); where numbers or weights are
    stored in less, about ten roundings a block count. Four of these are allowed. None: int8 rounds
    by far more than such steps, and its error is measured and told instead.
    """
    if arithmetic == "int8":
        return None
    walk = torch.finfo(torch.float32).eps * (inner * (2 * depth + 1)) ** 0.5
    low = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(arithmetic)
    stored = torch.finfo(low).eps * (10 * depth) ** 0.5 if low is not None else 0.0
    return 4 * (walk + stored)


def difference(one: Answer, other: Answer) -> float:
    """Give the largest difference of two answers, relative to the largest number of the second."""
    if one.keys() != other.keys():
        raise ValueError(f"answers of different kinds: {sorted(one)} and {sorted(other)}")
    worst = 0.0
    for name, x in one.items():
        y = other[name]
        if x.shape != y.shape:
            return float("inf")
        x, y = x.double(), y.double()
        worst = max(worst, float((x - y).abs().max() / y.abs().max().clamp_min(1e-300)))
    return worst

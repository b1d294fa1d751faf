"""A golden row, and what a model made of it: the two types that everything about quality shares.

    Row        one question, with what is known of its answer, its segments and its flags
    Outcome    one model's answer to it

A row is judged in one of three ways, those of CheckList (Ribeiro et al. 2020): `mft`, minimum
functionality: the answer is known; `inv`, invariance: the answer must be that of the row `of`;
`dir`, direction: the value must move from that of the row `of` as `expect` says.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

TESTS = ("mft", "inv", "dir")
EXPECTATIONS = ("same", "up", "down")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One golden row; `fields` are those of its task."""

    id: str
    task: str
    fields: Mapping[str, Any]
    test: str = "mft"
    segments: tuple[str, ...] = ()  # slices that a metric is also told for
    flags: tuple[str, ...] = ()  # "edge": an edge case; "pinned": must pass; "robust": is perturbed
    of: str | None = None  # the row that this one is a variant of
    expect: str | None = None  # same, up or down
    by: float = 0.0  # how far the value must move at least
    under: str | None = None  # the perturbation that made this row of `of`


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a model made of a row.

    `value` is the task's number: a margin, a probability, a rank, or bits (with `weight` bytes).
    `right` is whether the answer is the known one, None where none is known; `confidence` is what
    the model gives its answer, from 0 to 1. `passed` is the row's verdict by its own test.
    """

    id: str
    answer: str
    value: float
    passed: bool | None = None
    right: bool | None = None
    confidence: float | None = None
    weight: float = 1.0
    scores: Mapping[str, float] = field(default_factory=dict)  # by answer, where there are few

"""One seeded bug: an edit of a correct architecture's source, and what a right diagnosis says."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Needs = Literal["nothing", "facts", "reference"]


@dataclass(frozen=True)
class Bug:
    """An edit of an architecture's file that makes it wrong.

    `needs` says what a kit must know to see it: build, batch and loss alone; the declared facts
    too; or a right implementation of the same family.
    """

    name: str  # unique within the architecture
    edits: tuple[tuple[str, str], ...]  # old -> new; old occurs exactly once in the file
    kinds: tuple[str, ...]  # of zoo.testing.finding.KINDS: right diagnoses, best first
    where: tuple[str, ...]  # right places: paths of modules, or "" for the model or its loss
    needs: Needs
    source: str  # a real thread ("nanoGPT #240") that this replays, or "seeded"
    facts: Mapping[str, Any] = field(default_factory=dict)  # what changes in FACTS

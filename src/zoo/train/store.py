"""A run's checkpoints: each is there whole or not at all, and is checked when it is read.

    step-00000100/          a save of the same step again is step-00000100-2, and the first goes
        state.json          facts
        *.safetensors       tensors
        manifest.json       format, step, score, every file's size and SHA-256; written last
    best.json               the step with the lowest score, for people
    .saving-* .old-*        being written or removed; no reader looks at them, `clean` removes them

A save writes beside, waits for the disk file by file, then renames the folder and waits for the
disk again. What is old gets a hidden name before its first file goes. So the names that readers see
are of whole checkpoints at every moment, and a process may be killed at any.

Several processes: all call `save` and `read`. The first makes the folder, hashes, writes the JSON
and renames; in between all call the `write` or `read` hook, which puts *.safetensors into the
folder, or fills tensors from them. After each part they agree (`world.agree`, as World's), so that
either all go on or all raise.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from zoo.checkpoint import CheckpointError

Facts = dict[str, Any]
Tensors = dict[str, Tensor]


@runtime_checkable
class Processes(Protocol):
    """What a store needs to know of a run's processes."""

    rank: int
    size: int

    def agree(self, flag: bool) -> bool:
        """Tell whether any process says so; all must ask."""
        ...


class Alone:
    """One process."""

    rank = 0
    size = 1

    def agree(self, flag: bool) -> bool:
        return flag


class Store:
    """A folder of checkpoints, of which the newest `keep` and the best one stay.

    One trainer writes (see Lock), any number may read.
    """

    def __init__(
        self, folder: str | Path, *, keep: int = 3, world: Processes | None = None
    ) -> None:
        if keep < 1:
            raise ValueError(f"keep is {keep}; at least the newest checkpoint must stay")
        self.folder = Path(folder)
        self.keep = keep
        self.world = world or Alone()

    def save(
        self,
        step: int,
        tensors: Mapping[str, Tensor],
        facts: Mapping[str, Any],
        *,
        score: float | None = None,
        write: Callable[[Path, Mapping[str, Tensor]], None] | None = None,
    ) -> Path:
        """Save a step, then let old ones go; give its folder. A lower score is better.

        A step that is there is replaced, and later ones go: they come from another past. Raises
        CheckpointError that names the file and the cause; the checkpoints before are as they were.
        """
        raise NotImplementedError

    def steps(self) -> list[int]:
        """Give the steps that are there, oldest first."""
        raise NotImplementedError

    def best(self) -> int | None:
        """Give the step with the lowest score, the earliest of equals."""
        raise NotImplementedError

    def path(self, step: int) -> Path:
        """Give a step's folder."""
        raise NotImplementedError

    def facts(self, step: int | None = None) -> Facts:
        """Read a step's facts, the newest's by default, and no tensor."""
        raise NotImplementedError

    def read(
        self,
        step: int | None = None,
        *,
        fallback: bool = False,
        into: Callable[[Facts], Mapping[str, Tensor]] | None = None,
        read: Callable[[Path, Mapping[str, Tensor]], None] | None = None,
    ) -> tuple[Facts, Tensors]:
        """Read a step, the newest by default: `state.restore(*store.read(...))`.

        Every file must have the size and SHA-256 that the manifest says. Raises CheckpointError
        that says which has not, and which older checkpoint is whole; `fallback` takes that one.
        Sharded tensors, or shards on disk, are read by `read` into what `into(facts)` gives
        (`TrainState.room`); all others into fresh memory.
        """
        raise NotImplementedError

    def clean(self) -> None:
        """Remove what dead writers left; call it while holding the run's lock."""
        raise NotImplementedError

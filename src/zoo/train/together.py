"""Doing something with files on every process of a run, so that all go on or all raise."""

from collections.abc import Callable
from typing import Protocol, TypeVar, runtime_checkable

from zoo.checkpoint import CheckpointError

Result = TypeVar("Result")


class Damaged(CheckpointError):
    """A checkpoint whose files are not what was written."""


@runtime_checkable
class Processes(Protocol):
    """What files need to know of a run's processes (World)."""

    rank: int
    mode: str  # "fsdp": each holds a share of every tensor

    def agree(self, flag: bool) -> bool:
        """Tell whether any process says so; all must ask."""
        ...


class Alone:
    """One process."""

    rank = 0
    mode = "alone"

    def agree(self, flag: bool) -> bool:
        return flag


def all_do(
    world: Processes,
    act: Callable[[], Result],
    failing: str,
    kind: type[CheckpointError] = CheckpointError,
) -> Result:
    """Do something on every process; raise `kind`, which says why, on all when one could not."""
    fault: Exception | None = None
    try:
        result = act()
    except CheckpointError as error:
        fault = kind(f"{failing}: {error}")
    except OSError as error:
        where = "" if error.filename is None else f"{error.filename}: "
        fault = kind(f"{failing}: {where}{error.strerror or error}")
    except Exception as error:  # the others must not wait for ever
        fault = error
    if world.agree(fault is not None):
        raise fault or kind(f"{failing}: another process says why")
    return result


def first_does(
    world: Processes,
    act: Callable[[], object],
    failing: str,
    kind: type[CheckpointError] = CheckpointError,
) -> None:
    """Do something on the first process only; raise on all when it could not."""
    all_do(world, act if world.rank == 0 else nothing, failing, kind)


def nothing() -> None:
    """Do what the other processes do meanwhile."""

"""How processes that torchrun started find each other, and what is wrong when they do not."""

import datetime
import os
from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist

MODES = ("alone", "ddp", "fsdp")
BACKENDS = {"cpu": "gloo", "cuda": "nccl"}
NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # what torchrun sets


class WorldError(RuntimeError):
    """Processes that cannot work together."""


def read_environment(environment: Mapping[str, str]) -> tuple[int, int, int] | None:
    """Give rank, size and local rank, or None where torchrun set none of its names.

    Raises WorldError for names that are missing, and for numbers that are none.
    """
    absent = [name for name in NAMES if name not in environment]
    if len(absent) == len(NAMES):
        return None
    if absent:
        held = ", ".join(f"{name}={environment[name]}" for name in NAMES if name in environment)
        raise WorldError(
            f"the environment has {held} and lacks {', '.join(absent)}; "
            "start with torchrun, which sets them all, or set none"
        )
    numbers = [environment[name] for name in NAMES[:3]]
    if not all(number.isdecimal() for number in numbers):
        raise WorldError(
            f"RANK, WORLD_SIZE and LOCAL_RANK are {', '.join(map(repr, numbers))}; "
            "expected whole numbers"
        )
    rank, size, local = map(int, numbers)
    if not rank < size or not local <= rank:
        raise WorldError(
            f"RANK={rank}, WORLD_SIZE={size}, LOCAL_RANK={local}: expected "
            "LOCAL_RANK <= RANK < WORLD_SIZE"
        )
    return rank, size, local


def check_mode(mode: str, size: int) -> None:
    """Raise WorldError for a mode that is none, and for many processes that go their own ways."""
    if mode not in MODES:
        raise WorldError(f"mode {mode!r}; expected one of {MODES}")
    if mode == "alone" and size > 1:
        raise WorldError(
            f"{size} processes were started and the mode is 'alone': each would train a model of "
            "its own; say 'ddp' or 'fsdp'"
        )


def check_device(device: str, local: int) -> torch.device:
    """Give this process's device: on cuda the card of its local rank.

    Raises WorldError where there is none, and for a kind that processes cannot share work on.
    """
    wanted = torch.device(device)
    if wanted.type != "cuda":
        return wanted
    cards = torch.cuda.device_count()
    index = local if wanted.index is None else wanted.index
    if index >= cards:
        raise WorldError(
            f"device {device!r}: local rank {local} needs card {index} and this machine shows "
            f"{cards}; start at most {cards} processes here, or say device 'cpu'"
        )
    return torch.device("cuda", index)


def check_shard(shard: int | None, size: int) -> int:
    """Give over how many processes a parameter is split."""
    if shard is None:
        return size
    if shard < 1 or size % shard:
        raise WorldError(f"shard {shard}; expected a divisor of the {size} processes")
    return shard


def meet(rank: int, size: int, device: torch.device, *, found: bool, timeout: float) -> None:
    """Join the process group: torchrun's, or where it set nothing one of a single process.

    Raises WorldError when the others do not come within `timeout` seconds.
    """
    if not dist.is_available():
        raise WorldError("this torch was built without torch.distributed; use mode 'alone'")
    if device.type not in BACKENDS:
        raise WorldError(f"device {device}: processes can share work on {sorted(BACKENDS)}")
    patience = datetime.timedelta(seconds=timeout)
    options: dict[str, Any] = {"rank": rank, "world_size": size, "timeout": patience}
    if not found:
        options["store"] = dist.HashStore()  # type: ignore[attr-defined]
    if device.type == "cuda":
        torch.cuda.set_device(device)
        options["device_id"] = device
    try:
        dist.init_process_group(BACKENDS[device.type], **options)
    except (RuntimeError, ValueError) as error:  # what torch raises for it has no name of its own
        where = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        reason = str(error).splitlines()[0]
        raise WorldError(
            f"rank {rank} did not meet all {size} processes at {where} within {timeout:g} s: start "
            f"them all, with the same MASTER_ADDR and MASTER_PORT ({reason})"
        ) from None


def make_mesh(device: torch.device, size: int, shard: int) -> Any:
    """Arrange the processes as FSDP2 splits over them: neighbours hold the parts of one copy."""
    from torch.distributed.device_mesh import init_device_mesh

    if shard == size:
        return init_device_mesh(device.type, (size,), mesh_dim_names=("shard",))
    shape = (size // shard, shard)
    return init_device_mesh(device.type, shape, mesh_dim_names=("replicate", "shard"))

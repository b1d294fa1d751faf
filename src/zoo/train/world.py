"""How many processes train one model: alone, DDP or FSDP2, all three torch's own.

    alone   one process; no process group, and nothing is called that it does not need
    ddp     each process holds the model; gradients are averaged while backward runs
    fsdp    each process holds a share of every parameter, gradient and optimizer state; a block is
            put together when it runs (Zhao et al. 2023; `fully_shard`)

What is averaged is the same in both, so one process with a whole batch and many with its parts
take the same step. Whatever touches a wrapped model's parameters must run inside the wrapped
module's forward, because that is where FSDP2 puts them together; `Inside` makes any function run
there.
"""

import contextlib
import datetime
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn

Mode = Literal["alone", "ddp", "fsdp"]

MODES = ("alone", "ddp", "fsdp")
BACKENDS = {"cpu": "gloo", "cuda": "nccl"}
NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # what torchrun sets
STARTER = "torchrun --nproc-per-node N -m zoo train ..."


class WorldError(RuntimeError):
    """Processes that cannot work together."""


class Inside(nn.Module):
    """Run any function of a model inside a forward: `Inside(model)(act, *args)`."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, act: Callable[..., Any], *args: Any, **options: Any) -> Any:
        return act(self.model, *args, **options)


class World:
    """The processes of a run, seen from one of them; `World()` is a process alone.

    `rank` of `size` and `mode` as at the top of this file. `dtype`: what FSDP2 gathers and computes
    in (gradients are reduced, and weights kept, in float32); None: the weights' own.
    """

    def __init__(
        self,
        *,
        rank: int = 0,
        size: int = 1,
        mode: Mode = "alone",
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
        mesh: Any = None,
    ) -> None:
        self.rank = rank
        self.size = size
        self.mode = mode
        self.device = torch.device(device)
        self.dtype = dtype
        self.mesh = mesh  # FSDP2: (shard,) or (replicate, shard)

    @classmethod
    def from_environment(
        cls,
        mode: Mode = "alone",
        device: str = "cpu",
        *,
        dtype: torch.dtype | None = None,
        shard: int | None = None,
        timeout: float = 1800.0,
    ) -> "World":
        """Join the processes that torchrun started; gloo on cpu, nccl on cuda.

        `shard`: over how many neighbours FSDP2 splits a parameter, with a copy in each such group
        (hybrid sharding; 8 is a node of 8); None: over all. `timeout` is in seconds, for meeting
        and for every exchange after it. Raises WorldError for an environment that is incomplete,
        a device that is not there, and processes that do not meet.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Leave the other processes; a process alone has nothing to leave."""

    def __enter__(self) -> "World":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wrap(self, module: nn.Module, blocks: Sequence[nn.Module] = ()) -> nn.Module:
        """Give the module whose forward and backward work with the other processes'.

        `module` holds model and objective (`Inside(model)`, say); `blocks` are what FSDP2 gathers
        one at a time (`blocks_of(model)`). Make the optimizer after this: FSDP2 replaces the
        parameters, under their names.
        """
        return module

    def syncing(self, wrapped: nn.Module, last: bool) -> contextlib.AbstractContextManager[Any]:
        """Give the block for forward and backward of one micro batch; only the last exchanges."""
        return contextlib.nullcontext()

    def after_backward(self, wrapped: nn.Module) -> None:
        """Average the gradients that FSDP2 leaves alone, those of scalars; once, before `clip`."""

    def clip(self, parameters: Iterable[Tensor], most: float) -> float:
        """Scale gradients down to a global norm of at most `most`; give the norm before.

        A norm that is not finite is given as it is, and the gradients are then of no use.
        """
        return float(nn.utils.clip_grad_norm_(parameters, most))

    def total(self, x: Tensor) -> Tensor:
        """Give the sum over processes of counts or losses, on the run's device; x stays."""
        return x

    def agree(self, flag: bool) -> bool:
        """Tell whether any process says so; all must ask."""
        return flag

    def barrier(self) -> None:
        """Wait for the others."""

    def whole(self, model: nn.Module) -> dict[str, Tensor]:
        """Give parameters and buffers, put together, on the CPU of rank 0; {} elsewhere.

        All processes must call. For publishing a model; a checkpoint writes shares.
        """
        raise NotImplementedError


def blocks_of(model: Any) -> list[nn.Module]:
    """Give a zoo model's blocks, of all its stacks."""
    return [block for stack in model.stacks() for block in model.get_submodule(stack)]


def read_environment(environment: Mapping[str, str]) -> tuple[int, int, int] | None:
    """Give rank, size and local rank, or None where torchrun set none of them."""
    raise NotImplementedError


_ = (os, datetime, dist)

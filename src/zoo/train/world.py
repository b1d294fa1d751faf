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

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from zoo.train.meet import (
    WorldError,
    check_device,
    check_mode,
    check_shard,
    make_mesh,
    meet,
    read_environment,
)

WORDS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}  # by bytes


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
        mode: str = "alone",
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
        mesh: Any = None,
    ) -> None:
        self.rank = rank
        self.size = size
        self.mode = mode
        self.device = torch.device(device)
        self.dtype = dtype
        self.mesh = mesh  # FSDP2's: (shard,) or (replicate, shard)

    @classmethod
    def from_environment(
        cls,
        mode: str = "alone",
        device: str = "cpu",
        *,
        dtype: torch.dtype | None = None,
        shard: int | None = None,
        timeout: float = 1800.0,
    ) -> "World":
        """Join the processes that torchrun started, if it did; gloo on cpu, nccl on cuda.

        One process alone is 'alone', whatever the mode, but for 'fsdp', which works with one.
        `shard`: over how many neighbours FSDP2 splits a parameter, with a copy in each such group
        (hybrid sharding; 8 is a node of 8); None: over all. `timeout` is in seconds, for meeting
        and for every exchange after it. Raises WorldError for an environment that is incomplete,
        a device that is not there, and processes that do not meet.
        """
        return join(mode, device, dtype=dtype, shard=shard, timeout=timeout)

    def close(self) -> None:
        """Leave the other processes; a process alone has nothing to leave."""
        if self.mode != "alone" and dist.is_initialized():
            dist.destroy_process_group()

    def __enter__(self) -> "World":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def wrap(self, module: nn.Module, blocks: Sequence[nn.Module] = ()) -> nn.Module:
        """Give the module whose forward and backward work with the other processes'.

        `module` holds model and objective (`Inside(model)`, say); `blocks` are what FSDP2 gathers
        one at a time (`blocks_of(model)`). Make the optimizer after this: FSDP2 replaces the
        parameters, under their names. Raises WorldError when processes hold other weights.
        """
        if self.mode == "alone":
            return module.to(self.device)
        check_same(module, self)
        if self.mode == "ddp":
            return DistributedDataParallel(
                module.to(self.device),
                device_ids=[self.device.index] if self.device.type == "cuda" else None,
                find_unused_parameters=has_unread(module),
                gradient_as_bucket_view=True,  # else gradients lie in memory twice
            )
        return shard_module(module, blocks, self)

    def syncing(self, wrapped: nn.Module, last: bool) -> AbstractContextManager[Any]:
        """Give the block for forward and backward of one micro batch; only the last exchanges."""
        if self.mode == "ddp" and not last:
            return cast(DistributedDataParallel, wrapped).no_sync()
        if self.mode == "fsdp":
            cast(Any, wrapped).set_requires_gradient_sync(last)
        return nullcontext()

    def after_backward(self, wrapped: nn.Module) -> None:
        """Average the gradients that FSDP2 leaves alone, those of scalars; once, before `clip`."""
        if self.mode != "fsdp":
            return
        scalars = [p for p in wrapped.parameters() if p.dim() == 0 and p.requires_grad]
        if not scalars:
            return
        held = [(1.0, float(p.grad)) if p.grad is not None else (0.0, 0.0) for p in scalars]
        sums = self.total(torch.tensor(held, dtype=torch.float64))
        for parameter, (holders, gradient) in zip(scalars, sums, strict=True):
            if holders:
                parameter.grad = (gradient / self.size).to(parameter)

    def clip(self, parameters: Iterable[Tensor], most: float) -> float:
        """Scale gradients down to a global norm of at most `most`; give the norm before.

        A norm that is not finite is given as it is, and the gradients are then of no use.
        """
        if self.mode != "fsdp":
            return float(nn.utils.clip_grad_norm_(parameters, most))
        from torch.distributed.tensor import DTensor

        gradients = [p.grad for p in parameters if p.grad is not None]
        shares = [g.to_local() for g in gradients if isinstance(g, DTensor)]
        wholes = [g for g in gradients if not isinstance(g, DTensor)]
        square = self.total_of_shares(square_norm(shares).to(self.device))
        norm = float((square + square_norm(wholes).to(self.device)).sqrt())
        if not norm <= most:  # so that NaN shows in the gradients too
            torch._foreach_mul_(shares + wholes, most / (norm + 1e-6))
        return norm

    def total_of_shares(self, x: Tensor) -> Tensor:
        """Sum over the processes that hold different shares: with hybrid sharding one group."""
        dist.all_reduce(x, group=self.mesh.get_group("shard"))
        return x

    def total(self, x: Tensor) -> Tensor:
        """Give the sum over processes of counts or losses, on the run's device; x stays."""
        x = x.detach().to(self.device)
        if self.size > 1:
            x = x.clone()
            dist.all_reduce(x)
        return x

    def agree(self, flag: bool) -> bool:
        """Tell whether any process says so; all must ask."""
        return flag if self.size == 1 else bool(self.total(torch.tensor(int(flag))))

    def barrier(self) -> None:
        """Wait for the others."""
        self.agree(False)

    def whole(self, model: nn.Module) -> dict[str, Tensor]:
        """Give parameters and buffers, put together, on the CPU of rank 0; {} elsewhere.

        All processes must call. For publishing a model; a checkpoint writes shares.
        """
        found: dict[str, Tensor] = {}
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            tensor = tensor.detach()
            if hasattr(tensor, "full_tensor"):  # a DTensor
                tensor = tensor.full_tensor()
            if self.rank == 0:
                found[name] = tensor.cpu()
        return found


def blocks_of(model: Any) -> list[nn.Module]:
    """Give a zoo model's blocks, of all its stacks."""
    return [block for stack in model.stacks() for block in model.get_submodule(stack)]


def join(
    mode: str, device: str, *, dtype: torch.dtype | None, shard: int | None, timeout: float
) -> World:
    """Read torchrun's environment and meet the others; see `World.from_environment`."""
    place = read_environment(os.environ)
    rank, size, local = place or (0, 1, 0)
    check_mode(mode, size)
    where = check_device(device, local)
    if mode != "fsdp" and size == 1:
        return World(device=where, dtype=dtype)
    split = check_shard(shard, size)
    meet(rank, size, where, found=place is not None, timeout=timeout)
    mesh = make_mesh(where, size, split) if mode == "fsdp" else None
    return World(rank=rank, size=size, mode=mode, device=where, dtype=dtype, mesh=mesh)


def has_unread(module: nn.Module) -> bool:
    """Tell whether a model says, in `unread`, that its head leaves some of what it trains unread.

    DDP waits for every gradient unless told, and to look for missing ones costs it time.
    """
    return any(
        parameter.requires_grad and name in getattr(part, "unread", ())
        for part in module.modules()
        for name, parameter in part.named_parameters()
    )


def shard_module(module: nn.Module, blocks: Sequence[nn.Module], world: World) -> nn.Module:
    """Split parameters over the mesh: each block is a group, and what is left is the root's.

    FSDP2 refuses scalars (CLIP's logit scale): they stay whole, see `World.after_backward`.
    """
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    scalars = {p for p in module.parameters() if p.dim() == 0}
    for parameter in scalars:
        parameter.data = parameter.data.to(world.device)
    # the one place where mixed precision is stated: products in `dtype`, sums of gradients wide
    wide = None if world.dtype is None else torch.float32
    policy = MixedPrecisionPolicy(param_dtype=world.dtype, reduce_dtype=wide)
    for part in (*blocks, module):
        fully_shard(part, mesh=world.mesh, mp_policy=policy, ignored_params=scalars)
    module.register_forward_hook(take_apart)
    return module


def take_apart(module: nn.Module, *_: object) -> None:
    """Split the root again after a forward that no backward follows.

    FSDP2 keeps the root whole for the backward pass; until then `parameters()` would give other
    tensors than those that the optimizer and the state hold.
    """
    if not torch.is_grad_enabled():
        cast(Any, module).reshard()


def check_same(module: nn.Module, world: World) -> None:
    """Raise WorldError unless all processes hold the same weights, bit for bit."""
    own = torch.tensor(fingerprint(module), device=world.device)
    held = [torch.empty_like(own) for _ in range(world.size)]
    dist.all_gather(held, own)
    odd = [rank for rank, theirs in enumerate(held) if int(theirs) != int(held[0])]
    if odd:
        raise WorldError(
            f"processes {odd} hold other weights than process 0: build the model from the same "
            "seed, or the same folder, in each"
        )


def fingerprint(module: nn.Module) -> int:
    """Give 63 bits of all parameters: sums of whole numbers, so in no order that could vary."""
    found = 0
    for parameter in module.parameters():
        bits = parameter.detach().contiguous().view(WORDS[parameter.element_size()])
        found = (found * 1_000_003 + int(bits.sum(dtype=torch.int64))) % (2**63 - 1)
    return found


def square_norm(tensors: list[Tensor]) -> Tensor:
    """Give the sum of squares in float64, of tensors of any shapes."""
    if not tensors:
        return torch.zeros((), dtype=torch.float64)
    return torch.stack(torch._foreach_norm(tensors)).double().square().sum()

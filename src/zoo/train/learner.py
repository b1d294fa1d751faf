"""One step over a batch in pieces, on one process or many, in float32 or less.

total    what the mean of the whole batch divides by, over all pieces and processes
loss     each piece's sum / total x processes: their gradients, averaged over processes and
         added over pieces, are those of the whole batch's mean
step     unscale, clip, look at loss and norm, and only then change a weight
"""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from zoo.objectives import COUNTS, OBJECTIVES, SMOOTHED, Batch
from zoo.train.cached import cached_backward
from zoo.train.ema import EMA
from zoo.train.loop import TrainingError, change, refuse_not_finite
from zoo.train.scale import Scaler
from zoo.train.world import Inside, World, blocks_of

LOW = (torch.bfloat16, torch.float16)
Optimizer = torch.optim.Optimizer


class Result(NamedTuple):
    """What a step found: the whole batch's loss, the norm before clipping, whether it was left out.

    A step is left out when float16 gradients overflow: nothing changes but the scaler's scale.
    """

    loss: float
    norm: float
    skipped: bool = False


class Learner:
    """A model in training: `step` is all that it does.

    `objective` is the name of a head; `optimizer` and `ema` may be functions that make them of the
    model, called once the world has laid its parameters out (FSDP2 replaces them).  `dtype` is
    what autocast computes in: the weights stay float32.  float16 has a Scaler, a new one unless
    given.  `compile` hands model and objective to torch.compile; a word names its backend.

    Raises ValueError for an unknown objective, smoothing that the objective cannot do, weights in
    less than float32 under autocast, and an optimizer or an average of other parameters.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | Callable[[nn.Module], Optimizer],
        objective: str,
        *,
        clip: float = 1.0,
        dtype: torch.dtype = torch.float32,
        scaler: Scaler | None = None,
        ema: EMA | Callable[[nn.Module], EMA] | None = None,
        smoothing: float = 0.0,
        world: World | None = None,
        compile: bool | str = False,
    ) -> None:
        check_objective(objective, smoothing)
        check_weights(model, dtype)
        self.model = model
        self.name = objective
        self.clip = clip
        self.dtype = dtype
        self.scaler = Scaler() if scaler is None and dtype == torch.float16 else scaler
        self.options = {"smoothing": smoothing} if objective in SMOOTHED else {}
        self.world = World(device=next(model.parameters()).device) if world is None else world
        self.wrapped = wrap(model, self.world, compile)
        self.optimizer = optimizer if isinstance(optimizer, Optimizer) else optimizer(model)
        self.ema = ema if ema is None or isinstance(ema, EMA) else ema(model)
        self.parameters = [*model.parameters()]
        check_optimizer(model, self.optimizer)
        check_average(model, self.ema)

    def step(self, micros: Sequence[Batch], rate: float) -> Result:
        """Take one step over a batch, given in one piece or more; all processes must call.

        Raises TrainingError, and changes no weight, when the loss or the gradient's norm is not a
        finite number; with float16, when the loss is not or the scale has no room left.
        """
        self.optimizer.zero_grad()
        loss = self.backward(micros)
        self.world.after_backward(self.wrapped)
        if self.scaler is not None:
            self.scaler.unscale(self.parameters)
        norm = self.world.clip(self.parameters, self.clip)
        result = Result(float(loss), norm)
        if self.scaler is not None and self.overflowed(self.scaler, result):
            return result._replace(skipped=True)
        refuse_not_finite(*result[:2])
        change(self.model, self.optimizer, rate)
        if self.ema is not None:
            self.ema.update()
        return result

    def backward(self, micros: Sequence[Batch]) -> Tensor:
        """Leave the whole batch's gradients in the parameters; give its loss."""
        if not micros:
            raise ValueError("a step needs at least one batch")
        if len(micros) == 1 and self.world.size == 1 and self.scaler is None:
            loss = self.loss(micros[0], "mean")  # what a loop written by hand does, to the bit
            loss.backward()
            return loss.detach()
        count = COUNTS[self.name]
        held = torch.stack([count(self.model, batch) for batch in micros]).sum()
        total = self.world.total(held).clamp_min(1)
        if self.name == "match" and len(micros) > 1:
            found = cached_backward(
                self.act,
                micros,
                finish=lambda loss: self.share(loss, total),
                autocast=self.autocast,
                syncing=lambda last: self.world.syncing(self.wrapped, last),
            )
            return self.world.total(found) / total
        losses = []
        for number, batch in enumerate(micros):
            with self.world.syncing(self.wrapped, number == len(micros) - 1):
                loss = self.loss(batch, "sum")
                self.share(loss, total).backward()
            losses.append(loss.detach())
        return self.world.total(torch.stack(losses).sum()) / total

    def loss(self, batch: Batch, reduction: str) -> Tensor:
        return self.act(OBJECTIVES[self.name], batch, reduction=reduction, **self.options)

    def act(self, function: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Run a function of the model where the world and autocast see it."""
        with self.autocast():
            return self.wrapped(function, *args, **options)

    def autocast(self) -> AbstractContextManager[Any]:
        if self.dtype not in LOW:
            return nullcontext()
        return torch.autocast(self.parameters[0].device.type, self.dtype)

    def share(self, loss: Tensor, total: Tensor) -> Tensor:
        """Give what a sum of losses adds to the whole, scaled for float16."""
        scale = 1.0 if self.scaler is None else self.scaler.scale
        return loss / total * (self.world.size * scale)

    def overflowed(self, scaler: Scaler, result: Result) -> bool:
        """Tell the scaler whether gradients overflowed, which is no fault of the model's.

        Raises TrainingError when the scale has been lowered to its floor in vain.
        """
        if not math.isfinite(result.loss):
            return False
        fits = math.isfinite(result.norm)
        scaler.update(fits)
        if scaler.spent():
            raise TrainingError(
                f"float16 gradients overflow at a loss scale of {2 * scaler.scale:g} still: "
                "train in bfloat16 or float32",
                loss=result.loss,
                norm=result.norm,
            )
        return not fits


def wrap(model: nn.Module, world: World, compile: bool | str) -> nn.Module:
    """Give the module whose forward runs a function of the model, compiled and shared out."""
    inside = Inside(model)
    blocks = blocks_of(model) if world.mode == "fsdp" else []
    if compile:  # FSDP2 works between the blocks, where a compiler would have to stop
        for part in blocks or [inside]:
            part.compile(backend=compile if isinstance(compile, str) else "inductor")
    return world.wrap(inside, blocks)


def check_objective(name: str, smoothing: float) -> None:
    if name not in OBJECTIVES:
        raise ValueError(f"no objective {name!r}; there are {sorted(OBJECTIVES)}")
    if smoothing and name not in SMOOTHED:
        raise ValueError(f"smoothing {smoothing}: the labels of {name!r} are no classes")


def check_weights(model: nn.Module, dtype: torch.dtype) -> None:
    """Refuse weights that cannot keep the small steps that autocast leaves to them."""
    for name, parameter in model.named_parameters():
        if dtype in LOW and parameter.dtype in LOW and parameter.requires_grad:
            raise ValueError(
                f"{name} is {parameter.dtype}; training in {dtype} keeps weights in float32: "
                "call model.float() first"
            )


def check_optimizer(model: nn.Module, optimizer: Optimizer) -> None:
    """Refuse an optimizer that trains something else, or less, than the model's parameters."""
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    missed = [n for n, p in model.named_parameters() if p.requires_grad and id(p) not in held]
    if missed:
        raise ValueError(
            f"the optimizer does not hold {', '.join(missed[:4])}: make it of this model, "
            "under FSDP by a function given here; what is not trained has requires_grad=False"
        )


def check_average(model: nn.Module, ema: EMA | None) -> None:
    """Refuse an average of parameters that the model no longer has."""
    held = {id(p) for p in model.parameters()}
    strange = [] if ema is None else [n for n, p in ema.parameters.items() if id(p) not in held]
    if strange:
        raise ValueError(
            f"the average is of another model's {', '.join(strange[:4])}: make it of this model, "
            "under FSDP by a function given here"
        )

"""One step, and the loop around it.

`fit` is a generator: what else a run does (a log, a save, an early end) is written in plain sight
in the body of `for step in fit(...)`.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

Batch = Mapping[str, Tensor]
Objective = Callable[[Any, Batch], Tensor]


class TrainingError(RuntimeError):
    """A run that cannot go on; `loss` and `norm` are those that it cannot go on with."""

    def __init__(self, message: str, *, loss: float = math.nan, norm: float = math.nan) -> None:
        super().__init__(message)
        self.loss = loss
        self.norm = norm


@dataclass(frozen=True)
class Step:
    """What one step did: its number from 0, the loss before it, the norm before clipping."""

    number: int
    loss: float
    norm: float
    rate: float


def token_batches(
    ids: Int[Tensor, " n"], *, batch: int, length: int, seed: int, start: int = 0
) -> Iterator[dict[str, Tensor]]:
    """Cut a text's ids into windows and give them in batches for ever, in a seeded order.

    Each round through the text takes the windows in a new order and from a new offset, both drawn
    from (seed, round) alone: a run resumed at step `start` needs nothing but that number.
    Raises ValueError when the text is too short for one batch.
    """
    # the largest offset is length - 1: a round has as many windows wherever it starts
    windows = (len(ids) - length + 1) // length
    if windows < batch:
        raise ValueError(
            f"{len(ids)} tokens make {max(0, windows)} windows of {length}, fewer than a batch of "
            f"{batch}: take more text, shorter windows or a smaller batch"
        )
    each = windows // batch  # batches a round
    round_, first = divmod(start, each)
    while True:
        generator = torch.Generator().manual_seed(seed * 1_000_003 + round_)
        offset = int(torch.randint(length, (), generator=generator))
        order = torch.randperm(windows, generator=generator)
        table = ids[offset : offset + windows * length].view(windows, length)
        for i in range(first, each):
            yield {"input_ids": table[order[i * batch : (i + 1) * batch]]}
        round_, first = round_ + 1, 0


def train_step(
    model: nn.Module,
    batch: Batch,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    *,
    rate: float,
    clip: float = 1.0,
) -> tuple[float, float]:
    """Take one step; give the loss before it and the norm of the gradient before clipping.

    Raises TrainingError, and changes no weight, when either is not a finite number.
    """
    optimizer.zero_grad()
    loss = objective(model, batch)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(model.parameters(), clip)
    result = (float(loss.detach()), float(norm))
    refuse_not_finite(*result)
    change(model, optimizer, rate)
    return result


def refuse_not_finite(loss: float, norm: float) -> None:
    """Raise TrainingError for numbers that would spoil the weights."""
    if not (math.isfinite(loss) and math.isfinite(norm)):
        message = f"the loss is {loss} and the gradient's norm {norm}"
        raise TrainingError(message, loss=loss, norm=norm)


def change(model: nn.Module, optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Let the optimizer change the weights; a group's `scale` multiplies the rate for it."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("scale", 1.0)
    optimizer.step()
    bring_back = getattr(model, "after_step", None)  # parameters that have a range of their own
    if bring_back is not None:
        bring_back()


def fit(
    model: nn.Module,
    batches: Iterable[Batch],
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    *,
    rate: Callable[[int], float],
    steps: int | None = None,
    start: int = 0,
    clip: float = 1.0,
) -> Iterator[Step]:
    """Train from step `start` to step `steps` (for ever when None), giving each step once taken.

    `batches` begins with the batch of step `start`, and `rate` is the learning rate of a step.
    Raises TrainingError that names the step at which a number stopped being finite; the weights
    are then those before that step.
    """
    model.train()
    for number, batch in enumerate(batches, start):
        if steps is not None and number >= steps:
            return
        now = rate(number)
        try:
            loss, norm = train_step(model, batch, objective, optimizer, rate=now, clip=clip)
        except TrainingError as error:
            raise TrainingError(
                f"step {number}: {error}; the weights are those of the step before. "
                f"Lower the learning rate ({now:.2e} here)",
                loss=error.loss,
                norm=error.norm,
            ) from None
        yield Step(number, loss, norm, now)

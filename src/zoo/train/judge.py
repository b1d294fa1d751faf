"""The loss of rows that are kept back, while a run goes on."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from zoo.data.order import seed_of
from zoo.objectives import COUNTS
from zoo.train.world import World


def plain_batches(
    samples: Any, *, rows: int, size: int, seed: int, whole: bool = False
) -> Iterator[tuple[Tensor, torch.Generator]]:
    """Give the first rows in their order, `size` at a time, and what their batch draws from.

    `whole` leaves out a last batch that is smaller, unless it is the only one: the contrastive
    loss of few pairs is no measure.
    """
    count = min(rows, len(samples))
    for number, chosen in enumerate(torch.arange(count).split(size)):
        if not (whole and number and len(chosen) < size):
            yield chosen, torch.Generator().manual_seed(seed_of(seed, number))


def averaged(learner: Any) -> AbstractContextManager[Any]:
    """Let the model hold its averaged weights inside a `with`, if it has any."""
    return nullcontext() if learner.ema is None else learner.ema.swapped()


def valid_loss(run: Any) -> float | None:
    """Give the mean loss of the rows kept back, at most `keep.rows` of them; None without rows.

    With averaged weights it is theirs. The same on any number of processes: each takes its share
    of a batch, or all of one that cannot be shared out, which then counts for one.
    """
    course, world, learner = run.course, run.world, run.learner
    if course.valid is None:
        return None
    totals = torch.zeros(2, dtype=torch.float64)
    training = learner.model.training
    learner.model.eval()
    batches = plain_batches(
        course.valid,
        rows=run.config.keep.rows,
        size=run.config.train.batch,
        seed=run.config.train.seed,
        whole=course.head == "match",
    )
    try:
        with torch.no_grad(), averaged(learner):
            for chosen, generator in batches:
                if course.head == "match":  # its rows are told apart from all others, once
                    chosen = chosen[: max(1, len(chosen) // world.size) * world.size]
                own, weight = part_of(len(chosen), world)
                batch = course.valid.batch(chosen, generator, own)
                batch = {name: x.to(world.device) for name, x in batch.items()}
                loss = learner.loss(batch, "sum")
                count = COUNTS[course.head](learner.model, batch)
                totals += weight * torch.tensor([float(loss), float(count)], dtype=torch.float64)
    finally:
        learner.model.train(training)
    loss, count = world.total(totals.to(world.device)).tolist()
    return loss / max(1.0, count)


def part_of(rows: int, world: World) -> tuple[slice, float]:
    """Give this process's rows of a batch, and what they weigh in the sum over processes."""
    each, rest = divmod(rows, world.size)
    if rest:
        return slice(0, rows), 1.0 / world.size
    return slice(world.rank * each, (world.rank + 1) * each), 1.0

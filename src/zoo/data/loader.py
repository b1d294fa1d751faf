"""Steps' batches, split over processes and micro batches, the next one made while one is used.

    global batch   B rows, Order.at(step)
    rank r         rows r B / world ... (r + 1) B / world
    micro m of it  its rows m B / (world micros) ... , each at least one

Everything random in a batch comes from (seed, step), so the rows of all ranks and micro batches,
laid end to end, are the same for every split; and the position of a run is its step.
"""

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from zoo.data.order import DRAWS, Order, seed_of
from zoo.data.samples import Samples


@dataclass(frozen=True)
class Share:
    """What one process does of a step: its micro batches of the samples chosen for all.

    `own` is where in `chosen` its rows are.
    """

    step: int
    chosen: Int[Tensor, " b"]
    own: slice
    micros: list[dict[str, Tensor]]
    source: Samples

    def names(self) -> list[str]:
        """Name the samples of this process, in the order of its rows."""
        return self.source.names(self.chosen[self.own].tolist())


@dataclass(frozen=True)
class Plan:
    """How shares are made. The thread holds this and not the loader, which can so be forgotten."""

    samples: Samples
    order: Order
    seed: int
    rank: int
    world: int
    micros: int


def share_of(plan: Plan, step: int) -> Share:
    """Make what a process does of a step."""
    chosen = plan.order.at(step)
    rows = plan.order.batch // (plan.world * plan.micros)
    first = plan.rank * plan.micros * rows
    starts = range(first, first + plan.micros * rows, rows)
    made = [micro_of(plan, step, chosen, slice(start, start + rows)) for start in starts]
    return Share(step, chosen, slice(first, starts.stop), made, plan.samples)


def micro_of(plan: Plan, step: int, chosen: Tensor, own: slice) -> dict[str, Tensor]:
    """Make some rows of a step's batch, from the draws of the whole."""
    generator = torch.Generator().manual_seed(seed_of(plan.seed, step, DRAWS))
    return plan.samples.batch(chosen, generator, own)


class Loader:
    """An endless iterator over a process's Shares, from step `start` on.

    With `threaded` the next share is made in a thread while one is used; what goes wrong there is
    raised when its step is asked for, and asking again tries that step again. The thread ends with
    `close`, with the `with` block, or when the loader is forgotten.
    Raises ValueError when the order is over other samples, or its batch cannot be split evenly.
    """

    def __init__(
        self,
        samples: Samples,
        order: Order,
        *,
        seed: int,
        start: int = 0,
        rank: int = 0,
        world: int = 1,
        micros: int = 1,
        threaded: bool = True,
    ) -> None:
        if order.count != len(samples):
            raise ValueError(
                f"the order is over {order.count} samples and there are {len(samples)}: "
                "make it as Order(len(samples), ...)"
            )
        check_split(order.batch, rank, world, micros)
        order.progress(start)
        self.plan = Plan(samples, order, seed, rank, world, micros)
        self.step = start  # the step whose share comes next
        self.next: Future[Share] | None = None
        # its thread starts with the first share, and ends when this is closed or collected
        self.worker = ThreadPoolExecutor(1, "zoo loader") if threaded else None
        self.closed = False

    def __iter__(self) -> "Loader":
        return self

    def __next__(self) -> Share:
        if self.closed:
            raise StopIteration
        if self.worker is None:
            share = share_of(self.plan, self.step)
        else:
            made = self.next or self.worker.submit(share_of, self.plan, self.step)
            self.next = None
            share = made.result()
            self.next = self.worker.submit(share_of, self.plan, self.step + 1)
        self.step += 1
        return share

    def __enter__(self) -> "Loader":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End: no share comes any more, and the thread is gone when this returns."""
        self.closed, self.next = True, None
        if self.worker is not None:
            self.worker.shutdown(wait=True, cancel_futures=True)

    def facts(self) -> dict[str, Any]:
        """Give what must be the same for a resumed run to take the same samples; plain JSON."""
        plan = self.plan
        return {
            "seed": plan.seed,
            "order_seed": plan.order.seed,
            "count": plan.order.count,
            "batch": plan.order.batch,
            "whole": plan.order.whole,
            "data": plan.samples.version,
        }

    def check_facts(self, saved: Mapping[str, Any]) -> None:
        """Raise ValueError when `facts` saved before are not this loader's."""
        ours = self.facts()
        differ = [name for name in ours if saved.get(name) != ours[name]]
        if differ:
            told = ", ".join(f"{n} was {saved.get(n)!r} and is {ours[n]!r}" for n in differ)
            raise ValueError(
                f"these are not the batches of the run that was saved: {told}; resume with the "
                "data and settings that it began with, or start a new run"
            )


def check_split(batch: int, rank: int, world: int, micros: int) -> None:
    """Raise ValueError, naming numbers that would do, unless every micro batch is as large."""
    if world < 1 or not 0 <= rank < world:
        raise ValueError(f"rank {rank} of {world}: ranks go from 0 to world - 1")
    if micros < 1:
        raise ValueError(f"micros is {micros}: give at least 1")
    parts = world * micros
    if batch % parts == 0:
        return
    sizes = [n for n in (batch // parts * parts, (batch // parts + 1) * parts) if n]
    fix = f"take a batch of {' or '.join(map(str, sizes))}"
    if batch % world == 0:
        each = batch // world
        fits = [str(n) for n in range(1, each + 1) if each % n == 0]
        fix += f", or micros of {listed(fits)}"
    raise ValueError(
        f"a batch of {batch} does not split evenly over {world} processes of {micros} micro "
        f"batches each: {fix}"
    )


def listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"

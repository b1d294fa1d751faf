"""Whether one batch can be learnt by heart: the plainest test that all parts work together.

A loss has a floor that is not 0 with smoothed labels or noise; what is judged is how much of the
way to the floor was gone, and only a model that goes nowhere at any rate has failed.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from zoo.testing.checks.learning_run import Steps, objective, train, trainable
from zoo.testing.checks.losses_free import Free
from zoo.testing.checks.losses_read import read
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.finding import Finding
from zoo.testing.guard import seed_all
from zoo.testing.subject import Subject

RATES = (1e-2, 1e-3, 1e-1, 1e-4)
ENOUGH = 0.3  # of the way to the floor
NOTHING = 0.02
SECONDS = 1.0  # for one rate
TOO_MANY = 20_000_000


@dataclass(frozen=True)
class Try:
    """One rate, and where it led."""

    lr: float
    steps: Steps
    module: nn.Module

    def lowest(self) -> float:
        """Give the lowest finite loss."""
        return min((x for x in self.steps.losses if x == x), default=float("inf"))


def check_overfit(subject: Subject) -> Iterator[Finding]:
    """Train on one batch until it is learnt; say what stands in the way where it is not."""
    spec = subject.spec
    if not spec.overfit:
        raise NotApplicable("the spec says that one batch cannot be learnt by heart")
    if spec.batch is None or not subject.has_loss():
        raise NotApplicable("there is no loss")
    if subject.built.count > TOO_MANY:
        raise NotApplicable(f"{subject.built.count} parameters take too long to train")
    if not trainable(subject.fresh()):
        raise NotApplicable("no parameter is trainable")
    batch = subject.batch(max(4, spec.min_batch_train or 1))
    floor = floor_of(subject)
    tried: list[Try] = []
    for lr in (spec.lr, *RATES) if spec.lr else RATES:
        try:
            tried.append(attempt(subject, batch, lr, floor))
        except Exception as error:
            raise NotApplicable(f"training raised {type(error).__name__}") from error
        losses = tried[-1].steps.losses
        if not losses or losses[0] != losses[0] or not tried[-1].steps.alive:
            raise NotApplicable("no parameter gets a gradient from a finite loss")
        if gone(losses, floor) > ENOUGH or nothing_to_learn(losses[0], floor):
            return
    yield from verdict(subject, batch, tried, floor)


def gone(losses: list[float], floor: float) -> float:
    """Give how much of the way to the floor was gone; a third of the loss is far enough too."""
    fall = losses[0] - min(x for x in losses if x == x)
    return max(fall / max(losses[0] - floor, 1e-12), fall / max(abs(losses[0]), 1e-12))


def nothing_to_learn(first: float, floor: float) -> bool:
    """Say whether the loss begins at its floor."""
    return first - floor <= 1e-3 * abs(first)


def attempt(subject: Subject, batch: dict[str, Any], lr: float, floor: float) -> Try:
    """Train a fresh model on a batch at one rate, until enough is learnt or time is over."""
    module = subject.fresh(train=True)
    end = time.perf_counter() + SECONDS

    def stop(steps: Steps) -> bool:
        late = time.perf_counter() > end and len(steps.losses) > 8
        return late or gone(steps.losses, floor) > ENOUGH

    count = subject.spec.steps or 60
    return Try(lr, train(subject, module, lambda _: batch, count, lr, stop=stop), module)


def floor_of(subject: Subject) -> float:
    """Give the lowest loss that any output could have, as far as it can be found; else 0."""
    try:
        free = Free(subject, 4)
        reading = read(free)
        if reading is None or reading.form != "cross entropy":
            return descended(free)
        q = reading.target.clamp(0, 1)
        entropy = -(q * q.clamp_min(1e-12).log()).sum(-1)
        inside = float((entropy * reading.weight).sum())
        return free.number(free.base()) - taken(free, reading.weight, q, reading.axis) + inside
    except Exception:
        return 0.0


def taken(free: Free, weight: Tensor, target: Tensor, axis: int) -> float:
    """Give what a cross entropy costs at the model's own output."""
    x = free.base().movedim(axis, -1).double()
    return float((-(target * x.log_softmax(-1)).sum(-1) * weight).sum())


def descended(free: Free) -> float:
    """Give the loss where a free output of the model's shape ends after some steps."""
    leaf = free.base().clone().requires_grad_()
    optimizer = torch.optim.Adam([leaf], lr=0.3)
    lowest = float("inf")
    for _ in range(60 if free.at < 0 else 20):
        optimizer.zero_grad()
        value = free.value(leaf)
        if not bool(value.isfinite()):
            break
        lowest = min(lowest, float(value.detach()))
        value.backward()
        optimizer.step()
    return lowest


def verdict(
    subject: Subject, batch: dict[str, Any], tried: list[Try], floor: float
) -> Iterator[Finding]:
    """Say what was seen of a batch that could not be learnt, and why that may be."""
    first = tried[0].steps.losses[0]
    way = max(gone(one.steps.losses, floor) for one in tried)
    best = min(tried, key=Try.lowest)
    ran = ", ".join(f"{len(one.steps.losses)} at {one.lr:g}" for one in tried)
    reason, sure = why(subject, batch, best)
    yield Finding(
        kind="not-learning",
        severity="fail" if sure and way < NOTHING else "warn",
        where="",
        evidence=f"the loss of one batch of 4 rows went from {first:.5g} to {best.lowest():.5g} at "
        f"best; an output that is free reaches {floor:.5g}. Steps of Adam by rate: {ran}. {reason}",
        explanation="a model that works learns a few rows by heart in some dozens of steps",
        fix="look at the first finding of the other checks; where there is none, feed the model "
        "inputs that differ, and follow the gradient from the loss backwards",
    )


def why(subject: Subject, batch: dict[str, Any], best: Try) -> tuple[str, bool]:
    """Look for what keeps a model from learning; say whether that is certain."""
    steps = best.steps
    lost = steps.seen - steps.alive
    module = subject.fresh(train=True)
    seed_all(5)
    objective(subject, module, batch).backward()
    with torch.no_grad():
        seed_all(5)
        output = subject.main(subject.call(module.eval(), batch))
    axis = subject.facts.output_batch_axis
    if axis is not None and output.dim() and output.shape[axis] > 1:
        rows = output.detach().movedim(axis, 0).double()
        spread = float((rows - rows[:1]).abs().max())
        if spread <= 1e-6 * float(rows.abs().max()):
            return "The output is the same for all rows: the model cannot tell them apart.", True
    if lost and len(lost) >= 0.5 * len(steps.seen):
        return f"{len(lost)} of {len(steps.seen)} parameters never had a gradient.", True
    return "Gradients reach the parameters.", False


ROWS = (
    Check(
        name="overfit",
        run=check_overfit,
        tier="full",
        about="one batch can be learnt by heart",
    ),
)

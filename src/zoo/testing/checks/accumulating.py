"""Whether a batch in pieces trains like the whole batch.

All gradients g are read in the moment of optimizer.step(), in float64, without noise, and made so
small that no clipping acts. For two pieces a and b of a batch, steps of their own and a step over
the whole tell by least squares how the loss weighs them,

    g(whole) = w_a g(a) + w_b g(b)          (no such weights: the loss couples rows)

and the trainer's accumulation must give the same weights: (1, 1) is a loss that was not divided,
(0, 1) are gradients set to zero for every piece, (1/2, 1/2) counts pieces and not rows or tokens.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from zoo.testing.checks.training import crashed, finding
from zoo.testing.checks.training_loop import (
    Loop,
    LoopError,
    Seen,
    cut_rows,
    exact,
    flat,
    norm,
    raw_batch,
    row_axes,
    trainer_of,
)
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.finding import Finding
from zoo.testing.subject import Subject
from zoo.testing.trees import changed

PIECES = ((3, 3), (4, 2))  # rows: pieces of one size, and of two


class Measure:
    """Gradients of steps and of accumulations, made under the same conditions."""

    def __init__(self, subject: Subject) -> None:
        self.subject, self.how = subject, exact(subject)
        self.scale = 1.0
        size = sum(PIECES[0])
        if subject.spec.trainer is not None and subject.spec.trainer.clip is not None:
            self.scale = 1e-6
        self.given = raw_batch(subject, size, 7, double=self.how["double"])
        self.axes = row_axes(subject)
        self.bound = 1e-8 if self.how["double"] else 1e-3
        self.size = size

    def piece(self, start: int, stop: int) -> Any:
        """Cut rows out of the batch; a copy, whatever the model does to its input."""
        cut = cut_rows(self.given, self.axes, start, stop)
        return changed(cut, lambda x: x.clone())

    def whole(self) -> Any:
        """Give all rows."""
        return self.piece(0, self.size)

    def loop(self) -> Loop:
        """Make a loop whose gradients are too small to be clipped."""
        return Loop(self.subject, **self.how, scale=self.scale)

    def step(self, batch: Any, seed: int = 0) -> dict[str, Tensor]:
        """Give the gradients of one step."""
        return self.loop().step(batch, seed).gradients()

    def accumulate(self, pieces: list[Any]) -> Seen:
        """Make one step over pieces."""
        return self.loop().accumulate(pieces)


def check_trainer_accumulation(subject: Subject) -> Iterable[Finding]:
    """Compare the gradients of a batch in pieces with those of the whole batch."""
    trainer_of(subject, "step", "accumulate")
    measure = Measure(subject)
    whole = measure.step(measure.whole())
    if not measure.how["quiet"] and apart_of(measure.step(measure.whole(), 5), whole) > 1e-6:
        raise NotApplicable("the training step draws random numbers, which pieces draw otherwise")
    try:
        seen = measure.accumulate([measure.whole()])
        pieces = measure.accumulate([measure.piece(0, 3), measure.piece(3, 6)])
    except LoopError as error:
        yield crashed(error)
        return
    told = list(counted(pieces))
    if told:
        yield from told
        return
    gap = apart_of(seen.gradients(), whole)
    if gap > measure.bound:
        ratio = norm(seen.gradients()) / norm(whole)
        yield finding(
            "accumulation",
            f"one piece that is the whole batch gives gradients {ratio:.4g} times as long as those "
            f"of step() on the same batch (they differ by {gap:.3g})",
            "accumulation trains something else, even where there is nothing to accumulate",
            "let both compute the loss the same way; divide the sum over pieces by what the whole "
            "batch is divided by",
        )
        return
    for rows in PIECES:
        found = compare(measure, whole, rows)
        if found is not None:
            yield found
            return


def apart_of(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """Give how far gradients lie apart, relative to the longer."""
    names = [n for n in one if n in other]
    a, b = flat(one, names), flat(other, names)
    longest = max(float(a.norm()), float(b.norm()))
    return float((a - b).norm()) / longest if longest else 0.0


def counted(seen: Seen) -> Iterable[Finding]:
    """Find an optimizer or a scheduler that steps in every piece."""
    steps, ticks = seen.count("optimizer"), seen.count("scheduler")
    if steps == 0:
        raise NotApplicable("no torch.optim.Optimizer makes a step in accumulate()")
    if steps > 1:
        yield finding(
            "accumulation",
            f"accumulate() over 2 pieces made {steps} steps of the optimizer",
            "every piece is a batch of its own: nothing is accumulated",
            "call optimizer.step() once, after the backward pass of the last piece",
        )
    elif ticks > 1:
        yield finding(
            "scheduler",
            f"accumulate() over 2 pieces made 1 step of the optimizer and {ticks} of the scheduler",
            "the schedule is passed as many times too fast as there are pieces",
            "call scheduler.step() once, after optimizer.step()",
        )


def weights(one: Tensor, other: Tensor, total: Tensor) -> tuple[float, float, float]:
    """Give the weights with which two vectors make a third, and what is left of it."""
    sides = torch.stack([one, other], 1)
    found = torch.linalg.lstsq(sides, total[:, None], driver="gelsd").solution[:, 0]
    rest = float((sides @ found - total).norm()) / (float(total.norm()) or 1.0)
    return float(found[0]), float(found[1]), rest


def compare(measure: Measure, whole: dict[str, Tensor], rows: tuple[int, int]) -> Finding | None:
    """Compare pieces of so many rows with the whole."""

    def pieces() -> list[Any]:
        return [measure.piece(0, rows[0]), measure.piece(rows[0], measure.size)]

    one, other = (measure.step(piece) for piece in pieces())
    names = [n for n in whole if n in one and n in other]
    a, b, total = flat(one, names), flat(other, names), flat(whole, names)
    right = weights(a, b, total)
    room = 100 * measure.bound
    if right[2] > room:
        raise NotApplicable("the loss of a row depends on the other rows of its batch")
    got = flat(measure.accumulate(pieces()).gradients(), names)
    gap = float((got - total).norm()) / max(float(total.norm()), float(got.norm()))
    if gap <= room:
        return None
    found = weights(a, b, got)
    said = f"{found[0]:.3g} and {found[1]:.3g}" if found[2] < room else "no weights at all"
    equal = rows[0] == rows[1]
    counts = abs(right[0] - rows[0] / sum(rows)) < 1e-4
    return finding(
        "accumulation",
        f"a batch of {sum(rows)} rows in pieces of {rows[0]} and {rows[1]}: a step over the whole "
        f"is made of the pieces' own gradients with weights {right[0]:.3g} and {right[1]:.3g}, "
        f"accumulation gives them {said} (gradients differ by {gap:.3g})",
        cause(found, right, found[2] < room),
        "divide every piece's loss by what the whole batch counts: "
        + (
            "(loss * rows of the piece / rows of all).backward()"
            if counts
            else "sum the losses of all tokens that count, and divide by their number in all pieces"
        )
        + ", and set gradients to zero only once, before the first piece",
        "fail" if equal or off(found, right) else "warn",
    )


def off(found: tuple[float, float, float], right: tuple[float, float, float]) -> bool:
    """Say whether the weights are wrong in sum, and not only in how they are shared."""
    return abs(sum(found[:2]) - sum(right[:2])) > 0.01 * abs(sum(right[:2]))


def cause(found: tuple[float, float, float], right: tuple[float, float, float], fits: bool) -> str:
    """Say what weights like these come from."""
    a, b = found[:2]
    if not fits:
        return "the gradients are changed between pieces: clipped or scaled piece by piece"
    if abs(a) < 1e-3 * abs(b):
        return "gradients are set to zero for every piece: only the last one counts"
    if abs(b) < 1e-3 * abs(a):
        return "only the first piece counts"
    if abs(a - 1) < 1e-3 and abs(b - 1) < 1e-3:
        return "the loss is not divided by the number of pieces: gradients grow with it"
    if abs(a - b) < 1e-3 * abs(a) and off(found, right):
        return f"pieces are divided by the wrong number: gradients are {a + b:.3g} times too long"
    if abs(a - b) < 1e-3 * abs(a):
        return (
            "every piece weighs the same, but pieces differ in how many rows or tokens count: "
            "those in short pieces count more than in one whole batch"
        )
    return "the pieces' weights are not those of the whole batch"


ROWS = (
    Check(
        name="trainer_accumulation",
        run=check_trainer_accumulation,
        about="a batch in pieces gives the gradients of the whole batch",
    ),
)

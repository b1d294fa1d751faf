"""A loss that is said to be symmetric, asked with its two sides exchanged.

Where a model gives two lists of vectors and the loss compares them inside, no matrix shows that
only one direction counts; but a loss that counts both gives the same number either way round.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from zoo.testing.engine import Check, NotApplicable
from zoo.testing.finding import Finding
from zoo.testing.subject import Subject
from zoo.testing.trees import changed, tensors


def check_loss_symmetry(subject: Subject) -> Iterator[Finding]:
    """Prove that a symmetric loss of two outputs does not change when they trade places."""
    spec = subject.spec
    if not (spec.symmetric_loss or (spec.symmetric_loss is None and spec.task == "contrastive")):
        raise NotApplicable("the loss is not said to be symmetric: symmetric_loss=True")
    if spec.loss is None:
        raise NotApplicable("there is no loss of the output")
    bench = subject.bench()
    batch = bench.batch(5)
    with torch.no_grad():
        output = bench.run(batch)
    sides = two_sides(output)
    if sides is None:
        raise NotApplicable("the output holds no two tensors of one shape (b, e)")
    other = exchanged(output, *sides)
    if len(tensors(other)) != len(tensors(output)):
        raise NotApplicable("the output's type cannot be put together again")
    with torch.no_grad():
        one, two = (subject.loss(x, batch).detach() for x in (output, other))
    if not bench.differ(one, two):
        return
    first, second = sides
    yield Finding(
        kind="loss-one-sided",
        severity="fail" if spec.symmetric_loss else "warn",
        where="",
        evidence=f"with outputs {first!r} and {second!r} exchanged the loss is {float(two):.6g}, "
        f"as they are {float(one):.6g}",
        explanation="a contrastive loss that counts one direction alone trains one side to find "
        "the other, and not the other way round",
        fix="average both directions: (cross_entropy(s, i) + cross_entropy(s.T, i)) / 2",
    )


def two_sides(output: Any) -> tuple[str, str] | None:
    """Give the paths of the two tensors (b, e) of an output, if there are just two alike."""
    found = {p: x for p, x in tensors(output).items() if x.dim() == 2 and x.is_floating_point()}
    if len(found) != 2 or isinstance(output, Tensor):
        return None
    first, second = found
    return (first, second) if found[first].shape == found[second].shape else None


def exchanged(output: Any, first: str, second: str) -> Any:
    """Copy an output with two of its tensors exchanged."""
    found = tensors(output)
    one, other = found[first], found[second]

    def swap(x: Tensor) -> Tensor:
        return other if x is one else one if x is other else x

    return changed(output, swap)


ROWS = (
    Check(
        name="loss_symmetry",
        run=check_loss_symmetry,
        about="a loss that is said to be symmetric is the same with its sides exchanged",
    ),
)

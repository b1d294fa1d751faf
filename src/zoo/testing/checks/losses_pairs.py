"""Losses that compare rows with rows: which pairs belong together, and in which direction."""

from collections.abc import Iterator

import torch
from torch import Tensor

from zoo.testing.checks.losses_view import View
from zoo.testing.finding import Finding


def pairs(view: View) -> Iterator[Finding]:
    """Look at losses of (b, b) similarities."""
    free, spec = view.free, view.subject.spec
    square = {p: x for p, x in free.every.items() if x.shape == (free.size, free.size)}
    if not square or not (spec.task == "contrastive" or view.subject.facts.output_couples):
        return
    found = off_diagonal(view, square)
    if found is not None:
        yield found
    else:
        yield from one_way(view, square)


def off_diagonal(view: View, square: dict[str, Tensor]) -> Finding | None:
    """Check that the pairs of the diagonal are those that are pulled together."""
    free = view.free
    if view.labels and view.subject.spec.task != "contrastive":
        return None
    for path in square:
        reading = view.readings.get(path)
        if reading is None or reading.form != "cross entropy":
            continue
        classes = reading.classes()
        if not torch.equal(classes, torch.arange(free.size)):
            said = view.subject.spec.task == "contrastive"
            at = f"output {path!r}" if path else "the output"
            return view.finding(
                "loss-targets",
                "fail" if said else "warn",
                f"row i of {at} is trained to choose column {classes.tolist()}; expected "
                f"{list(range(free.size))}",
                "row i and column i come from the same pair, so these must be pulled together",
                "give the loss torch.arange(b) as labels, and similarities of rows in one order",
            )
    return None


def one_way(view: View, square: dict[str, Tensor]) -> Iterator[Finding]:
    """Check that rows choose columns, and columns rows."""
    free, spec = view.free, view.subject.spec
    if spec.symmetric_loss is False:
        return
    first = next(iter(square.values()))
    ways = set()
    for path, x in square.items():
        if path not in free.live:
            continue
        reading = view.readings.get(path)
        if reading is None or reading.form != "cross entropy":
            return  # both directions in one tensor, or another loss
        turned = not torch.equal(x, first) and torch.allclose(x, first.T)
        ways.add(reading.axis ^ int(turned))
    if len(ways) != 1:
        return
    axis = ways.pop()
    sure = bool(spec.symmetric_loss)
    yield view.finding(
        "loss-one-sided",
        "fail" if sure else "warn",
        f"the gradient of the (b, b) similarities is that of one softmax along dim={axis}, and of "
        f"none along dim={1 - axis}",
        "only one side is taught to find its partner among the others; the other side's mistakes "
        "cost nothing",
        "take the mean of the cross entropies of the similarities and of their transpose",
    )

"""The loss before any training: a classifier that knows nothing costs the log of the classes."""

import math
from collections.abc import Iterator
from statistics import median

import torch
from torch import Tensor

from zoo.testing.checks.losses_free import Free
from zoo.testing.checks.losses_read import Reading, read
from zoo.testing.checks.losses_view import View, make_view
from zoo.testing.checks.targets_view import trained
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.finding import Finding
from zoo.testing.subject import Subject


def check_initial_loss(subject: Subject) -> Iterator[Finding]:
    """Compare the loss of the model as it is built with that of a uniform guess."""
    view = make_view(subject)
    reading = view.reading()
    if reading is None or reading.form != "cross entropy" or view.coupled():
        raise NotApplicable("the loss of the output is no cross entropy over classes")
    classes = view.free.base().shape[reading.axis]
    chance = math.log(classes)
    costs, spreads = measured(view.free)
    if not costs:
        raise NotApplicable("the loss of other batches cannot be read")
    cost, spread = median(costs), median(spreads)
    if cost > 2 * chance + 1:
        yield too_dear(view, classes, cost, spread, max(costs))
    elif cost < 0.3 * chance and not copies(view, reading):
        yield too_cheap(view, classes, cost)


def measured(free: Free) -> tuple[list[float], list[float]]:
    """Give the cross entropy and the spread of the logits of several batches."""
    costs, spreads = [], []
    rounds = 1 if free.slow() or free.subject.built.count > 5_000_000 else 4
    for seed in range(rounds):
        batch = free.batch if seed == 0 else free.bench.batch(free.size, seed)
        reading = read(free, batch=batch)
        x = logits(free, batch) if reading is not None else None
        if reading is None or reading.form != "cross entropy" or x is None:
            continue
        x = x.movedim(reading.axis, -1).double()
        if x.shape[:-1] != reading.weight.shape or not bool(reading.counted().any()):
            continue
        log_p = x.log_softmax(-1)
        each = -(reading.target * log_p).sum(-1)
        counted = reading.counted()
        costs.append(float(each[counted].mean()))
        spreads.append(float(x[counted].std(-1).mean()))
    return costs, spreads


def logits(free: Free, batch: object) -> Tensor | None:
    """Give the numbers that the loss gets for a batch."""
    with torch.no_grad():
        output = free.bench.run(batch)  # type: ignore[arg-type]
    if free.at >= 0:
        return free.subject.main(output)
    return free.subject.outputs(output).get(free.path)


def copies(view: View, reading: Reading) -> bool:
    """Say whether the targets stand in the input, where tied weights copy them."""
    one = trained(view, view.free.path)
    if one is None:
        return False
    given = view.subject.arguments(view.free.batch).values()
    return any(
        isinstance(x, Tensor) and x.shape == one.classes.shape and bool((x == one.classes).any())
        for x in given
    )


def too_dear(view: View, classes: int, cost: float, spread: float, worst: float) -> Finding:
    """Make the finding of an untrained model that is sure of wrong answers."""
    chance = math.log(classes)
    extreme = cost > 5 * chance + 5
    for name, x in view.subject.arguments(view.free.batch).items():
        if isinstance(x, Tensor) and x.is_floating_point() and float(x.square().mean()) > 400:
            return view.finding(
                "bad-input-data",
                "fail" if extreme else "warn",
                f"{name!r} holds numbers from {float(x.min()):.4g} to {float(x.max()):.4g}; as "
                f"built, the loss is {cost:.4g}, and a uniform guess among {classes} classes "
                f"costs ln {classes} = {chance:.4g}",
                "inputs of this size make an untrained model sure of wrong answers",
                "bring inputs to mean 0 and deviation 1: divide pictures by 255 and normalise them",
                where=name,
                line="",
            )
    return view.finding(
        "init",
        "fail" if extreme else "warn",
        f"as built, the loss of labels drawn at random is {cost:.4g} (median; at most "
        f"{worst:.4g}); a uniform guess among {classes} classes costs ln {classes} = "
        f"{chance:.4g}. The logits of a position have a standard deviation of {spread:.3g}",
        "the untrained model is sure of wrong answers: the first steps only undo that, with "
        "gradients that are too large",
        "start with logits near 0: a smaller deviation of the last layer's weights (0.02, or "
        "1/sqrt(width)), and of embeddings that are tied to it",
    )


def too_cheap(view: View, classes: int, cost: float) -> Finding:
    """Make the finding of an untrained model that knows the answers."""
    return view.finding(
        "loss-targets",
        "warn",
        f"as built, the loss is {cost:.4g}; a uniform guess among {classes} classes costs "
        f"ln {classes} = {math.log(classes):.4g}",
        "an untrained model knows the answers: the labels reach the output, or are nearly always "
        "the class that the model begins with",
        "look for the label among the inputs, and at how labels are drawn",
    )


ROWS = (
    Check(
        name="initial_loss",
        run=check_initial_loss,
        about="an untrained classifier costs about the log of the number of classes",
    ),
)

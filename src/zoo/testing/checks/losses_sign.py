"""Which way a loss falls: towards the answer, and not without end."""

from collections.abc import Iterator
from itertools import pairwise

import torch

from zoo.testing.checks.losses_view import View, drawn, fitting, whole
from zoo.testing.finding import Finding


def sign(view: View) -> Iterator[Finding]:
    """Check that the loss falls when the answer gets better."""
    for path, reading in view.readings.items():
        if reading is None:
            continue
        counted = reading.counted()
        wrong = bool((reading.weight[counted] < 0).all()) and bool(counted.any())
        wrong = wrong and not (reading.form == "linear" and not picks_labels(view, path))
        if wrong:
            at = f"output {path!r}" if path else "the output"
            yield view.finding(
                "loss-sign",
                "fail",
                f"as a function of {at} the loss is a {reading.form} term with a negative factor: "
                f"its gradient pushes away from the target at all {int(counted.sum())} places",
                "training makes the answer worse, and the loss falls without end",
                "change the sign of this term of the loss",
            )
            return
    if view.reading() is None:
        yield from worse_is_cheaper(view)
        yield from endless(view)
    yield from plunging(view)


def picks_labels(view: View, path: str) -> bool:
    """Say whether a loss that picks numbers out picks those of the labels."""
    reading = view.readings[path]
    assert reading is not None
    labels = fitting(view, tuple(reading.weight.shape))
    if labels is None:
        return False
    counted = reading.counted()
    return bool((reading.classes() == labels[1])[counted].all())


def worse_is_cheaper(view: View) -> Iterator[Finding]:
    """Compare right answers with wrong ones, for losses that are not of a known form."""
    free, x = view.free, view.free.base()
    if view.coupled():
        return
    for name, labels in view.labels.items():
        if whole(labels) and x.dim() == 2 and labels.shape == x.shape[:1] and x.shape[1] > 1:
            inside = (labels >= 0) & (labels < x.shape[1])
            if not bool(inside.all()):
                return
            right = torch.zeros_like(x).scatter_(1, labels[:, None], 1.0)
            wrong = [right.roll(k, 1) for k in range(1, x.shape[1])]
            pairs_ = [
                (free.number(a * right), [free.number(a * w) for w in wrong]) for a in (1.0, 5.0)
            ]
            if all(one > max(others) for one, others in pairs_):
                one, others = pairs_[1]
                yield view.finding(
                    "loss-sign",
                    "fail",
                    f"with 5 for the class in {name!r} and 0 elsewhere the loss is {one:.4g}; "
                    f"with 5 for a wrong class at most {max(others):.4g}",
                    "the loss is lower for wrong answers than for right ones",
                    "change the sign of the loss, or take the classes as the labels have them",
                )
            return
        if labels.is_floating_point() and labels.numel() == x.numel():
            goal = labels.to(x.dtype).reshape(x.shape)
            far = [free.number(goal + a * drawn(x, 3)) for a in (0.0, 1.0, 10.0, 100.0)]
            if all(b < a for a, b in pairwise(far)):
                yield view.finding(
                    "loss-sign",
                    "fail",
                    f"at output == {name!r} the loss is {far[0]:.4g}; 1, 10 and 100 away from it "
                    + ", ".join(f"{v:.4g}" for v in far[1:]),
                    "the loss is lower the farther the output is from the target",
                    "change the sign of the loss",
                )
            return


def plunging(view: View) -> Iterator[Finding]:
    """Find a term that falls faster than any square: exp with the wrong sign, as in a KL term."""
    free = view.free
    for path in () if free.slow() else free.live:
        x = free.base(path)
        for way in (1.0, -1.0):
            start, near, far = (free.number(x + way * a, path=path) for a in (0.0, 10.0, 20.0))
            if near - start < -1e3 and far - start < 100 * (near - start):
                at = f"output {path!r}" if path else "the output"
                yield view.finding(
                    "loss-sign",
                    "fail",
                    f"moving {at} by {10 * way:g} and {20 * way:g} takes the loss from "
                    f"{start:.4g} to {near:.4g} and {far:.4g}",
                    "the loss falls exponentially without end, so training drives this output to "
                    "infinity",
                    "change the sign of the term with exp (in a KL term: -0.5 * sum(1 + logvar - "
                    "mu^2 - exp(logvar)))",
                )
                return


def endless(view: View) -> Iterator[Finding]:
    """Find a number beside the prediction (a spread) that a regression drives to infinity."""
    free, x = view.free, view.free.base()
    if view.coupled() or x.dim() < 2 or not 1 < x.shape[-1] <= 8:
        return
    if not any(labels.is_floating_point() for labels in view.labels.values()):
        return
    start = drawn(x, 4)
    for channel in range(x.shape[-1]):
        for way in (1.0, -1.0):
            steps = []
            for far in (0.0, 20.0, 40.0, 80.0):
                moved = start.clone()
                moved[..., channel] += way * far
                steps.append(free.number(moved))
            falls = [a - b for a, b in pairwise(steps)]
            if min(falls) > 0.1 and abs(falls[2] - 2 * falls[1]) < 1e-3 * falls[2]:
                yield view.finding(
                    "loss-sign",
                    "fail" if view.subject.spec.task == "regression" else "warn",
                    f"at wrong predictions, moving number {channel} of the output by "
                    f"{20 * way:g}, {40 * way:g} and {80 * way:g} takes the loss from "
                    f"{steps[0]:.4g} to {', '.join(f'{v:.4g}' for v in steps[1:])}",
                    "the loss falls in a straight line without end, however wrong the answer is: "
                    "a spread can be made infinite at no cost",
                    "check the sign of the term with the logarithm of the spread: "
                    "0.5 * ((y - mean) / std)^2 + log(std)",
                )
                return

"""Whether the output is what it is said to be, and what must be refused is refused."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from zoo.testing.checks.running_spy import ROUNDING, told
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.finding import Finding
from zoo.testing.stress import Bench
from zoo.testing.subject import Subject, cloned

LOOSE = 2.0**10  # units in the last place, for sums of many numbers


def check_output(subject: Subject) -> Iterable[Finding]:
    """Stop an output that is not of the declared kind, or sums to one along the wrong axis."""
    if subject.spec.stateful:
        raise NotApplicable("the model keeps state between calls on purpose")
    bench = subject.bench()
    mains = [bench.main(bench.batch(3, seed)) for seed in (0, 1)]
    if not all(x.is_floating_point() and x.numel() for x in mains):
        raise NotApplicable("the output holds no real numbers")
    if any(bool(x.isnan().any()) for x in mains):
        raise NotApplicable("the output holds NaN: see forward")
    found = list(of_kind(subject, bench, mains))
    yield from found
    if not found:
        yield from over_the_batch(subject, bench, mains)
        yield from in_range(subject, mains)


def axis_of(subject: Subject, x: Tensor) -> int:
    """Give the axis along which classes stand: the declared one, the second of images, the last."""
    spec = subject.spec
    if spec.class_axis is not None:
        return spec.class_axis
    if spec.num_classes is not None:
        fits = [a for a in range(1, x.dim()) if x.shape[a] == spec.num_classes]
        if len(fits) == 1:
            return fits[0]
    return -1


def near(bench: Bench, x: Tensor, value: float) -> bool:
    """Say whether all numbers are a value but for rounding."""
    if x.shape == () and not x.numel():
        return False
    return bool(((x - value).abs() <= bench.bound + torch.finfo(x.dtype).eps * LOOSE).all())


def of_kind(subject: Subject, bench: Bench, mains: list[Tensor]) -> Iterator[Finding]:
    """Compare the output with the declared kind."""
    kind = subject.spec.output_kind
    x = mains[0]
    if not x.dim():
        return
    axis = axis_of(subject, x)
    several = x.shape[axis] > 1 and has_classes(subject, x)
    if kind == "probabilities":
        if bool((x < -1e-6).any()) or bool((x > 1 + 1e-6).any()):
            yield wrong(f"probabilities lie between {float(x.min()):.3g} and {float(x.max()):.3g}")
        elif several and not all(near(bench, m.sum(axis), 1.0) for m in mains):
            total = x.sum(axis)
            yield wrong(
                f"probabilities sum to between {float(total.min()):.4g} and "
                f"{float(total.max()):.4g} along axis {axis}{elsewhere(bench, mains, axis)}"
            )
    elif kind == "log_probabilities" and several:
        if not all(near(bench, m.logsumexp(axis), 0.0) for m in mains):
            total = x.exp().sum(axis)
            other = elsewhere(bench, [m.exp() for m in mains], axis)
            yield wrong(
                f"exp of the log probabilities sums to between {float(total.min()):.4g} and "
                f"{float(total.max()):.4g} along axis {axis}{other}"
            )
    elif kind == "unit":
        length = x.norm(dim=axis)
        if not all(near(bench, m.norm(dim=axis), 1.0) for m in mains):
            yield wrong(
                f"vectors that are said to have length 1 have lengths from "
                f"{float(length.min()):.4g} to {float(length.max()):.4g} along axis {axis}"
            )
    elif kind == "logits" and x.shape[axis] > 1 and is_softmax(bench, mains, axis):
        yield wrong("the output is declared as logits and is a softmax: it sums to 1")


CLASSIFIERS = ("classification", "token_classification", "segmentation", "next_token")


def is_softmax(bench: Bench, mains: list[Tensor], axis: int) -> bool:
    """Say whether all numbers are positive and sum to one."""
    return all(near(bench, m.sum(axis), 1.0) and bool((m >= 0).all()) for m in mains)


def has_classes(subject: Subject, x: Tensor) -> bool:
    """Say whether one axis of the output is known to be classes that exclude each other."""
    spec = subject.spec
    if spec.task == "multilabel":
        return False
    known = spec.class_axis is not None or spec.num_classes in tuple(x.shape[1:])
    return known or spec.task in CLASSIFIERS


def elsewhere(bench: Bench, mains: list[Tensor], axis: int) -> str:
    """Say along which other axis numbers do sum to one."""
    dims = mains[0].dim()
    for other in range(dims):
        if other != axis % dims and all(near(bench, m.sum(other), 1.0) for m in mains):
            return f"; they sum to 1 along axis {other}: the softmax is over the wrong axis"
    return ""


def wrong(evidence: str) -> Finding:
    """Make the finding of an output that is not what it is said to be."""
    return Finding(
        kind="range",
        severity="fail",
        where="",
        evidence=evidence,
        explanation="a loss or a decision that takes the output for what was declared is wrong",
        fix="put the last activation over the right axis (dim=-1 or dim=1), leave it out for "
        "logits, or correct output_kind, class_axis or output_range",
    )


def over_the_batch(subject: Subject, bench: Bench, mains: list[Tensor]) -> Iterator[Finding]:
    """Find an output that sums to one over the rows of a batch."""
    axis, x = subject.facts.output_batch_axis, mains[0]
    if axis is None or subject.facts.output_couples or x.dim() < 2 or x.shape[axis] < 2:
        return
    if subject.spec.couples_batch or bool((x < 0).any()) or bool((x == x.flatten()[0]).all()):
        return
    if not all(near(bench, m.sum(axis), 1.0) for m in mains):
        return
    if elsewhere(bench, mains, axis):
        return
    yield Finding(
        kind="batch-leak",
        severity="fail",
        where="",
        evidence=f"the output {tuple(x.shape)} is not negative and sums to 1 along axis {axis}, "
        "the batch",
        explanation="a softmax over the batch makes rows compete with each other: an answer "
        "depends on what else is asked",
        fix="take the softmax over the classes: softmax(dim=-1)",
    )


def in_range(subject: Subject, mains: list[Tensor]) -> Iterator[Finding]:
    """Find an output outside its declared range."""
    if subject.spec.output_range is None:
        return
    low, high = subject.spec.output_range
    lowest, highest = (
        float(f([g(m) for m in mains])) for f, g in ((min, torch.min), (max, torch.max))
    )
    room = ROUNDING * torch.finfo(mains[0].dtype).eps * max(abs(low), abs(high), 1.0)
    room = room if room < float("inf") else 0.0
    if lowest < low - room or highest > high + room:
        yield wrong(
            f"the output lies between {lowest:.4g} and {highest:.4g}; "
            f"output_range=({low:g}, {high:g}) was declared"
        )


def check_refusals(subject: Subject) -> Iterable[Finding]:
    """Stop a model that answers to what it was declared to refuse."""
    if not subject.spec.must_raise:
        raise NotApplicable("nothing was declared that must raise")
    for sentence, spoil in subject.spec.must_raise.items():
        good = subject.batch()
        bad = dict(spoil(cloned(good)))
        for train in (False, True):
            if answers(subject, bad, good, train):
                yield accepted(sentence, train, bad, good)
                break


def answers(subject: Subject, bad: dict[str, Any], good: dict[str, Any], train: bool) -> bool:
    """Say whether forward, and the loss where labels were spoiled, give an answer."""
    module = subject.fresh(train=train)
    given = set(subject.arguments(good))
    labels_only = all(same(bad.get(n), good.get(n)) for n in given | (set(bad) & given))
    try:
        output = subject.call(module, bad)
        if labels_only and subject.has_loss():
            subject.loss(output, bad)
    except Exception:
        return False
    return True


def same(one: Any, other: Any) -> bool:
    """Say whether two entries of a batch are equal."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and torch.equal(one, other)
    return type(one) is type(other) and not isinstance(one, Tensor) and bool(one == other)


def accepted(sentence: str, train: bool, bad: dict[str, Any], good: dict[str, Any]) -> Finding:
    """Make the finding of an input that should have been refused."""
    changed = [n for n in bad if not same(bad[n], good.get(n))]
    gone = [n for n in good if n not in bad]
    what = ", ".join([*changed, *(f"no {n}" for n in gone)]) or "nothing of the batch"
    return Finding(
        kind="accepts-bad-input",
        severity="fail",
        where="",
        evidence=f"{sentence}: {told('').removeprefix('the ')} gives an answer in "
        f"{'train' if train else 'eval'} mode (changed: {what}) and must raise",
        explanation="wrong input that is clamped, cut or wrapped round gives a plausible answer "
        "to another question, and nobody learns of it",
        fix="check at the start of forward and raise ValueError with the value and the limit; do "
        "not clamp ids, take remainders or cut what is too long",
    )


def check_batch(subject: Subject) -> Iterable[Finding]:
    """Stop data that the model cannot mean: ids, labels, masks and numbers out of range."""
    from zoo.testing.checks.running_data import batch_findings

    yield from batch_findings(subject)


def table() -> tuple[tuple[str, Callable[[Subject], Iterable[Finding]], str], ...]:
    """List the checks of this file."""
    return (
        ("output", check_output, "probabilities, unit vectors and ranges are what they say"),
        ("refusals", check_refusals, "what must raise raises"),
        ("batch_data", check_batch, "ids, labels, masks and numbers lie in their ranges"),
    )


ROWS = tuple(Check(name=name, run=run, about=about) for name, run, about in table())

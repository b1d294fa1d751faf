"""Whether a loss is a loss: a scalar that falls when the answer gets better, row by row.

The loss is taken as a function of the output alone, so a model's own numbers hide nothing of it.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from zoo.testing.checks.losses_count import ignored
from zoo.testing.checks.losses_far import far
from zoo.testing.checks.losses_input import wrong_input
from zoo.testing.checks.losses_pairs import pairs
from zoo.testing.checks.losses_rows import broadcast
from zoo.testing.checks.losses_scale import scale
from zoo.testing.checks.losses_sign import sign
from zoo.testing.checks.losses_view import View, drawn, make_view
from zoo.testing.checks.running import crash
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.finding import Finding
from zoo.testing.guard import seed_all
from zoo.testing.subject import Subject


def check_loss(subject: Subject) -> Iterator[Finding]:
    """Examine the loss as a function of the output; the first thing wrong ends it."""
    if not subject.has_loss():
        raise NotApplicable("there is no loss")
    first = list(plain(subject))
    yield from first
    if any(one.severity == "fail" for one in first):
        return
    view = make_view(subject)
    for part in (constant, sign, wrong_input, broadcast, ignored, scale, pairs, far):
        found = list(part(view))
        yield from found
        if any(one.severity == "fail" for one in found):
            return


def plain(subject: Subject) -> Iterator[Finding]:
    """Take the loss of some batches, as it is: it must give one finite real number."""
    module = subject.fresh(train=False)
    for seed in (None, 1, 2, 3):
        batch = subject.batch(4, seed)
        if seed is not None and costly(subject, batch):
            return  # one batch must do
        try:
            output = subject.call(module, batch)
        except Exception as error:
            name = type(error).__name__
            raise NotApplicable(f"the model does not run on 4 rows: {name}") from error
        try:
            seed_all(0)
            value: object = subject.loss(output, batch)
        except Exception as error:
            found = crash(error, "loss(output, batch) of 4 rows")
            if subject.facts.labels is not None and "out of bounds" in str(error):
                found = replace(found, evidence=found.evidence + label_range(subject, batch))
            yield found
            return
        first = list(judged(subject, output, value))
        yield from first
        if first:
            return


def costly(subject: Subject, batch: dict[str, Any]) -> bool:
    """Say whether a forward is not for repetition: a large model, or large pictures."""
    size = sum(x.numel() for x in batch.values() if isinstance(x, Tensor))
    return subject.built.count > 5_000_000 or size > 100_000


def label_range(subject: Subject, batch: dict[str, Any]) -> str:
    """Say which numbers the labels hold."""
    x = batch[subject.facts.labels or ""]
    return f"; batch[{subject.facts.labels!r}] holds {x.min()} to {x.max()}"


def judged(subject: Subject, output: Any, value: Any) -> Iterator[Finding]:
    """Look at what loss(output, batch) gave."""
    if not isinstance(value, Tensor):
        yield Finding(
            kind="detached",
            severity="fail",
            where="",
            evidence=f"loss(output, batch) gives {type(value).__name__}: {value!r:.60}",
            explanation="only a tensor carries a gradient back to the parameters",
            fix="return the loss as a tensor: no .item(), float() or .numpy() in it",
        )
    elif value.numel() != 1 and subject.spec.reduction != "none":
        yield Finding(
            kind="loss-shape",
            severity="fail",
            where="",
            evidence=f"the loss of 4 rows has the shape {tuple(value.shape)}; expected one number",
            explanation="backward() needs one number; several are the losses of rows, or the "
            "result of shapes that were broadcast against each other",
            fix="compare tensors of one shape and reduce with mean() (or declare reduction='none')",
        )
    elif value.numel() == 1 and not bool(value.isfinite().all()):
        if not all(bool(x.isfinite().all()) for x in subject.outputs(output).values()):
            raise NotApplicable("the output is not finite")
        yield Finding(
            kind="non-finite",
            severity="fail",
            where="",
            evidence=f"the loss of a batch of 4 rows is {float(value.detach())}, as built",
            explanation="a gradient of NaN or infinity ruins every parameter in one step",
            fix="look for log(0), a division by a count of 0, or exp of a large number in the loss",
        )


def constant(view: View) -> Iterator[Finding]:
    """Check that the loss depends on the output, and on the labels."""
    free = view.free
    if not free.live:
        yield from unreached(view)
        return
    if all(dull(view, path) for path in free.live):
        if not moves(view, free.path):
            yield view.finding(
                "loss-constant",
                "fail",
                "the loss is the same number, with a gradient of exactly 0, for 12 random outputs "
                "at scales 0.1 to 10",
                "nothing can be learnt from a loss that does not depend on the output",
                "compute the loss from the output, not from a comparison or a rounded number",
            )
        return
    main = free.main
    if main in free.live and dull(view, main) and not moves(view, main):
        at = f"output {main!r}" if main else "the output"
        yield view.finding(
            "loss-constant",
            "fail",
            f"the loss does not depend on {at}: it stays the same, with a gradient of exactly 0, "
            "for 12 random outputs at scales 0.1 to 10, while other outputs have a part in it",
            "what the model is for is not trained: it is compared with itself, or with a copy",
            "compare the output with the target of the batch",
        )
        return
    yield from labels_unread(view)


def unreached(view: View) -> Iterator[Finding]:
    """Say why no gradient reaches the output: the loss ignores it, or is cut from it."""
    free = view.free
    parameters = [p for p in free.bench.module.parameters() if p.requires_grad]
    value = free.bench.loss(free.batch)
    if value.requires_grad or not parameters:
        return  # it reaches the parameters by another way than the output
    moved = any(moves(view, path) for path in free.every)
    yield view.finding(
        "detached" if moved else "loss-constant",
        "fail",
        "the loss has no gradient with respect to any tensor of the output, "
        + ("though its value follows the output" if moved else "and does not follow it either"),
        "backward() cannot reach a parameter",
        "take the loss of the output itself: no detach(), .data, no_grad(), argmax, rounding or "
        "torch.tensor(...) between the output and the loss",
    )


def scales(x: Tensor) -> list[Tensor]:
    """Draw outputs at several scales."""
    return [drawn(x, seed) * size for seed in range(4) for size in (0.1, 1.0, 10.0)]


def dull(view: View, path: str) -> bool:
    """Say whether the gradient is zero everywhere one looks."""
    free = view.free
    for x in [free.base(path), *scales(free.base(path))]:
        try:
            if bool(free.gradient(x, path=path).any()):
                return False
        except Exception:
            return False
    return True


def moves(view: View, path: str) -> bool:
    """Say whether the loss's value follows a tensor of the output."""
    free = view.free
    seen = {free.number(x, path=path) for x in scales(free.base(path))}
    return len(seen) > 1


def labels_unread(view: View) -> Iterator[Finding]:
    """Check that other labels give another loss."""
    subject, free = view.subject, view.free
    name = subject.facts.labels
    if name is None or name not in view.labels or view.coupled():
        return
    x = drawn(free.base(), 0) if view.reading() is not None else free.base()
    start, changed = free.number(x), 0
    for seed in range(2 if free.slow() else 5):
        other = free.other_batch(seed)[name]
        if other.shape != free.batch[name].shape or torch.equal(other, free.batch[name]):
            continue
        changed += 1
        if free.number(x, dict(free.batch) | {name: other}) != start:
            return
    if changed > 1:
        said = subject.spec.labels == name
        target = view.reading()
        other_goal = target is not None and target.form != "linear"
        yield view.finding(
            "loss-targets" if other_goal else "loss-constant",
            "fail" if said else "warn",
            f"with {changed} other draws of {name!r} the loss stays {start:.6g}"
            + (
                f"; it is a {target.form} term whose target is something else"
                if target is not None
                else ""
            ),
            "what is to be predicted has no part in the loss, so the model learns something else",
            f"compare the output with batch[{name!r}]",
        )


ROWS = (
    Check(
        name="loss",
        run=check_loss,
        about="the loss is a finite scalar that falls when the answer gets better, row by row",
    ),
)

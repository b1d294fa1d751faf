"""Whether a loss is a loss: a scalar that falls when the answer gets better, row by row.

The loss is taken as a function of the output alone, so a model's own numbers hide nothing of it.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from zoo.testing.checks.losses_count import ignored, scale
from zoo.testing.checks.losses_input import wrong_input
from zoo.testing.checks.losses_pairs import pairs
from zoo.testing.checks.losses_sign import sign
from zoo.testing.checks.losses_view import View, drawn, make_view, probe
from zoo.testing.checks.running import crash
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.finding import Finding
from zoo.testing.guard import seed_all
from zoo.testing.stress import apart
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
    for part in (constant, sign, wrong_input, broadcast, ignored, scale, pairs):
        found = list(part(view))
        yield from found
        if any(one.severity == "fail" for one in found):
            return


def plain(subject: Subject) -> Iterator[Finding]:
    """Take the loss once, as it is: it must give one finite real number."""
    batch = subject.batch(4)
    module = subject.fresh(train=False)
    try:
        output = subject.call(module, batch)
    except Exception as error:
        raise NotApplicable(f"the model does not run on 4 rows: {type(error).__name__}") from error
    try:
        seed_all(0)
        value = subject.loss(output, batch)
    except Exception as error:
        yield crash(error, "loss(output, batch) of 4 rows")
        return
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
            evidence=f"the loss of a batch of 4 rows is {float(value)} as the model is built",
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
    for seed in range(5):
        other = free.other_batch(seed)[name]
        if other.shape != free.batch[name].shape or torch.equal(other, free.batch[name]):
            continue
        changed += 1
        if free.number(x, dict(free.batch) | {name: other}) != start:
            return
    if changed > 1:
        said = subject.spec.labels == name or view.reading() is not None
        yield view.finding(
            "loss-constant",
            "fail" if said else "warn",
            f"with {changed} other draws of {name!r} the loss stays {start:.6g}",
            "what is to be predicted has no part in the loss, so the model learns something else",
            f"compare the output with batch[{name!r}]",
        )


def broadcast(view: View) -> Iterator[Finding]:
    """Check that each row is compared with its own label: (b, 1) against (b,) is not."""
    if view.coupled():
        return
    for path in view.free.live:
        for name, labels in view.labels.items():
            own = labels.dim() and len(labels) == view.free.size
            if own and name not in view.subject.arguments(view.free.batch):
                found = shuffled(view, path, name)
                if found is not None:
                    yield found
                    return


def shuffled(view: View, path: str, name: str) -> Finding | None:
    """Give the rows' labels to other rows, while all the other tensors count as they do.

    Only what the loss makes of this tensor and these labels may change, and it must.
    """
    free, labels, bound = view.free, view.labels[name], view.free.bench.bound
    other = free.other_batch(1)[name]
    x = probe(view, path)
    if x is None or other.shape != labels.shape or len({str(row.tolist()) for row in labels}) < 2:
        return None
    start = free.gradient(x, path=path)
    batch = dict(free.batch)
    if not apart(free.gradient(x, batch | {name: other}, path), start) > bound:
        return None
    for k in (1, 2, 3):
        order = torch.arange(free.size).roll(k)
        if apart(free.gradient(x, batch | {name: labels[order]}, path), start) > bound:
            return None
    outer = labels.numel() == x.numel() == free.size and labels.shape != x.shape
    task = view.subject.spec.task in ("classification", "regression", "multilabel")
    at = f"output {path!r}" if path else "the output"
    return view.finding(
        "loss-shape",
        "fail" if outer or task else "warn",
        f"giving every row the label of another row leaves the gradient of the loss with respect "
        f"to {at} as it is (three orders tried), and other labels change it; {at} is "
        f"{tuple(x.shape)}, {name!r} is {tuple(labels.shape)}",
        "every row is compared with the labels of all rows: one shape was broadcast against "
        f"the other, to {free.size} x {free.size} differences. The model can learn no more "
        "than the mean of the labels",
        "bring both to one shape before comparing: output.squeeze(-1), or labels[:, None]",
    )


ROWS = (
    Check(
        name="loss",
        run=check_loss,
        about="the loss is a finite scalar that falls when the answer gets better, row by row",
    ),
)

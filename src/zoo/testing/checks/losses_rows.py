"""Whether a loss compares each row with its own label, and with nothing of other rows."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from zoo.testing.blame import Watch
from zoo.testing.checks.losses_view import View, probe
from zoo.testing.finding import Finding
from zoo.testing.stress import apart


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
    yield from outer(view)


def outer(view: View) -> Iterator[Finding]:
    """Find two tensors of the output that are multiplied each row with each row."""
    free = view.free
    rows = [p for p, x in free.every.items() if x.dim() and len(x) == free.size]
    if len(rows) < 2 or free.at >= 0 or not squares(view):
        return
    order = torch.arange(free.size).roll(1)
    for one in rows:
        for other in rows:
            x, y = free.base(one), free.base(other)
            if one == other or y.numel() != free.size or len(set(y.flatten().tolist())) < 2:
                continue
            start, same, new = (
                gradient_beside(view, one, x, {other: changed})
                for changed in (y, y[order], y * 1.5 + 0.1)
            )
            bound = free.bench.bound
            if apart(start, same) <= bound < apart(start, new):
                yield view.finding(
                    "loss-shape",
                    "fail",
                    f"giving the rows of output {other!r} {tuple(y.shape)} to other rows leaves "
                    f"the gradient with respect to output {one!r} {tuple(x.shape)} as it is, "
                    f"other numbers change it, and the loss makes a tensor of {free.size} x "
                    f"{free.size} of them",
                    "every row is combined with the numbers of all rows: one shape was broadcast "
                    "against the other",
                    f"bring both to one shape: {other!r} must have one number for each row, as "
                    "(b,), where a loss of each row is (b,)",
                )
                return


def squares(view: View) -> bool:
    """Say whether the loss makes a tensor of rows times rows."""
    seen: list[bool] = []
    free = view.free

    def look(_: Any, found: Any) -> None:
        if isinstance(found, Tensor):
            seen.append(tuple(found.shape) == (free.size, free.size))

    with torch.no_grad(), Watch(look):
        free.value(free.base())
    return any(seen)


def gradient_beside(view: View, path: str, x: Tensor, others: dict[str, Tensor]) -> Tensor:
    """Give the gradient at one tensor of the output, with others replaced."""
    leaf = x.detach().clone().requires_grad_()
    value = view.free.evaluate({**others, path: leaf}, view.free.batch)
    if not value.requires_grad:
        return torch.zeros_like(leaf)
    found = torch.autograd.grad(value.sum(), leaf, allow_unused=True)[0]
    return torch.zeros_like(leaf) if found is None else found


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
    try:
        changed = free.gradient(x, batch | {name: other}, path)
    except Exception:
        return None
    if not apart(changed, start) > bound:
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

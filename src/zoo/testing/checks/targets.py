"""What every position is trained to emit, read off the gradient of the loss, and held against the
labels, the inputs and what was declared.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from zoo.testing.checks.losses_view import IGNORED, View, agreement, make_view, shifted
from zoo.testing.checks.targets_real import has_numbers, real_targets
from zoo.testing.checks.targets_tokens import against_inputs, copied_start, unmasked, wrapped
from zoo.testing.checks.targets_view import SHIFTS, Trained, labels_of, some, trained
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.finding import Finding
from zoo.testing.subject import Subject


def check_targets(subject: Subject) -> Iterator[Finding]:
    """Compare what positions are trained to emit with labels, inputs and declarations."""
    view = make_view(subject)
    if view.coupled():
        raise NotApplicable("the loss compares rows with rows")
    known = [one for path in view.free.live if (one := trained(view, path)) is not None]
    real = list(real_targets(view))
    if not known and not any(view.readings.values()) and not has_numbers(view):
        raise NotApplicable("what the loss wants cannot be read off its gradient")
    yield from real
    for one in known:
        for part in PARTS:
            found = part(view, one)
            if found is not None:
                yield found
                if found.severity == "fail":
                    return


def other_rows(view: View, one: Trained) -> Finding | None:
    """Change the labels of one row: no other row may be trained on something else."""
    labels = labels_of(view, one)
    free = view.free
    if labels is None or labels[0] in view.subject.arguments(free.batch):
        return None
    name, wanted, valid = labels
    if any(agreement(one.classes, one.counted, wanted, valid, s) == 1 for s in SHIFTS):
        return None
    other = free.other_batch(2)[name].reshape(wanted.shape)
    first = torch.zeros_like(valid)
    first[0] = True
    mixed = torch.where(
        valid & first & (other >= 0) & (other <= wanted[valid].max()), other, wanted
    )
    batch = dict(free.batch) | {name: mixed.reshape(free.batch[name].shape)}
    again = trained(view, one.path, batch)
    if again is None:
        return None
    moved = (again.classes != one.classes) & again.counted & one.counted
    hit = [i for i in range(len(moved)) if bool(moved[i].any())]
    if not hit or hit == [0]:
        return None
    return view.finding(
        "loss-targets",
        "fail",
        f"with other labels of row 0 in {name!r}, rows {hit} are trained to emit other classes; "
        + some(one, wanted)
        + " are its labels",
        "outputs and labels are laid out differently where they meet, so a row is trained on the "
        "labels of another",
        "flatten both from the same layout: (batch, position, class) and (batch, position); no "
        "transpose or view of one of them alone",
    )


def declared_shift(view: View, one: Trained) -> Finding | None:
    """Check the shift between positions and labels that was declared."""
    said, labels = view.subject.spec.label_shift, labels_of(view, one)
    if said is None or labels is None or one.path != view.free.main or one.classes.dim() != 2:
        return None
    name, wanted, valid = labels
    if agreement(one.classes, one.counted, wanted, valid, said) == 1.0:
        return None
    found = [s for s in SHIFTS if agreement(one.classes, one.counted, wanted, valid, s) == 1.0]
    sign = "-" if found and found[0] < 0 else "+"
    what = f"{name}[t {sign} {abs(found[0])}]" if found else f"none of {name}[t - 2 .. t + 2]"
    return view.finding(
        "loss-targets",
        "fail",
        f"position t is trained to emit {what}; declared is {name}[t + {said}]. "
        + some(one, wanted)
        + " are its labels",
        "positions learn the wrong target: training runs well, and the model is useless",
        advice(said, found[0] if found else None),
    )


def advice(said: int, found: int | None) -> str:
    """Say how to come from one shift to another."""
    if said == 1 and found == 0:
        return "compare output[:, :-1] with labels[:, 1:]"
    if said == 1 and found == 2:
        return "shift once: either the data or the loss, not both"
    if said == 0 and found == 1:
        return "do not shift: compare the output with the labels position by position"
    return f"compare the output at t with the label at t + {said}"


def never_trained(view: View, one: Trained) -> Finding | None:
    """Find positions that have labels and are never trained."""
    said, labels = view.subject.spec.label_shift, labels_of(view, one)
    if said is None or labels is None or one.classes.dim() != 2 or one.path != view.free.main:
        return None
    if view.subject.spec.task == "masked_tokens":
        return None  # a mask of its own may say which labels count
    _, wanted, valid = labels
    label = shifted(wanted.masked_fill(~valid, IGNORED), said, IGNORED) != IGNORED
    mask = view.free.batch.get(view.subject.facts.padding_mask or "")
    if isinstance(mask, Tensor) and mask.shape == wanted.shape:
        keep = mask.bool() if view.subject.facts.mask_keeps else ~mask.bool()
        label = label & keep & shifted(keep, said, False)
    lost = [
        t
        for t in range(label.shape[1])
        if bool(label[:, t].any()) and not bool(one.counted[:, t].any())
    ]
    if not lost or len(lost) == label.shape[1]:
        return None
    return view.finding(
        "loss-targets",
        "warn",
        f"positions {lost[:8]} have labels, and in no row do they have a gradient",
        "what these positions emit is never trained",
        "compare all positions that have a label",
    )


PARTS = (
    other_rows,
    declared_shift,
    against_inputs,
    copied_start,
    wrapped,
    unmasked,
    never_trained,
)
ROWS = (
    Check(
        name="targets",
        run=check_targets,
        about="every position is trained to emit its own label, shifted as declared",
    ),
)

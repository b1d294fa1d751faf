"""Whether what stands under a mask changes the loss."""

from collections.abc import Iterator

import torch

from zoo.testing.checks.influence_tools import Batch, Rig, gap, positions_of, scale_of
from zoo.testing.checks.padding_tools import Padded, padded_inputs
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.finding import Finding
from zoo.testing.subject import Subject


def check_padding_loss(subject: Subject) -> Iterator[Finding]:
    """Prove that what stands under the mask does not change the loss."""
    rig = Rig(subject)
    if not subject.has_loss():
        raise NotApplicable("there is no loss")
    batch = rig.batch(4)
    for padded in padded_inputs(rig):
        if padded.how != "mask":
            continue
        mask, known = batch[padded.name], rig.input(padded.name)
        hides = (mask != 0) if known.true_means == "drop" else (mask == 0)
        hides[:, :-1] &= hides[:, 1:].clone()  # a pad before a real token may be asked to guess it
        labels = batch.get(subject.facts.labels or "")
        if not bool(hides.any()) or bool(hides.all(1).any()) or labels is None:
            continue
        name = padded.content[0]
        if labels.shape != mask.shape or batch[name].shape != mask.shape:
            continue
        other = batch[name].clone()
        legal = sorted(set(batch[name][~hides].tolist()))
        new = [legal[(5 * k + 1) % len(legal)] for k in range(int(hides.sum()))]
        other[hides] = torch.tensor(new, dtype=other.dtype)
        try:
            with torch.no_grad():
                one = rig.bench.loss(batch).detach()
                two = rig.bench.loss({**batch, name: other}).detach()
        except Exception as error:
            raise NotApplicable("the loss cannot be taken") from error
        apart = gap(one, two, scale_of(one))
        if not apart > rig.bench.bound or seen(rig, padded, batch, {**batch, name: other}, ~hides):
            continue
        declared = subject.spec.padding_mask == padded.name and subject.spec.task is not None
        yield Finding(
            kind="loss-ignored",
            severity="fail" if declared else "warn",
            where="",
            evidence=(
                f"other values of {name} where {padded.name} hides them moved the loss by "
                f"{apart:.2g} of itself, although the outputs at real positions did not move"
            ),
            explanation="the loss trains the model on padded positions",
            fix="give padded positions the label that the loss ignores (ignore_index, often -100)",
        )
        return


def seen(rig: Rig, padded: Padded, one: Batch, other: Batch, real: torch.Tensor) -> bool:
    """Say whether outputs at real positions, or without positions, moved."""
    first, second = rig(one), rig(other)
    places = positions_of(rig, padded.content[0], padded.axis)
    for path, x in first.items():
        y = second[path]
        if path in places:
            axis, surplus = places[path]
            if surplus or rig.layout.rows.get(path) != 0:
                return True
            x, y = x.movedim(axis, 1)[real], y.movedim(axis, 1)[real]
        elif path not in rig.layout.pooled.get(padded.content[0], set()):
            continue
        if x.dim() and gap(x, y) > rig.bench.bound:
            return True
    return False


ROWS = (
    Check(
        name="padding_loss",
        run=check_padding_loss,
        about="what stands under the mask does not change the loss",
    ),
)

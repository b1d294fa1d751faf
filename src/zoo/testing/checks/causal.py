"""Whether an output sees the future.

The future is known where the author declared an input to be read causally. It is also known where
the loss trains position t to emit the input at t + 1: the gradient of the loss says to which class
each position is pushed. A model that sees what it is asked for learns to copy it.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from zoo.testing.blame import Place
from zoo.testing.checks.causal_words import ahead_at, mask_line, told
from zoo.testing.checks.influence import Influence, alone, influence_of, told_of
from zoo.testing.checks.influence_blame import blame_positions, owner
from zoo.testing.checks.influence_tools import (
    Rig,
    full_mask,
    legal_ids,
    other_ids,
    positions_of,
    sequence_axis,
    shaken,
)
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.finding import Finding
from zoo.testing.subject import Subject


def check_causality(subject: Subject) -> Iterator[Finding]:
    """Prove that no output depends on a later input."""
    rig = Rig(subject)
    if subject.spec.causal is False:
        raise NotApplicable("the author says that outputs may see the future")
    shifts = {n: trained_shift(rig, n) for n in rig.facts.inputs}
    declared = subject.facts.causal
    names = [declared] if declared in rig.facts.inputs else []
    names += [n for n, shift in shifts.items() if shift == 1 and n != declared]
    if not names:
        raise NotApplicable("no input is declared causal, and the loss does not ask for the next")
    for name in names:
        assert name is not None
        found = influence_of(rig, name)
        if found.surplus is None:
            if name == names[-1]:
                raise NotApplicable(f"no output has the positions of {name}")
            continue
        yield from future(rig, found, declared=name == declared)
        yield from own(found, shifts.get(name))
        if shifts.get(name) == 1 and not told_of(rig):
            yield from alone(rig, found, told=True)


def future(rig: Rig, found: Influence, *, declared: bool) -> Iterator[Finding]:
    """Report outputs that move with later inputs."""
    surplus = max(found.surplus or 0, 0)
    leaks = [
        (t - surplus, p, float(found.matrix[t, column]))
        for column, p in enumerate(found.places)
        for t in range(found.matrix.shape[0])
        if t - surplus < p and t >= surplus and bool(found.seen()[t, column])
    ]
    if not leaks:
        return
    t, p, size = max(leaks, key=lambda leak: leak[2])
    place = blame_future(rig, found.name, p)
    ahead = max(p - t for t, p, _ in leaks)
    here, line = closer(rig, found.name, place, p)
    possible = sum(t < p for t in range(found.matrix.shape[0] - surplus) for p in found.places)
    why = (
        "the author declared this input causal"
        if declared
        else "the loss trains each position to emit the next input, so it is asked what it sees"
    )
    yield Finding(
        kind="causal-leak",
        severity="fail",
        where=owner(rig, place),
        line=line,
        evidence=(
            f"{found.name} was changed at position {p}, and the output at position {t} moved by "
            f"{size:.2g} of its scale; {len(leaks)} of {possible} pairs (earlier output, later "
            f"input) leak, {told(ahead, here, owner(rig, place))}"
        ),
        explanation=f"{why}; in generation the future is not there, so training measures nothing",
        fix=advice(here or ahead, found, size, place),
        data=found.picture(),
    )


def advice(ahead: int, found: Influence, size: float, place: Place | None) -> str:
    """Say what to change, by what the leak looks like."""
    name = place.name if place else ""
    if name in ("reshape", "view", "flatten", "transpose", "permute"):
        return "this reshape mixes positions with heads: transpose back to (b, t, h, d) first"
    if name in ("mean", "sum", "std", "var", "var_mean", "amax", "max", "flip", "logsumexp"):
        return (
            f"this {name} runs over positions: take it over the features, or over earlier "
            "positions alone (cumsum, cummax)"
        )
    if name.startswith("conv"):
        return (
            "pad the convolution on the left alone: F.pad(x, (dilation * (kernel_size - 1), 0)) "
            "and padding=0"
        )
    if ahead < found.length - 1 and ahead <= 2:
        return (
            f"the mask lets {ahead} position{'s' if ahead > 1 else ''} too many through: keep the "
            "diagonal and what is below it, torch.tril(ones(t, t)), or triu(..., diagonal=1) for "
            "what is hidden; pad convolutions on the left alone"
        )
    if size < 1e-3:
        return "the mask is soft: fill hidden scores with -inf (or finfo.min), not with a number"
    return (
        "hide later positions before the softmax over keys: masked_fill(~tril, -inf), softmax over "
        "the last axis; take no mean, norm or reversal over positions"
    )


def blame_future(rig: Rig, name: str, place: int) -> Place | None:
    """Find where positions before `place` first move when it is changed."""
    axis = sequence_axis(rig, name)
    if axis is None:
        return None
    one = full_mask(rig, rig.batch(rows(rig, name)))
    other = {**one, name: changed_at(rig, name, one[name], axis, place)}
    length = one[name].shape[axis]
    return blame_positions(rig, one, other, length, lambda x, a: x.narrow(a, 0, place))


def closer(rig: Rig, name: str, place: Place | None, at: int) -> tuple[int, str]:
    """Say how far the guilty module alone looks ahead (0: unknown), and the line of its mask."""
    axis = sequence_axis(rig, name)
    if place is None or axis is None:
        return 0, place.line if place else ""
    one = full_mask(rig, rig.batch(rows(rig, name)))
    length = one[name].shape[axis]
    line = mask_line(rig, one, place, length)
    if not place.where:
        return 0, line
    pairs = [
        (one, {**one, name: changed_at(rig, name, one[name], axis, p)}, p)
        for p in sorted({at, length - 1})
    ]
    return ahead_at(rig, place.where, pairs, length), line


def rows(rig: Rig, name: str) -> int:
    """Choose a number of rows unlike the number of positions."""
    return 2 if rig.facts.length == 3 else 3


def changed_at(rig: Rig, name: str, x: Tensor, axis: int, place: int) -> Tensor:
    """Copy an input with every row changed at one position."""
    y = x.clone()
    there = y.select(axis, place)
    if x.is_floating_point():
        there.copy_(shaken(x, 5).select(axis, place))
        return y
    legal = legal_ids(rig, name)
    new = [(other_ids(legal, int(i), 1, 1) or [int(i)])[0] for i in there.flatten()]
    there.copy_(torch.tensor(new, dtype=x.dtype).view(there.shape))
    return y


def own(found: Influence, shift: int | None) -> Iterator[Finding]:
    """Report a mask that hides the present from a model that is to tell the next."""
    if found.surplus != 0 or shift != 1:
        return
    seen = found.seen()
    blind = [p for column, p in enumerate(found.places) if not bool(seen[p, column])]
    if len(blind) < len(found.places):
        return
    yield Finding(
        kind="mask",
        severity="fail",
        where="",
        evidence=(
            f"the output at each of {len(blind)} positions stays the same whatever {found.name} "
            "holds at that position"
        ),
        explanation=(
            "each position is trained to emit the next input without being shown the present one, "
            "which says most about it"
        ),
        fix="let a position see itself: torch.tril(ones(t, t)) with the diagonal; shift once only",
        data=found.picture(),
    )


def trained_shift(rig: Rig, name: str) -> int | None:
    """Say by how much later than itself each position is trained to emit this input, if at all."""
    axis, known = sequence_axis(rig, name), rig.input(name)
    if axis is None or known.batch_axis is None or not rig.subject.has_loss():
        return None
    if known.kind not in ("tokens", "targets"):
        return shifted_copy(rig, name, axis)
    pairs = [pushed(rig, name, seed) for seed in (0, 1)]
    for shift in (1,):
        if all(pair is not None and agrees(*pair, shift) for pair in pairs):
            return shift
    return None


def agrees(ids: Tensor, target: Tensor, shift: int) -> bool:
    """Say whether each trained position is pushed to the id that stands `shift` later."""
    wanted, given = ids[:, shift:], target[:, : ids.shape[1] - shift]
    if given.shape != wanted.shape:
        return False
    trained = given >= 0
    told = wanted[trained]
    return int(trained.sum()) >= 6 and len(told.unique()) >= 3 and torch.equal(given[trained], told)


def pushed(rig: Rig, name: str, seed: int) -> tuple[Tensor, Tensor] | None:
    """Give the ids (b, t), and the class that each position is pushed to (-1: none)."""
    axis, known = sequence_axis(rig, name), rig.input(name)
    place = positions_of(rig, name, axis or 0).get(rig.layout.main)
    path, subject = rig.layout.main, rig.subject
    if place is None or path not in rig.layout.rows or place[1] != 0:
        return None
    batch = rig.batch(4, seed)
    try:
        bench = subject.bench()
        output = bench.run(batch)
        main = subject.main(output)
        (slope,) = torch.autograd.grad(subject.loss(output, batch), main)
    except Exception:
        return None
    if slope.dim() != 3 or batch[name].dim() != 2:
        return None
    axes = (rig.layout.rows[path], place[0])
    slope = slope.movedim(axes, (0, 1))
    target = torch.where(slope.amin(2) < 0, slope.argmin(2), -1)
    ids = batch[name] if (known.batch_axis or 0) == 0 else batch[name].T
    return ids, target


def shifted_copy(rig: Rig, name: str, axis: int) -> int | None:
    """Say whether the labels are a float input, one position later."""
    batch = rig.batch(3)
    labels = batch.get(rig.facts.labels or "")
    x = batch[name]
    if not isinstance(labels, Tensor) or labels.shape != x.shape or x.shape[axis] < 4:
        return None
    later = x.narrow(axis, 1, x.shape[axis] - 1)
    same = torch.equal(labels.narrow(axis, 0, x.shape[axis] - 1).to(x), later)
    return 1 if same and not torch.equal(labels.to(x), x) else None


ROWS = (
    Check(
        name="causality",
        run=check_causality,
        about="no output sees a later input",
    ),
)

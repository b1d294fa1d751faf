"""Whether the rows of a batch keep to themselves.

Other rows are exchanged, rows change places, a row stands alone: row i of the output must stay what
it was. In train mode the same seed gives the same noise, so the same comparison holds there. Where
the output is rows against rows (b, b), entry (i, j) may depend on rows i and j alone.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from zoo.testing.blame import Place
from zoo.testing.checks.influence_blame import blame, blame_rows, owner
from zoo.testing.checks.influence_tools import (
    Batch,
    Rig,
    gap,
    inputs_by_batch,
    lengths_of,
    rows_in,
    scale_of,
    steady,
    take_rows,
)
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.finding import Finding, Severity
from zoo.testing.subject import Subject

NORMS = nn.modules.batchnorm._BatchNorm
SIZE = 5
WHY = (
    "a prediction would change with the other samples that happen to share its batch, so numbers "
    "measured in batches are not those of single samples"
)


def check_batch_independence(subject: Subject) -> Iterator[Finding]:
    """Prove that rows do not change each other in eval mode."""
    rig = Rig(subject)
    separate(rig)
    if rig.layout.squares and rig.layout.main in rig.layout.squares:
        yield from squares(rig)  # couples_batch is said of these because rows meet rows
        return
    if subject.spec.couples_batch:
        raise NotApplicable("rows may depend on each other: couples_batch is declared")
    batch = ragged(rig, rig.batch(size_for(rig)))
    found = exchanged(rig, batch) or moved(rig, batch) or alone(rig, batch)
    if found is not None:
        steady(rig)
        yield found


def ragged(rig: Rig, batch: Batch) -> Batch:
    """Hide other numbers of positions in each row, where the author said which mask does it.

    A mask of which only the first row is read shows in no batch whose rows are all whole.
    """
    name = rig.subject.spec.padding_mask
    known = rig.facts.inputs.get(name or "")
    if name is None or known is None or batch[name].dim() != 2 or known.batch_axis != 0:
        return batch
    mask, keeps = batch[name].clone(), rig.facts.mask_keeps
    if mask.shape[1] < 4 or not bool(((mask != 0) == keeps).all()):
        return batch
    for row in range(1, len(mask)):
        mask[row, mask.shape[1] - 1 - row % (mask.shape[1] - 2) :] = not keeps
    made = {**batch, name: mask}
    return batch if rig.tried(made) is None else made


def separate(rig: Rig) -> None:
    """Raise NotApplicable for inputs whose rows are joined: edges, or nodes of several graphs."""
    if not list(inputs_by_batch(rig)):
        raise NotApplicable("no input has an axis for the batch")
    if not rig.layout.rows and not rig.layout.squares:
        raise NotApplicable("no output has an axis for the batch")
    if rig.subject.spec.couples_batch is False:
        return
    small, large = rig.batch(2), rig.batch(5)
    for name, known in rig.facts.inputs.items():
        one, other = small[name].shape, large[name].shape
        grows = [a for a, (m, n) in enumerate(zip(one, other, strict=False)) if m != n]
        joins = known.batch_axis is None and (bool(grows) or "edge" in name)
        if len(grows) > 1 or joins:
            raise NotApplicable(f"{name} may join the rows of a batch; say couples_batch=False")


def size_for(rig: Rig) -> int:
    """Choose a number of rows that no other axis has, so that rows are not mistaken."""
    shapes = {n for x in rig.batch(3).values() if isinstance(x, Tensor) for n in x.shape}
    parameters = [p for p in rig.subject.built.parameters.values() if not nn.parameter.is_lazy(p)]
    shapes |= {n for p in parameters for n in p.shape}
    least = rig.subject.spec.min_batch_train or 2
    return next((n for n in (5, 7, 9, 11) if n not in shapes and n >= least), SIZE)


def mixed(rig: Rig, batch: Batch, keep: int) -> Batch:
    """Exchange every row but one for rows of another batch."""
    size = rows_in(rig, batch)
    other = rig.batch(size, 77)
    found = dict(batch)
    for name in inputs_by_batch(rig):
        axis = rig.input(name).batch_axis or 0
        x, y = batch[name], other[name]
        if x.shape != y.shape:
            continue
        y = y.clone()
        y.select(axis, keep).copy_(x.select(axis, keep))
        found[name] = y
    return found


def exchanged(rig: Rig, batch: Batch) -> Finding | None:
    """Exchange the other rows and see whether one row moves."""
    size = rows_in(rig, batch)
    base = rig(batch)
    worst: tuple[float, int, str] = (0.0, 0, "")
    for keep in (0, size - 1, size // 2)[: 3 if rig.small else 1]:
        given = rig.tried(mixed(rig, batch, keep))
        if given is None:
            continue
        for path, axis in rig.layout.rows.items():
            x, y = base.get(path), given.get(path)
            if x is None or y is None or x.shape != y.shape or x.shape[axis] != size:
                continue
            apart = gap(x.select(axis, keep), y.select(axis, keep), scale_of(x))
            if not apart <= rig.bench.bound and not apart <= worst[0]:
                worst = (apart, keep, path)
    if not worst[2] and worst[0] == 0.0:
        return None
    place = blame_exchange(rig, batch, worst[1])
    return leak(rig, place, worst, "the other rows were exchanged for other samples", "eval mode")


def leak(
    rig: Rig, place: Place | None, worst: tuple[float, int, str], done: str, mode: str
) -> Finding:
    """Make the finding of a row that moved."""
    apart, row, path = worst
    where = owner(rig, place)
    severity: Severity = "fail"
    part = module_at(rig, place.where if place else "")
    fix = (
        "look for an operation along axis 0 (mean, softmax, norm, attention with batch_first "
        "wrong) or a view/reshape across it, and make it work within a row"
    )
    if isinstance(part, NORMS) and mode == "eval mode":
        if part.track_running_stats:
            fix = "this norm runs in train mode although eval() was called; do not call .train()"
        else:
            fix = "give it track_running_stats=True, so that eval mode uses running statistics"
            kept = [m for m in rig.bench.module.modules() if isinstance(m, NORMS)]
            declared = rig.subject.spec.couples_batch is False
            mixed_up = any(m.track_running_stats for m in kept)
            severity = "fail" if declared or mixed_up else "warn"
    elif "reshape" in (place.name if place else "") or "view" in (place.name if place else ""):
        fix = "this reshape mixes the batch with another axis: permute first, or flatten(1)"
    elif isinstance(part, nn.MultiheadAttention) and not part.batch_first:
        fix = "build it with batch_first=True, or give it (time, batch, width)"
    return Finding(
        kind="batch-leak",
        severity=severity,
        where=where,
        line=place.line if place else "",
        evidence=(
            f"in {mode}, {done}; row {row} of output {path or 'output'!r} moved by "
            f"{apart:.2g} of its scale (rounding is below {rig.bench.bound:.0e})"
        ),
        explanation=WHY,
        fix=fix,
    )


def blame_exchange(rig: Rig, batch: Batch, keep: int) -> Place | None:
    """Find where the exchange of one row first moves another."""
    size = rows_in(rig, batch)
    base = rig(batch)
    for row in range(size):
        if row == keep:
            continue
        other = dict(batch)
        for name in inputs_by_batch(rig):
            if name != lengths_of(rig):  # rows stay in their order where they are sorted
                other = changed_row(rig, other, name, row)
        given = rig.tried(other)
        for path, axis in rig.layout.rows.items():
            x, y = base.get(path), (given or {}).get(path)
            if x is None or y is None or x.shape != y.shape:
                continue
            if rig.differ(x.select(axis, keep), y.select(axis, keep), scale_of(x)):
                return blame_rows(rig, batch, other)
    return None


def module_at(rig: Rig, where: str) -> nn.Module | None:
    """Give the module at a path."""
    return dict(rig.bench.module.named_modules()).get(where)


def moved(rig: Rig, batch: Batch) -> Finding | None:
    """Let the rows change places; the output's rows must do the same."""
    size = rows_in(rig, batch)
    order = [*range(2, size), 0, 1] if size > 2 else [1, 0]
    base, given = rig(batch), rig.tried(take_rows(rig, batch, order))
    if given is None or rig.layout.noisy:
        return None
    for path, axis in rig.layout.rows.items():
        x, y = base.get(path), given.get(path)
        if x is None or y is None or x.shape != y.shape or x.shape[axis] != size:
            continue
        apart = gap(x.index_select(axis, torch.tensor(order)), y, scale_of(x))
        if apart <= rig.bench.bound:
            continue
        place = blame_order(rig, batch, order)
        return Finding(
            kind="batch-leak",
            severity="fail",
            where=owner(rig, place),
            line=place.line if place else "",
            evidence=(
                f"rows were given in the order {order}; output {path or 'output'!r} did not come "
                f"back in that order: {apart:.2g} of its scale apart"
            ),
            explanation=(
                "which answer a sample gets depends on its place in the batch: rows come back in "
                "another order than they were given in, or a row's index is used as an input"
            ),
            fix=(
                "where rows are sorted (by length, say), undo it: output[order.argsort()]; take "
                "nothing from a row's index"
            ),
        )
    return None


def blame_order(rig: Rig, batch: Batch, order: list[int]) -> Place | None:
    """Find where rows first do not come in the order in which they were given."""
    size, index = len(order), torch.tensor(order)

    def wrong(a: Tensor, b: Tensor) -> bool:
        if a.shape != b.shape or not a.is_floating_point():
            return False
        fits = [axis for axis in range(min(a.dim(), 2)) if a.shape[axis] == size]
        return len(fits) == 1 and rig.differ(a.index_select(fits[0], index), b)

    return blame(rig, batch, take_rows(rig, batch, order), wrong)


def alone(rig: Rig, batch: Batch) -> Finding | None:
    """Compare rows of a batch with the same rows in smaller batches."""
    if rig.layout.noisy:
        return None
    base = rig(batch)
    for rows in ([1], [0, 2]):
        piece = take_rows(rig, batch, rows)
        given = rig.tried(piece)
        if given is None:
            continue  # another check says that this size fails
        for path, axis in rig.layout.rows.items():
            x, y = base.get(path), given.get(path)
            if x is None or y is None:
                continue
            part = x.index_select(axis, torch.tensor(rows))
            if part.shape != y.shape:
                continue
            apart = gap(part, y, scale_of(x))
            if apart <= rig.bench.bound:
                continue
            count = f"{rows_in(rig, batch)} rows and in a batch of {len(rows)}"
            return Finding(
                kind="batch-leak",
                severity="fail" if rig.subject.spec.couples_batch is False else "warn",
                where="",
                evidence=(
                    f"rows {rows} give other numbers in a batch of {count}: output "
                    f"{path or 'output'!r} is {apart:.2g} of its scale apart"
                ),
                explanation=WHY,
                fix="look for a sum or a mean over axis 0, or for something sized by the batch",
            )
    return None


def squares(rig: Rig) -> Iterator[Finding]:
    """Check an output of rows against rows: a change of row r shows in row r and column r alone."""
    path = rig.layout.main
    batch = rig.batch(4)
    base = rig(batch)[path]
    if base.dim() != 2 or sums_to_one(base):
        raise NotApplicable("the output is normalised over the batch")
    for name in inputs_by_batch(rig):
        for row in (0, 2):
            given = rig.tried(changed_row(rig, batch, name, row))
            if given is None or given[path].shape != base.shape:
                continue
            moved = ((given[path] - base).abs() > rig.bench.bound * scale_of(base)).clone()
            moved[row, :] = False
            moved[:, row] = False
            if not bool(moved.any()):
                continue
            i, j = (int(n) for n in moved.nonzero()[0])
            place = blame_rows(rig, batch, changed_row(rig, batch, name, row))
            yield Finding(
                kind="batch-leak",
                severity="fail",
                where=owner(rig, place),
                line=place.line if place else "",
                evidence=(
                    f"row {row} of {name} was exchanged; entry ({i}, {j}) of the output moved, "
                    "which compares two other rows"
                ),
                explanation="the entry for a pair of rows must depend on these two rows alone",
                fix="compute each row's embedding and its norm within the row: over the last axis",
            )
            return


def sums_to_one(x: Tensor) -> bool:
    """Say whether rows or columns, or their exponentials, sum to one."""
    sums = [y.sum(axis) for y in (x, x.exp()) for axis in (0, 1)]
    return any(bool(((s - 1).abs() < 1e-6).all()) for s in sums)


def changed_row(rig: Rig, batch: Batch, name: str, row: int) -> Batch:
    """Exchange one row of one input."""
    axis = rig.input(name).batch_axis or 0
    other = rig.batch(rows_in(rig, batch), 77)[name]
    x = batch[name].clone()
    if x.shape == other.shape:
        x.select(axis, row).copy_(other.select(axis, row))
    return {**batch, name: x}


ROWS = (
    Check(
        name="batch_independence",
        run=check_batch_independence,
        about="rows of a batch do not change each other in eval mode",
    ),
)

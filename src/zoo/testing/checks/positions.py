"""Whether the order of positions matters, and whether the longest sequence runs.

A row that holds the same value everywhere tells: a model that knows positions gives other outputs
at other places; attention without positions gives the same everywhere, with a causal mask too.
"""

import re
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from zoo.testing.checks.influence_blame import recorded
from zoo.testing.checks.influence_tools import (
    Batch,
    Rig,
    full_mask,
    gap,
    lengths_of,
    positions_of,
    rows_in,
    scale_of,
    sequence_axis,
)
from zoo.testing.checks.running import raised_at
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.finding import Finding
from zoo.testing.subject import Subject

TABLES = ("pos", "wpe")
NAMED = re.compile(r"(^|[._])(pos(?!t)|wpe|pe([._]|$))")  # not post_norm


def check_positions(subject: Subject) -> Iterator[Finding]:
    """Prove that a model that should know the order of its input does."""
    spec = subject.spec
    rig = Rig(subject)
    names = [
        n
        for n, x in rig.facts.inputs.items()
        if x.kind in ("tokens", "targets", "float", "labels") and sequence_axis(rig, n) is not None
    ]
    names = [n for n in names if n not in (*spec.permutation_equivariant,)]
    table = position_table(rig)
    if spec.position_sensitive is False or not (spec.position_sensitive or table is not None):
        raise NotApplicable("nothing says that positions matter: position_sensitive=True would")
    tried = False
    for name in names:
        known = blind(rig, name)
        if known is None:
            continue
        tried = True
        if known:
            yield order_lost(name, known, table or "")
            return
    if not names:
        for name, known_input in rig.facts.inputs.items():
            if known_input.kind == "image" and blind_to_patches(rig, name):
                how = "two patches were exchanged, of several sizes and at several places"
                yield order_lost(name, how, table or "")
                return
            tried = tried or known_input.kind == "image"
    if not tried:
        raise NotApplicable("no input is known to have positions")


def order_lost(name: str, how: str, where: str) -> Finding:
    """Make the finding of a model that does not know the order."""
    return Finding(
        kind="position-blind",
        severity="fail",
        where=where,
        evidence=f"in {name} {how}, and the output did not change",
        explanation="attention alone sees a bag of tokens: without positions their order is lost",
        fix=(
            "add the positions to what the layers read, one for each place: "
            "x + positions[:, :t], with indices torch.arange(t)"
        ),
    )


def position_table(rig: Rig) -> str | None:
    """Give the module with a table of positions: a parameter or buffer that is named so."""
    length = max(rig.facts.length, 2)
    tensors = [*rig.bench.module.named_parameters(), *rig.bench.module.named_buffers()]
    for name, x in tensors:
        rows = [n for n in x.shape[:-1] if n > 1]
        plain = x.is_floating_point() and len(rows) == 1 and rows[0] >= length
        owner, _, _ = name.rpartition(".")
        if (
            plain
            and NAMED.search(name.lower())
            and not any(part in name for part in ("bias", "rel"))
        ):
            return owner
    return None


def blind(rig: Rig, name: str) -> str | None:
    """Say how it shows that order does not matter; empty where it does, None where unknown."""
    axis = sequence_axis(rig, name)
    batch = full_mask(rig, rig.batch(3))
    x = batch[name]
    if axis is None or x.shape[axis] < 3:
        return None
    place = positions_of(rig, name, axis).get(rig.layout.main)
    path = rig.layout.main
    if place is not None and place[1] == 0:
        if not attends(rig):
            return swapped(rig, name, axis, batch, out=place[0])
        same = x.select(axis, 1).unsqueeze(axis).expand_as(x).contiguous()
        given = rig.tried({**alike(rig, batch, x.shape[axis]), name: same})
        if given is None or path not in given:
            return None
        y = given[path].movedim(place[0], 0)
        apart = gap(y, y[:1].expand_as(y), scale_of(y))
        said = "every position was given the same value: all positions gave the same output"
        blank = {**alike(rig, batch, x.shape[axis]), name: same}
        return said if apart <= rig.bench.bound and not relative(rig, blank, len(y)) else ""
    if path not in rig.layout.rows and path not in rig.layout.squares:
        return None
    return swapped(rig, name, axis, batch)


def relative(rig: Rig, batch: Batch, length: int) -> bool:
    """Say whether positions enter attention itself: rotated queries, or scores by distance.

    Of equal values attention makes the same whatever its weights; inside, positions still show.
    """
    size = rows_in(rig, batch)
    try:
        steps = recorded(rig, batch).steps
    except Exception:
        return True
    lower = torch.ones(length, length, dtype=torch.bool).tril()
    for x in (x for step in steps for x in step.tensors):
        if x.dim() != 4 or not x.is_floating_point() or x.shape[0] not in (1, size):
            continue
        if x.shape[2:] == (length, length):
            seen = x.flatten(0, 1)[:, lower]
            weights = bool((x >= 0).all()) and bool((x <= 1).all())  # after the softmax
            if not weights and rig.differ(seen, seen[:, :1].expand_as(seen)):
                return True
        elif x.shape[0] == size and length in x.shape[1:3] and x.shape[1] != x.shape[2]:
            y = x.movedim(2 if x.shape[2] == length else 1, 0)
            if rig.differ(y, y[:1].expand_as(y)):
                return True
    return False


def attends(rig: Rig) -> bool:
    """Say whether no convolution runs: it knows what is beside what, but not where."""
    return not any(isinstance(m, nn.modules.conv._ConvNd) for m in rig.bench.module.modules())


def alike(rig: Rig, batch: Batch, length: int) -> Batch:
    """Copy a batch with segments made the same everywhere; positions that are given stay."""
    found = dict(batch)
    for name, known in rig.facts.inputs.items():
        x = batch[name]
        segments = known.kind == "index" and not any(part in name for part in TABLES)
        if segments and x.dim() == 2 and x.shape[1] == length:
            found[name] = x[:, :1].expand_as(x).contiguous()
    return found


def swapped(rig: Rig, name: str, axis: int, batch: Batch, out: int | None = None) -> str | None:
    """Exchange pairs of positions; say so if the output stays, or is exchanged likewise."""
    x, path = batch[name], rig.layout.main
    length = x.shape[axis]
    given = alike(rig, batch, length)
    base = rig(given).get(path)
    if base is None:
        return None
    tried, moved = 0, False
    for i, j in ((0, 1), (0, length - 2), (1, length - 1), (length // 2 - 1, length // 2)):
        order = torch.arange(length)
        order[i], order[j] = j, i
        after = rig.tried({**given, name: x.index_select(axis, order)})
        other = rig.tried({**given, name: changed_pair(x, axis, i, j)})
        if after is None or other is None or torch.equal(x, x.index_select(axis, order)):
            continue
        tried += 1
        wanted = base if out is None else base.index_select(out, order)
        moved = moved or gap(base, other[path], scale_of(base)) > rig.bench.bound
        if gap(wanted, after[path], scale_of(base)) > rig.bench.bound:
            return ""
    return "pairs of positions were exchanged" if tried > 1 and moved else None


def changed_pair(x: Tensor, axis: int, i: int, j: int) -> Tensor:
    """Write one position's value over another's: what shows that values matter."""
    y = x.clone()
    y.select(axis, i).copy_(x.select(axis, j))
    return y


def blind_to_patches(rig: Rig, name: str) -> bool:
    """Say whether patches of some size can change places without a trace."""
    batch = rig.batch(3)
    x, path = batch[name], rig.layout.main
    base = rig(batch).get(path)
    if base is None or rig.input(name).batch_axis != 0:
        return False
    for size in (2, 4, 8, 16):
        if x.shape[2] % size or x.shape[3] % size or x.shape[3] < 2 * size:
            continue
        moves = []
        for row in range(0, min(x.shape[2], 2 * size), size):
            y = x.clone()
            y[:, :, row : row + size, :size] = x[:, :, row : row + size, size : 2 * size]
            y[:, :, row : row + size, size : 2 * size] = x[:, :, row : row + size, :size]
            after = rig.tried({**batch, name: y})
            moves.append(after is None or gap(base, after[path], scale_of(base)) > rig.bench.bound)
        if not any(moves):
            return True
    return False


def check_longest(subject: Subject) -> Iterator[Finding]:
    """Prove that a sequence of the declared length runs, and one position too."""
    rig = Rig(subject)
    name = rig.facts.sequence
    known = rig.facts.inputs.get(name or "")
    axis = sequence_axis(rig, name) if known is not None and name else None
    if known is None or name is None or axis is None or known.max_length is None:
        raise NotApplicable("no longest length is declared: max_length=...")
    batch = full_mask(rig, rig.batch(2))
    length, longest = batch[name].shape[axis], known.max_length
    if longest < length or lengths_of(rig) is not None:
        raise NotApplicable("the batch is longer than max_length already")
    given = {n: stretched(rig, n, x, length, longest) for n, x in batch.items()}
    entered: list[str] = []
    names = {id(m): n for n, m in rig.bench.module.named_modules()}
    handles = [
        hook
        for m in rig.bench.module.modules()
        for hook in (
            m.register_forward_pre_hook(lambda m, _: entered.append(names[id(m)])),
            m.register_forward_hook(lambda m, _, __: leave(entered)),
        )
    ]
    try:
        rig.bench(given)
    except Exception as error:
        said = (str(error).splitlines() or [""])[0][:200]
        yield Finding(
            kind="crash",
            severity="fail",
            where=entered[-1] if entered else "",
            line=raised_at(error),
            evidence=(
                f"{name} was made {longest} positions long, as max_length allows ({length} run): "
                f"{type(error).__name__}: {said}"
            ),
            explanation="the longest sequence that the author declares cannot be read",
            fix=(
                "count positions from 0, or give the table one row for each of max_length "
                "positions (and for the padding's, where it has one)"
            ),
        )
    finally:
        for handle in handles:
            handle.remove()


def leave(entered: list[str]) -> None:
    """Forget the module that was left."""
    entered.pop()


def stretched(rig: Rig, name: str, x: object, length: int, longest: int) -> object:
    """Repeat an input along its positions until it has the longest length."""
    known = rig.facts.inputs.get(name)
    if known is None or not isinstance(x, Tensor):
        return x
    axes = [known.sequence_axis] if known.sequence_axis is not None else []
    if not axes and known.kind in ("index", "mask", "adjacency"):
        axes = [a for a in range(1, x.dim()) if x.shape[a] == length]
    for axis in axes:
        if x.shape[axis] == length:
            index = torch.arange(longest) % length
            x = x.index_select(axis, index)
    return x


ROWS = (
    Check(
        name="positions",
        run=check_positions,
        about="a model that should know the order of its input does",
    ),
    Check(
        name="longest",
        run=check_longest,
        about="a sequence of the declared length runs",
    ),
)

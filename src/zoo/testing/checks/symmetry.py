"""Whether promised symmetries hold: sets without order, nodes that are renumbered with their edges.

All named inputs are permuted together, matrices of nodes along both axes; lists of edges have their
numbers changed. Invariant: the output stays. Equivariant: the output is permuted likewise.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from zoo.testing.blame import Place
from zoo.testing.checks.influence_blame import blame, owner
from zoo.testing.checks.influence_tools import (
    Batch,
    Rig,
    gap,
    positions_of,
    rows_in,
    scale_of,
)
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.facts import names_of
from zoo.testing.finding import Finding
from zoo.testing.subject import Subject


def check_symmetry(subject: Subject) -> Iterator[Finding]:
    """Prove the permutations that the author declares."""
    spec = subject.spec
    said = {"invariant": names_of(spec.permutation_invariant)}
    said["equivariant"] = names_of(spec.permutation_equivariant)
    if not any(said.values()):
        raise NotApplicable("no symmetry is declared")
    rig = Rig(subject)
    if rig.layout.noisy:
        raise NotApplicable("eval mode draws random numbers")
    for how, names in said.items():
        known = [n for n in names if n in rig.facts.inputs]
        for length in lengths(rig, known):
            found = permuted(rig, how, known, length)
            if found is not None:
                yield found
                return


def node_axis(rig: Rig, name: str, x: Tensor) -> int:
    """Give the axis of an input along which its elements stand."""
    known = rig.input(name)
    if known.sequence_axis is not None:
        return known.sequence_axis
    return 1 if known.batch_axis == 0 and x.dim() > 1 else 0


def lengths(rig: Rig, names: list[str]) -> list[int]:
    """Give the numbers of elements of the named inputs, each once; lists of edges have none."""
    batch = rig.batch(3)
    found = [
        batch[n].shape[node_axis(rig, n, batch[n])]
        for n in names
        if batch[n].dim() > 1 and "edge_index" not in n
    ]
    return list(dict.fromkeys(n for n in found if n > 1))


def reorder(rig: Rig, names: list[str], batch: Batch, order: Tensor) -> Batch:
    """Permute all named inputs of so many elements, and masks of that length."""
    found, length = dict(batch), len(order)
    for name, known in rig.facts.inputs.items():
        x = batch[name]
        told = name in names
        if told and "edge" in name and not x.is_floating_point() and 2 in x.shape[:-1]:
            found[name] = order.argsort()[x]
        elif told and known.kind == "adjacency":
            for axis in range(1 if known.batch_axis == 0 else 0, x.dim()):
                if found[name].shape[axis] == length:
                    found[name] = found[name].index_select(axis, order)
        elif told or (known.kind == "mask" and x.dim() == 2):
            axis = node_axis(rig, name, x)
            if x.dim() > axis and x.shape[axis] == length:
                found[name] = x.index_select(axis, order)
    return found


def permuted(rig: Rig, how: str, names: list[str], length: int) -> Finding | None:
    """Permute and compare the output that counts."""
    batch = rig.batch(3)
    orders = [torch.arange(length).roll(1), torch.arange(length).flip(0)]
    first = next(n for n in names if batch[n].dim() > 1)
    base = rig.bench.main(batch)
    axis = None
    if how == "equivariant":
        axis = output_axis(rig, first, base, length)
    for order in orders:
        other = reorder(rig, names, batch, order)
        given = rig.bench.main(other)
        wanted = base if axis is None else base.index_select(axis, order)
        apart = gap(wanted, given, scale_of(base))
        if apart <= rig.bench.bound:
            continue
        place = blame_order(rig, batch, other, order)
        again = "the same output" if axis is None else "the output in that order"
        return Finding(
            kind="permutation",
            severity="fail",
            where=owner(rig, place),
            line=place.line if place else "",
            evidence=(
                f"{', '.join(names)} were put in the order {order.tolist()}; this must give "
                f"{again}, and it is {apart:.2g} of its scale apart"
            ),
            explanation=f"the author declares the model {how} to permutations of {names}",
            fix=(
                "look for what depends on an element's number: a position, the first or last "
                "element, a flatten over elements, a sum over one direction of the edges alone"
            ),
        )
    return None


def output_axis(rig: Rig, name: str, output: Tensor, length: int) -> int:
    """Give the output's axis of elements."""
    said = rig.subject.spec.output_sequence_axis
    if said is not None:
        return said
    known = positions_of(rig, name, node_axis(rig, name, rig.batch(3)[name]))
    if rig.layout.main in known:
        return known[rig.layout.main][0]
    rows = rig.layout.rows.get(rig.layout.main)
    fits = [a for a in range(output.dim()) if output.shape[a] == length and a != rows]
    if not fits:
        raise NotApplicable("it is not known along which axis the output has elements")
    return fits[0]


def blame_order(rig: Rig, one: Batch, other: Batch, order: Tensor) -> Place | None:
    """Find the first tensor that is not what it was, with every axis of elements permuted."""
    size, length = rows_in(rig, one), len(order)

    def wrong(a: Tensor, b: Tensor) -> bool:
        if a.shape != b.shape or a.dim() < 2:
            return False
        if not a.is_floating_point() and a.dtype != torch.bool:
            return False
        if a.dim() == 2 and a.shape[0] == size * length and size != length:
            a, b = (x.reshape(size, length, -1) for x in (a, b))
        for axis in range(a.dim()):
            if a.shape[axis] == length and (axis or size != length):
                a = a.index_select(axis, order)
        return rig.differ(a, b)

    return blame(rig, one, other, wrong)


def check_neighbours(subject: Subject) -> Iterator[Finding]:
    """Prove that a node without neighbours gives numbers, and that others do not reach it."""
    rig = Rig(subject)
    edges = [
        n
        for n, x in rig.facts.inputs.items()
        if x.kind == "adjacency" and rig.batch(3)[n].dim() >= 2
    ]
    edges = [n for n in edges if set(rig.batch(3)[n].unique().tolist()) <= {0, 1}]
    if not edges:
        raise NotApplicable("no input says which nodes are joined")
    for name in edges:
        batch = rig.batch(3)
        x = batch[name]
        loops = x.diagonal(dim1=-2, dim2=-1)
        if bool(loops.any()):
            continue  # nodes are their own neighbours: none is ever alone
        lonely = x.clone()
        lonely[..., 0, :] = 0
        lonely[..., :, 0] = 0
        base, given = rig(batch), rig.tried({**batch, name: lonely})
        if given is None or not all(bool(y.isfinite().all()) for y in base.values()):
            continue
        bad = [path for path, y in given.items() if not bool(y.isfinite().all())]
        if bad:
            yield Finding(
                kind="non-finite",
                severity="fail" if name in subject.spec.inputs else "warn",
                where="",
                evidence=f"node 0 was given no neighbour in {name}: output {bad[0]!r} holds NaN",
                explanation="a softmax over no neighbour, or a mean over none, divides by zero",
                fix="add self loops, or clamp the degree: / degree.clamp_min(1)",
            )
        yield from unreached(rig, name)


def unreached(rig: Rig, name: str) -> Iterator[Finding]:
    """Cut a graph in two and change nodes of one half: the other half's outputs must stay."""
    batch = rig.batch(3)
    x = batch[name]
    count, nodes = x.shape[-1], node_input(rig, batch, x.shape[-1])
    if nodes is None or count < 4:
        return
    half, cut = count // 2, x.clone()
    cut[..., :half, half:] = 0
    cut[..., half:, :half] = 0
    base = {**batch, name: cut}
    features = batch[nodes].clone()
    features[:, half:] = rig.batch(3, 9)[nodes][:, half:]
    one, two = rig.tried(base), rig.tried({**base, nodes: features})
    places = positions_of(rig, nodes, 1)
    if one is None or two is None or rig.layout.main not in places:
        return
    axis, surplus = places[rig.layout.main]
    a, b = (y[rig.layout.main].narrow(axis, max(surplus, 0), half) for y in (one, two))
    apart = gap(a, b, scale_of(one[rig.layout.main]))
    if apart <= rig.bench.bound:
        return
    yield Finding(
        kind="receptive-field",
        severity="warn",  # a norm over all nodes, or a virtual node, may be meant
        where="",
        evidence=(
            f"{name} was cut into two halves without an edge between them; other {nodes} of the "
            f"second half moved outputs of the first by {apart:.2g} of their scale"
        ),
        explanation="a node is reached by nodes that no path of edges joins to it",
        fix="mask scores with the adjacency before the softmax; sum over neighbours alone",
    )


def node_input(rig: Rig, batch: Batch, count: int) -> str | None:
    """Give the input with the nodes' features, (b, n, d)."""
    for name, known in rig.facts.inputs.items():
        x = batch[name]
        if known.kind == "float" and x.dim() == 3 and x.shape[1] == count:
            return name
    return None


ROWS = (
    Check(name="symmetry", run=check_symmetry, about="declared permutations hold"),
    Check(
        name="neighbours",
        run=check_neighbours,
        about="a node without neighbours gives numbers, and unjoined nodes do not reach it",
    ),
)

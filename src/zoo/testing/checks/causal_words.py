"""What lets the future through: how far one layer alone sees ahead, and the line of its mask."""

import torch
from torch import Tensor

from zoo.testing.blame import Place, Recording, Step
from zoo.testing.checks.influence_blame import placed, recorded
from zoo.testing.checks.influence_tools import Batch, Rig, rows_in

MIXERS = ("matmul", "__matmul__", "bmm", "baddbmm", "einsum")
ATTENTION = ("scaled_dot_product_attention", "multi_head_attention_forward", "MultiheadAttention")
MAKERS = ("tril", "triu", "tril_", "triu_")
ORDERS = ("lt", "le", "gt", "ge", "__lt__", "__le__", "__gt__", "__ge__", "less", "greater")
FILLS = ("masked_fill", "masked_fill_", "where", "masked_fill__", "__setitem__")


def ahead_at(rig: Rig, where: str, pairs: list[tuple[Batch, Batch, int]], length: int) -> int:
    """Say how many positions one module alone looks ahead; 0 where that cannot be seen.

    A pair is two batches that differ from one position on. What the module is given is still right,
    so what it gives too early is its own doing.
    """
    try:
        return max(
            own_reach(rig, where, recorded(rig, one), recorded(rig, other), place, length)
            for one, other, place in pairs
        )
    except Exception:
        return 0


def own_reach(
    rig: Rig, where: str, one: Recording, other: Recording, place: int, length: int
) -> int:
    """Compare what a module first gives in two runs: how long before `place` it moves."""
    mine, theirs = first_out(one, where), first_out(other, where)
    for a, b in zip(mine, theirs, strict=True):
        size = a.shape[0] if a.dim() else 0
        x, y = placed(a, length, size), placed(b, length, size)
        if x is None or y is None or a.shape != b.shape or not a.is_floating_point():
            continue
        axis = x[1]
        moved = [
            t
            for t in range(place)
            if rig.differ(x[0].select(axis, t), y[0].select(axis, t), float(a.abs().max()))
        ]
        return place - moved[0] if moved else 0
    return 0


def first_out(run: Recording, where: str) -> tuple[Tensor, ...]:
    """Give the tensors of a module's first output."""
    return next((s.tensors for s in run.steps if s.kind == "out" and s.at == where), ())


def mask_line(rig: Rig, one: Batch, place: Place, length: int) -> str:
    """Give the line of the mask that lets through what a product of weights mixes, or `place`'s."""
    try:
        steps = recorded(rig, one).steps
    except Exception:
        return place.line
    return line_among(steps, place, length, rows_in(rig, one))


def line_among(steps: list[Step], place: Place, length: int, size: int) -> str:
    """Choose among the ops up to the guilty one: what makes the mask, what fills, what weighs."""
    index = next((i for i, s in enumerate(steps) if same_step(s, place)), None)
    if index is None or steps[index].name not in (*MIXERS, *ATTENTION):
        return place.line
    before = [s for s in steps[: index + 1] if s.kind == "op" and s.line]
    own = [s for s in before if s.module == place.where]
    around = [s for s in before if f"{place.where}.".startswith(f"{s.module}.") or not s.module]
    weights = [s for s in own if s.name == "softmax" and square(s, length)]
    if weights and holds_nothing_later(weights[-1].tensors[0]):
        return weights[-1].line  # the mask holds: it is how the weights are made or used
    made = [s for s in around if s.name in (*MAKERS, *ORDERS) and square(s, length)]
    wrong = [s for s in made if not hides_what_is_later(s, length)]
    fills = [s for s in own if s.name in FILLS]
    chosen = wrong or fills or made or weights
    return chosen[-1].line if chosen else place.line


def same_step(step: Step, place: Place) -> bool:
    """Say whether a step is the one that a place names."""
    return (step.module, step.line, step.name) == (place.where, place.line, place.name)


def square(step: Step, length: int) -> bool:
    """Say whether an op gives something of positions against positions."""
    return any(tuple(x.shape[-2:]) == (length, length) for x in step.tensors)


def hides_what_is_later(step: Step, length: int) -> bool:
    """Say whether a mask tells just what is later from the rest, whichever it calls True."""
    later = torch.ones(length, length, dtype=torch.bool).triu(1)
    found = next(x for x in step.tensors if tuple(x.shape[-2:]) == (length, length)) != 0
    return bool((found == later).all()) or bool((found == ~later).all())


def holds_nothing_later(weights: Tensor) -> bool:
    """Say whether no position gives weight to a later one."""
    return bool((torch.triu(weights, diagonal=1) == 0).all())


def told(ahead: int, here: int, where: str) -> str:
    """Say how far the model looks ahead, and how far the module that is named does alone."""
    if not here or here == ahead:
        return f"up to {ahead} ahead"
    return f"up to {ahead} ahead in all layers together, {here} ahead in {where or 'one'} alone"

"""Padding made on purpose: which inputs a mask belongs to, and the same rows padded in other ways.

A padded input is known by a mask of (b, t), by lengths of (b,), or by its padding id alone. From a
batch without padding, whose first n positions are what counts, three are made: cut to n, padded on
the right, padded on the left. What is computed for these n positions must be the same in all.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.testing.blame import Place, first_wrong
from zoo.testing.checks.influence_blame import placed, recorded
from zoo.testing.checks.influence_tools import (
    Batch,
    Rig,
    full_mask,
    gap,
    kept,
    legal_ids,
    lengths_of,
    positions_of,
    rows_in,
    scale_of,
    shaken,
)
from zoo.testing.engine import NotApplicable
from zoo.testing.spec import Input

PROPER = ("attention_mask", "padding_mask", "key_padding_mask", "src_key_padding_mask")
OTHER_SIDE = ("decoder", "tgt", "target", "answer")


@dataclass(frozen=True)
class Padded:
    """An input with padding, what tells it, and all that goes along."""

    how: str  # "mask", "lengths" or "id"
    name: str  # the mask, the lengths, or the tokens
    content: tuple[str, ...]  # what is hidden: tokens or floats
    along: tuple[str, ...]  # all inputs of its positions, the mask included
    axis: int  # of positions, in the first content
    length: int
    declared: bool


def padded_inputs(rig: Rig) -> list[Padded]:
    """List what is padded, and by what it is known. Raises NotApplicable where nothing is."""
    batch, facts = rig.batch(3), rig.facts
    masks = [
        n
        for n, x in facts.inputs.items()
        if x.kind == "mask" and batch[n].dim() == 2 and x.batch_axis == 0
    ]
    masks.sort(key=lambda n: n != facts.padding_mask)
    found = [p for p in (by_mask(rig, batch, n) for n in masks) if p is not None]
    name = lengths_of(rig)
    if not found and name is not None:
        found = [p for p in (by_lengths(rig, batch, name),) if p is not None]
    if not found:
        found = list(by_id(rig, batch))
    if not found:
        raise NotApplicable("no mask, no lengths and no pad_id say what is padding")
    return found


def by_mask(rig: Rig, batch: Batch, name: str) -> Padded | None:
    """Find what a mask hides: what was said, else the tokens (or floats) of its length."""
    length = batch[name].shape[1]
    fits = {n: a for n in rig.facts.inputs if (a := axis_for(rig, batch, n, length)) is not None}
    kinds = {n: rig.input(n).kind for n in fits}
    said = [n for n in fits if rig.input(n).mask == name]
    tokens = [n for n in fits if kinds[n] in ("tokens", "targets")]
    floats = [n for n in fits if kinds[n] == "float"]
    content = said if len(said) == 1 else same_side(name, tokens or said) or floats
    if not content:
        return None
    content = content[:1] if kinds[content[0]] != "float" else content
    others = [n for n in (*tokens, *floats) if n not in content]
    along = tuple(n for n in fits if n not in others and (kinds[n] != "mask" or n == name))
    spec = rig.subject.spec
    declared = spec.padding_mask == name or bool(said) or spec.true_means is not None
    return Padded("mask", name, tuple(content), along, fits[content[0]], length, declared)


def same_side(name: str, tokens: list[str]) -> list[str]:
    """Choose tokens of the mask's own side: a decoder's mask for a decoder's tokens."""
    if len(tokens) < 2:
        return tokens
    side = any(part in name for part in OTHER_SIDE)
    return [n for n in tokens if any(part in n for part in OTHER_SIDE) == side]


def by_lengths(rig: Rig, batch: Batch, name: str) -> Padded | None:
    """Find what lengths speak of: the input that is constant beyond them, in all rows."""
    most = int(batch[name].max())
    for other in rig.facts.inputs:
        x = batch[other]
        if other == name or rig.input(other).kind not in ("tokens", "targets", "float"):
            continue
        if x.dim() not in (2, 3) or x.shape[1] < most or (x.dim() == 2 and x.is_floating_point()):
            continue
        if rig.input(other).batch_axis != 0 or not constant_beyond(rig, name, other):
            continue
        return Padded("lengths", name, (other,), (other,), 1, x.shape[1], True)
    return None


def constant_beyond(rig: Rig, lengths: str, name: str) -> bool:
    """Say whether the author's own batches hold one value alone beyond the lengths."""
    beyond = []
    for seed in (0, 1):
        batch = rig.batch(5, seed)
        x, places = batch[name], torch.arange(batch[name].shape[1])
        beyond.append(x[places[None] >= batch[lengths][:, None]].flatten())
    values = torch.cat(beyond)
    return values.numel() > 0 and len(values.unique()) == 1


def by_id(rig: Rig, batch: Batch) -> Iterator[Padded]:
    """Find tokens with a padding id and nothing else to tell it."""
    for name in rig.facts.tokens:
        known = rig.facts.inputs.get(name)
        if known is None or known.pad_id is None or known.batch_axis != 0 or batch[name].dim() != 2:
            continue
        along = [
            n
            for n in rig.facts.inputs
            if rig.input(n).kind not in ("targets", "tokens")
            and axis_for(rig, batch, n, batch[name].shape[1]) is not None
        ]
        yield Padded("id", name, (name,), (name, *along), 1, batch[name].shape[1], True)


def axis_for(rig: Rig, batch: Batch, name: str, length: int) -> int | None:
    """Give the axis along which an input has so many positions, if that is clear."""
    x, known = batch[name], rig.input(name)
    if known.batch_axis != 0 or known.kind in ("image", "adjacency", "other", "labels"):
        return known.sequence_axis if known.kind == "float" and known.sequence_axis else None
    if known.sequence_axis is not None:
        return known.sequence_axis if x.shape[known.sequence_axis] == length else None
    axes = [a for a in range(1, x.dim()) if x.shape[a] == length]
    return axes[0] if len(axes) == 1 and axes[0] == 1 else None


def drops(known: Input) -> bool:
    """Say whether True means that a position does not count."""
    return known.true_means == "drop"


def whole(rig: Rig, padded: Padded) -> Batch:
    """Make a batch in which nothing is padding."""
    return full_mask(rig, rig.batch(3))


def cut_to(rig: Rig, padded: Padded, batch: Batch, count: int) -> Batch:
    """Cut all that goes along to the first positions."""
    found = dict(batch)
    for name in padded.along:
        axis = 1 if name != padded.content[0] else padded.axis
        found[name] = batch[name].narrow(axis, 0, count)
    if padded.how == "lengths":
        found[padded.name] = torch.full_like(batch[padded.name], count)
    return square(rig, padded, found, batch, slice(0, count))


def square(rig: Rig, padded: Padded, found: Batch, batch: Batch, keep: slice) -> Batch:
    """Cut what is positions by positions: adjacency."""
    for name in rig.facts.inputs:
        x = batch[name]
        if x.shape[1:3] == (padded.length,) * 2:
            found[name] = x[:, keep, keep]
    return found


def pad(rig: Rig, padded: Padded, batch: Batch, count: int, side: str, fill: int = 0) -> Batch:
    """Keep the first `count` positions and make the rest padding, on the right or on the left."""
    found, shift = dict(batch), padded.length - count
    for name in padded.along:
        axis = padded.axis if name == padded.content[0] else 1
        x = batch[name].clone()
        rest = x.narrow(axis, count, shift)
        if name == padded.name and padded.how == "mask":
            rest.fill_(1 if drops(rig.input(name)) else 0)
        elif name in padded.content:
            rest.copy_(filling(rig, padded, name, rest, fill))
        found[name] = x.roll(shift, axis) if side == "left" else x
    if padded.how == "lengths":
        found[padded.name] = torch.full_like(batch[padded.name], count)
    for name in rig.facts.inputs:
        x = batch[name]
        if side == "left" and x.shape[1:3] == (padded.length,) * 2:
            found[name] = x.roll((shift, shift), (1, 2))
    return found


def filling(rig: Rig, padded: Padded, name: str, rest: Tensor, turn: int) -> Tensor:
    """Give what to write into padding: the pad id (turn 0), or other legal content."""
    known = rig.input(name)
    if rest.is_floating_point():
        return torch.zeros_like(rest) if turn == 0 else shaken(rest, 90 + turn, 3.0 * turn)
    pad_id = known.pad_id
    legal = [] if padded.how == "id" else legal_ids(rig, name)
    ids = [pad_id] if pad_id is not None and (turn == 0 or not legal) else legal
    if not ids:
        raise NotApplicable(f"{name} holds no ids to pad with")
    flat = [ids[(7 * turn + 3 * k) % len(ids)] for k in range(rest.numel())]
    return torch.tensor(flat, dtype=rest.dtype).view(rest.shape)


@dataclass(frozen=True)
class Window:
    """Which positions of a run are compared: `count` of them from `start`, of `length`."""

    length: int
    start: int
    count: int


def worst(
    rig: Rig,
    padded: Padded,
    one: Batch,
    other: Batch,
    a: Window,
    b: Window,
    *,
    only_placed: bool = False,
) -> tuple[float, str] | None:
    """Give how far the outputs are apart for the same positions, and which; None: not comparable.

    Outputs without positions are compared as they are (not at all if `only_placed`); outputs of
    unclear axes are left out.
    """
    first, second = rig.tried(one), rig.tried(other)
    if first is None or second is None:
        return None
    places = positions_of(rig, padded.content[0], padded.axis)
    pooled = rig.layout.pooled.get(padded.content[0], set())
    found, compared = (0.0, ""), False
    for path, x in first.items():
        y = second.get(path)
        if y is None or (path not in rig.layout.rows and path not in rig.layout.squares):
            continue
        if path in places:
            axis, surplus = places[path]
            if surplus < 0 or (surplus and a.start != b.start):
                continue
            x = x.narrow(axis, a.start + surplus, a.count)
            y = y.narrow(axis, b.start + surplus, b.count)
        elif (
            only_placed
            or x.shape != y.shape
            or (path not in pooled and padded.length in x.shape[1:])
        ):
            continue
        if not bool(x.isfinite().all()):
            continue  # another check says so
        compared = True
        apart = gap(x, y, scale_of(x))
        if not apart <= found[0]:
            found = (apart, path)
    return found if compared else None


def blame_windows(rig: Rig, one: Batch, other: Batch, a: Window, b: Window) -> Place | None:
    """Find where the same positions of two runs first part, or something without positions."""
    size = rows_in(rig, one)

    def wrong(x: Tensor, y: Tensor) -> bool:
        if not (x.is_floating_point() and y.is_floating_point()) or x.dim() != y.dim():
            return False
        mine, theirs = placed(x, a.length, size), placed(y, b.length, size)
        if mine and theirs and mine[1] == theirs[1]:
            (x, i), (y, j) = mine, theirs
            return rig.differ(x.narrow(i, a.start, a.count), y.narrow(j, b.start, b.count))
        pooled = x.dim() in (2, 3) and x.shape == y.shape and size in x.shape[:2]
        return pooled and a.length not in x.shape and rig.differ(x, y)

    try:
        return first_wrong(recorded(rig, one), recorded(rig, other), wrong)
    except Exception:
        return None


def hidden(mask: Tensor, known: Input) -> Tensor:
    """Give where a mask hides."""
    return ~kept(mask, known)

"""Which output position depends on which input position: one matrix, and what it gives away.

One forward answers for all positions: a row of a batch is repeated, in every copy another position
is changed. entry[t][p] is how far output t moved when input p was changed, as a share of the scale.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.testing.checks.influence_blame import recorded, vanished
from zoo.testing.checks.influence_tools import (
    Batch,
    Rig,
    full_mask,
    gap,
    legal_ids,
    one_row,
    other_ids,
    positions_of,
    rows_in,
    scale_of,
    sequence_axis,
    shaken,
    spread_out,
    steady,
    take_rows,
)
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.finding import Finding
from zoo.testing.subject import Subject

MIXERS = (
    *("scaled_dot_product_attention", "multi_head_attention_forward"),
    *("lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell"),
)
TRIALS = 4  # replacements of each position


@dataclass(frozen=True)
class Influence:
    """What depends on what, for one input and one output."""

    name: str  # the input
    path: str  # the output
    places: tuple[int, ...]  # input positions that were changed
    length: int  # positions of the input
    surplus: int | None  # output positions minus input positions; None where it has no positions
    matrix: Tensor  # (output positions, places): relative change
    bound: float  # above this it is no rounding

    def seen(self) -> Tensor:
        """Give the matrix as booleans."""
        return ~(self.matrix <= self.bound)

    def picture(self) -> dict[str, object]:
        """Give what the report draws."""
        shown = self.matrix.nan_to_num(nan=1.0, posinf=1.0)
        return {
            "kind": "influence",
            "input": self.name,
            "output": self.path,
            "positions": list(self.places),
            "matrix": [[float(f"{x:.3g}") for x in row] for row in shown.tolist()],
        }


def influence_of(rig: Rig, name: str, row: int = 0) -> Influence:
    """Measure what an input's positions change. Raises NotApplicable where that cannot be done."""
    axis, known = sequence_axis(rig, name), rig.input(name)
    if axis is None or known.batch_axis is None:
        raise NotApplicable(f"it is not known along which axis {name} has positions")
    found = positions_of(rig, name, axis)
    path = rig.layout.main
    if path not in (*rig.layout.rows, *rig.layout.squares):
        path = next(iter(rig.layout.rows), "")
    batch = full_mask(rig, rig.batch(3))
    length = batch[name].shape[axis]
    if length < 2:
        raise NotApplicable(f"{name} has one position")
    places = spread_out(length, 48 if rig.small else 8)
    trials = TRIALS if rig.small else 1
    x, refused = answers(rig, perturbed(rig, batch, name, row, places, trials), path)
    if not bool(x[0].isfinite().any()):
        raise NotApplicable("the output is not finite")
    if gap(x[0], x[-1], scale_of(x)) > rig.bench.bound:
        steady(rig)
        raise NotApplicable("rows of a batch change each other; see batch_independence")
    change = (x[1:-1] - x[:1]).abs()
    same = (x[1:-1] == x[:1]) | (x[1:-1].isnan() & x[:1].isnan())
    change = torch.where(same, 0.0, change).nan_to_num(nan=float("inf"))
    surplus = None
    if path in found:
        place, surplus = found[path]
        inner = place - (place > rig.layout.rows[path])
        change = change.movedim(inner + 1, 1)
        change = change.reshape(*change.shape[:2], -1).amax(2)
    else:
        change = change.reshape(len(change), -1).amax(1, keepdim=True)
    matrix = change.view(len(places), trials, -1).amax(1).T / (scale_of(x) or 1.0)
    tried = [
        k for k in range(len(places)) if not set(range(trials)) <= refused_of(refused, k, trials)
    ]
    places, matrix = [places[k] for k in tried], matrix[:, tried]
    return Influence(name, path, tuple(places), length, surplus, matrix, rig.bench.bound)


def refused_of(refused: set[int], number: int, trials: int) -> set[int]:
    """Give the trials of one place that the model refused."""
    return {row - 1 - number * trials for row in refused}


def answers(rig: Rig, given: Batch, path: str) -> tuple[Tensor, set[int]]:
    """Give an output's rows, and which changed rows the model refuses: these stay as they were.

    Where the whole is refused (too many rows, or one of them), each row is asked beside the first.
    """
    outputs = rig.tried(given)
    if outputs is not None:
        return rows_of(rig, outputs, path), set()
    found, refused = list[Tensor](), set[int]()
    for row in range(rows_in(rig, given)):
        outputs = rig.tried(take_rows(rig, given, [0, row, 0]))
        if outputs is None:
            refused.add(row)
            outputs = rig(take_rows(rig, given, [0, 0, 0]))
        found.append(rows_of(rig, outputs, path)[1])
    return torch.stack(found), refused


def rows_of(rig: Rig, outputs: dict[str, Tensor], path: str) -> Tensor:
    """Give an output with its rows first; of rows against rows the diagonal."""
    if path not in outputs or path not in (*rig.layout.rows, *rig.layout.squares):
        raise NotApplicable("no output of real numbers has an axis for the batch")
    if path in rig.layout.squares:
        return outputs[path].diagonal()[:, None]
    return outputs[path].movedim(rig.layout.rows[path], 0)


def perturbed(rig: Rig, batch: Batch, name: str, row: int, places: list[int], trials: int) -> Batch:
    """Repeat a row: first and last as it is, between them each place changed some times."""
    given = one_row(rig, batch, row, len(places) * trials + 2)
    known = rig.input(name)
    x = given[name].clone().movedim(known.batch_axis or 0, 0)
    axis = sequence_axis(rig, name) or 0
    inner = axis + 1 if axis < (known.batch_axis or 0) else axis
    x = x.movedim(inner, 1) if inner != 1 else x
    legal = legal_ids(rig, name) if not x.is_floating_point() else []
    for number, place in enumerate(places):
        for trial in range(trials):
            at = 1 + number * trials + trial
            if x.is_floating_point():
                x[at, place] = shaken(x[at], 31 * trial + number)[place]
            elif legal and x.dim() == 2:
                others = other_ids(legal, int(x[at, place]), trials, number)
                if others:
                    x[at, place] = others[trial % len(others)]
    x = x.movedim(1, inner) if inner != 1 else x
    return {**given, name: x.movedim(0, known.batch_axis or 0).contiguous()}


def check_influence(subject: Subject) -> Iterator[Finding]:
    """Measure which positions matter; find dead ones, and sequences that are never mixed."""
    rig = Rig(subject)
    names = [
        n
        for n, x in rig.facts.inputs.items()
        if x.kind in ("tokens", "targets", "float") and sequence_axis(rig, n) is not None
    ]
    if not names:
        raise NotApplicable("no input is known to have positions")
    measured = 0
    for name in names:
        if name in subject.spec.may_ignore:
            continue
        try:
            found = influence_of(rig, name)
        except NotApplicable:
            if name == names[-1] and not measured:
                raise
            continue
        measured += 1
        if not bool(found.seen().any()):
            continue  # an ignored input: another check says so
        yield from dead(rig, found)
        yield from alone(rig, found, told=told_of(rig))
        yield from reach(rig, found)


def dead(rig: Rig, found: Influence) -> Iterator[Finding]:
    """Report positions that change no output."""
    seen = found.seen().any(0)
    gone = [p for p, lives in zip(found.places, seen.tolist(), strict=True) if not lives]
    if not gone:
        return
    ends = trailing(found.places, gone) | leading(found.places, gone)
    inside = [p for p in gone if p not in ends]
    declared = rig.subject.spec.task in ("next_token", "masked_tokens", "token_classification")
    each = found.surplus == 0 and declared and any(p != found.length - 1 for p in gone)
    tokens = rig.input(found.name).kind in ("tokens", "targets")
    early = set(gone) == leading(found.places, gone) and bool(has_global_mixer(rig))
    early = early and rig.subject.spec.receptive_field is None
    nearly_all = len(gone) >= len(found.places) - 1 and len(found.places) > 2
    sure = tokens and (bool(inside) or each or early)
    if set(gone) == trailing(found.places, gone) and not each and not nearly_all:
        return  # what follows the end of a text, or does not fill a stride
    batch = take_rows(rig, full_mask(rig, rig.batch(3)), [0, 0, 0])
    other = perturbed(rig, full_mask(rig, rig.batch(3)), found.name, 0, gone[:1], 1)
    place = vanished(rig, batch, other)
    one = f"; only position {[p for p in found.places if p not in gone]} does" if nearly_all else ""
    yield Finding(
        kind="dead-position",
        severity="fail" if sure or (nearly_all and tokens) else "warn",
        where=(place.where if place else "") or found.name,
        line=place.line if place else "",
        evidence=(
            f"position{'s' if len(gone) > 1 else ''} {gone} of {found.name} (of {found.length}) "
            f"took other values and no number of output {found.path or 'output'!r} changed{one}"
        ),
        explanation="what stands at these positions cannot matter to the answer",
        fix=(
            "look for a slice that drops them, a mask that hides them (inverted?), or pooling at a "
            "position that sees nothing of the others"
        ),
        data=found.picture(),
    )


def has_global_mixer(rig: Rig) -> bool:
    """Say whether the model runs attention or a recurrence: what sees all that is before it."""
    try:
        steps = recorded(rig, full_mask(rig, rig.batch(3))).steps
    except Exception:
        return False
    square = any(
        s.name == "softmax" and x.dim() >= 3 and x.shape[-1] == x.shape[-2] > 2
        for s in steps
        for x in s.tensors
    )
    return square or any(s.name in MIXERS for s in steps)


def trailing(places: tuple[int, ...], gone: list[int]) -> set[int]:
    """Give the dead positions at the end, with nothing alive behind them."""
    found: set[int] = set()
    for place in reversed(places):
        if place not in gone:
            break
        found.add(place)
    return found


def leading(places: tuple[int, ...], gone: list[int]) -> set[int]:
    """Give the dead positions at the beginning."""
    return trailing(tuple(reversed(places)), gone)


def told_of(rig: Rig) -> bool:
    """Say whether the author told of a model that reads sequences."""
    spec = rig.subject.spec
    tasks = ("next_token", "masked_tokens")
    return bool(spec.causal or spec.position_sensitive or spec.task in tasks)


def alone(rig: Rig, found: Influence, *, told: bool) -> Iterator[Finding]:
    """Report a sequence model in which no position sees another."""
    if found.surplus != 0 or found.length < 3:
        return
    seen = found.seen().clone()
    for column, place in enumerate(found.places):
        seen[place, column] = False
    if bool(seen.any()):
        return
    mixers = mixing(rig, found)
    if not mixers and not told:
        return
    yield Finding(
        kind="receptive-field",
        severity="fail" if mixers or (told and deep(rig)) else "warn",
        where=mixers[0] if mixers else "",
        evidence=(
            f"each position of {found.name} changes the output at its own position alone; "
            f"{found.length} positions were tried"
            + (f", although {mixers[0]!r} mixes positions" if mixers else "")
        ),
        explanation="a sequence model in which no position sees another is a table of answers",
        fix=(
            "see that attention runs over the axis of positions (batch_first, transposes) and that "
            "its mask lets more through than the diagonal"
        ),
        data=found.picture(),
    )


def deep(rig: Rig) -> bool:
    """Say whether a model has more layers than a table of which token follows which."""
    leaves = [m for m in rig.bench.module.modules() if list(m.parameters(recurse=False))]
    return len(leaves) > 3


def mixing(rig: Rig, found: Influence) -> list[str]:
    """List the modules that run attention or a recurrence over what this input changes."""
    batch = full_mask(rig, rig.batch(3))
    other = perturbed(rig, batch, found.name, 0, [0, 1], 1)
    other = take_rows(rig, other, [1, 2, 0])
    try:
        one, two = (recorded(rig, b).steps for b in (take_rows(rig, batch, [0, 0, 0]), other))
    except Exception:
        return []
    length, names = found.length, []
    for a, b in zip(one, two, strict=False):
        scores = a.name in ("softmax", "matmul", "bmm", "baddbmm", "einsum", "__matmul__")
        scores = scores and any(
            x.dim() >= 3 and x.shape[-1] == x.shape[-2] == length for x in a.tensors
        )
        changed = any(
            x.shape != y.shape or rig.differ(x, y)
            for x, y in zip(a.tensors, b.tensors, strict=False)
        )
        if changed and (scores or a.name in MIXERS):
            names.append(a.module)
    return list(dict.fromkeys(names))


def reach(rig: Rig, found: Influence) -> Iterator[Finding]:
    """Compare how far positions see with what was declared."""
    wanted = rig.subject.spec.receptive_field
    if wanted is None or found.surplus != 0:
        return
    seen = found.seen()
    far = [
        (abs(t - p), t, p)
        for column, p in enumerate(found.places)
        for t in range(seen.shape[0])
        if bool(seen[t, column])
    ]
    furthest, t, p = max(far)
    possible = min(wanted, found.length - 1)
    if furthest > wanted:
        said = f"output {t} depends on input {p}, {furthest} positions away; at most {wanted} may"
    elif furthest < possible:
        said = f"no output depends on an input more than {furthest} positions away; {wanted} should"
    else:
        return
    yield Finding(
        kind="receptive-field",
        severity="fail",
        where="",
        evidence=said,
        explanation=f"the receptive field was declared as {wanted}",
        fix="check kernel sizes, dilations, the window of the attention mask, and how many layers",
        data=found.picture(),
    )


ROWS = (
    Check(
        name="influence",
        run=check_influence,
        about="every position matters, and positions see each other",
    ),
)

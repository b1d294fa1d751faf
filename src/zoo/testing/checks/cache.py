"""Whether going step by step, with a cache, gives what all at once gives.

The author's step(module, piece, state) -> (output, state) takes one position at a time. Where
forward itself takes `past_key_values` and gives them back, the sequence is cut in two.
"""

import inspect
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from zoo.testing.blame import record
from zoo.testing.checks.influence_tools import (
    Batch,
    Rig,
    cut_positions,
    full_mask,
    gap,
    kept,
    positions_of,
    scale_of,
    sequence_axis,
    steady,
)
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.finding import Finding
from zoo.testing.guard import DefaultDtype, seed_all
from zoo.testing.stress import Bench
from zoo.testing.subject import Subject

PAST = "past_key_values"


def check_cache(subject: Subject) -> Iterator[Finding]:
    """Prove that decoding with a cache agrees with the whole."""
    if subject.spec.step is None and PAST not in subject.takes():
        raise NotApplicable("no step is declared, and forward takes no past_key_values")
    rig = Rig(subject)
    found = list(by_past(rig) if subject.spec.step is None else by_step(rig))
    if found:
        steady(rig)
    yield from found


def read_input(rig: Rig) -> tuple[str, int]:
    """Give the input that is read position by position, and its axis."""
    for name in (rig.facts.causal, *rig.facts.tokens, rig.facts.sequence):
        if name in rig.facts.inputs:
            axis = sequence_axis(rig, name)
            if axis is not None:
                return name, axis
    raise NotApplicable("it is not known which input is read step by step; declare causal=...")


def place_of_main(rig: Rig, name: str, axis: int) -> int:
    """Give the output's axis of positions."""
    place = positions_of(rig, name, axis).get(rig.layout.main)
    if place is None or place[1] != 0:
        raise NotApplicable(f"the output that counts does not have the positions of {name}")
    return place[0]


def by_step(rig: Rig) -> Iterator[Finding]:
    """Decode one position at a time and compare."""
    name, axis = read_input(rig)
    out = place_of_main(rig, name, axis)
    for what, batch in (
        ("rows without padding", full_mask(rig, rig.batch(3))),
        ("the batch as it is", rig.batch(2)),
    ):
        found = stepped(rig, name, axis, out, batch, what)
        if found is not None:
            yield found
            return


def stepped(rig: Rig, name: str, axis: int, out: int, batch: Batch, what: str) -> Finding | None:
    """Compare each step with the whole; give the first that differs."""
    whole = rig.bench.main(batch)
    bench = rig.subject.bench()
    state, length = None, batch[name].shape[axis]
    mask = counted(rig, batch, length)
    for place in range(length):
        piece = cut_positions(rig, batch, name, axis, place, place + 1)
        try:
            output, state = one_step(bench, piece, state)
            given = rig.subject.main(output)
        except Exception as error:
            said = (str(error).splitlines() or [""])[0][:200]
            return finding(f"step {place} raised {type(error).__name__}: {said}", "", place)
        wanted = whole.narrow(out, place, 1)
        if given.dim() == wanted.dim() - 1:
            wanted = wanted.squeeze(out)
        if given.shape != wanted.shape:
            said = f"step {place} gives {tuple(given.shape)}; forward {tuple(wanted.shape)} there"
            return finding(said, "", place)
        rows = rig.layout.rows.get(rig.layout.main, 0)
        good = torch.arange(len(mask))[mask[:, place]]
        axis_rows = rows - (given.dim() < whole.dim() and rows > out)
        mine, theirs = (x.index_select(axis_rows, good) for x in (given, wanted))
        apart = gap(mine, theirs, scale_of(whole))
        if apart <= rig.bench.bound:
            continue
        where = blame_step(rig, name, axis, batch, place)
        said = (
            f"with {what}, step {place} (of {length}) gives another output than forward does at "
            f"that position: {apart:.2g} of its scale apart"
            + (", the steps before agree" if place else "; nothing was in the cache yet")
        )
        return finding(said, where, place)
    return None


def counted(rig: Rig, batch: Batch, length: int) -> Tensor:
    """Give which positions count, (b, t): all where no mask tells."""
    name = rig.facts.padding_mask
    mask = batch.get(name or "")
    if isinstance(mask, Tensor) and mask.dim() == 2 and mask.shape[1] == length and name:
        return kept(mask, rig.input(name))
    first = next(n for n, x in rig.facts.inputs.items() if x.batch_axis is not None)
    rows = batch[first].shape[rig.input(first).batch_axis or 0]
    return torch.ones(rows, length, dtype=torch.bool)


def one_step(bench: Bench, piece: Batch, state: Any) -> tuple[Any, Any]:
    """Take one step with the author's function, or with the method of that name."""
    step: Any = bench.subject.spec.step
    seed_all(0)
    with torch.no_grad(), DefaultDtype(bench.dtype):
        if callable(step):
            output, state = step(bench.module, piece, state)
            return output, state
        method = getattr(bench.module, step)
        names = list(inspect.signature(method).parameters)
        taken = {n: piece[n] for n in names if n in piece}
        if taken:
            rest = [n for n in names if n not in taken]
            output, state = method(**taken, **({rest[0]: state} if rest else {}))
            return output, state
        output, state = method(piece, state)
        return output, state


def finding(evidence: str, where: str, place: int) -> Finding:
    """Make the finding of a step that disagrees."""
    return Finding(
        kind="cache",
        severity="fail",
        where=where,
        evidence=evidence,
        explanation="a model that decodes with its cache says other things than the one trained",
        fix=(
            "see that the step's position is the number of positions before it, that keys and "
            "values are appended in order along the axis of positions, and that the mask covers "
            "the cache"
            if place
            else "the first step already differs: compare embedding, position and mask with forward"
        ),
    )


def blame_step(rig: Rig, name: str, axis: int, batch: Batch, place: int) -> str:
    """Find the first module whose output at one position differs between the step and the whole."""
    bench = rig.subject.bench()
    try:
        whole = record(rig.bench.module, lambda: rig.bench.run(batch), ops=False)
        state = None
        for at in range(place):
            piece = cut_positions(rig, batch, name, axis, at, at + 1)
            _, state = one_step(bench, piece, state)
        piece = cut_positions(rig, batch, name, axis, place, place + 1)
        alone = record(bench.module, lambda: one_step(bench, piece, state), ops=False)
    except Exception:
        return ""
    length, seen = batch[name].shape[axis], dict[tuple[str, str], list[tuple[Tensor, ...]]]()
    for step in whole.steps:
        seen.setdefault((step.kind, step.at), []).append(step.tensors)
    for step in alone.steps:
        if not seen.get((step.kind, step.at)):
            continue
        wanted = seen[step.kind, step.at].pop(0)
        for x, y in zip(step.tensors, wanted, strict=False):
            if not (x.dim() == y.dim() >= 2 and x.is_floating_point()):
                continue
            if x.shape[1] == 1 and y.shape[1] == length and rig.differ(x, y[:, place : place + 1]):
                return step.module  # of an input the module around
    return ""


def by_past(rig: Rig) -> Iterator[Finding]:
    """Cut a sequence in two, keep what the first part gave, and compare the second."""
    name, axis = read_input(rig)
    out = place_of_main(rig, name, axis)
    batch = full_mask(rig, rig.batch(2))
    length = batch[name].shape[axis]
    if length < 3:
        raise NotApplicable("the sequence is too short to be cut")
    cut = length // 2
    try:
        first = with_past(rig, cut_positions(rig, batch, name, axis, 0, cut), None)
        past = getattr(first, PAST, None) if not isinstance(first, dict) else first.get(PAST)
        if past is None:
            raise NotApplicable("forward gives no past_key_values")
        rest = dict(cut_positions(rig, batch, name, axis, cut, length))
        for other, known in rig.facts.inputs.items():
            if known.kind == "mask" and batch[other].dim() == 2:
                rest[other] = batch[other]  # the mask covers the cache too
        second = rig.subject.main(with_past(rig, rest, past))
    except NotApplicable:
        raise
    except Exception as error:
        raise NotApplicable(f"the sequence cannot be cut: {type(error).__name__}") from error
    whole = rig.bench.main(batch)
    wanted = whole.narrow(out, cut, length - cut)
    if second.shape != wanted.shape:
        raise NotApplicable("the second part gives another shape")
    apart = gap(second, wanted, scale_of(whole))
    if apart <= rig.bench.bound:
        return
    declared = rig.subject.spec.causal
    made = finding(
        f"{cut} positions were read, then {length - cut} with past_key_values: the output of these "
        f"is {apart:.2g} of its scale from that of the whole",
        "",
        cut,
    )
    yield Finding(**{**vars(made), "severity": "fail" if declared else "warn"})


def with_past(rig: Rig, batch: Batch, past: Any) -> Any:
    """Run forward with a cache."""
    given = dict(rig.subject.arguments(batch))
    if past is not None:
        given[PAST] = past
    if "use_cache" in rig.subject.takes():
        given["use_cache"] = True
    module: nn.Module = rig.bench.module
    seed_all(0)
    with torch.no_grad(), DefaultDtype(rig.bench.dtype):
        return module(**given)


ROWS = (
    Check(
        name="cache",
        run=check_cache,
        about="step by step with a cache agrees with all at once",
    ),
)

"""Whether every input matters, and every part of it: features, channels, regions of an image.

An input is exchanged for that of other batches, which its author made, so that every trial is
legal. It is ignored when nothing at all changes, in eval mode and in train mode.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from zoo.testing.checks.influence_blame import recorded
from zoo.testing.checks.influence_tools import Batch, Rig, by_row, gap, one_row, rows_in, scale_of
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.facts import LABEL_NAMES
from zoo.testing.finding import Finding, Severity
from zoo.testing.subject import Subject

SEEDS = (11, 12, 13, 14, 15)
CELLS = 6  # regions of an image along each side


def check_inputs_matter(subject: Subject) -> Iterator[Finding]:
    """Prove that every input of forward can change something."""
    rig = Rig(subject)
    batch = rig.batch(3)
    base, tried = rig.bench(batch), 0
    if not any(bool(x.isfinite().any()) for x in base.values()):
        raise NotApplicable("no output is finite")
    for name in rig.facts.inputs:
        if name in subject.spec.may_ignore or not must_matter(subject, name):
            continue
        trials, refused = others(rig, batch, name), 0
        for x in trials:
            given = outputs_or_none(rig, {**batch, name: x})
            if given is None:
                refused += 1
            elif moved(base, given):
                tried += 1
                yield from dropped(rig, name, batch, trials)
                break
        else:
            if refused == len(trials) or matters_in_training(subject, name, trials):
                continue
            tried += 1
            yield ignored(rig, name, len(trials) - refused, batch, trials[0])
    if not tried:
        raise NotApplicable("no input has other values to try")


def must_matter(subject: Subject, name: str) -> bool:
    """Say whether an input is more than labels that forward may take for a loss."""
    if subject.facts.inputs[name].kind != "labels" and name not in LABEL_NAMES:
        return name != subject.facts.labels
    return subject.takes().get(name, False) and subject.spec.loss is not None


def others(rig: Rig, batch: Batch, name: str) -> list[Tensor]:
    """Give other values of an input: those of other batches, rolled ones, and noise."""
    x, found = batch[name], []
    for seed in SEEDS[: 5 if rig.small else 2]:
        y = rig.batch(3, seed)[name]
        if y.shape == x.shape and not torch.equal(x, y):
            found.append(y)
    if found:
        return found
    for axis in range(x.dim()):
        y = x.roll(1, axis)
        if not torch.equal(x, y):
            found.append(y)
    known = rig.input(name)
    if known.kind == "mask" and x.dim() == 2:
        found += [punched(x)]
    elif known.vocab_size and not x.is_floating_point() and known.kind == "index":
        found.append(torch.where(x == 0, min(1, known.vocab_size - 1), 0).to(x))
    elif known.low is not None and known.high is not None and known.high > known.low:
        found.append(torch.where(x == known.low, known.high, known.low).to(x))
    elif x.is_floating_point() and x.numel():
        found += [x + 1, x * 2]
    return [y for y in found if not torch.equal(x, y)]


def punched(mask: Tensor) -> Tensor:
    """Change the last two positions of a mask of equal entries."""
    y = mask.clone()
    y[:, -2:] = (mask[:, -2:] == 0).to(mask.dtype)
    return y


def outputs_or_none(rig: Rig, batch: Batch) -> dict[str, Tensor] | None:
    """Give every output, of whole numbers too; None where the model refuses the batch."""
    try:
        return rig.bench(batch)
    except Exception:
        return None


def moved(base: dict[str, Tensor], given: dict[str, Tensor]) -> bool:
    """Say whether anything at all changed."""
    if base.keys() != given.keys():
        return True
    return any(gap(x, given[path]) > digits(x) for path, x in base.items())


def digits(x: Tensor) -> float:
    """Give what the order of a sum can change: an input that moves no more is cancelled."""
    return 64 * torch.finfo(torch.float64).eps if x.dtype is torch.float64 else 0.0


def matters_in_training(subject: Subject, name: str, trials: list[Tensor]) -> bool:
    """Say whether an input changes anything in train mode."""
    outputs = []
    for x in (None, *trials[:3]):
        bench = subject.bench(train=True)
        batch = bench.batch(3)
        try:
            outputs.append(bench(batch if x is None else {**batch, name: x}))
        except Exception:
            return True
    return any(
        o.keys() != outputs[0].keys()
        or any(gap(x, o[n]) > digits(x) for n, x in outputs[0].items())
        for o in outputs[1:]
    )


def swallowed(rig: Rig, one: Batch, other: Batch) -> str:
    """Give the innermost module that is entered with another input and left with the same output.

    Empty where the input reaches no module inside.
    """
    try:
        pairs = list(zip(recorded(rig, one).steps, recorded(rig, other).steps, strict=True))
    except Exception:
        return ""
    entered: list[tuple[str, bool]] = []
    for a, b in pairs:
        if a.kind == "op":
            continue
        same = len(a.tensors) == len(b.tensors) and all(
            gap(x, y) <= digits(x) for x, y in zip(a.tensors, b.tensors, strict=True)
        )
        if a.kind == "in":
            entered.append((a.at, not same))
        elif entered:
            name, differed = entered.pop()
            if differed and same:
                return name
    return ""


def dropped(rig: Rig, name: str, batch: Batch, trials: list[Tensor]) -> Iterator[Finding]:
    """Report a module that is given one number a row, and makes the same of every number."""
    x = batch[name]
    if x.dim() != 1 or x.is_floating_point() or len(trials) < 3 or len(x) < 2:
        return
    where = {swallowed(rig, batch, {**batch, name: y}) for y in trials}
    if len(where) != 1 or "" in where:
        return
    yield Finding(
        kind="ignored-input",
        severity="fail",
        where=where.pop(),
        evidence=(
            f"{name} {tuple(x.shape)} was exchanged {len(trials)} times; this module was given "
            "other numbers and gave the same output each time"
        ),
        explanation=f"what the module says of {name} is a constant",
        fix="look for an integer division, a clamp, or a multiplication by zero on the way",
    )


def ignored(rig: Rig, name: str, trials: int, batch: Batch, other: Tensor) -> Finding:
    """Make the finding of an input that changes nothing."""
    known = rig.input(name)
    said: Severity = "fail"
    mask = known.kind == "mask"
    if mask:
        spec, needed = rig.subject.spec, rig.subject.takes().get(name, True)
        promised = spec.padding_side is not None and name == spec.padding_mask
        declared = promised or name in spec.inputs or (needed and name == spec.padding_mask)
        hides = len(batch[name].unique()) > 1
        said = "fail" if declared or (hides and needed) else "warn"
    return Finding(
        kind="ignored-input",
        severity=said,
        where=swallowed(rig, batch, {**batch, name: other}) or name,
        evidence=(
            f"{name} {tuple(batch[name].shape)} was exchanged {trials} times for other legal "
            "values, and not one bit of any output changed, in eval mode and in train mode"
        ),
        explanation=(
            "what the mask hides is seen all the same"
            if mask
            else "the model takes this input and makes nothing of it"
        ),
        fix=f"use {name} in forward (it may be overwritten, multiplied by zero, or sent to a layer "
        f"whose result is dropped), or declare may_ignore=[{name!r}]",
    )


def check_inputs_covered(subject: Subject) -> Iterator[Finding]:
    """Prove that every feature, channel and region of a float input can change something."""
    rig = Rig(subject)
    names = [
        n
        for n, x in rig.facts.inputs.items()
        if x.kind in ("float", "image") and x.batch_axis is not None
    ]
    names = [n for n in names if n not in subject.spec.may_ignore]
    if not names or not (rig.layout.rows or rig.layout.squares):
        raise NotApplicable("no input of real numbers has an axis for the batch")
    for name in names:
        yield from uncovered(rig, name)


def uncovered(rig: Rig, name: str) -> Iterator[Finding]:
    """Report slices of an input that change nothing."""
    known, batch = rig.input(name), rig.batch(3)
    x = batch[name].movedim(known.batch_axis or 0, 0)
    axes = [1] if x.dim() == 4 else list(range(1, x.dim())) if x.dim() <= 3 else []
    if x.dim() == 3 and known.sequence_axis is not None:
        axes = [a for a in axes if a != known.sequence_axis]
    for axis in axes:
        gone = [i for i, lives in enumerate(alive(rig, name, slices(x, axis))) if not lives]
        size = x.shape[axis]
        if not gone or len(gone) == size or size > 64:
            continue
        tail = gone == list(range(gone[0], size)) and x.dim() > 2
        yield lost(
            name,
            f"index {gone} along axis {axis} (of {size}) of {name}",
            "warn" if tail or (x.dim() == 3 and known.sequence_axis is None) else "fail",
        )
    if x.dim() != 4 or min(x.shape[2:]) < 4:
        return
    cells = regions(x)
    lives = alive(rig, name, [cell for _, _, cell in cells])
    dead = [(i, j) for (i, j, _), good in zip(cells, lives, strict=True) if not good]
    if not dead or len(dead) == len(cells):
        return
    last = max(i for i, _, _ in cells), max(j for _, j, _ in cells)
    inside = [(i, j) for i, j in dead if 0 < i < last[0] and 0 < j < last[1]]
    grid = [[float((i, j) not in dead) for j in range(last[1] + 1)] for i in range(last[0] + 1)]
    found = lost(
        name,
        f"{len(dead)} of {len(cells)} regions of {name}, at (row, column) {dead[:6]} of a grid of "
        f"{last[0] + 1} by {last[1] + 1},",
        "fail" if inside else "warn",
    )
    picture = {"kind": "regions", "input": name, "matrix": grid}
    yield Finding(**{**vars(found), "kind": "dead-position", "data": picture})


def lost(name: str, what: str, severity: Severity) -> Finding:
    """Make the finding of a part of an input that changes nothing."""
    return Finding(
        kind="ignored-input",
        severity=severity,
        where=name,
        evidence=f"{what} took other values, small and large, and no output changed",
        explanation="a part of the input that the model never reads cannot inform it",
        fix="look for a slice that is off by one, a stride larger than its kernel, or a reshape",
    )


def slices(x: Tensor, axis: int) -> list[Tensor]:
    """Give a mask of each index along an axis of one row."""
    found = []
    for index in range(min(x.shape[axis], 64)):
        mask = torch.zeros(x.shape[1:], dtype=torch.bool)
        mask.select(axis - 1, index).fill_(True)
        found.append(mask)
    return found


def regions(x: Tensor) -> list[tuple[int, int, Tensor]]:
    """Give a mask of each region of an image, with its place in the grid."""
    found = []
    steps = [max(2, -(-n // CELLS)) for n in x.shape[2:]]
    for i in range(-(-x.shape[2] // steps[0])):
        for j in range(-(-x.shape[3] // steps[1])):
            mask = torch.zeros(x.shape[1:], dtype=torch.bool)
            rows, columns = slice(i * steps[0], (i + 1) * steps[0]), slice(j * steps[1], None)
            mask[:, rows, columns] = True
            mask[:, :, (j + 1) * steps[1] :] = False
            found.append((i, j, mask))
    return found


def alive(rig: Rig, name: str, masks: list[Tensor]) -> list[bool]:
    """Say of each part whether changing it changes any output of its row."""
    found = [False] * len(masks)
    for trial in range(4 if rig.small else 2):
        left = [i for i, lives in enumerate(found) if not lives]
        if not left:
            break
        given = one_row(rig, rig.batch(3), trial % 3, len(left) + 1)
        axis = rig.input(name).batch_axis or 0
        x = given[name].movedim(axis, 0).clone()
        change = changes(x[0], trial)
        for row, part in enumerate(left, 1):
            x[row] = torch.where(masks[part], change, x[row])
        outputs = rig.tried({**given, name: x.movedim(0, axis).contiguous()})
        if outputs is None:
            return [True] * len(masks)
        size = rows_in(rig, given)
        for rows in by_row(rig, outputs, size).values():
            for row, part in enumerate(left, 1):
                apart = gap(rows[row], rows[0], scale_of(rows))
                found[part] = found[part] or not apart <= rig.bench.bound
    return found


def changes(x: Tensor, trial: int) -> Tensor:
    """Give other values: random ones, then large ones of either sign."""
    spread = float(x.std()) if x.numel() > 1 else 1.0
    spread = spread or 1.0
    generator = torch.Generator().manual_seed(trial)
    noise = torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x)
    return x + spread * (2 * noise, 10 * noise.abs(), -10 * noise.abs(), 30 * noise)[trial]


ROWS = (
    Check(
        name="inputs_matter",
        run=check_inputs_matter,
        about="every input of forward can change the output",
    ),
    Check(
        name="inputs_covered",
        run=check_inputs_covered,
        about="every feature, channel and region of the inputs can change the output",
    ),
)

"""Whether padding stays without effect: on either side, of any amount, whatever it holds."""

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn

from zoo.testing.blame import Place
from zoo.testing.checks.influence import check_influence
from zoo.testing.checks.influence_blame import owner, recorded
from zoo.testing.checks.influence_tools import (
    Batch,
    Rig,
    gap,
    steady,
    take_rows,
)
from zoo.testing.checks.padding_tools import (
    PROPER,
    Padded,
    Window,
    blame_windows,
    cut_to,
    hidden,
    pad,
    padded_inputs,
    whole,
    worst,
)
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.finding import Finding, Severity
from zoo.testing.subject import Subject

ATTENDS = (
    *("softmax", "masked_fill", "matmul", "__matmul__", "bmm", "baddbmm", "einsum", "where"),
    *("scaled_dot_product_attention", "multi_head_attention_forward"),
)
REDUCES = ("mean", "sum", "amax", "max", "std", "var", "div", "reshape", "view", "flatten")
WHY = "a row would get another answer for standing beside a longer one"


def check_padding(subject: Subject) -> Iterator[Finding]:
    """Prove that padding changes neither real positions nor pooled outputs."""
    rig = Rig(subject)
    tried = False
    for padded in padded_inputs(rig):
        if padded.length < 3:
            continue
        found = list(of_one(rig, padded))
        if found:
            steady(rig)
        tried = True
        yield from found
    if not tried:
        raise NotApplicable("the padded inputs are too short")


def of_one(rig: Rig, padded: Padded) -> Iterator[Finding]:
    """Check one padded input: its worst failure is told, the sides in order."""
    batch = whole(rig, padded)
    side = rig.subject.spec.padding_side
    if padded.how == "mask" and rig.tried(pad(rig, padded, batch, count(padded), "right")) is None:
        return
    for one in ("right", "left"):
        if one == "right" and side == "left":
            continue
        if one == "left" and (side == "right" or padded.how == "lengths"):
            continue
        found = content(rig, padded, batch, one) or amount(rig, padded, batch, one)
        if found is None and one == "right":
            found = natural(rig, padded)
        if found is not None and padded.how == "id" and blind_to_ids(rig):
            return  # positions that matter to nothing explain it better
        if found is not None:
            yield replace(found[0], severity=severity(rig, padded, one, *found))
            return


def blind_to_ids(rig: Rig) -> bool:
    """Say whether positions are dead: another check says so."""
    try:
        return any(f.kind == "dead-position" for f in check_influence(rig.subject))
    except NotApplicable:
        return False


def count(padded: Padded) -> int:
    """Choose how many positions are real."""
    return max(1, padded.length - max(1, padded.length // 3))


def severity(rig: Rig, padded: Padded, side: str, found: Finding, place: Place | None) -> Severity:
    """Judge a leak: a failure where padding was promised to be without effect on this side.

    A mask that may be left out is no promise: some models convolve over padding on purpose.
    """
    said = rig.subject.spec.padding_side
    if side == "left":
        if said in ("left", "both"):
            return "fail"
        return "warn" if padded.declared else "info"
    if padded.how == "id":
        if said is None and turned(rig, padded):
            return "warn"
        return "fail" if said is not None or derived(rig, padded) else "warn"
    if said is not None and padded.declared:
        return "fail"
    if found.kind == "mask" and (padded.declared or padded.name in PROPER):
        return "fail"
    if not padded.declared and not told(rig, padded):
        return "warn"
    if padded.declared and (padded.how == "lengths" or rig.subject.takes().get(padded.name, False)):
        return "fail"
    mixes = place is not None and place.name in ATTENDS + REDUCES
    return "fail" if mixes and not convolves(rig) and mask_works(rig, padded) else "warn"


def turned(rig: Rig, padded: Padded) -> bool:
    """Say whether padding is hidden on the left, and the author's batches have none elsewhere."""
    batches = [rig.batch(5, seed)[padded.name] for seed in (0, 1)]
    ends = [x.select(padded.axis, x.shape[padded.axis] - 1) for x in batches]
    if any(bool((x == rig.input(padded.name).pad_id).any()) for x in ends):
        return False
    return amount(rig, padded, whole(rig, padded), "left") is None


def told(rig: Rig, padded: Padded) -> bool:
    """Say whether the author's own batches hold one value alone where the mask hides."""
    beneath = []
    for seed in (0, 1):
        batch = rig.batch(5, seed)
        mask = batch[padded.name]
        if batch[padded.content[0]].shape[:2] != mask.shape:
            return False
        beneath.append(batch[padded.content[0]][hidden(mask, rig.input(padded.name))].flatten())
    values = torch.cat(beneath)
    return values.numel() > 2 and len(values.unique()) == 1


def convolves(rig: Rig) -> bool:
    """Say whether the model has convolutions, which see padding beside real positions."""
    return any(isinstance(m, nn.modules.conv._ConvNd) for m in rig.bench.module.modules())


def mask_works(rig: Rig, padded: Padded) -> bool:
    """Say whether the mask changes anything."""
    batch = whole(rig, padded)
    other = pad(rig, padded, batch, count(padded), "right")
    one, two = rig(batch), rig({**batch, padded.name: other[padded.name]})
    return any(gap(x, two.get(path, x)) > 0 for path, x in one.items())


def derived(rig: Rig, padded: Padded) -> bool:
    """Say whether the model compares the ids with the padding id: a mask of its own making."""
    given = pad(rig, padded, whole(rig, padded), count(padded), "right")
    ids, known = given[padded.name], rig.input(padded.name)
    is_pad = ids == known.pad_id
    try:
        steps = recorded(rig, given).steps
    except Exception:
        return False
    masks = [x for s in steps if s.name in ("eq", "ne", "__eq__", "__ne__") for x in s.tensors]
    masks = [x.flatten() for x in masks if x.numel() == is_pad.numel() and x.dtype == torch.bool]
    flat = is_pad.flatten()
    return any(torch.equal(x, flat) or torch.equal(x, ~flat) for x in masks)


Found = tuple[Finding, Place | None]


def content(rig: Rig, padded: Padded, batch: Batch, side: str) -> Found | None:
    """Change what stands under the mask."""
    if padded.how == "id":
        return None
    n = count(padded)
    start = padded.length - n if side == "left" else 0
    window = Window(padded.length, start, n)
    base = pad(rig, padded, batch, n, side)
    for turn in (1, 2):
        other = pad(rig, padded, batch, n, side, fill=turn)
        found = worst(rig, padded, base, other, window, window)
        if found is None or found[0] <= rig.bench.bound:
            continue
        place = blame_windows(rig, base, other, window, window)
        if inverted(rig, padded, base, window):
            return inverted_finding(padded, found, owner(rig, place), place), place
        end = "last" if side == "right" else "first"
        evidence = (
            f"with the {end} {padded.length - n} of {padded.length} positions hidden by "
            f"{padded.name}, other values of {padded.content[0]} there moved output "
            f"{found[1] or 'output'!r} at real positions by {found[0]:.2g} of its scale"
        )
        return leak(evidence, owner(rig, place), place, soft=found[0] < 1e-3), place
    return None


def inverted(rig: Rig, padded: Padded, base: Batch, window: Window) -> bool:
    """Say whether real positions hide from each other while hidden ones are seen."""
    name = padded.content[0]
    x = base[name].clone()
    place = window.start
    if window.count < 2:
        return False
    there = x.select(padded.axis, place)
    there.copy_(base[name].select(padded.axis, place + 1))
    rest = Window(window.length, place + 1, window.count - 1)
    if torch.equal(x, base[name]):
        return False
    seen = worst(rig, padded, base, {**base, name: x}, rest, rest, only_placed=True)
    return seen is not None and seen[0] <= rig.bench.bound


def inverted_finding(
    padded: Padded, found: tuple[float, str], where: str, place: Place | None
) -> Finding:
    """Make the finding of a mask that says the opposite."""
    return Finding(
        kind="mask",
        severity="fail",
        where=where,
        line=place.line if place else "",
        evidence=(
            f"values hidden by {padded.name} moved output {found[1] or 'output'!r} by "
            f"{found[0]:.2g} of its scale, while other real positions did not matter at all: the "
            "mask is inverted"
        ),
        explanation="the model reads the padding and hides the text from itself",
        fix=(
            "invert the mask where this module uses it: F.scaled_dot_product_attention lets True "
            "through, nn.MultiheadAttention's key_padding_mask and masked_fill hide True"
        ),
    )


def leak(evidence: str, where: str, place: Place | None, *, soft: bool) -> Finding:
    """Make the finding of padding that is seen."""
    name = place.name if place else ""
    if soft:
        fix = "the mask is soft: hide scores with -inf or torch.finfo(dtype).min, before softmax"
    elif name in ("mean", "sum", "amax", "max", "std", "var"):
        fix = "this reduction runs over padding too: mask it, and divide by the number of real ones"
    elif name in ("reshape", "view", "flatten", "transpose"):
        fix = "this reshape mixes positions with heads or channels: transpose the axes first"
    else:
        fix = (
            "hide padded keys before the softmax, in every layer, along the axis of keys: "
            "mask[:, None, None, :]; keep means, norms and convolutions off padded positions"
        )
    return Finding(
        kind="padding-leak",
        severity="fail",
        where=where,
        line=place.line if place else "",
        evidence=evidence,
        explanation=WHY,
        fix=fix,
    )


def amount(rig: Rig, padded: Padded, batch: Batch, side: str) -> Found | None:
    """Compare rows without padding with the same rows padded."""
    if rig.layout.noisy:
        return None
    n = count(padded)
    start = padded.length - n if side == "left" else 0
    short, long = cut_to(rig, padded, batch, n), pad(rig, padded, batch, n, side)
    a, b = Window(n, 0, n), Window(padded.length, start, n)
    found = worst(rig, padded, short, long, a, b)
    if found is None:
        if side != "left" or side_works(rig, padded, batch, n) is None:
            return None
        short, a = pad(rig, padded, batch, n, "right"), Window(padded.length, 0, n)
        found = worst(rig, padded, short, long, a, b)
    if found is None or found[0] <= rig.bench.bound:
        return None
    place = blame_windows(rig, short, long, a, b)
    evidence = (
        f"{n} positions alone, and the same with {padded.length - n} of padding on the {side} "
        f"(told by {padded.name}): output {found[1] or 'output'!r} is {found[0]:.2g} of its scale "
        "apart at the real positions"
    )
    made = leak(evidence, owner(rig, place), place, soft=False)
    if side == "left":
        made = replace(
            made,
            fix=(
                "take positions from the mask, (mask.cumsum(1) - 1).clamp_min(0), and hide padded "
                "keys in every layer"
            ),
        )
    return made, place


def natural(rig: Rig, padded: Padded) -> Found | None:
    """Compare the author's own padded rows with the same rows cut to their length."""
    if rig.layout.noisy:
        return None
    batch = rig.batch(5)
    real = real_positions(rig, padded, batch)
    if real is None:
        return None
    for row in range(len(real)):
        n = int(real[row].sum())
        if not 0 < n < padded.length or not bool(real[row, :n].all()):
            continue
        long = take_rows(rig, batch, [row] * 3)
        short = cut_to(rig, padded, long, n)
        a, b = Window(n, 0, n), Window(padded.length, 0, n)
        found = worst(rig, padded, short, long, a, b)
        if found is None or found[0] <= rig.bench.bound:
            continue
        place = blame_windows(rig, short, long, a, b)
        evidence = (
            f"a row of {n} positions with {padded.length - n} of padding behind them was cut to "
            f"its {n}: output {found[1] or 'output'!r} is {found[0]:.2g} of its scale apart"
        )
        return leak(evidence, owner(rig, place), place, soft=False), place
    return None


def real_positions(rig: Rig, padded: Padded, batch: Batch) -> torch.Tensor | None:
    """Give which positions of a batch are real, (b, t)."""
    x = batch[padded.name]
    if padded.how == "mask":
        return ~hidden(x, rig.input(padded.name))
    if padded.how == "lengths":
        return torch.arange(padded.length)[None] < x[:, None]
    return x != rig.input(padded.name).pad_id


def side_works(rig: Rig, padded: Padded, batch: Batch, n: int) -> Batch | None:
    """Give a right-padded batch to compare with, where a shorter one is refused."""
    given = pad(rig, padded, batch, n, "right")
    return given if rig.tried(given) is not None else None


ROWS = (
    Check(
        name="padding",
        run=check_padding,
        about="padding on either side changes no real position and no pooled output",
    ),
)

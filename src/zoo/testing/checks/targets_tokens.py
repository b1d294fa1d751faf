"""What a model of sequences is trained to emit, beside the tokens that it reads."""

import torch
from torch import Tensor

from zoo.testing.checks.losses_view import IGNORED, View, agreement, whole
from zoo.testing.checks.targets_view import SHIFTS, Trained, labels_of, some, trained
from zoo.testing.finding import Finding


def reads_left_to_right(view: View, name: str, one: Trained) -> bool:
    """Say whether a position sees no later token of an input, and does see earlier ones."""
    subject = view.subject
    bench = subject.bench()
    batch = bench.batch(2)
    ids = batch[name]
    t = ids.shape[1]
    if t < 3:
        return False
    late, early = ids.clone(), ids.clone()
    rows = bench.batch(2, 77)[name]
    if rows.shape != ids.shape:
        return False
    late[:, -1] = torch.where(rows[:, -1] != ids[:, -1], rows[:, -1], rows[:, 0])
    early[:, 0] = torch.where(rows[:, 0] != ids[:, 0], rows[:, 0], rows[:, -1])
    try:
        given = [bench(batch | {name: x}).get(one.path) for x in (ids, late, early)]
    except Exception:
        return False
    if any(x is None or x.dim() < 2 or x.shape[1] != t for x in given):
        return False
    here, after, before = given
    assert here is not None and after is not None and before is not None
    return (
        not bench.differ(here[:, :-1], after[:, :-1])
        and bench.differ(here[:, -1], after[:, -1])
        and bench.differ(here[:, 1:], before[:, 1:])
    )


def token_inputs(view: View, one: Trained) -> list[str]:
    """Give the inputs whose tokens could be what is emitted, the declared one first."""
    batch, facts = view.free.batch, view.subject.facts
    first = [facts.causal] if facts.causal is not None else []
    names = [*first, *(n for n in view.subject.arguments(batch) if n not in first)]
    labels = labels_of(view, one)
    own = labels[0] if labels is not None else facts.labels
    return [
        n
        for n in names
        if isinstance(batch.get(n), Tensor)
        and whole(batch[n])
        and tuple(batch[n].shape) == tuple(one.classes.shape)
        and n != own
        and (n not in facts.inputs or facts.inputs[n].kind not in ("mask", "adjacency"))
        and len(batch[n].unique()) > 3
    ]


def against_inputs(view: View, one: Trained) -> Finding | None:
    """Check that a model which reads left to right is trained to emit the next token."""
    spec, facts = view.subject.spec, view.subject.facts
    if one.classes.dim() != 2 or one.path != view.free.path:
        return None
    for name in token_inputs(view, one):
        ids = view.free.batch[name]
        every = torch.ones_like(ids, dtype=torch.bool)
        fits = [s for s in SHIFTS if agreement(one.classes, one.counted, ids, every, s) == 1.0]
        if len(fits) != 1 or fits[0] == 1 or (fits[0] and int(one.counted.sum()) < 4):
            continue
        said = facts.causal == name or (spec.task == "next_token" and name in facts.tokens)
        if not said and not (spec.causal is None and reads_left_to_right(view, name, one)):
            continue
        shift = fits[0]
        sure = said or view.free.at < 0
        what = {0: "the token it has just read", 2: "the token two later"}.get(
            shift, "a token it has read before"
        )
        return view.finding(
            "loss-targets",
            "fail" if sure else "warn",
            f"position t is trained to emit {name}[t{f' + {shift}' if shift > 0 else ''}"
            f"{f' - {-shift}' if shift < 0 else ''}], {what}, at all "
            f"{int(one.counted.sum())} positions that count. "
            + some(one, ids)
            + " is what it reads",
            "the loss falls to 0 by copying: nothing of the next token is learnt"
            if shift <= 0
            else "the token right after is never learnt",
            "compare output[:, :-1] with labels[:, 1:], or shift the labels in the data; once",
        )
    return None


def copied_start(view: View, one: Trained) -> Finding | None:
    """Find a first position that is trained to emit what it reads: no sign of the start."""
    facts, free = view.subject.facts, view.free
    name = facts.causal
    if name is None or name not in token_inputs(view, one) or one.classes.shape[1] < 4:
        return None
    again = trained(view, one.path, other := free.other_batch(4))
    if again is None:
        return None
    every = torch.ones_like(one.classes, dtype=torch.bool)
    for got, batch in ((one, free.batch), (again, other)):
        ids, first = batch[name], got.counted[:, 0]
        same = torch.equal(got.classes[first, 0], ids[first, 0]) and len(ids[:, 0].unique()) > 1
        if (
            not same
            or not bool(first.any())
            or agreement(got.classes, got.counted, ids, every, 0) > 0.9
        ):
            return None
    return view.finding(
        "loss-targets",
        "fail",
        f"in all rows of two batches position 0 is trained to emit {name}[0], the token that it "
        "reads; " + some(one, free.batch[name]) + " is what it reads",
        "the first token is given away instead of predicted: generation has no way to begin",
        "put a token that marks the start in front of what the decoder reads, and keep the labels",
    )


def wrapped(view: View, one: Trained) -> Finding | None:
    """Find a last position that is trained on the first token, as torch.roll makes it."""
    if one.classes.dim() != 2 or one.classes.shape[1] < 4 or not bool(one.counted[:, -1].any()):
        return None
    names = [*token_inputs(view, one)]
    labels = labels_of(view, one)
    found = [(n, view.free.batch[n]) for n in names] + ([labels[:2]] if labels else [])
    for name, ids in found:
        every = torch.ones_like(ids, dtype=torch.bool)
        if agreement(one.classes, one.counted, ids, every, 1) < 1.0:
            continue
        last = one.counted[:, -1]
        if len(ids[:, 0].unique()) > 1 and torch.equal(one.classes[last, -1], ids[last, 0]):
            return view.finding(
                "loss-targets",
                "fail",
                f"the last position of every row is trained to emit {name}[0], the row's first "
                f"token; the others emit {name}[t + 1]",
                "the labels were rolled, not shifted: the last position learns noise",
                f"leave the last position out, or give it the label {IGNORED}",
            )
    return None


def unmasked(view: View, one: Trained) -> Finding | None:
    """Check that a masked language model is trained on the masked positions."""
    subject = view.subject
    if subject.spec.task != "masked_tokens" or one.classes.dim() != 2:
        return None
    for name in token_inputs(view, one):
        ids = view.free.batch[name]
        mask = view.free.batch.get(subject.facts.padding_mask or "")
        real = torch.ones_like(one.counted)
        if isinstance(mask, Tensor) and mask.shape == ids.shape:
            real = mask.bool() if subject.facts.mask_keeps else ~mask.bool()
        copied = one.counted & (one.classes == ids) & real
        part = float(copied.sum()) / max(1, int((one.counted & real).sum()))
        if part > 0.5 and int(copied.sum()) > 3 and bool((one.classes != ids)[one.counted].any()):
            return view.finding(
                "loss-targets",
                "fail",
                f"{int(copied.sum())} of {int((one.counted & real).sum())} positions that count "
                f"are trained to emit the token that stands there in {name!r}",
                "copying what is visible makes up most of the loss, and masked tokens little of it",
                f"give every position that was not masked the label {IGNORED}",
            )
    return None

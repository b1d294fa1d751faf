"""Whether the numbers stay finite on inputs that are large, tiny, constant or empty."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from zoo.testing import blame
from zoo.testing.checks.running import bad, bad_gradient, first_bad
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.finding import Finding
from zoo.testing.subject import Subject, cloned

SCALES = {"times 100": 100.0, "times 10,000": 1e4}
FIX = (
    "bound what goes into that op: eps in divisions, roots and logarithms; softmax, logsumexp, "
    "softplus and sigmoid from torch, which are written so that nothing overflows"
)


def check_extremes(subject: Subject) -> Iterable[Finding]:
    """Stop a model that turns ordinary, if extreme, inputs into NaN."""
    module = subject.fresh(train=False)
    batch = subject.batch()
    with torch.no_grad():
        if bad(subject.main(subject.call(module, batch))):
            raise NotApplicable("the output is NaN on a plain batch")
    found = list(plain_inputs(subject, module, batch))
    found += list(large_inputs(subject, module, batch)) if not found else []
    found += list(masked_rows(subject, module, batch))
    places = {f.where: f for f in reversed(found)}  # the first of each place
    yield from reversed(places.values())


def real_inputs(subject: Subject, batch: Mapping[str, Any]) -> list[str]:
    """Name the inputs that hold real numbers and may be changed."""
    return [
        name
        for name, known in subject.facts.inputs.items()
        if known.kind in ("float", "image")
        and batch[name].is_floating_point()
        and batch[name].layout is torch.strided
    ]


def both_signs(x: Tensor) -> bool:
    """Say whether zero lies inside the range of an input."""
    return bool((x < 0).any()) and bool((x > 0).any())


def plain_inputs(
    subject: Subject, module: nn.Module, batch: Mapping[str, Any]
) -> Iterator[Finding]:
    """Try an input of zeros, and one of equal numbers: a black image, a silent signal."""
    for name in real_inputs(subject, batch):
        x, known = batch[name], subject.facts.inputs[name]
        level = x.mean()
        tries = {"equal numbers everywhere": torch.full_like(x, float(level))}
        lowest = known.low if known.low is not None else -float("inf")
        if (both_signs(x) or known.kind == "image") and lowest <= 0:
            tries["zeros"] = torch.zeros_like(x)
        for words, value in tries.items():
            given = dict(batch) | {name: value}
            when = f"for {name} of {words}"
            for found in judged(subject, module, given, when, "fail"):
                yield found if lasts(subject, given) else as_built(found)
    yield from equal_tokens(subject, module, batch)


def lasts(subject: Subject, batch: Mapping[str, Any]) -> bool:
    """Say whether an input gives NaN also with other weights: biases that are born zero move."""
    bench = subject.bench(train=False)
    given = bench.cast(batch)
    return any(judged(bench.subject, bench.module, given, "", "fail"))


def as_built(found: Finding) -> Finding:
    """Give a finding as one that the first steps of training may mend."""
    said = f"{found.evidence}; with other weights and biases it does not happen"
    return replace(found, severity="warn", evidence=said)


def equal_tokens(
    subject: Subject, module: nn.Module, batch: Mapping[str, Any]
) -> Iterator[Finding]:
    """Try the same token at every position."""
    names = [n for n in subject.facts.tokens if n in subject.facts.inputs]
    if names:
        given = dict(batch)
        for name in names:
            given[name] = torch.full_like(batch[name], int(batch[name].flatten()[0]))
        yield from judged(subject, module, given, "for equal tokens everywhere", "fail")


def large_inputs(
    subject: Subject, module: nn.Module, batch: Mapping[str, Any]
) -> Iterator[Finding]:
    """Try inputs that are far too large: an image that nobody divided by 255."""
    names = real_inputs(subject, batch)
    names = [n for n in names if subject.facts.inputs[n].high is None]
    if not names:
        return
    for words, scale in SCALES.items():
        given = dict(batch) | {n: batch[n] * scale for n in names}
        try:
            with torch.no_grad():
                main = subject.main(subject.call(module, given))
        except Exception:
            return
        if bad(main):
            place, certain = overflow(subject, module, given)
            yield Finding(
                kind="non-finite",
                severity="fail" if certain else "warn",
                where=place.where,
                line=place.line,
                evidence=f"the output holds NaN for {', '.join(names)} {words}; it begins at "
                f"{place.name or 'an op'} in {place}"
                + (", which divides infinity by infinity" if certain else ""),
                explanation="numbers that are large, and finite, become NaN: one odd example "
                "spoils the whole batch's step",
                fix=FIX,
            )
            return


def overflow(subject: Subject, module: nn.Module, batch: Any) -> tuple[blame.Place, bool]:
    """Find where NaN begins, and whether it is a softmax by hand: exp, then infinity by itself."""
    made = blame.record(module, lambda: subject.call(module, batch))
    place = blame.first_bad(made, bad) or blame.Place("")
    infinite = blame.first_bad(made, lambda x: bad(x, True)) or place
    by_hand = infinite.name in ("exp", "exp_", "expm1") and infinite.where == place.where
    return place, by_hand and "div" in place.name


def judged(
    subject: Subject, module: nn.Module, batch: Mapping[str, Any], when: str, severity: Any
) -> Iterator[Finding]:
    """Run forward and backward; find NaN in the output or in a gradient."""
    module.zero_grad(set_to_none=True)
    try:
        output = subject.call(module, cloned(batch))
        main = subject.main(output)
    except Exception:
        return  # a model may refuse what it cannot use
    if bad(main):
        place = first_bad(subject, module, batch)
        yield Finding(
            kind="non-finite",
            severity=severity,
            where=place.where,
            line=place.line,
            evidence=f"the output holds NaN {when}; it begins at {place.name or 'an op'} "
            f"in {place}",
            explanation="such inputs occur: padding, a black image, silence, a feature that is "
            "missing; NaN spreads to the whole batch's step",
            fix=FIX,
        )
        return
    if not main.requires_grad or bool(main.isinf().any()):
        return
    try:
        (main * torch.linspace(0.5, 1.5, main.numel()).view_as(main)).sum().backward()
    except Exception:
        return  # it may be trained in train mode alone
    names = [n for n, p in module.named_parameters() if p.grad is not None and bad(p.grad)]
    if names:
        yield bad_gradient(subject, module, batch, names, when, severity)


def masked_rows(subject: Subject, module: nn.Module, batch: Mapping[str, Any]) -> Iterator[Finding]:
    """Try a row whose mask leaves one position, and one whose mask leaves none."""
    facts = subject.facts
    known = facts.inputs.get(facts.padding_mask or "")
    if facts.padding_mask is None or known is None or known.sequence_axis is None:
        return
    mask = batch[facts.padding_mask]
    axis = known.batch_axis or 0
    if mask.dim() != 2 or mask.is_floating_point() or mask.shape[axis] < 2:
        return
    keep, drop = (1, 0) if facts.mask_keeps else (0, 1)
    rows = mask.clone() if axis == 0 else mask.t().clone()
    rows[0] = drop
    none = rows if axis == 0 else rows.t()
    rows = rows.clone()
    first = subject.spec.padding_side == "left"
    rows[0, -1 if first else 0] = keep
    one = rows if axis == 0 else rows.t()
    yield from judged(
        subject, module, dict(batch) | {facts.padding_mask: one}, "for a row of one token", "fail"
    )
    try:
        with torch.no_grad():
            main = subject.main(subject.call(module, dict(batch) | {facts.padding_mask: none}))
    except Exception:
        return
    if not bad(main):
        return
    along = facts.output_batch_axis
    spreads = along is not None and not facts.output_couples and bad(main.narrow(along, 1, 1))
    place = first_bad(subject, module, dict(batch) | {facts.padding_mask: none})
    yield Finding(
        kind="non-finite",
        severity="fail" if spreads else "warn",
        where=place.where,
        line=place.line,
        evidence="the output holds NaN when the mask of one row leaves no position"
        + ("; other rows become NaN too" if spreads else " (in that row alone)")
        + f"; it begins at {place.name or 'an op'} in {place}",
        explanation="a softmax over nothing but minus infinity is 0/0; empty rows come from "
        "padding a batch to a size",
        fix="mask with torch.finfo(dtype).min instead of -inf, or set the rows of the result that "
        "may look nowhere to zero",
    )


ROWS = (
    Check(
        name="extremes",
        run=check_extremes,
        about="zeros, constants, large numbers and empty rows give no NaN",
    ),
)

"""Why a gradient is wrong, told from experiments on the one module whose own backward is wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from zoo.testing.checks.slopes_events import LEAVES, Cuts, Event
from zoo.testing.checks.slopes_functions import Judged, functions_of, judged
from zoo.testing.checks.slopes_local import Call, Wrong
from zoo.testing.checks.slopes_numeric import Slope
from zoo.testing.finding import Severity

LINES = 12  # cuts that are taken back one by one


@dataclass(frozen=True)
class Cause:
    """A wrong gradient with its place and its reason."""

    kind: str
    severity: Severity
    where: str
    line: str
    evidence: str
    explanation: str
    fix: str
    names: tuple[str, ...] = ()  # tensors whose gradient is wrong
    explained: bool = True  # an experiment showed the cause


def cause_of(wrong: Wrong, module: nn.Module, calls: Sequence[Call]) -> Cause:
    """Find out why a module's backward is wrong."""
    slopes = wrong.probe.each(wrong.gradients)
    bad = {wrong.probe.names[i]: s for i, s in slopes.items() if s.wrong()}
    part = module.get_submodule(wrong.path)
    seen = said(wrong, bad)
    straight = any(s.stepped() for s in bad.values()) or any(e.straight for e in wrong.events)
    if bad and all(s.stepped() for s in bad.values()):
        return stepped(wrong, seen, tuple(bad))
    cut = cut_that_explains(wrong)
    if cut is not None:
        around = any(True for _ in part.children())
        return detached(wrong, cut, bad, seen, straight, around=around)
    for function in functions_of(wrong, part):
        found = judged(function)
        if found is not None:
            return custom(wrong, found, seen, tuple(bad))
    taken = [e for e in wrong.events if e.name in LEAVES and e.owner != "torch"]
    if taken and any(s.cut() or s.numeric for s in bad.values()):
        return detached(wrong, taken[0], bad, seen, straight)
    if hooked(part):
        return by_hook(wrong, seen, tuple(bad))
    return unexplained(wrong, seen, tuple(bad))


def said(wrong: Wrong, bad: dict[str, Slope]) -> str:
    """Write down what was measured."""
    if not bad:
        return f"along one direction of all its tensors {wrong.slope}"
    # to six digits: of those that are wrong by one factor, the first, on every machine
    off = {n: s.gap() / (abs(s.numeric) + abs(s.analytic)) for n, s in bad.items()}
    worst = max(bad, key=lambda n: round(off[n], 6))
    more = f"; {len(bad)} of its tensors are wrong" if len(bad) > 1 else ""
    place = f"{wrong.path}." if wrong.path and not worst.startswith("input ") else ""
    return f"along a random direction of {place}{worst} {bad[worst]}{more}"


def stepped(wrong: Wrong, seen: str, names: tuple[str, ...]) -> Cause:
    """Describe a forward that is flat in steps, and a backward that is not."""
    return Cause(
        kind="wrong-gradient",
        severity="info",
        where=wrong.path,
        line=next((e.line for e in wrong.events if e.owner == "user"), ""),
        evidence=seen,
        explanation="the forward pass moves in steps (rounding, argmax, a nearest code) and the "
        "backward pass goes straight through it; that is an estimator, right if it is meant",
        fix="if it is meant, declare straight_through=True or the module's pattern",
        names=names,
    )


def cut_that_explains(wrong: Wrong) -> Event | None:
    """Find the cut that, taken back, makes autograd right, or nearer to right."""
    cuts = [e for e in wrong.events if e.owner != "torch" and e.name not in LEAVES]
    lines = list(dict.fromkeys(e.line for e in cuts))
    if not lines:
        return None
    gap = wrong.slope.gap()
    if not gap_without(wrong, None) < gap / 2:
        return next((e for e in cuts if rewrites(wrong, e)), None)
    for line in lines[:LINES]:
        if gap_without(wrong, (line,)) != gap:
            return next(e for e in cuts if e.line == line)
    return cuts[0]


def gap_without(wrong: Wrong, undo: Sequence[str] | None) -> float:
    """Give how far both slopes are apart when some cuts are taken back."""
    try:
        gradients, _ = wrong.probe.gradients(undo)
        return wrong.probe.slope(gradients).gap()
    except Exception:
        return float("inf")


def rewrites(wrong: Wrong, event: Event) -> bool:
    """Say whether a line takes `.data` to write into it: on a copy, other numbers come out."""
    if event.name != "data":
        return False
    try:
        with torch.enable_grad(), Cuts((event.line,)):
            copied = float(wrong.probe.scalar().detach())
        return copied != float(wrong.probe.value())
    except Exception:
        return False


def detached(
    wrong: Wrong,
    event: Event,
    bad: dict[str, Slope],
    seen: str,
    straight: bool,
    *,
    around: bool = False,
) -> Cause:
    """Describe a gradient that is cut; `around` says that modules may run inside the cut."""
    gone = [name for name, s in bad.items() if s.cut()]
    share = "no gradient arrives at all" if gone else "a part of the gradient is missing"
    meant = straight or event.target
    # a fixed point is looked for without a graph, then one step is taken with it
    likely = event.owner == "library" or (event.name == "no_grad" and around and not gone)
    severity: Severity = "info" if meant else "warn" if likely else "fail"
    how = {"no_grad": "torch.no_grad()", "data": ".data"}.get(event.name, f".{event.name}()")
    if event.name == "tensor":
        how = "torch.tensor(x)"
    control = (
        "" if event.name in LEAVES else f"; with {how} taken back both agree, so it is the cause"
    )
    return Cause(
        kind="detached",
        severity=severity,
        where=wrong.path,
        line=event.line,
        evidence=f"{seen}: {share}" + (f" at {', '.join(gone[:3])}" if gone else "") + control,
        explanation=f"{how} cuts the graph, so what lies before it is not trained through here",
        fix=f"take {how} out of this line; if the cut is meant, declare stop_gradient=True or "
        "the module's pattern, and set requires_grad to False where nothing is to be trained",
        names=tuple(bad),
    )


def custom(wrong: Wrong, found: Judged, seen: str, names: tuple[str, ...]) -> Cause:
    """Describe an autograd.Function whose backward is not the derivative."""
    return Cause(
        kind="wrong-gradient",
        severity=found.severity,
        where=wrong.path,
        line=found.line,
        evidence=f"{seen}; {found.name} alone: {found.seen}",
        explanation=found.explanation,
        fix=found.fix,
        names=names,
    )


def hooked(part: nn.Module) -> bool:
    """Say whether a backward hook sits on a module or on a parameter."""
    hooks: list[Any] = [part._backward_hooks, part._backward_pre_hooks]
    hooks += [p._backward_hooks for p in part.parameters()]
    hooks += [m._backward_hooks for m in part.modules()]
    return any(hooks)


def by_hook(wrong: Wrong, seen: str, names: tuple[str, ...]) -> Cause:
    """Describe a gradient that a hook changes."""
    return Cause(
        kind="wrong-gradient",
        severity="warn",
        where=wrong.path,
        line="",
        evidence=f"{seen}; a backward hook is registered here",
        explanation="a hook changes the gradient on its way, so the optimizer follows another "
        "function than the one that is computed",
        fix="remove the hook, or declare straight_through for this module if it is meant",
        names=names,
    )


def unexplained(wrong: Wrong, seen: str, names: tuple[str, ...]) -> Cause:
    """Describe a gradient that is wrong for no reason that could be found."""
    return Cause(
        kind="wrong-gradient",
        severity="warn",
        where=wrong.path,
        line="",
        evidence=seen,
        explanation="the backward pass is not the derivative of the forward pass here; no cut and "
        "no autograd.Function was found that explains it",
        fix=f"compare the gradients of {place_in_words(wrong)} with finite differences, op by op",
        names=names,
        explained=False,
    )


def place_in_words(wrong: Wrong) -> str:
    """Name the module in a sentence."""
    return f"module {wrong.path!r}" if wrong.path else "the model's own forward"

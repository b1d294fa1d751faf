"""Whether a gradient reaches every parameter that asks for one, and none that is frozen.

A zero at initialisation means nothing (a last layer begins at zero), so weights that hide nothing
are tried too, over several batches, in train and in eval mode, for the loss and for every output.
What is left has no gradient at all. If the output moves with it, its gradient is cut; if not, it is
not used: then the code of the class that owns it says whether it could be.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from zoo.testing.blame import user_line
from zoo.testing.checks.flow_frozen import frozen, owner_in_user_code
from zoo.testing.checks.flow_runs import Seen, look_as_built, look_at_bench, nonzero
from zoo.testing.checks.flow_unused import common, unused
from zoo.testing.checks.running import raised_at
from zoo.testing.checks.slopes import LARGE, declared, diagnosis, excused, probe_of_model
from zoo.testing.checks.slopes_events import code_owner
from zoo.testing.checks.slopes_local import Probe
from zoo.testing.checks.slopes_numeric import with_gradient
from zoo.testing.checks.slopes_rows import blocked_rows
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.finding import Finding, Severity
from zoo.testing.spec import ModelSpec
from zoo.testing.subject import Subject

STEPS = 20  # parameters that are tried one by one


def check_gradient_flow(subject: Subject) -> Iterable[Finding]:
    """Follow gradients to every parameter: none cut, none unused, none frozen by mistake."""
    seen, module = Seen(), subject.fresh(train=True)
    before = {n: p.detach().clone() for n, p in module.named_parameters()}
    for attempt in range(2 if subject.built.count < LARGE else 1):
        try:
            look_as_built(subject, seen, module, subject.seed + attempt)
        except Exception as error:
            yield backward_raised(error, attempt)
            return
    if not any(p.requires_grad for p in module.parameters()):
        yield from frozen(subject, module, seen)
        if not list(module.parameters()):
            raise NotApplicable("the model has no parameters")
        return
    search(subject, seen)
    nothing = nothing_from_loss(subject, seen)
    yield from nothing
    yield from frozen(subject, module, seen)
    if not nothing:
        yield from dead(subject, module, before, seen)


def search(subject: Subject, seen: Seen) -> None:
    """Run until every parameter has had a gradient, or five runs have shown none."""
    for train, seed in ((True, None), (False, None), (True, 1), (False, 2), (True, 3)):
        if not seen.dead() and (seen.by_loss or not seen.loss_seen):
            return
        try:
            look_at_bench(
                subject.bench(train=train), None if seed is None else subject.seed + seed, seen
            )
        except Exception:
            continue  # such weights are not bearable for the loss


def backward_raised(error: Exception, attempt: int) -> Finding:
    """Describe a training step that raises."""
    said = (str(error).splitlines() or [""])[0][:300]
    twice = attempt and "backward through the graph a second time" in str(error)
    return Finding(
        kind="state-carried" if twice else "crash",
        severity="fail",
        where="",
        line=raised_at(error) or user_line(),
        evidence=f"forward and backward number {attempt + 1} in train mode raised "
        f"{type(error).__name__}: {said}",
        explanation="what the model keeps from one call still hangs on that call's graph"
        if twice
        else "the model cannot be trained on such a batch",
        fix="detach what is kept between calls, or reset it before each"
        if twice
        else "make forward, loss and loss.backward() work in train mode; work on copies where "
        "a tensor that backward needs is changed in place",
    )


def nothing_from_loss(subject: Subject, seen: Seen) -> list[Finding]:
    """Report a loss that gives no gradient to any parameter."""
    if not seen.loss_seen or seen.by_loss:
        return []
    if not seen.alive and any(c.kind == "detached" for c in diagnosis(subject).causes):
        return []  # the output itself is cut off
    return [
        Finding(
            kind="detached" if loss_moves(subject) else "loss-constant",
            severity="fail",
            where="",
            evidence=f"over {seen.runs} runs with other weights and batches the loss gives no "
            "parameter a gradient, while the output does"
            if seen.alive
            else f"over {seen.runs} runs neither the loss nor the output gives any gradient",
            explanation="nothing is learnt: the graph between the loss and the model is cut "
            "(item(), detach(), torch.tensor(x), argmax), or the loss does not read the output",
            fix="compute the loss from the output with differentiable functions alone",
        )
    ]


def loss_moves(subject: Subject) -> bool:
    """Say whether the loss changes with the weights."""
    bench = subject.bench(train=False)
    batch = bench.batch(8)
    values = {float(bench.loss(batch).detach().sum())}
    for factor in (-1.0, -1e-2, 1e-2):
        with torch.no_grad():
            for p in bench.module.parameters():
                p.mul_(factor)
        values.add(float(bench.loss(batch).detach().sum()))
    return len({x for x in values if x == x}) > 1


def dead(
    subject: Subject, module: nn.Module, before: dict[str, Tensor], seen: Seen
) -> Iterable[Finding]:
    """Report parameters that no gradient reaches: cut off, or not used."""
    spec = subject.spec
    left = {
        name
        for name in seen.dead()
        if not declared(name, (*spec.unused_ok, *(spec.frozen or ())))
        and not cut_on_purpose(name, spec)
    }
    # a moving average changes its parameters itself, in forward
    now = dict(module.named_parameters())
    left = {n for n in left if n in now and torch.equal(now[n], before[n])}
    if not left:
        return
    moving = moved_by(subject, left)
    steps = moved_in_steps(subject, left - moving)
    yield from cut_off(subject, moving | steps, seen)
    yield from unused(subject, module, left - moving - steps, seen)


def cut_on_purpose(name: str, spec: ModelSpec) -> bool:
    """Say whether the author declared that no gradient comes to a parameter.

    What is declared to be straight through as well is meant to be trained by another way.
    """
    stopped, through = spec.stop_gradient, spec.straight_through
    if isinstance(stopped, bool):
        return stopped
    through = () if isinstance(through, bool) else through
    return declared(name, stopped) and not declared(name, through)


def moved_by(subject: Subject, names: set[str]) -> set[str]:
    """Give the parameters along which the output has a slope, though autograd gives none.

    Those that get a gradient once all cuts are taken back are known by one more run.
    """
    found: set[str] = set()
    for train in (True, False):
        bench = subject.bench(train=train)
        trained = {n: p for n, p in bench.module.named_parameters() if n in names - found}
        try:
            batch = bench.batch(3)
            blocked, output = blocked_rows(bench, batch)
            probe = probe_of_model(bench, batch, trained, blocked, with_gradient(output))
            none: list[Tensor | None] = [None] * len(trained)
            if not probe.slope(none).wrong():
                continue
            found |= back_again(probe)
            rest = [i for i, name in enumerate(probe.names) if name not in found]
            if rest and probe.slope(none, rest).wrong():
                found |= {probe.names[i] for i in rest if probe.slope(none, [i]).wrong()}
        except Exception:
            continue
    return found


def back_again(probe: Probe) -> set[str]:
    """Give the names that have a gradient once all cuts are taken back."""
    try:
        gradients, _ = probe.gradients(None)
    except Exception:
        return set()
    return nonzero(probe.names, gradients)


def moved_in_steps(subject: Subject, names: set[str]) -> set[str]:
    """Give the parameters that change the output when their sign does: before an argmax, say."""
    bench = subject.bench(train=False)
    batch = bench.batch(8)
    found: set[str] = set()
    first = bench.main(batch)
    for name, p in bench.module.named_parameters():
        if name in names and len(found) < STEPS:
            with torch.no_grad():
                p.neg_()
                moved = bench.differ(first, bench.main(batch))
                p.neg_()
            found |= {name} if moved else set()
    return found


def cut_off(subject: Subject, moving: set[str], seen: Seen) -> Iterable[Finding]:
    """Report parameters that the output moves with although no gradient comes back."""
    if subject.spec.stop_gradient is True or not moving:
        return
    causes = [c for c in diagnosis(subject).causes if c.kind == "detached"]
    if causes and all(excused(c, subject) for c in causes):
        return
    module = subject.fresh()
    owners = {code_owner(owner_in_user_code(module, name)) for name in moving}
    worst: Severity = "warn" if "library" in owners else "fail"
    where, line = common(moving), ""
    for cause in causes:
        if cause.severity == "fail":
            where, line = cause.where, cause.line
            break
    names = sorted(moving)
    yield Finding(
        kind="detached",
        severity=worst,
        where=where,
        line=line,
        evidence=f"over {seen.runs} runs {', '.join(names[:4])}"
        + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        + " got no gradient, or only zeros, but the output changes when they are changed",
        explanation="they ask for a gradient and take part in the output, so the graph between "
        "them and the output is cut: they are never trained",
        fix="remove the detach, .data, no_grad, item or argmax between them and the output; if "
        "the cut is meant, set requires_grad=False and declare them in frozen=[...]",
    )


ROWS = (
    Check(
        name="gradient_flow",
        run=check_gradient_flow,
        about="a gradient reaches every parameter that asks for one, and no frozen one",
    ),
)

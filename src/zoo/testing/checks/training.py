"""Whether a training step trains: gradients from this batch alone, and all weights that it should.

The gradients are read in the moment of optimizer.step(). After one step noise is put where the
trainer left gradients: if the second step sees any of it, old gradients are added to new ones.
"""

import math
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from zoo.testing.checks.running import raised_at
from zoo.testing.checks.training_loop import (
    Loop,
    LoopError,
    Seen,
    held,
    norm,
    optimizers_in,
    rates_of,
    some,
    trainer_of,
)
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.finding import Finding
from zoo.testing.stress import apart
from zoo.testing.subject import Subject

STEPS = 3  # a warmup may begin at a rate of zero, but does not stay there
MOST_CALLS = 16  # a trainer that steps only every so many calls is left alone


def size_of(subject: Subject) -> int:
    """Give the rows of a batch that train mode bears."""
    return max(4, subject.spec.min_batch_train or 1)


def check_zero_grad(subject: Subject) -> Iterable[Finding]:
    """Compare a second step after clean gradients with one after noise left where gradients lie."""
    trainer_of(subject, "step")
    clean, dirty = Loop(subject), Loop(subject)
    size = size_of(subject)
    first = clean.batch(size, 1)
    if not clean.step(first, 1).moments:
        return
    dirty.step(dirty.batch(size, 1), 1)
    left = leave_noise(dirty)
    for loop, kept in ((clean, set[str]()), (dirty, set(left))):
        for name, parameter in loop.parameters().items():
            if name not in kept:
                parameter.grad = None
    wanted = clean.step(clean.batch(size, 2), 2).gradients()
    got = dirty.step(dirty.batch(size, 2), 2).gradients()
    wrong = [n for n in left if n in wanted and apart(got[n], wanted[n]) > 1e-3]
    if wrong:
        whole = len(wrong) == len(wanted)
        yield Finding(
            kind="zero-grad",
            severity="fail",
            where="",
            evidence=(
                f"after a first step the gradients of {len(left)} parameters were still there; "
                "noise was put in their place, and the second step's optimizer.step() found it "
                f"added to the gradients of {len(wrong)} of {len(wanted)} parameters "
                f"({some(wrong)})"
            ),
            explanation=(
                "gradients of earlier batches are added to those of this one: the steps grow and "
                "point to where earlier batches pointed"
            ),
            fix=(
                "call optimizer.zero_grad() before the backward pass of every step"
                if whole
                else "call zero_grad() on what holds all of them: model.zero_grad() or an "
                f"optimizer over every parameter; {some(wrong)} are left out"
            ),
        )


def leave_noise(loop: Loop) -> list[str]:
    """Put noise where the optimizer's gradients are left; give the names of the parameters."""
    generator = torch.Generator().manual_seed(0)
    left, inside = [], {id(p) for p in held(loop.optimizer)}
    for name, parameter in loop.parameters().items():
        grad = parameter.grad
        if id(parameter) not in inside or grad is None:
            continue  # what is not trained may keep what it likes
        if grad.layout != torch.strided or not bool(grad.any()):
            continue
        noise = torch.randn(grad.shape, generator=generator, dtype=torch.float64).to(grad)
        parameter.grad = noise * (10 * float(grad.abs().max()))
        left.append(name)
    return left


def check_optimizer(subject: Subject) -> Iterable[Finding]:
    """Make three steps and see which parameters move, and which the optimizer holds."""
    trainer_of(subject, "step")
    try:
        loop = Loop(subject)
        before = {n: p.detach().clone() for n, p in loop.parameters().items()}
        size = size_of(subject)
        every = [loop.step(loop.batch(size, i), i) for i in range(STEPS)]
    except LoopError as error:
        yield crashed(error)
        return
    inside = {id(p) for p in held(loop.optimizer)}
    inside |= {id(p) for seen in every for m in seen.moments for p in held(m.optimizer)}
    if not inside:
        raise NotApplicable("the optimizer is no torch.optim.Optimizer")
    moved = [n for n, p in loop.parameters().items() if not same(p, before[n])]
    if not moved:
        yield from nothing_moved(loop, every)
    else:
        yield from held_wrongly(loop, inside)
        yield from moved_wrongly(subject, loop, inside, moved)
    yield from new_optimizers(loop, every)
    yield from returned(every)


def same(one: Tensor, other: Tensor) -> bool:
    """Say whether two tensors are the same bits."""
    return one.shape == other.shape and torch.equal(one.detach(), other)


def crashed(error: LoopError) -> Finding:
    """Make the finding of a trainer that raises."""
    said = (str(error.error).splitlines() or [""])[0][:400]
    return Finding(
        kind="crash",
        severity="fail",
        where="",
        line=raised_at(error.error),
        evidence=f"trainer.{error.piece} raised {type(error.error).__name__}: {said}",
        explanation="the training loop does not run",
        fix=f"make trainer.{error.piece} work on a model and a batch of the spec",
    )


def nothing_moved(loop: Loop, every: Sequence[Seen]) -> Iterable[Finding]:
    """Say why no parameter moved: no step, no gradient, or no rate."""
    steps = sum(len(seen.moments) for seen in every)
    backward = sum(seen.count("backward") for seen in every)
    evidence = f"{len(every)} training steps changed no parameter by a bit: "
    why = "a model that does not change does not learn"
    if not steps:
        for i in range(MOST_CALLS):  # perhaps it adds up the gradients of several calls
            if loop.step(loop.batch(seed=i), i).moments:
                raise NotApplicable("the trainer steps its optimizer only every few calls")
        yield finding(
            "optimizer",
            evidence + "optimizer.step() was never called",
            why,
            "call optimizer.step() after the backward pass",
        )
    elif not {id(p) for p in held(loop.optimizer)} & {id(p) for p in loop.model.parameters()}:
        yield finding(
            "optimizer",
            evidence + "the optimizer holds no parameter of the model, but those of another",
            why,
            "build the optimizer from model.parameters() of the model that is trained, after it is "
            "copied, wrapped or moved",
        )
    elif not any(norm(m.gradients) for seen in every for m in seen.moments):
        if backward:
            yield finding(
                "zero-grad",
                evidence + "a backward pass made gradients, but optimizer.step() found none",
                "gradients are set to zero between the backward pass and the step",
                "call optimizer.zero_grad() before the forward pass, not after backward()",
            )
        else:
            yield finding(
                "optimizer",
                evidence + f"optimizer.step() ran {steps} times and found no gradient at all",
                why,
                "call loss.backward() before optimizer.step(), on the loss of this model; build "
                "the optimizer over the parameters of the model that is trained",
            )
    elif not any(rate for seen in every for m in seen.moments for rate in m.rates):
        yield finding(
            "scheduler",
            evidence + "the learning rate was 0 in all of them",
            "a warmup that starts at 0 must leave it after the first step",
            "use (step + 1) / warmup as the factor, and call scheduler.step() once a step",
        )
    else:
        yield finding(
            "optimizer",
            evidence + f"gradients have norm {norm(every[0].moments[0].gradients):.3g} and the "
            f"rates are {every[0].moments[0].rates}",
            why,
            "let the optimizer hold the parameters of the model that is trained",
        )


def finding(kind: str, evidence: str, explanation: str, fix: str, severity: Any = "fail") -> Any:
    """Make a finding about the trainer, whose place is the model itself."""
    return Finding(
        kind=kind,
        severity=severity,
        where="",
        evidence=evidence,
        explanation=explanation,
        fix=fix,
    )


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Say whether a name fits one of the patterns."""
    return any(fnmatch(name, pattern) for pattern in patterns)


def held_wrongly(loop: Loop, inside: set[int]) -> Iterable[Finding]:
    """Compare what the optimizer holds with what the model would train."""
    spec = loop.subject.spec
    named = dict(loop.model.named_parameters())
    free = {n: p for n, p in named.items() if p.requires_grad}
    missing = [
        n
        for n, p in free.items()
        if id(p) not in inside and not matches(n, (*(spec.frozen or ()), *spec.unused_ok))
    ]
    known = {id(p) for p in loop.model.parameters()}
    strays = [p for p in held(loop.optimizer) if id(p) not in known]
    if not missing:
        return
    shapes = {tuple(p.shape) for p in strays}
    stale = [n for n in missing if tuple(free[n].shape) in shapes]
    if stale:
        evidence = (
            f"the optimizer holds {len(strays)} tensors that are no parameters of the model, with "
            f"the shapes of {some(stale)}, and does not hold those"
        )
        fix = (
            "build the optimizer after the last layer is replaced, moved or copied, from "
            "model.parameters() of the very model that is trained"
        )
    else:
        evidence = (
            f"{len(missing)} of {len(free)} trainable parameters are in no group of the "
            f"optimizer: {some(missing, 5)}"
        )
        fix = (
            "give the optimizer every parameter that shall learn; those that shall not get "
            "requires_grad_(False), or frozen=[...] in the spec"
        )
    yield finding("optimizer", evidence, "they get gradients and never change", fix)


def moved_wrongly(
    subject: Subject, loop: Loop, inside: set[int], moved: Sequence[str]
) -> Iterable[Finding]:
    """Find frozen parameters that moved."""
    named = dict(loop.model.named_parameters())
    wrong = [
        n
        for n in moved
        if n in named
        and id(named[n]) in inside
        and (matches(n, subject.spec.frozen or ()) or not named[n].requires_grad)
    ]
    if not wrong:
        return
    still = [n for n in wrong if not named[n].requires_grad]
    yield finding(
        "optimizer",
        f"{STEPS} training steps changed {len(wrong)} parameters that are frozen: {some(wrong)}"
        + (f"; {some(still)} have requires_grad=False" if still else ""),
        "weight decay and momentum move what has a gradient, even one of zeros, and what requires "
        "gradients gets one",
        "call requires_grad_(False) on them before the optimizer is built, and give the optimizer "
        "only [p for p in model.parameters() if p.requires_grad]",
    )


def new_optimizers(loop: Loop, every: Sequence[Seen]) -> Iterable[Finding]:
    """Find an optimizer that is made anew in every step, and forgets what it had learnt."""
    used: list[Optimizer] = []
    for seen in every:
        used += [m.optimizer for m in seen.moments[:1]]
    ours = {id(one) for one in optimizers_in(loop.optimizer)}
    strange = [one for one in used if id(one) not in ours]
    if len({id(one) for one in strange}) > 1 and any(one.state for one in strange):
        yield finding(
            "optimizer",
            f"{len(strange)} of {len(used)} steps were made by an optimizer of their own",
            "momentum and Adam's averages start at zero again in every step",
            "make the optimizer once, and use the one that is given to step()",
        )


def returned(every: Sequence[Seen]) -> Iterable[Finding]:
    """Look at the loss that a step gives."""
    values = [seen.value for seen in every]
    if any(isinstance(v, Tensor) and v.requires_grad for v in values):
        yield finding(
            "state-carried",
            "step() gives a loss that still holds its graph",
            "who collects such losses keeps every step's activations in memory",
            "return loss.detach() or loss.item()",
            "info",
        )
    numbers = [float(v) for v in values if is_number(v)]
    if any(not math.isfinite(v) for v in numbers):
        yield finding(
            "non-finite",
            f"the losses of {len(values)} steps are {numbers}",
            "training goes on with NaN from here on",
            "lower the learning rate, or clip the gradients",
            "warn",
        )


def is_number(value: Any) -> bool:
    """Say whether a value is one number."""
    if isinstance(value, Tensor):
        return value.numel() == 1 and not value.is_complex()
    return isinstance(value, float | int)


def rates(loop: Loop) -> list[float]:
    """Give the rates of the loop's optimizer."""
    return rates_of(loop.optimizer)


ROWS = (
    Check(
        name="zero_grad",
        run=check_zero_grad,
        about="a training step sees the gradients of its own batch alone",
    ),
    Check(
        name="optimizer",
        run=check_optimizer,
        about="the optimizer holds and moves what is trained, and nothing else",
    ),
)

"""Whether a training step uses the learning rate and the clipping that it is said to use.

For the clipping every gradient is multiplied on its way into the weights, so that its norm is a
thousand times the limit: what optimizer.step() then finds must be the same direction, at the limit.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch.optim.lr_scheduler import LRScheduler

from zoo.testing.checks.training import finding, size_of
from zoo.testing.checks.training_loop import (
    Loop,
    LoopError,
    Seen,
    exact,
    flat,
    gradient_of,
    norm,
    optimizers_in,
    rates_of,
    some,
    trainer_of,
)
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.finding import Finding
from zoo.testing.subject import Subject

REAL_STEPS = 5
MORE_STEPS = 120  # of optimizer and scheduler alone, without gradients
HUGE = 1e3  # times the limit


def check_scheduler(subject: Subject) -> Iterable[Finding]:
    """Follow the learning rate, and when and how often the scheduler steps."""
    trainer = trainer_of(subject, "step")
    if trainer.scheduler is None and trainer.schedule is None:
        raise NotApplicable("neither a scheduler nor a schedule is declared")
    loop, every = Loop(subject), list[Seen]()
    size = size_of(subject)
    for i in range(REAL_STEPS):
        every.append(loop.step(loop.batch(size, i), i))
    if not any(seen.moments for seen in every):
        raise NotApplicable("no torch.optim.Optimizer makes a step")
    ours = {id(one) for one in optimizers_in(loop.optimizer)}
    if any(id(moment.optimizer) not in ours for seen in every for moment in seen.moments):
        raise NotApplicable("the steps are made by other optimizers than the trainer's")
    used = [seen.moments[0].rates for seen in every if seen.moments]
    if len(used) == REAL_STEPS and steps_once(every):
        used += further(loop)
    told = False
    for found in (*when_it_steps(loop, every), *wrong_rates(used)):
        told = told or found.severity == "fail"
        yield found
    if not told and trainer.schedule is not None:
        yield from compare(trainer.schedule, used)


def steps_once(every: list[Seen]) -> bool:
    """Say whether every step ends with one step of the scheduler that needs no arguments."""
    return all(
        seen.count("scheduler") == 1
        and seen.count("optimizer") == 1
        and not seen.scheduler_arguments
        and seen.order[-1] == "scheduler"
        for seen in every
    )


def further(loop: Loop) -> list[list[float]]:
    """Let optimizer and scheduler go on without gradients; give the rates of each step."""
    if not isinstance(loop.scheduler, LRScheduler):
        return []
    for parameter in loop.parameters().values():
        parameter.grad = None
    found = []
    try:
        for _ in range(MORE_STEPS):
            found.append(rates_of(loop.optimizer))
            for one in optimizers_in(loop.optimizer):
                one.step()
            loop.scheduler.step()
    except Exception:
        return found[:-1]  # a schedule that ends
    return found


def when_it_steps(loop: Loop, every: list[Seen]) -> Iterable[Finding]:
    """Find a scheduler that steps too early, too often, never, or on another optimizer."""
    scheduler = loop.scheduler
    if not isinstance(scheduler, LRScheduler):
        return
    if isinstance(scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
        return
    ours = {id(one) for one in optimizers_in(loop.optimizer)}
    if id(scheduler.optimizer) not in ours:
        yield finding(
            "scheduler",
            "the scheduler was made for another optimizer than the one that steps",
            "the learning rate in use never changes",
            "build the scheduler from the optimizer that it is given",
        )
        return
    counts = [seen.count("scheduler") for seen in every]
    first = every[0].order
    if max(counts) > 1 and max(seen.count("optimizer") for seen in every) <= 1:
        yield finding(
            "scheduler",
            f"scheduler.step() was called {max(counts)} times in one training step, which made "
            "one step of the optimizer",
            "the schedule is passed that many times too fast",
            "call scheduler.step() once, after optimizer.step()",
        )
    elif not any(counts):
        yield finding(
            "scheduler",
            f"scheduler.step() was not called in {len(every)} training steps",
            "the learning rate stays where the scheduler began: in a warmup close to 0",
            "call scheduler.step() after optimizer.step(); if it counts epochs, leave it out of "
            "the trainer",
            "fail" if loop.trainer.schedule is not None and not steady(loop) else "warn",
        )
    elif "optimizer" in first and first.index("scheduler") < first.index("optimizer"):
        yield finding(
            "scheduler",
            "in the first training step scheduler.step() was called before optimizer.step()",
            "the first value of the schedule is never used, and the rest comes one step early",
            "call optimizer.step() first, then scheduler.step()",
        )


def steady(loop: Loop) -> bool:
    """Say whether the declared schedule is one and the same rate."""
    schedule = loop.trainer.schedule
    assert schedule is not None
    return len({round(float(schedule(i)), 12) for i in range(REAL_STEPS)}) == 1


def wrong_rates(used: list[list[float]]) -> Iterable[Finding]:
    """Find rates that are no rates."""
    every = [rate for rates in used for rate in rates]
    bad = [(i, rates) for i, rates in enumerate(used) if not all(math.isfinite(r) for r in rates)]
    low = [(i, rates) for i, rates in enumerate(used) if any(r < 0 for r in rates)]
    if bad or low:
        step, rates = (bad or low)[0]
        yield finding(
            "scheduler",
            f"step {step} uses the learning rate {some([f'{r:g}' for r in rates])}",
            "a rate below 0 climbs the loss, one that is not finite destroys the weights",
            "let the schedule end at 0 (max(0.0, ...)), and count its steps to the end of training",
        )
    elif every and not any(every):
        yield finding(
            "scheduler",
            f"the learning rate is 0 in all of the first {len(used)} steps",
            "nothing is learnt",
            "let the warmup leave 0: (step + 1) / warmup",
        )


def compare(schedule: Any, used: list[list[float]]) -> Iterable[Finding]:
    """Compare the rates in use with the declared schedule."""
    wanted: list[float] = []
    for step in range(len(used)):
        try:
            wanted.append(float(schedule(step)))
        except Exception:
            break  # a schedule with an end
    if not wanted:
        return
    groups = range(min(len(rates) for rates in used))
    wrong = {g: [i for i, rate in enumerate(wanted) if not near(used[i][g], rate)] for g in groups}
    if not wrong or not all(wrong.values()):
        return  # one group at least follows it; the others may have factors of their own
    step = wrong[0][0]
    shift = shifted_by(wanted, [rates[0] for rates in used])
    yield finding(
        "scheduler",
        f"step {step} uses the learning rate {used[step][0]:.6g}, and the schedule says "
        f"{wanted[step]:.6g}; so in {len(wrong[0])} of the first {len(wanted)} steps{shift}",
        "the model is trained with another schedule than the one that was meant",
        "call scheduler.step() once after each optimizer.step(), with a scheduler whose factor for "
        "step n is that of the schedule",
    )


def near(one: float, other: float) -> bool:
    """Say whether two rates are the same up to rounding."""
    return math.isclose(one, other, rel_tol=1e-6, abs_tol=1e-15)


def shifted_by(wanted: list[float], used: list[float]) -> str:
    """Say in words if the rates are the schedule's, some steps early or late, or faster."""
    n = len(wanted)
    for by in (1, -1, 2, -2):
        pairs = [(used[i], wanted[i + by]) for i in range(n) if 0 <= i + by < n]
        if pairs and all(near(a, b) for a, b in pairs):
            return f": it runs {abs(by)} step{'s' * (abs(by) > 1)} {'early' if by > 0 else 'late'}"
    for factor in (2, 3, 4):
        pairs = [(used[i], wanted[factor * i]) for i in range(n) if factor * i < n]
        if len(pairs) > 2 and all(near(a, b) for a, b in pairs):
            return f": it runs {factor} times too fast"
    return ""


def check_clipping(subject: Subject) -> Iterable[Finding]:
    """Make gradients far too large and see what optimizer.step() gets of them."""
    trainer = trainer_of(subject, "step", "clip")
    assert trainer.clip is not None
    limit, how = trainer.clip, exact(subject)
    size = size_of(subject)

    def stepped(scale: float) -> tuple[Loop, dict[str, Any]]:
        loop = Loop(subject, **how, scale=scale)
        return loop, loop.step(loop.batch(size)).gradients()

    try:
        _, plain = stepped(1.0)
        _, tiny = stepped(1e-3 * min(1.0, limit / norm(plain)))
        scale = 1e-3 * min(1.0, limit / norm(plain))
        true = norm(tiny) / scale  # the norm before any clipping
        loop, huge = stepped(HUGE * limit / true)
    except LoopError as error:
        raise NotApplicable(str(error)) from error
    names = [n for n in tiny if n in huge]
    got = norm(huge)
    if not math.isfinite(got) or not got:
        raise NotApplicable("large gradients end in no step")
    one, other = flat(tiny, names), flat(huge, names)
    turned = float((one / one.norm() - other / other.norm()).norm())
    if got > limit * 1.01:
        yield unclipped(loop, limit, got, tiny, huge)
    elif got < 0.1 * limit:
        yield finding(
            "clipping",
            f"gradients of norm {HUGE * limit:.3g} reached optimizer.step() with norm {got:.3g}, "
            f"far below the limit {limit:g}",
            "they are clipped while they are still scaled, or more than once",
            "unscale first (scaler.unscale_(optimizer)), then clip once",
        )
    elif turned > 1e-3:
        yield finding(
            "clipping",
            f"gradients of norm {HUGE * limit:.3g} reached optimizer.step() with norm {got:.3g} "
            f"and another direction (off by {turned:.3g} of their length)",
            "clipping by value, or by parameter, turns the gradient; the norm of all was declared",
            "use torch.nn.utils.clip_grad_norm_(model.parameters(), limit)",
            "warn",
        )


def unclipped(loop: Loop, limit: float, got: float, tiny: Any, huge: Any) -> Finding:
    """Say how gradients above the limit come to the optimizer."""
    before = HUGE * limit
    after = norm({n: gradient_of(p) for n, p in loop.parameters().items()})
    ratios = {n: float(huge[n].norm()) / (float(tiny[n].norm()) or 1.0) for n in tiny if n in huge}
    most = max(ratios.values(), default=1.0)
    free = [n for n, r in ratios.items() if r > 0.5 * most]
    clipped = [n for n, r in ratios.items() if 0 < r < 0.01 * most]
    evidence = (
        f"gradients were made {before:.3g} long; optimizer.step() found the norm {got:.4g}, and "
        f"the limit is {limit:g}"
    )
    if got > 0.99 * before and 0 < after <= limit * 1.01:
        evidence += f"; after the step it was {after:.3g}"
        fix = "call clip_grad_norm_ before optimizer.step(), not after it"
    elif clipped:
        evidence += f"; {some(clipped)} were clipped, {some(free)} were not"
        fix = "clip over all parameters together: clip_grad_norm_(model.parameters(), limit)"
    elif got < 0.9 * before:
        fix = (
            "use clip_grad_norm_ with the declared limit; clip_grad_value_, or clipping each "
            "parameter alone, does not bound the norm"
        )
    else:
        fix = (
            "call torch.nn.utils.clip_grad_norm_(model.parameters(), limit) between the last "
            "backward() and optimizer.step()"
        )
    return finding(
        "clipping", evidence, "one bad batch makes a step that the limit was to prevent", fix
    )


ROWS = (
    Check(
        name="scheduler",
        run=check_scheduler,
        about="the learning rate is the schedule's, and the scheduler steps once a step",
    ),
    Check(
        name="clipping",
        run=check_clipping,
        about="optimizer.step() finds gradients within the limit, in their direction",
    ),
)

"""Whether all that the loss reads is learnt from, and the backward pass is that of its forward."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from zoo.testing.checks.flow import loss_moves
from zoo.testing.checks.flow_runs import Seen, look_as_built, look_at_bench
from zoo.testing.checks.flow_unused import common
from zoo.testing.checks.slopes import declared
from zoo.testing.checks.slopes_events import code_owner
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.finding import Finding
from zoo.testing.guard import seed_all
from zoo.testing.stress import Bench
from zoo.testing.subject import Subject

STEPS = (1e-4, 2e-4)  # shares of a parameter's size


def check_loss_gradients(subject: Subject) -> Iterable[Finding]:
    """Stop parameters that the loss moves with smoothly, and gives no gradient."""
    spec = subject.spec
    if not subject.has_loss() or subject.large() or spec.stop_gradient or spec.straight_through:
        raise NotApplicable("there is no loss, or gradients are cut on purpose")
    seen, module = Seen(), subject.fresh(train=True)
    patterns = (*spec.unused_ok, *(spec.frozen or ()))
    try:
        for seed in range(2):
            look_as_built(subject, seen, module, subject.seed + seed)
            if left_over(seen, patterns) == set():
                return
        for seed in range(3):
            look_at_bench(subject.bench(train=seed != 1), subject.seed + seed, seen)
    except Exception as error:
        raise NotApplicable("a mode does not run with gradients") from error
    names = {n for n in left_over(seen, patterns) if n in seen.alive}
    if not names or not seen.by_loss or code_owner(subject.built.module) == "library":
        return
    moved = sorted(n for n in names if moves_smoothly(subject.bench(train=True), n))
    if not moved or not loss_moves(subject):
        return
    yield Finding(
        kind="detached",
        severity="fail",
        where=common(moved),
        evidence=f"in {seen.runs} runs with other weights and batches the loss gives "
        f"{', '.join(moved[:4])} ({len(moved)} in all) no gradient, an output does, and the loss "
        "moves in proportion when they are moved a little",
        explanation="a term of the loss is cut off (item(), float(), detach(), torch.tensor, "
        "no_grad): it shows in the number that is logged, and nothing learns from it",
        fix="add the term to the loss as a tensor; detach only what is written to a log; for a "
        "target that is cut off on purpose set requires_grad=False or declare stop_gradient",
    )


def left_over(seen: Seen, patterns: Iterable[str]) -> set[str]:
    """Give the trained parameters that the loss never gave a gradient."""
    kept = list(patterns)
    return {n for n in seen.trained - seen.by_loss if not declared(n, kept)}


def moves_smoothly(bench: Bench, name: str) -> bool:
    """Say whether the loss moves twice as far when a parameter does."""
    parameter = dict(bench.module.named_parameters())[name]
    batch = bench.batch(max(3, bench.subject.spec.min_batch_train or 2))
    begun = parameter.detach().clone()
    direction = torch.linspace(0.5, 1.5, begun.numel(), dtype=begun.dtype).view_as(begun)
    direction = direction.to(begun.device) * (float(begun.abs().mean()) or 1.0)
    found = []
    try:
        for step in (0.0, *STEPS):
            with torch.no_grad():
                parameter.copy_(begun + step * direction)
                found.append(float(bench.loss(batch).sum()))
    except Exception:
        return False
    once, twice = found[1] - found[0], found[2] - found[0]
    enough = abs(once) > 1e-9 * (1 + abs(found[0]))
    return enough and abs(twice - 2 * once) < 0.05 * abs(once)


def check_backward_draws(subject: Subject) -> Iterable[Finding]:
    """Stop a backward pass that draws random numbers: what it recomputes is another forward."""
    module = subject.fresh(train=True)
    rows = max(3, subject.spec.min_batch_train or 2)
    batch = subject.batch(rows)
    try:
        _, drew = gradients(subject, module, batch, None)
        if not drew:
            return
        first, second = (
            gradients(subject, subject.fresh(train=True), batch, seed)[0] for seed in (3, 4)
        )
        again = gradients(subject, subject.fresh(train=True), batch, 3)[0]
    except Exception as error:
        raise NotApplicable("train mode does not run with gradients") from error
    names = [n for n in first if not torch.equal(first[n], second[n])]
    if not names or any(not torch.equal(first[n], again[n]) for n in first):
        return
    if code_owner(subject.built.module) == "library":
        return
    yield Finding(
        kind="checkpointing",
        severity="fail",
        where=common(names),
        evidence="one forward pass in train mode under one seed was followed by backward() under "
        f"two seeds: the gradients of {', '.join(names[:4])} ({len(names)} in all) differ, and "
        "backward() moves torch's generator",
        explanation="backward recomputes a part of forward with other random numbers (another "
        "dropout mask) than forward used, so the gradient belongs to no loss that was computed",
        fix="leave preserve_rng_state=True in torch.utils.checkpoint, or save the generator's "
        "state in forward and put it back before recomputing",
    )


def gradients(
    subject: Subject, module: nn.Module, batch: Any, seed: int | None
) -> tuple[dict[str, torch.Tensor], bool]:
    """Take a step's gradients, with a seed of its own for backward; say whether backward draws."""
    seed_all(subject.seed)
    copy = {n: x.clone() if isinstance(x, torch.Tensor) else x for n, x in batch.items()}
    output = subject.call(module, copy)
    value = subject.loss(output, copy) if subject.has_loss() else subject.main(output)
    if not value.requires_grad:
        raise NotApplicable("the loss asks for no gradient")
    if seed is not None:
        seed_all(seed)
    before = torch.get_rng_state()
    value.sum().backward()
    drew = not torch.equal(before, torch.get_rng_state())
    found = {n: p.grad for n, p in module.named_parameters() if p.grad is not None}
    return found, drew


def table() -> tuple[tuple[str, Callable[[Subject], Iterable[Finding]], str], ...]:
    """List the checks of this file."""
    return (
        (
            "loss_gradients",
            check_loss_gradients,
            "what moves the loss gets a gradient from it",
        ),
        (
            "backward_draws",
            check_backward_draws,
            "what backward recomputes is what forward computed",
        ),
    )


ROWS = tuple(Check(name=name, run=run, about=about) for name, run, about in table())

"""A few steps of training under a seed, and what every parameter's gradient was in them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from zoo.testing.guard import seed_all
from zoo.testing.stress import Bench
from zoo.testing.subject import Subject
from zoo.testing.trees import tensors


@dataclass
class Steps:
    """What some steps of training showed."""

    losses: list[float] = field(default_factory=list)
    alive: set[str] = field(default_factory=set)  # parameters that ever had a gradient
    seen: set[str] = field(default_factory=set)  # parameters that ever were in the graph


def objective(subject: Subject, module: nn.Module, batch: Mapping[str, Any]) -> Tensor:
    """Give the loss, or where there is none a mean that every output takes part in."""
    output = subject.call(module, batch)
    if subject.has_loss():
        return subject.loss(output, batch).sum()
    every = [x for x in tensors(output).values() if x.is_floating_point() and x.requires_grad]
    total: Tensor = torch.stack([(x * wave(x)).mean() + x.square().mean() for x in every]).sum()
    return total


def wave(x: Tensor) -> Tensor:
    """Give fixed numbers of both signs in a tensor's shape."""
    return torch.arange(x.numel(), device=x.device).reshape(x.shape).to(x.dtype).sin()


def trainable(module: nn.Module) -> dict[str, nn.Parameter]:
    """Give the parameters that an optimizer would move, by name."""
    return {
        name: p
        for name, p in module.named_parameters()
        if p.requires_grad and not nn.parameter.is_lazy(p)
    }


def note(steps: Steps, parameters: Mapping[str, Tensor]) -> None:
    """Write down which parameters have a gradient, and which one that is not all zero."""
    for name, p in parameters.items():
        if p.grad is not None:
            steps.seen.add(name)
            if bool((p.grad.coalesce().values() if p.grad.is_sparse else p.grad).any()):
                steps.alive.add(name)


def train(
    subject: Subject,
    module: nn.Module,
    batches: Callable[[int], Mapping[str, Any]],
    count: int,
    lr: float,
    *,
    stop: Callable[[Steps], bool] = lambda _: False,
) -> Steps:
    """Take steps of Adam; the same draws in every one, so that dropout can be learnt by heart."""
    steps = Steps()
    parameters = trainable(module)
    dense = list(parameters.values())
    optimizer = torch.optim.Adam(dense, lr=lr)
    for index in range(count):
        optimizer.zero_grad()
        batch = batches(index)
        seed_all(5)
        value = objective(subject, module, batch)
        steps.losses.append(float(value.detach()))
        if not value.requires_grad or not bool(value.isfinite()):
            break
        value.backward()
        for p in dense:
            if p.grad is not None and p.grad.is_sparse:
                p.grad = p.grad.to_dense()
        note(steps, parameters)
        if stop(steps):
            break
        optimizer.step()
    return steps


def live_under_stress(subject: Subject) -> set[str]:
    """Give the parameters that have a gradient at weights which hide nothing."""
    found: set[str] = set()
    for seed in (0, 1):
        bench: Bench = subject.bench(train=True)
        steps = Steps()
        batch = bench.batch(6, seed)
        seed_all(5)
        objective(subject, bench.module, batch).backward()
        note(steps, trainable(bench.module))
        found |= steps.alive
    return found

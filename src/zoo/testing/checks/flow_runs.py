"""Which parameters are ever given a gradient, over several runs, and which are ever read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook

from zoo.testing.checks.registration import Reads, loss_of
from zoo.testing.checks.registration_walk import hidden_things, leaves_of
from zoo.testing.checks.slopes_numeric import backward, projected
from zoo.testing.stress import Bench
from zoo.testing.subject import Subject
from zoo.testing.trees import tensors


@dataclass
class Seen:
    """What runs have shown, by names of parameters and paths of modules."""

    trained: set[str] = field(default_factory=set)  # requires_grad
    alive: set[str] = field(default_factory=set)  # a gradient that is not zero
    joined: set[str] = field(default_factory=set)  # in the graph of an output or of the loss
    read: set[str] = field(default_factory=set)  # given to some function of torch's
    calls: dict[str, list[tuple[int, ...]]] = field(default_factory=dict)  # shapes by module
    by_loss: set[str] = field(default_factory=set)  # a gradient from the loss
    loss_seen: bool = False
    runs: int = 0

    def dead(self) -> set[str]:
        """Give the trained parameters that no gradient has reached."""
        return self.trained - self.alive


def look(
    subject: Subject, module: nn.Module, run: Any, batch: Mapping[str, Any], seen: Seen
) -> None:
    """Run forward and backward once, and note what is reached."""
    names = {id(p): n for n, p in module.named_parameters(remove_duplicate=True)}
    paths = {id(m): n for n, m in module.named_modules()}
    trained = {n: p for n, p in module.named_parameters() if p.requires_grad}
    reads = Reads(module)

    def enter(part: nn.Module, inputs: Any) -> None:
        shapes = [tuple(x.shape) for x in tensors(inputs).values()]
        if id(part) in paths:
            shape = shapes[0] if shapes else ()
            seen.calls.setdefault(paths[id(part)], []).append(shape)

    handle = register_module_forward_pre_hook(enter)
    try:
        with reads:
            output = run(batch)
            loss = loss_of(subject, output, batch)
    finally:
        handle.remove()
    seen.runs += 1
    seen.trained = set(trained)
    seen.read |= {names[key] for key in reads.uses if key in names}
    outputs = list(tensors(output).values())
    kept = [h.thing for h in hidden_things(module) if isinstance(h.thing, Tensor)]
    joined = {names[id(x)] for x in leaves_of(*outputs, *loss, *kept) if id(x) in names}
    seen.joined |= joined
    seen.alive |= {names[id(x)] for x in leaves_of(*kept) if id(x) in names}
    at: list[Tensor] = list(trained.values())
    seen.loss_seen = seen.loss_seen or bool(loss)
    learns = bool(loss) and loss[0].requires_grad and loss[0].dim() == 0
    # the loss alone at first: its backward pass frees the graph, as a training step does
    number = projected(output) if seen.runs > 1 or not learns else None
    if number is not None and number.requires_grad and seen.dead():
        seen.alive |= nonzero(list(trained), backward(number, at, again=learns))
    if learns:
        reached = nonzero(list(trained), backward(loss[0], at))
        seen.by_loss |= reached
        seen.alive |= reached


def nonzero(names: list[str], gradients: list[Tensor | None]) -> set[str]:
    """Give the names whose gradient is there and not all zero."""
    return {
        name
        for name, g in zip(names, gradients, strict=True)
        if g is not None and bool(torch.any(g != 0))
    }


def look_at_bench(bench: Bench, seed: int | None, seen: Seen) -> None:
    """Run a bench forward and backward once."""
    size = max(3, bench.subject.spec.min_batch_train or 2)
    look(bench.subject, bench.module, bench.run, bench.batch(size, seed), seen)


def look_as_built(subject: Subject, seen: Seen, module: nn.Module, seed: int | None) -> None:
    """Run a module as its author builds it, in train mode."""
    size = max(3, subject.spec.min_batch_train or 2)
    batch = subject.batch(size, seed)
    look(subject, module, lambda given: subject.call(module, given), batch, seen)

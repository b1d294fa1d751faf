"""A training loop under watch: what its pieces do to gradients, rates and weights, step by step.

`Loop` makes the model, the optimizer and the scheduler anew, and runs the trainer's own functions.
`Seen` tells what happened meanwhile: the gradients in the moment of every optimizer step, the
learning rates, the order of backward passes, optimizer steps and scheduler steps.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from zoo.testing.engine import NotApplicable
from zoo.testing.facts import batch_axis_of
from zoo.testing.guard import DefaultDtype, seed_all
from zoo.testing.spec import Trainer
from zoo.testing.subject import Subject
from zoo.testing.trees import changed, children, is_tree, leaves

ROWS_OF_A_BATCH = 4


class LoopError(NotApplicable):
    """A piece of the trainer raises; the check of the optimizer says so."""

    def __init__(self, piece: str, error: Exception) -> None:
        super().__init__(f"trainer.{piece} raises {type(error).__name__}: {error}"[:300])
        self.piece, self.error = piece, error


@dataclass
class Moment:
    """What an optimizer finds when it makes a step."""

    optimizer: Optimizer
    gradients: dict[str, Tensor]  # zeros where there is none
    rates: list[float]  # by group
    closure: bool  # the gradients are made inside the step


@dataclass
class Seen:
    """What happened while a piece of the trainer ran."""

    moments: list[Moment] = field(default_factory=list)
    order: list[str] = field(default_factory=list)  # backward, optimizer, scheduler
    modes: list[bool] = field(default_factory=list)  # the model's training flag at each forward
    scheduler_arguments: bool = False
    value: Any = None

    def count(self, event: str) -> int:
        """Count how often something happened."""
        return self.order.count(event)

    def gradients(self) -> dict[str, Tensor]:
        """Give the gradients of the one step of the optimizer.

        Raises NotApplicable where there was none, or where a closure makes them.
        """
        if not self.moments:
            raise NotApplicable("no torch.optim.Optimizer makes a step")
        if any(moment.closure for moment in self.moments):
            raise NotApplicable("the optimizer calls a closure, which makes the gradients")
        return self.moments[0].gradients


def trainer_of(subject: Subject, *pieces: str) -> Trainer:
    """Give the trainer. Raises NotApplicable where it lacks one of the pieces."""
    trainer = subject.spec.trainer
    if trainer is None:
        raise NotApplicable("no trainer is declared")
    for piece in pieces:
        if getattr(trainer, piece) is None:
            raise NotApplicable(f"the trainer has no {piece}")
    if subject.spec.batch is None:
        raise NotApplicable("the spec has no batch")
    return trainer


class Loop:
    """A model, its optimizer and its scheduler, made anew.

    `double` is for comparisons without rounding. `quiet` keeps the model in eval mode whatever is
    asked of it, so that nothing draws. `scale` multiplies every gradient on its way.
    """

    def __init__(
        self,
        subject: Subject,
        *,
        seed: int | None = None,
        double: bool = False,
        quiet: bool = False,
        scale: float = 1.0,
    ) -> None:
        self.subject, self.double = subject, double
        self.trainer = trainer_of(subject)
        self.dtype = torch.float64 if double else torch.get_default_dtype()
        self.model = subject.fresh(seed)
        if double:
            self.model.double()
        with DefaultDtype(self.dtype):
            self.optimizer = self.tried("optimizer", self.trainer.optimizer, self.model)
            self.scheduler = None
            if self.trainer.scheduler is not None:
                self.scheduler = self.tried("scheduler", self.trainer.scheduler, self.optimizer)
        if quiet:
            hush(self.model)
        if scale != 1.0:
            for parameter in self.parameters().values():
                if parameter.requires_grad and parameter.is_leaf:
                    parameter.register_hook(lambda gradient: gradient * scale)

    def tried(self, piece: str, run: Callable[..., Any], *arguments: Any) -> Any:
        """Run a piece of the trainer. Raises LoopError with what it raised."""
        try:
            return run(*arguments)
        except Exception as error:
            raise LoopError(piece, error) from error

    def parameters(self) -> dict[str, Tensor]:
        """Give the model's parameters by name, and what else the optimizer holds."""
        found: dict[str, Tensor] = dict(self.model.named_parameters())
        known = {id(p) for p in found.values()}
        for i, parameter in enumerate(held(self.optimizer)):
            if id(parameter) not in known:
                found[f"(of the optimizer alone: {i})"] = parameter
        return found

    def batch(self, size: int = ROWS_OF_A_BATCH, seed: int = 0) -> Any:
        """Make a batch as the author's function gives it."""
        return raw_batch(self.subject, size, seed, double=self.double)

    def step(self, batch: Any, seed: int = 0) -> Seen:
        """Make a step under watch. Raises LoopError for what it raises."""
        return self.watched("step", batch, seed)

    def accumulate(self, pieces: Sequence[Any], seed: int = 0) -> Seen:
        """Make one step over pieces under watch. Raises LoopError for what it raises."""
        return self.watched("accumulate", list(pieces), seed)

    def watched(self, piece: str, given: Any, seed: int) -> Seen:
        """Run a piece that trains, and note what happens."""
        seen, names = Seen(), {id(p): name for name, p in self.parameters().items()}
        parameters = self.parameters()

        def stepping(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
            inside = {id(p) for p in held(optimizer)}
            every = {n: p for n, p in parameters.items() if id(p) in inside}
            for i, p in enumerate(held(optimizer)):
                if id(p) not in names:
                    every[f"(of the optimizer alone: {i})"] = p
            seen.order.append("optimizer")
            seen.moments.append(
                Moment(
                    optimizer,
                    {n: gradient_of(p) for n, p in every.items()},
                    rates_of(optimizer),
                    closure=any(callable(x) for x in (*args[1:], *kwargs.values())),
                )
            )

        def scheduling(*args: Any, **kwargs: Any) -> None:
            seen.order.append("scheduler")
            seen.scheduler_arguments |= bool(args or kwargs)

        def arrived(_parameter: Tensor) -> None:
            if not seen.order or seen.order[-1] != "backward":
                seen.order.append("backward")

        def entered(module: nn.Module, _inputs: Any) -> None:
            seen.modes.append(module.training)

        handles = [register_optimizer_step_pre_hook(stepping)]
        handles += [self.model.register_forward_pre_hook(entered)]
        for parameter in parameters.values():
            if parameter.requires_grad and parameter.is_leaf:
                handles.append(parameter.register_post_accumulate_grad_hook(arrived))
        unwrap = wrap_step(self.scheduler, scheduling)
        run = getattr(self.trainer, piece)
        seed_all(500 + seed)
        try:
            with DefaultDtype(self.dtype):
                seen.value = self.tried(
                    piece, run, self.model, self.optimizer, self.scheduler, given
                )
        finally:
            unwrap()
            for handle in handles:
                handle.remove()
        return seen


def hush(model: nn.Module) -> None:
    """Put a model into eval mode for good: train() does nothing any more."""
    model.eval()
    model.__dict__["train"] = lambda mode=True: model


def wrap_step(scheduler: Any, told: Callable[..., None]) -> Callable[[], None]:
    """Have a scheduler tell of its steps; give what ends that."""
    if scheduler is None or not hasattr(scheduler, "step") or not hasattr(scheduler, "__dict__"):
        return lambda: None
    before, step = dict(vars(scheduler)), scheduler.step

    def telling(*args: Any, **kwargs: Any) -> Any:
        told(*args, **kwargs)
        return step(*args, **kwargs)

    scheduler.step = telling

    def end() -> None:
        del scheduler.step
        if "step" in before:
            scheduler.step = before["step"]

    return end


def optimizers_in(given: Any, depth: int = 0) -> Iterator[Optimizer]:
    """Find torch's optimizers in what the trainer calls its optimizer: one, several, a wrapper."""
    if isinstance(given, Optimizer):
        yield given
    elif is_tree(given):
        for _, item in children(given):
            yield from optimizers_in(item, depth + 1)
    elif depth < 2 and hasattr(given, "__dict__"):
        for item in vars(given).values():
            yield from optimizers_in(item, depth + 1)


def held(optimizer: Any) -> list[Tensor]:
    """Give the tensors that an optimizer changes."""
    return [
        p for one in optimizers_in(optimizer) for group in one.param_groups for p in group["params"]
    ]


def rates_of(optimizer: Any) -> list[float]:
    """Give the learning rate of every group."""
    groups = [group for one in optimizers_in(optimizer) for group in one.param_groups]
    return [float(group["lr"]) for group in groups if "lr" in group]


def gradient_of(parameter: Tensor) -> Tensor:
    """Copy a parameter's gradient; zeros stand for none."""
    if parameter.grad is None:
        return torch.zeros_like(parameter.detach())
    grad = parameter.grad.detach()
    return grad.to_dense() if grad.layout != torch.strided else grad.clone()


def raw_batch(subject: Subject, size: int, seed: int, *, double: bool = False) -> Any:
    """Make a batch as the author's function gives it, in float64 if asked."""
    seed_all(1000 + subject.seed + seed)
    assert subject.spec.batch is not None
    given: Any = subject.spec.batch(size)
    return changed(given, widened) if double else given


def widened(x: Tensor) -> Tensor:
    """Give a tensor in float64 if it holds real numbers."""
    return x.double() if x.is_floating_point() else x


def row_axes(subject: Subject) -> dict[str, int | None]:
    """Find along which axis the rows of every tensor of a batch stand.

    None is for what all rows share. Raises NotApplicable for a batch that cannot be cut by rows.
    """
    given = {n: leaves(raw_batch(subject, n, 0)) for n in (2, 3, 5)}
    found: dict[str, int | None] = {}
    for path, x in given[3].items():
        if not isinstance(x, Tensor):
            continue
        sizes = {n: batch.get(path) for n, batch in given.items()}
        axis = batch_axis_of({n: y for n, y in sizes.items() if y is not None})
        shapes = {tuple(y.shape) for y in sizes.values() if isinstance(y, Tensor)}
        if axis is None and len(shapes) > 1:
            raise NotApplicable(f"{path or 'the batch'} has no axis of rows to be cut along")
        found[path] = axis
    return found


def cut_rows(batch: Any, axes: Mapping[str, int | None], start: int, stop: int) -> Any:
    """Copy a batch with only the rows from `start` to `stop`."""

    def cut(value: Any, path: str) -> Any:
        if isinstance(value, Tensor):
            axis = axes.get(path)
            return value if axis is None else value.narrow(axis, start, stop - start)
        if isinstance(value, Mapping):
            return {k: cut(v, f"{path}.{k}" if path else str(k)) for k, v in value.items()}
        if isinstance(value, list | tuple):
            items = [cut(v, f"{path}.{i}" if path else str(i)) for i, v in enumerate(value)]
            return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
        return value

    return cut(batch, "")


def norm(gradients: Mapping[str, Tensor]) -> float:
    """Give the norm of all gradients together."""
    return float(sum(float(g.double().square().sum()) for g in gradients.values()) ** 0.5)


def flat(gradients: Mapping[str, Tensor], names: Sequence[str]) -> Tensor:
    """Lay gradients out as one vector in float64."""
    parts = [gradients[name].double().reshape(-1) for name in names if name in gradients]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64)


def exact(subject: Subject, **options: Any) -> dict[str, Any]:
    """Choose how to make loops that can be compared: in float64 and without noise if they run."""
    size = max(ROWS_OF_A_BATCH, subject.spec.min_batch_train or 1)
    last: LoopError | None = None
    for choice in (
        {"double": True, "quiet": True},
        {"double": False, "quiet": True},
        {"double": True, "quiet": False},
        {"double": False, "quiet": False},
    ):
        try:
            loop = Loop(subject, **choice, **options)
            gradients = loop.step(loop.batch(size)).gradients()
        except LoopError as error:
            last = error
            continue
        if all(bool(g.isfinite().all()) for g in gradients.values()) and norm(gradients):
            return choice
    raise last or NotApplicable("the gradients are zero or not finite")


def some(names: Sequence[str], most: int = 3) -> str:
    """Write a few names, and how many more there are."""
    said = ", ".join(names[:most])
    return said if len(names) <= most else f"{said} and {len(names) - most} more"

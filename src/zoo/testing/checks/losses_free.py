"""A loss as a function of the output alone: everything else of a run is held, the output is free.

Where a loss reads what forward gave, that is put in its place. Where forward gives the loss itself,
forward runs again and the op that made the output gives the free tensor instead.
"""

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from zoo.testing.blame import Watch, user_line
from zoo.testing.engine import NotApplicable
from zoo.testing.facts import LABEL_NAMES
from zoo.testing.guard import DefaultDtype, seed_all
from zoo.testing.stress import Bench
from zoo.testing.subject import Subject, is_real
from zoo.testing.trees import tensors

Change = Callable[[str, Tensor], Tensor]
LOSS_OPS = ("loss", "cross_entropy", "kl_div", "softmax", "sigmoid", "softplus")


def rebuilt(value: Any, change: Change, path: str = "") -> Any:
    """Copy an output with every tensor changed, keeping the classes of what holds them."""

    def inner(key: Any, item: Any) -> Any:
        return rebuilt(item, change, f"{path}.{key}" if path else str(key))

    if isinstance(value, Tensor):
        return change(path, value)
    if isinstance(value, Mapping):
        items = {key: inner(key, item) for key, item in value.items()}
        if type(value) is dict:
            return items
        made: Any = copy.copy(value)  # an OrderedDict, a ModelOutput of Hugging Face
        for key, item in items.items():
            made[key] = item
        return made
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        named = zip(value._fields, value, strict=True)
        return type(value)(*(inner(key, item) for key, item in named))
    if isinstance(value, list | tuple):
        return type(value)([inner(key, item) for key, item in enumerate(value)])
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        made = copy.copy(value)
        for field in dataclasses.fields(value):
            object.__setattr__(made, field.name, inner(field.name, getattr(value, field.name)))
        return made
    return value


class Calls(TorchFunctionMode):
    """A block that counts torch's functions, and may let one of them give another tensor."""

    def __init__(self, at: int = -1, instead: Tensor | None = None) -> None:
        super().__init__()
        self.at, self.instead, self.given = at, instead, list[Any]()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function, or give what stands instead of its result."""
        found = func(*args, **(kwargs or {}))
        if len(self.given) == self.at and self.instead is not None:
            found = self.instead
        self.given.append(found if self.instead is None else None)
        return found


class Free:
    """The loss of one batch as a function of one tensor of the output.

    `path` names that tensor; "" also stands for an output that is one tensor. `base` is what the
    model gave. Raises what the model or its loss raises, NotApplicable where no tensor of the
    output reaches the loss.
    """

    def __init__(
        self, subject: Subject, size: int = 4, seed: int | None = None, *, stress: bool = False
    ) -> None:
        self.subject, self.size, self.seed = subject, size, seed
        self.bench = subject.bench(train=False, stress=stress)
        try:
            self.prepare()
        except NotApplicable:
            raise
        except Exception:  # a loss with weights of float32, say
            if self.bench.dtype is torch.float32:
                raise
            module = subject.fresh(train=False)
            self.bench = Bench(subject, module, torch.float32, "as built", train=False)
            self.prepare()

    def prepare(self) -> None:
        """Run the model once and find out which tensors of its output reach the loss."""
        subject = self.subject
        self.batch = self.bench.batch(self.size, self.seed)
        with torch.no_grad(), Calls() as calls:
            output = self.bench.run(self.batch)
        self.work = sum(x.numel() for x in calls.given if isinstance(x, Tensor))
        self.output = rebuilt(output, lambda _, x: x.detach())
        self.at = -1
        every = {path: x for path, x in tensors(self.output).items() if is_real(x)}
        self.every = every
        self.live = self.reached(every)
        self.main = main_path(subject, output)
        hidden = self.main not in every and not self.live  # inside an object that is no tree
        if hidden or (self.live and all(not every[path].dim() for path in self.live)):
            self.trap(calls.given, output)
            self.main = "(the output)"
            self.every = {self.main: subject.main(output).detach()}
            self.live = self.reached(self.every)
        self.path = self.main if self.main in self.live else next(iter(self.live), self.main)

    def slow(self) -> bool:
        """Say whether taking the loss runs a forward that is not for many repetitions."""
        return self.at >= 0 and self.work > 5_000_000

    def trap(self, given: list[Any], output: Any) -> None:
        """Find the op that made the output that counts, to let it give another tensor."""
        wanted = self.subject.main(output)
        if wanted.dim():
            for index, found in enumerate(given):
                if found is wanted:
                    self.at = index
        if self.at < 0:
            raise NotApplicable("forward gives the loss, and no op of torch gives its output")

    def reached(self, every: dict[str, Tensor]) -> dict[str, Tensor]:
        """Give the tensors of the output that the loss depends on with a gradient."""
        leaves = {path: x.clone().requires_grad_() for path, x in every.items()}
        if not leaves:
            return {}
        value = self.evaluate(leaves, self.batch)
        if not value.requires_grad:
            return {}
        found = torch.autograd.grad(value.sum(), list(leaves.values()), allow_unused=True)
        return {
            path: x
            for (path, x), grad in zip(every.items(), found, strict=True)
            if grad is not None
        }

    def evaluate(self, leaves: Mapping[str, Tensor], batch: Mapping[str, Any]) -> Tensor:
        """Give the loss with tensors of the output replaced, by path."""
        seed_all(0)
        with DefaultDtype(self.bench.dtype):
            if self.at >= 0:
                with Calls(self.at, next(iter(leaves.values()))):
                    output = self.subject.call(self.bench.module, batch)
                return self.subject.loss(output, batch)
            output = rebuilt(self.output, lambda path, x: leaves.get(path, x))
            return self.subject.loss(output, batch)

    def value(
        self, x: Tensor, batch: Mapping[str, Any] | None = None, path: str | None = None
    ) -> Tensor:
        """Give the loss where one tensor of the output is x."""
        where = self.path if path is None else path
        return self.evaluate({where: x}, self.batch if batch is None else batch).sum()

    def number(
        self, x: Tensor, batch: Mapping[str, Any] | None = None, path: str | None = None
    ) -> float:
        """Give the loss as a number, NaN where it cannot be taken."""
        try:
            with torch.no_grad():
                return float(self.value(x, batch, path))
        except Exception:
            return float("nan")

    def gradient(
        self, x: Tensor, batch: Mapping[str, Any] | None = None, path: str | None = None
    ) -> Tensor:
        """Give the gradient of the loss at x; zeros where it does not depend on it."""
        leaf = x.detach().clone().requires_grad_()
        with torch.enable_grad():
            value = self.value(leaf, batch, path)
            if not value.requires_grad:
                return torch.zeros_like(leaf)
            found = torch.autograd.grad(value, leaf, allow_unused=True)[0]
        return torch.zeros_like(leaf) if found is None else found.detach()

    def base(self, path: str | None = None) -> Tensor:
        """Give what the model gave."""
        return self.every[self.path if path is None else path]

    def other_batch(self, seed: int) -> dict[str, Any]:
        """Make another batch of the same size."""
        return self.bench.batch(self.size, 50 + seed)


def main_path(subject: Subject, output: Any) -> str:
    """Give the path of the output that counts; "" where it is computed from others."""
    wanted = subject.main(output)
    return next((path for path, x in tensors(output).items() if x is wanted), "")


def label_entries(subject: Subject, batch: Mapping[str, Any]) -> dict[str, Tensor]:
    """Give the entries that can hold what is to be predicted, the likeliest first."""
    found = {n: x for n, x in batch.items() if isinstance(x, Tensor)}
    inputs = subject.arguments(batch)
    first = subject.facts.labels
    names = [first] if first in found else []
    names += [n for n in found if n not in names and (n not in inputs or n in LABEL_NAMES)]
    return {n: found[n] for n in names if n is not None}


def loss_line(free: Free) -> str:
    """Find the line of the user's own code at which the loss is taken."""
    lines: list[str] = []
    named: list[str] = []

    def seen(func: Any, _: Any) -> None:
        line = user_line()
        if line:
            lines.append(line)
            if any(word in getattr(func, "__name__", "") for word in LOSS_OPS):
                named.append(line)

    try:
        with torch.no_grad(), Watch(seen):
            free.value(free.base())
    except Exception:
        return ""
    return (named or lines or [""])[-1]


def make_free(subject: Subject, size: int = 4, *, stress: bool = False) -> Free:
    """Make the loss of a batch a function of the output, or say why that cannot be."""
    if not subject.has_loss():
        raise NotApplicable("there is no loss")
    try:
        return Free(subject, size, stress=stress)
    except NotApplicable:
        raise
    except Exception as error:
        said = (str(error).splitlines() or [""])[0][:120]
        raise NotApplicable(f"the loss cannot be taken: {type(error).__name__}: {said}") from error

"""What checks of behaviour share: every call of torch's functions with its arguments and its place,
a forward under seeds of choice, and tensors that a module keeps without registering them."""

import random
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.overrides import TorchFunctionMode

from zoo.testing import blame
from zoo.testing.engine import NotApplicable
from zoo.testing.guard import DefaultDtype
from zoo.testing.stress import Bench, apart
from zoo.testing.subject import cloned
from zoo.testing.trees import tensors

ROUNDING = 64  # units in the last place that two runs of the same numbers may lie apart


@dataclass
class Call:
    """One call of one of torch's functions."""

    name: str
    where: str  # dotted path of the module whose code called
    module: nn.Module | None  # that module
    line: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: Any = None
    drew: bool = False  # torch's generator moved
    called: int = 0  # which call of the run this is

    def given(self, place: int, name: str, otherwise: Any = None) -> Any:
        """Give an argument by its place or by its name."""
        if name in self.kwargs:
            return self.kwargs[name]
        return self.args[place] if len(self.args) > place else otherwise

    def tensors(self) -> list[Tensor]:
        """Give every tensor among the arguments."""
        return [*tensors(self.args).values(), *tensors(self.kwargs).values()]


@dataclass
class Visit:
    """One call of a module."""

    where: str
    module: nn.Module
    training: bool
    inputs: Any
    output: Any = None


@dataclass
class Spied:
    """What happened in one run."""

    calls: list[Call] = field(default_factory=list)
    visits: list[Visit] = field(default_factory=list)
    output: Any = None


class Spy(TorchFunctionMode):
    """A block in which every call of torch's functions is written down; `before` sees it first."""

    def __init__(
        self,
        made: Spied,
        here: Callable[[], tuple[str, nn.Module | None]],
        before: Any,
        draws: bool,
    ) -> None:
        super().__init__()
        self.made, self.here, self.before, self.draws = made, here, before, draws

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function and write down what it was given and gave."""
        name = getattr(func, "__name__", str(func))
        if name in ("__get__", "__set__"):
            return func(*args, **(kwargs or {}))
        where, module = self.here()
        call = Call(name, where, module, "", args, kwargs or {}, called=len(self.made.calls))
        self.made.calls.append(call)
        if self.before is not None:
            self.before(call)
        state = torch.get_rng_state() if self.draws else None
        call.result = func(*args, **(kwargs or {}))
        if state is not None and not torch.equal(state, torch.get_rng_state()):
            call.drew = True
            call.line = blame.user_line()
        return call.result


def spy(
    module: nn.Module, run: Callable[[], Any], *, before: Any = None, draws: bool = False
) -> Spied:
    """Run, and write down every call of a function and of a module. Raises what `run` raises."""
    names = {id(m): name for name, m in module.named_modules()}
    made, stack = Spied(), list[Visit]()

    def enter(part: nn.Module, inputs: Any) -> None:
        where = names.get(id(part), stack[-1].where if stack else "")
        stack.append(Visit(where, part, part.training, inputs))
        made.visits.append(stack[-1])

    def leave(part: nn.Module, _inputs: Any, output: Any) -> None:
        if stack:
            stack.pop().output = output

    def here() -> tuple[str, nn.Module | None]:
        return (stack[-1].where, stack[-1].module) if stack else ("", None)

    handles = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave)]
    try:
        with Spy(made, here, before, draws):
            made.output = run()
    finally:
        for handle in handles:
            handle.remove()
    return made


def run_with(
    bench: Bench, batch: Mapping[str, Any], *, own: int = 0, python: int = 0, numpy: int = 0
) -> Any:
    """Run forward with each generator under a seed of its own."""
    torch.manual_seed(own)
    random.seed(python)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(numpy)
    with DefaultDtype(bench.dtype):
        return bench.subject.call(bench.module, cloned(batch))


def fresh_bench(subject: Any, *, train: bool = False) -> Bench:
    """Make a bench whose module has not run yet (the first of its kind has, to be tried out)."""
    if (train, True) not in subject._benches:
        try:
            subject.bench(train=train)
        except Exception as error:
            raise NotApplicable("the model does not run in this mode: see sizes") from error
    made: Bench = subject.bench(train=train)
    return made


class Repeated:
    """A bench that runs again and again from the same parameters and buffers."""

    def __init__(self, bench: Bench, batch: Mapping[str, Any]) -> None:
        self.bench, self.batch, self.state = bench, batch, snapshot(bench.module)

    def __call__(self, **seeds: int) -> dict[str, Tensor]:
        """Run once more; give every tensor of the output by path."""
        bring_back(self.bench.module, self.state)
        return answer(self.bench, self.batch, **seeds)

    def parting(self, **seeds: int) -> blame.Place:
        """Find where a run parts from one with other seeds."""
        bring_back(self.bench.module, self.state)
        return parting(
            self.bench,
            lambda: run_with(self.bench, self.batch),
            lambda: run_with(self.bench, self.batch, **seeds),
        )


def answer(bench: Bench, batch: Mapping[str, Any], **seeds: int) -> dict[str, Tensor]:
    """Run forward without gradients; give every tensor of the output by path."""
    with torch.no_grad():
        return {n: x.clone() for n, x in tensors(run_with(bench, batch, **seeds)).items()}


def moved(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> tuple[str, float]:
    """Give the output that differs most between two runs of the same numbers, and by how much.

    The share is 0.0 where all agree but for the last bits.
    """
    worst, path = 0.0, ""
    if list(one) != list(other):
        return ", ".join(sorted(set(one) ^ set(other))), float("inf")
    for name, x in one.items():
        gap = apart(x, other[name])
        if gap > worst and gap > rounding(x):
            worst, path = gap, name
    return path, worst


def rounding(x: Tensor) -> float:
    """Give how far apart, relatively, the same computation may come out twice."""
    if not (x.is_floating_point() or x.is_complex()):
        return 0.0
    return torch.finfo(x.dtype).eps * ROUNDING


def differs(one: Tensor, other: Tensor) -> bool:
    """Say whether two runs of the same numbers gave something else."""
    return apart(one, other) > rounding(one)


def parting(bench: Bench, first: Callable[[], Any], second: Callable[[], Any]) -> blame.Place:
    """Find where two runs of a module part; the model itself where that does not show."""
    state = snapshot(bench.module)
    try:
        one = blame.record(bench.module, first)
        bring_back(bench.module, state)
        other = blame.record(bench.module, second)
    except Exception:
        return blame.Place("")
    return blame.first_wrong(one, other, differs) or blame.Place("")


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    """Copy every parameter and buffer."""
    every = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    return {n: x.detach().clone() for n, x in every.items() if not nn.parameter.is_lazy(x)}


def bring_back(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give parameters and buffers the values that they had."""
    every = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    with torch.no_grad():
        for name, x in every.items():
            if name in state and x.shape == state[name].shape:
                x.copy_(state[name])


def unregistered(module: nn.Module) -> Iterator[tuple[str, str, Any]]:
    """Give every tensor and module that a module keeps without registering it.

    Each comes as (path of the owner, name of the attribute, value).
    """
    known = {id(m) for m in module.modules()}
    seen = set[int]()
    for where, part in module.named_modules():
        for name, value in list(vars(part).items()):
            if name in ("_parameters", "_buffers", "_modules") or name.endswith("_hooks"):
                continue
            for path, item in kept(value, name, seen, 0):
                if isinstance(item, Tensor) or id(item) not in known:
                    yield where, path, item


def kept(value: Any, path: str, seen: set[int], depth: int) -> Iterator[tuple[str, Any]]:
    """Give the tensors and modules in nested containers, with their paths."""
    if isinstance(value, Tensor | nn.Module):
        yield path, value
        return
    if depth > 4 or id(value) in seen:
        return
    if isinstance(value, Mapping):
        seen.add(id(value))
        for key, item in list(value.items())[:200]:
            yield from kept(item, f"{path}[{key!r}]", seen, depth + 1)
    elif isinstance(value, list | tuple | set | frozenset):
        seen.add(id(value))
        for place, item in enumerate(list(value)[:200]):
            yield from kept(item, f"{path}[{place}]", seen, depth + 1)


def joined(*parts: str) -> str:
    """Join the parts of a dotted path, leaving empty ones out."""
    return ".".join(part for part in parts if part)


def told(where: str) -> str:
    """Say where something is, in words."""
    return where or "the model's own forward"


def is_library(module: nn.Module | None) -> bool:
    """Say whether a module's class comes from an installed package that is not torch."""
    if module is None or type(module).__module__.startswith("torch."):
        return False
    source = sys.modules.get(type(module).__module__)
    file = getattr(source, "__file__", None) or ""
    return "site-packages" in file or "dist-packages" in file

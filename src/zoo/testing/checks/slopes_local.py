"""Where a gradient first goes wrong: every module's own backward, children before parents."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from zoo.testing.checks.slopes_events import Cuts, Event
from zoo.testing.checks.slopes_numeric import (
    Slope,
    backward,
    directions,
    measured,
    projected,
)
from zoo.testing.guard import DefaultDtype, seed_all
from zoo.testing.trees import changed, children, tensors

NUMBERS = 2**16  # of a tensor that a direction moves
MANY = 40  # tensors that are looked at one by one


class Unsteady(Exception):
    """The same run gives other numbers, so differences of runs say nothing."""


class Memory:
    """What a module remembers between calls, so that every run can begin with the same.

    Buffers are copied; plain attributes are kept as they were set.
    """

    def __init__(self, module: nn.Module) -> None:
        self.buffers = [
            (part, name, x, x.clone())
            for part in module.modules()
            for name, x in part._buffers.items()
            if x is not None
        ]
        self.plain = [
            (part, {n: kept_value(x) for n, x in vars(part).items() if not n.startswith("_")})
            for part in module.modules()
        ]

    def put_back(self) -> None:
        """Set everything to what it was."""
        with torch.no_grad():
            for part, name, x, old in self.buffers:
                part._buffers[name] = x
                x.copy_(old)
        for part, values in self.plain:
            for name, value in values.items():
                if name != "training":
                    vars(part)[name] = kept_value(value)


def kept_value(value: Any) -> Any:
    """Copy plain containers one level deep, and nothing else."""
    return type(value)(value) if type(value) in (list, dict, set) else value


@dataclass
class Call:
    """One call of a module in a forward pass: what it was given, copied."""

    module: nn.Module
    path: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    needed: dict[str, bool] = field(default_factory=dict)  # which inputs had a gradient to pass on


def copied(value: Any) -> Any:
    """Copy a tree's tensors, apart from any graph; what is no plain tree stays."""
    plain = isinstance(value, Tensor | tuple | list | dict)
    return changed(value, lambda x: x.detach().clone()) if plain else value


def recorded(module: nn.Module, run: Callable[[], Any]) -> list[Call]:
    """Run, and give the calls of all modules in the order in which they ended."""
    names = {id(m): name for name, m in module.named_modules()}
    ended: list[Call] = []
    open_calls: list[Call] = []

    def enter(part: nn.Module, args: Any, kwargs: Any) -> None:
        needed = {path: x.requires_grad for path, x in tensors((args, kwargs)).items()}
        call = Call(part, names[id(part)], copied(args), copied(kwargs), needed)
        open_calls.append(call)

    def leave(part: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        while open_calls:
            call = open_calls.pop()
            if call.module is part:
                ended.append(call)
                return

    handles: list[Any] = []
    for part in module.modules():
        if isinstance(part, torch.jit.ScriptModule):
            continue
        handles.append(part.register_forward_pre_hook(enter, with_kwargs=True))
        handles.append(part.register_forward_hook(leave, with_kwargs=True))
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return ended


@dataclass
class Probe:
    """Something that can be run again, the tensors it hangs on, and how to run it."""

    run: Callable[[], Any]  # forward with gradients: the output
    names: list[str]
    at: list[Tensor]
    blocked: list[Tensor | None]
    dtype: torch.dtype
    number: Callable[[Any], Tensor | None] = projected

    def value(self) -> Tensor:
        """Run forward without gradients and give the number."""
        with torch.no_grad():
            return self.scalar()

    def scalar(self) -> Tensor:
        """Run forward and give the number."""
        number = self.number(self.run())
        if number is None:
            raise Unsteady("nothing real comes out")
        return number

    def gradients(self, undo: Collection[str] | None = ()) -> tuple[list[Tensor | None], Cuts]:
        """Give autograd's gradients, with some cuts taken back, and what cuts there were."""
        cuts = Cuts(undo)
        with torch.enable_grad():
            with cuts:
                number = self.scalar()
            return backward(number, self.at), cuts

    def slope(
        self, gradients: Sequence[Tensor | None], chosen: Sequence[int] | None = None
    ) -> Slope:
        """Compare the slopes along one direction of all tensors, or of some."""
        every = range(len(self.at)) if chosen is None else chosen
        # a parameter whose numbers do not lie in line is moved as a whole, and so is its gradient
        plain = [self.at[i].is_contiguous() for i in every]
        at = [thinned(self.at[i]) for i in every]
        stays, given = (
            [
                x if x is None or not line else thinned(x.contiguous())
                for x, line in zip([given[i] for i in every], plain, strict=True)
            ]
            for given in (self.blocked, gradients)
        )
        return measured(self.value, at, given, directions(at, stays), self.dtype)

    def each(self, gradients: Sequence[Tensor | None], seconds: float = 1.0) -> dict[int, Slope]:
        """Compare the slopes of one tensor after the other, as time allows."""
        began, found = time.perf_counter(), {}
        for i in range(min(len(self.at), MANY)):
            if time.perf_counter() - began > seconds:
                break
            found[i] = self.slope(gradients, [i])
        return found


def thinned(x: Tensor) -> Tensor:
    """Give some numbers, evenly spread, of a tensor that has very many; they share its memory."""
    if x.numel() < 2 * NUMBERS or not x.is_contiguous():
        return x
    return x.detach().view(-1)[:: x.numel() // NUMBERS]


def probe_of_call(call: Call, dtype: torch.dtype, blocked: dict[int, Tensor]) -> Probe | None:
    """Make a probe of one call of a module: its inputs and its parameters. None without any."""
    leaves: dict[str, Tensor] = {}
    for path, x in tensors((call.args, call.kwargs)).items():
        if call.needed.get(path) and x.is_floating_point():
            leaves[path] = x.clone().requires_grad_()
    trained = [(n, p) for n, p in call.module.named_parameters() if p.requires_grad]

    def take(path: str, x: Tensor) -> Tensor:
        return leaves[path].clone() if path in leaves else x.clone()

    memory = Memory(call.module)

    def run() -> Any:
        memory.put_back()
        args, kwargs = remade((call.args, call.kwargs), take)
        seed_all(0)
        with DefaultDtype(dtype):
            return call.module(*args, **kwargs)

    at = [*leaves.values(), *(p for _, p in trained)]
    names = [*(f"input {path}" for path in leaves), *(n for n, _ in trained)]
    if not at:
        return None
    return Probe(run, names, at, [blocked.get(id(x)) for x in at], dtype)


def remade(value: Any, take: Callable[[str, Tensor], Tensor], path: str = "") -> Any:
    """Copy plain tuples, lists and dicts with every tensor taken anew, by path."""
    if isinstance(value, Tensor):
        return take(path, value)
    made = {k: remade(x, take, f"{path}.{k}" if path else str(k)) for k, x in children(value)}
    if isinstance(value, dict):
        return made
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*made.values())
    if isinstance(value, tuple | list):
        return type(value)(made.values())
    return value  # a mapping or an object of somebody's own is given on as it is


@dataclass
class Wrong:
    """A piece of the model whose own backward is wrong, and what was seen there."""

    path: str
    probe: Probe
    slope: Slope
    gradients: list[Tensor | None]
    events: list[Event]


def first_wrong_calls(
    calls: Sequence[Call],
    dtype: torch.dtype,
    blocked: dict[int, Tensor],
    skip: Callable[[str], bool],
    undo: Collection[str] | None,
) -> list[Wrong]:
    """Find modules whose own backward is wrong while that of every module inside is right."""
    found: list[Wrong] = []
    seen: set[str] = set()
    for call in calls:
        if call.path in seen or skip(call.path) or any(inside(w.path, call.path) for w in found):
            continue
        seen.add(call.path)
        made = probe_of_call(call, dtype, blocked)
        wrong = wrong_probe(made, call.path, undo) if made is not None else None
        if wrong is not None:
            found.append(wrong)
    return found


def inside(path: str, around: str) -> bool:
    """Say whether a path lies in another."""
    return not around or path == around or path.startswith(around + ".")


def wrong_probe(probe: Probe, path: str, undo: Collection[str] | None) -> Wrong | None:
    """Say whether a probe's gradient is certainly wrong; one that cannot be run again is not."""
    try:
        if float(probe.value()) != float(probe.value()):
            return None  # it remembers or draws: alone it says nothing
        gradients, cuts = probe.gradients(undo)
        slope = probe.slope(gradients)
    except Exception:
        return None
    if not slope.wrong():
        return None
    return Wrong(path, probe, slope, gradients, list(cuts.events.values()))

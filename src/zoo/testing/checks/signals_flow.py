"""What flows through a model: every activation function with what it got, in its place."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.overrides import TorchFunctionMode

from zoo.testing.blame import user_line
from zoo.testing.trees import tensors


@dataclass(frozen=True)
class Act:
    """One use of an activation function."""

    name: str
    where: str  # the module whose code ran it
    line: str
    before: Tensor
    after: Tensor
    maker: str  # the module that gave its input as it is; "" where an op gave it


@dataclass(frozen=True)
class Passed:
    """One call of a module."""

    where: str
    module: nn.Module
    given: tuple[Tensor, ...]
    gave: tuple[Tensor, ...]


class Flow(TorchFunctionMode):
    """A block that notes activation functions, by name."""

    def __init__(self, names: tuple[str, ...], seen: Callable[[str, Tensor, Tensor], None]) -> None:
        super().__init__()
        self.names, self.seen = names, seen

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function, and note it if it is one of those looked for."""
        name = getattr(func, "__name__", "").rstrip("_")
        wanted = name in self.names
        given = (args[0] if args else (kwargs or {}).get("input")) if wanted else None
        over = func.__name__.endswith("_") if wanted else False
        over = over or (kwargs or {}).get("inplace", False)
        over = over or any(x is True for x in args[1:2])
        if isinstance(given, Tensor) and over:
            given = given.detach().clone()
        found = func(*args, **(kwargs or {}))
        if isinstance(given, Tensor) and isinstance(found, Tensor):
            self.seen(name, given.detach(), found.detach())
        return found


ACTIVATIONS = ("relu", "gelu", "silu", "sigmoid", "tanh", "softmax", "relu6")


def flow(
    module: nn.Module, run: Callable[[], Any], names: tuple[str, ...] = ACTIVATIONS
) -> tuple[list[Act], list[Passed]]:
    """Run, and give the activation functions and the calls of modules in their order."""
    paths = {id(m): name for name, m in module.named_modules()}
    acts: list[Act] = []
    calls: list[Passed] = []
    stack: list[str] = []
    made: dict[int, tuple[str, Tensor]] = {}

    def enter(part: nn.Module, _inputs: Any) -> None:
        stack.append(paths.get(id(part), stack[-1] if stack else ""))

    def leave(part: nn.Module, inputs: Any, output: Any) -> None:
        here = stack.pop() if stack else ""
        gave = tuple(tensors(output).values())
        calls.append(Passed(here, part, tuple(tensors(inputs).values()), gave))
        for x in gave:
            made.setdefault(x.data_ptr(), (here, x))  # the innermost module, which is left first

    def seen(name: str, before: Tensor, after: Tensor) -> None:
        maker, x = made.get(before.data_ptr(), ("", before))
        maker = maker if x.shape == before.shape else ""
        acts.append(Act(name, stack[-1] if stack else "", user_line(), before, after, maker))

    handles = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave)]
    try:
        with torch.no_grad(), Flow(names, seen):
            run()
    finally:
        for handle in handles:
            handle.remove()
    return acts, calls

"""Every op of a module that reads a parameter, in the order in which they ran.

Between two such ops a model computes without parameters: an attention, an activation, a sum. What
goes into one op and came out of the one before says what that was, whatever the code looks like.
"""

from collections.abc import Callable, Iterator
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

VIEWS = {"t", "transpose", "permute", "view", "reshape", "chunk", "split", "unbind", "expand"}


@dataclass(frozen=True)
class Use:
    """One op that reads parameters."""

    op: str
    parameters: tuple[str, ...]
    inputs: tuple[Tensor, ...]  # what it reads besides
    output: Tensor
    module: str
    line: str


def uses_of(module: nn.Module, run: Callable[[], Any]) -> tuple[list[Use], Any]:
    """Run a forward pass without gradients; give the ops that read parameters, and the output."""
    watch = Reads(module)
    handles = [
        register_module_forward_pre_hook(lambda part, _: watch.enter(part)),
        register_module_forward_hook(lambda *_: watch.leave()),
    ]
    try:
        with torch.no_grad(), watch:
            output = run()
    finally:
        for handle in handles:
            handle.remove()
    return watch.uses, output


class Reads(TorchFunctionMode):
    """A block that notes every op that reads a parameter of a module, or a view of one."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.names = {p.untyped_storage().data_ptr(): n for n, p in module.named_parameters()}
        self.paths = {id(m): name for name, m in module.named_modules()}
        self.uses: list[Use] = []
        self.stack: list[str] = []

    def enter(self, part: nn.Module) -> None:
        """Note that a module is entered."""
        self.stack.append(self.paths.get(id(part), ""))

    def leave(self) -> None:
        """Note that a module is left."""
        self.stack.pop()

    def name_of(self, x: Any) -> str | None:
        """Give the name of the parameter that a tensor is, or is a view of."""
        if not isinstance(x, Tensor) or x.device.type == "meta":
            return None
        return self.names.get(x.untyped_storage().data_ptr())

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an op; note it if it reads a parameter and gives something new."""
        found = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if not isinstance(found, Tensor):
            found_tensors = list(tensors(found).values())
        else:
            found_tensors = [found]
        if name in VIEWS or name == "__get__" or not found_tensors:
            return found
        if self.name_of(found_tensors[0]) is not None:
            return found
        given = list(every_tensor((args, kwargs or {})))
        read = tuple(dict.fromkeys(n for x in given if (n := self.name_of(x)) is not None))
        if read:
            others = tuple(x.clone() for x in given if self.name_of(x) is None)
            inside = self.stack[-1] if self.stack else ""
            line = user_line()
            self.uses.append(Use(name, read, others, found_tensors[0].clone(), inside, line))
        return found


def every_tensor(value: Any) -> Iterator[Tensor]:
    """Give the tensors among arguments, in order."""
    yield from tensors(value).values()

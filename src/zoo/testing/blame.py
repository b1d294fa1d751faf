"""Where something first goes wrong: two runs of one model, compared step by step.

A run is recorded as a list of steps in the order in which they happened: a module is entered with
its inputs, an op of torch gives a tensor, a module is left with its output. The first step that
looks wrong names its place: an op in the module whose code ran it, with the line of the user's own
file; an input in the module that made it (the one around); an output in the module itself.
"""

import linecache
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.overrides import TorchFunctionMode

from zoo.testing.trees import tensors

HERE = str(Path(__file__).parent)
KIT = (HERE, str(Path(__file__).parents[1] / "compare"))
TORCH = str(Path(torch.__file__).parent)
MODE = re.compile("__torch_(function|dispatch)__")
UNSET = ("empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided")  # no values yet
# code that runs a user's function without being the user's
WRAPPERS = (
    *("jaxtyping", "beartype", "typeguard", "contextlib.py", "functools.py"),
    "trampoline.py",  # mutmut's, around whatever function has a mutant
)


@dataclass(frozen=True)
class Step:
    """One moment of a run."""

    kind: Literal["in", "op", "out"]
    module: str  # dotted path of the module whose code made these tensors
    at: str  # the module that is entered or left; for an op the same as `module`
    name: str  # the op, or the module's class
    line: str  # "model.py:41 scores.softmax(1)", or empty
    tensors: tuple[Tensor, ...]


@dataclass(frozen=True)
class Place:
    """Where a run first went wrong."""

    where: str
    line: str = ""
    name: str = ""

    def __str__(self) -> str:
        said = self.where or "the model's own forward"
        return f"{said} ({self.line})" if self.line else said


@dataclass
class Recording:
    """All steps of one forward pass, and what it gave."""

    steps: list[Step] = field(default_factory=list)
    output: Any = None


def record(
    module: nn.Module, run: Callable[[], Any], *, ops: bool = True, gradients: bool = False
) -> Recording:
    """Run, and record what every module and every op gave. Modules outside any tree count too."""
    names = {id(m): name for name, m in module.named_modules(remove_duplicate=True)}
    made = Recording()
    stack: list[str] = []

    def path(part: nn.Module) -> str:
        return names.get(id(part), f"(unregistered {type(part).__name__})")

    def enter(part: nn.Module, inputs: Any) -> None:
        inside = stack[-1] if stack else ""
        here = path(part)
        made.steps.append(step("in", inside, here, type(part).__name__, "", inputs, gradients))
        stack.append(here)

    def leave(part: nn.Module, _inputs: Any, output: Any) -> None:
        here = stack.pop() if stack else ""
        made.steps.append(step("out", here, here, type(part).__name__, "", output, gradients))

    def seen(func: Any, output: Any) -> None:
        inside = stack[-1] if stack else ""
        name = getattr(func, "__name__", str(func))
        if name == "__get__" or name in UNSET or not isinstance(output, Tensor | tuple | list):
            return
        made.steps.append(step("op", inside, inside, name, user_line(), output, gradients))

    handles = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave)]
    try:
        with torch.set_grad_enabled(gradients):
            if ops:
                with Watch(seen):
                    made.output = run()
            else:
                made.output = run()
    finally:
        for handle in handles:
            handle.remove()
    return made


def step(
    kind: Any, module: str, at: str, name: str, line: str, values: Any, gradients: bool
) -> Step:
    """Copy what passed by."""
    found = tensors(values).values()
    kept = tuple(x if gradients else x.detach().clone() for x in found)
    return Step(kind, module, at, name, line, kept)


class Watch(TorchFunctionMode):
    """A block in which a function sees what each of torch's functions gives."""

    def __init__(self, seen: Callable[[Any, Any], None]) -> None:
        super().__init__()
        self.seen = seen

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function and show what it gives."""
        found = func(*args, **(kwargs or {}))
        self.seen(func, found)
        return found


def user_line() -> str:
    """Give file, line and text of the innermost code that is neither torch's nor this kit's.

    Empty where there is none between an op and the kit that runs the model: who called the kit has
    no part in it.
    """
    frame: FrameType | None = sys._getframe(1)
    asking, ran = True, False  # the kit's frames that ask are not those that run the model
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(KIT):  # what a mode sees was called from further out
            ran = not MODE.search(frame.f_code.co_name)  # a mutant's name has more in it
        elif is_users(file):
            text = linecache.getline(file, frame.f_lineno).strip()
            return "" if ran else f"{Path(file).name}:{frame.f_lineno} {text}".strip()
        elif asking and file.startswith(TORCH):  # which called a hook of ours
            asking = ran = False
        frame = frame.f_back
    return ""


def is_users(file: str) -> bool:
    """Say whether a file is neither torch's, nor this kit's, nor a wrapper's."""
    if file.startswith((*KIT, TORCH, "<")):
        return False
    return not any(part in WRAPPERS for part in Path(file).parts[-2:])


Wrong = Callable[[Tensor, Tensor], bool]  # (this run's tensor, the other run's) -> is it wrong?


def first_wrong(one: Recording, other: Recording, wrong: Wrong) -> Place | None:
    """Find the first step whose tensors look wrong beside the same step of the other run.

    Where the runs took different ways, the step at which they part is the place.
    """
    for mine, theirs in zip(one.steps, other.steps, strict=False):
        if (mine.kind, mine.at, mine.name) != (theirs.kind, theirs.at, theirs.name):
            where = common(mine.module, theirs.module)  # it decided which way to go
            lines = [x.line for x in (mine, theirs) if x.module == where]
            return Place(where, lines[0] if lines else "", mine.name)
        for a, b in zip(mine.tensors, theirs.tensors, strict=False):
            if wrong(a, b):
                return Place(mine.module, mine.line, mine.name)
    return None


def common(one: str, other: str) -> str:
    """Give the innermost module that two dotted paths are both in."""
    parts = list[str]()
    for mine, theirs in zip(one.split("."), other.split("."), strict=False):
        if mine != theirs:
            break
        parts.append(mine)
    return ".".join(parts)


def first_bad(one: Recording, bad: Callable[[Tensor], bool]) -> Place | None:
    """Find the first step one of whose tensors is bad in itself."""
    for mine in one.steps:
        if any(bad(x) for x in mine.tensors):
            return Place(mine.module, mine.line, mine.name)
    return None


def along(axis: int, size: int, keep: Callable[[Tensor], Tensor], differ: Wrong) -> Wrong:
    """Make a test that compares only some positions of the tensors that have them.

    A tensor has them when its `axis` is `size` long; `keep` cuts the positions out that must agree.
    """

    def wrong(a: Tensor, b: Tensor) -> bool:
        if a.shape != b.shape or a.dim() <= axis or a.shape[axis] != size:
            return False
        return differ(keep(a), keep(b))

    return wrong

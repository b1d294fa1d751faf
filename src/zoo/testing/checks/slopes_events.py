"""What a forward pass did that cuts gradients: detach, .data, no_grad, item, numpy, tensor(x).

A cut can be taken back while the model runs: `detach` then gives its tensor as it is and `no_grad`
does nothing. If autograd is right then, the cut was the cause, and the line of code is known.
"""

import linecache
import sys
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from zoo.testing.blame import HERE, TORCH

LEAVES = (
    "item",
    "tolist",
    "numpy",
    "__float__",
    "__int__",
    "__array__",
    "tensor",
    "_make_subclass",
)
CUTS = ("detach", "detach_", "data", "as_tensor")
MACHINERY = (
    *("autograd/grad_mode.py", "utils/_contextlib.py", "torch/_tensor.py", "overrides.py"),
    "mutmut/mutation/trampoline.py",  # around whatever function has a mutant
)
TYPED = ("<@beartype", "<frozen")  # wrappers that check types
LOSSES = ("loss", "kl_div", "cross_entropy", "cosine_similarity", "pairwise_distance")
PACKAGES = ("site-packages", "dist-packages")


@dataclass(frozen=True)
class Event:
    """One thing in a forward pass that a gradient cannot follow."""

    name: str  # "detach", "data", "no_grad", "item" ...
    line: str  # "model.py:41 x.detach()"
    owner: str  # whose code did it: "user", "library" or "torch"
    straight: bool = False  # of a difference: a + (b - a).detach() is meant to be straight through
    target: bool = False  # what is cut off goes straight into a loss, as what is to be reached


@dataclass(frozen=True)
class Frame:
    """A line of code that is not this kit's, and whose it is."""

    line: str
    owner: str


class Cuts(TorchFunctionMode):
    """A block that notes what cuts gradients, and takes chosen cuts back.

    `undo` holds the lines whose cuts are taken back; None takes back all but torch's own.
    """

    def __init__(self, undo: Collection[str] | None = ()) -> None:
        super().__init__()
        self.undo = undo
        self.events: dict[tuple[str, str], Event] = {}
        self.cut: dict[int, tuple[Tensor, tuple[str, str]]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function; note or undo it if it cuts."""
        kwargs = kwargs or {}
        name = cut_name(func, args)
        left = name in LEAVES and bool(args) and id(args[0]) in self.cut  # x.detach().numpy()
        if not name or not (left or cuts_something(name, args)):
            self.look_for_targets(func, args, kwargs)
            return func(*args, **kwargs)
        frame = calling_frame()
        key = (name, frame.line)
        if key not in self.events:
            self.events[key] = Event(name, frame.line, frame.owner, of_difference(args))
        undone = frame.owner != "torch" and (self.undo is None or frame.line in self.undo)
        if not undone:
            found = func(*args, **kwargs)
            if isinstance(found, Tensor):
                self.cut[id(found)] = (found, key)
            return found
        if name == "no_grad":
            return func(True)
        if name == "detach_":
            return args[0]
        if name in CUTS or name == "tensor":
            return args[0].clone()
        return func(*args, **kwargs)

    def look_for_targets(self, func: Any, args: Any, kwargs: Any) -> None:
        """Note the cuts whose tensor is an argument of a loss."""
        name = getattr(func, "__name__", "")
        if not name.endswith(LOSSES):
            return
        for x in (*args, *kwargs.values()):
            if id(x) in self.cut:
                key = self.cut[id(x)][1]
                self.events[key] = replace(self.events[key], target=True)


def cut_name(func: Any, args: Any) -> str:
    """Give the name of a function that cuts gradients, or nothing."""
    name = getattr(func, "__name__", "")
    if name == "__get__":
        name = getattr(getattr(func, "__self__", None), "__name__", "")
        return name if name == "data" else ""
    if name == "_set_grad_enabled":
        return "no_grad" if args and args[0] is False else ""
    return name if name in CUTS or name in LEAVES else ""


def cuts_something(name: str, args: Any) -> bool:
    """Say whether there was a gradient to cut."""
    if name == "no_grad":
        return torch.is_grad_enabled()
    first = args[0] if args else None
    return torch.is_grad_enabled() and isinstance(first, Tensor) and first.requires_grad


def of_difference(args: Any) -> bool:
    """Say whether a tensor was just made by a subtraction."""
    made = args[0].grad_fn if args and isinstance(args[0], Tensor) else None
    return made is not None and type(made).__name__.startswith(("SubBackward", "RsubBackward"))


def calling_frame() -> Frame:
    """Find whose code is running: the innermost that is not the machinery of modes and contexts."""
    frame, owner = sys._getframe(1), ""
    while frame is not None:
        code, line = frame.f_code, frame.f_lineno
        if code.co_name == "decorate_context" and "func" in frame.f_locals:  # @torch.no_grad()
            code = getattr(frame.f_locals["func"], "__code__", code)
            line = code.co_firstlineno
        file = code.co_filename
        if file.startswith(HERE) and file != __file__:
            break  # from here on it is this kit
        wrapper = file.startswith((HERE, *TYPED)) or file.endswith(MACHINERY)
        if not wrapper and "jaxtyping" not in Path(file).parts:
            owner = owner or owner_of(file)
            if not file.startswith(TORCH):
                text = linecache.getline(file, line).strip()
                return Frame(f"{Path(file).name}:{line} {text}".strip(), owner)
        if frame.f_back is None:
            break
        frame = frame.f_back
    return Frame("", "torch")


def owner_of(file: str) -> str:
    """Say whose code a file holds: torch's, an installed package's, or the user's own."""
    if file.startswith(TORCH):
        return "torch"
    return "library" if any(part in Path(file).parts for part in PACKAGES) else "user"


def code_owner(module: Any) -> str:
    """Say whose code a module's class is."""
    return owner_of(getattr(sys.modules.get(type(module).__module__), "__file__", None) or "")

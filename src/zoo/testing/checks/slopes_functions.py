"""The autograd.Functions of a forward pass, recorded with their inputs and judged one by one."""

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo.testing.blame import TORCH
from zoo.testing.checks.slopes_events import owner_of
from zoo.testing.checks.slopes_local import Probe, Wrong
from zoo.testing.checks.slopes_numeric import backward
from zoo.testing.finding import Severity
from zoo.testing.trees import tensors


@dataclass
class Used:
    """A Function with the inputs that one call gave it."""

    function: Any
    args: tuple[Any, ...]
    path: str = ""  # of the module that called it


@dataclass(frozen=True)
class Judged:
    """A Function whose backward is not the derivative of its forward."""

    name: str
    severity: Severity
    line: str
    seen: str
    explanation: str
    fix: str


def custom_functions() -> list[Any]:
    """List the autograd.Function classes that are not torch's own."""
    found, left = [], list(torch.autograd.Function.__subclasses__())
    while left:
        cls = left.pop()
        left += cls.__subclasses__()
        if cls.__dict__.get("forward") is not None and not is_torchs(cls):
            found.append(cls)
    return sorted(set(found), key=lambda cls: (cls.__module__, cls.__qualname__))


def is_torchs(cls: Any) -> bool:
    """Say whether a class comes with torch."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None) or ""
    return cls.__module__.split(".")[0] == "torch" or file.startswith(TORCH)


class Recorded:
    """A block that keeps the inputs of every call of a Function; `forward` is put back after."""

    def __init__(self, module: nn.Module | None = None) -> None:
        self.used: list[Used] = []
        self.module = module
        self.stack: list[str] = []

    def __enter__(self) -> "Recorded":
        self.old = [(cls, cls.__dict__["forward"]) for cls in custom_functions()]
        for cls, held in self.old:
            cls.forward = staticmethod(self.watching(cls, held))
        self.handles: list[Any] = []
        for name, part in self.module.named_modules() if self.module is not None else ():
            self.handles.append(part.register_forward_pre_hook(self.enterer(name)))
            self.handles.append(part.register_forward_hook(self.leave, always_call=True))
        return self

    def __exit__(self, *_: object) -> None:
        for cls, held in self.old:
            cls.forward = held
        for handle in self.handles:
            handle.remove()

    def enterer(self, name: str) -> Callable[..., None]:
        """Make a hook that notes which module runs."""

        def enter(*_: Any) -> None:
            self.stack.append(name)

        return enter

    def leave(self, *_: Any) -> None:
        """Note that the innermost module has ended."""
        if self.stack:
            self.stack.pop()

    def watching(self, cls: Any, held: Any) -> Callable[..., Any]:
        """Wrap a Function's forward so that its inputs are kept."""
        forward = held.__func__ if isinstance(held, staticmethod | classmethod) else held
        with_context = not has_setup(cls)

        def watched(*args: Any, **kwargs: Any) -> Any:
            given = args[1:] if with_context else args
            kept = tuple(kept_input(x) for x in given)
            self.used.append(Used(cls, kept, self.stack[-1] if self.stack else ""))
            return forward(*args, **kwargs)

        return watched


def has_setup(cls: Any) -> bool:
    """Say whether a Function has forward and setup_context apart."""
    return cls.setup_context is not torch.autograd.Function.setup_context


def kept_input(x: Any) -> Any:
    """Copy a tensor with its wish for a gradient."""
    if not isinstance(x, Tensor):
        return x
    copy = x.detach().clone()
    return copy.requires_grad_() if x.requires_grad and copy.is_floating_point() else copy


def probe_of_function(used: Used) -> Probe:
    """Make a probe of one call of a Function, in float64."""
    leaves = [x for x in used.args if isinstance(x, Tensor) and x.requires_grad]
    doubles = {id(x): x.detach().double().requires_grad_() for x in leaves}

    def given() -> list[Any]:
        return [doubles[id(x)].clone() if id(x) in doubles else wide(x) for x in used.args]

    names = [input_name(used, i) for i, x in enumerate(used.args) if id(x) in doubles]
    at = list(doubles.values())
    # what is marked as not differentiable (a saved sum, say) moves with the inputs all the same
    with torch.enable_grad():
        first = list(tensors(used.function.apply(*given())).values())
    asked = [i for i, x in enumerate(first) if x.requires_grad]

    def run() -> list[Tensor]:
        every = list(tensors(used.function.apply(*given())).values())
        return [every[i] for i in asked]

    return Probe(run, names, at, [None] * len(at), torch.float64)


def input_name(used: Used, number: int) -> str:
    """Name an input as the Function's forward does: "input 0 (x)"."""
    try:
        forward = inspect.unwrap(used.function.forward)
        names = list(inspect.signature(forward).parameters.values())
    except (AttributeError, TypeError, ValueError):
        return f"input {number}"
    first = 0 if has_setup(used.function) else 1  # ctx
    fixed = [p.name for p in names[first:] if p.kind is not inspect.Parameter.VAR_POSITIONAL]
    return f"input {number} ({fixed[number]})" if number < len(fixed) else f"input {number}"


def wide(x: Any) -> Any:
    """Copy a tensor in float64 where it holds real numbers."""
    if not isinstance(x, Tensor):
        return x
    return x.detach().double() if x.is_floating_point() else x.detach().clone()


def functions_of(wrong: Wrong, part: nn.Module) -> list[Used]:
    """Give the Functions that a module runs, each once."""
    with Recorded(part) as kept:
        try:
            wrong.probe.run()
        except Exception:
            return []
    return list({(u.function, u.path): u for u in kept.used}.values())


def judged(used: Used) -> Judged | None:
    """Say what is wrong with a Function's backward; None where it is right or cannot run alone."""
    name = getattr(used.function, "__name__", str(used.function))
    line = line_of(used.function)
    try:
        probe = probe_of_function(used)
        gradients = backward(probe.scalar(), probe.at)
        slope = probe.slope(gradients)
        each = probe.each(gradients) if slope.wrong() else {}
        same = identical(used)
    except Exception:
        return None
    bad = {probe.names[i]: s for i, s in each.items() if s.wrong()}
    if not bad:
        return None
    right = [probe.names[i] for i, s in each.items() if not s.wrong() and not s.doubtful()]
    seen = "; ".join(f"for {n} {s}" for n, s in bad.items())
    if right:
        seen += f"; {' and '.join(right)} {'is' if len(right) == 1 else 'are'} right"
    meant = same or any(s.stepped() for s in bad.values())
    if meant:
        return Judged(
            name,
            "info",
            line,
            seen,
            "forward gives its input back (or moves in steps) while backward does something else: "
            "an estimator, or a gradient that is scaled or turned round on purpose",
            "if it is meant, declare straight_through=True or the module's pattern",
        )
    file = inspect_file(used.function)
    missing = [n for n, s in bad.items() if s.cut()]
    return Judged(
        name,
        "warn" if owner_of(file) == "library" else "fail",
        line,
        seen,
        f"{name}.backward is not the derivative of {name}.forward, so training follows another "
        "function than the one that is computed",
        f"derive {name}.backward again"
        + (f" (it gives nothing for {', '.join(missing)})" if missing else "")
        + f" and hold it against torch.autograd.gradcheck({name}.apply, inputs) in float64",
    )


def identical(used: Used) -> bool:
    """Say whether forward gives one of its inputs back, number for number."""
    with torch.no_grad():
        given = [wide(x) for x in used.args]
        output = getattr(used.function, "apply", used.function)(*given)
    if not isinstance(output, Tensor):
        return False
    return any(
        isinstance(x, Tensor) and x.shape == output.shape and torch.equal(wide(x), output)
        for x in used.args
    )


def inspect_file(function: Any) -> str:
    """Give the file that a class stands in."""
    return (
        getattr(sys.modules.get(getattr(function, "__module__", None) or ""), "__file__", None)
        or ""
    )


def line_of(function: Any) -> str:
    """Give file, line and text of a Function's backward."""
    method = getattr(function, "backward", None)
    code = getattr(inspect.unwrap(method), "__code__", None) if method is not None else None
    if code is None:
        return ""
    name = getattr(function, "__name__", str(function))
    return f"{Path(code.co_filename).name}:{code.co_firstlineno} {name}.backward"

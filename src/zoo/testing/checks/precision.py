"""Whether a model keeps to the dtype that it was moved to.

The module and its inputs go to float64 and to bfloat16. Where an op then refuses mixed dtypes, the
tensor of the wrong one is followed back to the line that made it. What a backend lacks a kernel
for, and what the model refuses by itself, is no finding.
"""

import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.overrides import TorchFunctionMode

from zoo.testing.blame import Place, user_line
from zoo.testing.checks.running import raised_at
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.finding import Finding
from zoo.testing.guard import seed_all
from zoo.testing.subject import Subject
from zoo.testing.trees import changed, tensors

MIXED = re.compile(
    r"same d(ata)?type|expected scalar type|should be the same|mixed dtype|dtypes? (to )?match|"
    r"destination dtypes|must match.*dtype|to have the same dtype|self and .* dtype|"
    r"same datatype",
    re.IGNORECASE,
)
NOT_MEANT = re.compile(r"complex|cfloat|cdouble|not implemented|unsupported", re.IGNORECASE)
WIDE = {torch.float64: "float64", torch.bfloat16: "bfloat16", torch.float16: "float16"}


class Origins(TorchFunctionMode):
    """A block that follows tensors of another dtype back to where they came from."""

    def __init__(self, module: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.module = module
        self.names = {id(m): name for name, m in module.named_modules()}
        self.stack: list[str] = []
        self.made: dict[int, Place] = {}
        self.kept: list[Tensor] = []  # alive, so that no id is given twice
        self.guilty: Place | None = None

    def enter(self, part: nn.Module, _inputs: Any) -> None:
        """Note that a module is entered."""
        self.stack.append(self.names.get(id(part), self.stack[-1] if self.stack else ""))

    def leave(self, _part: nn.Module, _inputs: Any, _output: Any) -> None:
        """Note that a module is left."""
        if self.stack:
            self.stack.pop()

    def strange(self, values: Any) -> list[Tensor]:
        """Give the tensors of another floating dtype."""
        found = tensors(values).values()
        return [x for x in found if x.is_floating_point() and x.dtype != self.dtype and x.dim()]

    def origin(self, values: Any) -> Place | None:
        """Say where the first tensor of another dtype among these came from."""
        for x in self.strange(values):
            own = "a parameter" if isinstance(x, nn.Parameter) else "a tensor of its own"
            mine = Place(owner(self.module, self.here()), user_line(), own)
            return self.made.get(id(x), mine)
        return None

    def here(self) -> str:
        """Give the path of the module that runs."""
        return self.stack[-1] if self.stack else ""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function; remember where its strange outputs come from, and why it raised."""
        given = [list(args), dict(kwargs or {})]
        try:
            found = func(*args, **(kwargs or {}))
        except Exception:
            self.guilty = self.guilty or self.origin(given)
            raise
        if getattr(func, "__name__", "") == "__get__":
            return found
        for x in self.strange(found):
            place = self.origin(given) or Place(
                self.here(), user_line(), getattr(func, "__name__", "an op")
            )
            self.made[id(x)] = place
            self.kept.append(x)
        return found

    def run(self, work: Any) -> Any:
        """Run something inside, with the modules followed."""
        handles = [
            register_module_forward_pre_hook(self.enter),
            register_module_forward_hook(self.leave),
        ]
        try:
            with self, torch.no_grad():
                return work()
        finally:
            for handle in handles:
                handle.remove()


def moved(batch: Mapping[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """Give a batch's real numbers another dtype."""

    def move(x: Tensor) -> Tensor:
        return x.to(dtype) if x.is_floating_point() else x

    return {name: changed(x, move) for name, x in batch.items()}


def check_mixed_dtypes(subject: Subject) -> Iterable[Finding]:
    """Move the model to float64 and to bfloat16; find tensors that stay behind."""
    first = subject.fresh(train=False)
    floats = {p.dtype for p in first.parameters() if p.is_floating_point()}
    if floats != {torch.float32}:
        raise NotApplicable("the parameters are not all float32 as built")
    told: set[str] = set()
    big = subject.built.count > 5_000_000
    for dtype, name in WIDE.items():
        if big and dtype is not torch.bfloat16:
            continue  # it tells most, and copies take long
        module = subject.fresh(train=False).to(dtype)
        batch = moved(subject.batch(), dtype)
        origins = Origins(module, dtype)
        seed_all(0)
        try:
            origins.run(lambda m=module, b=batch: subject.call(m, b))
        except Exception as error:
            said = str(error)
            if dtype is torch.float16 and "without overflow" in said:
                yield overflows(error, origins)
            elif MIXED.search(said) and not NOT_MEANT.search(said) and origins.guilty is not None:
                if not told:
                    yield mismatch(error, origins.guilty, name, module)
                told.add(name)


def owner(module: nn.Module, where: str) -> str:
    """Give the path of the innermost module around that is not torch's own."""
    names = dict(module.named_modules())
    while where and type(names.get(where, module)).__module__.startswith("torch."):
        where = where.rpartition(".")[0]
    return where


def is_installed(module: nn.Module, where: str) -> bool:
    """Say whether a module's class comes from an installed package, and not from its author."""
    found = module.get_submodule(owner(module, where))
    file = getattr(sys.modules.get(type(found).__module__), "__file__", None) or ""
    return "site-packages" in file or "dist-packages" in file


def mismatch(error: Exception, place: Place, name: str, module: nn.Module) -> Finding:
    """Make the finding of a tensor that did not follow the model's dtype."""
    said = (str(error).splitlines() or [""])[0][:200]
    return Finding(
        kind="unregistered" if place.name == "a parameter" else "dtype",
        severity="warn" if is_installed(module, place.where) else "fail",
        where=place.where,
        line=place.line,
        evidence=f"model.to(torch.{name}) with {name} inputs raises {type(error).__name__}: {said} "
        f"({raised_at(error)}); the tensor of the other dtype was made by "
        f"{place.name} in {place.where or 'the model itself'}",
        explanation="a tensor is made in a fixed dtype, or is no buffer that model.to() would "
        "move: the model works in float32 alone",
        fix="make it with dtype=x.dtype (torch.zeros(..., dtype=x.dtype, device=x.device)), cast "
        "back with .to(x.dtype) after a part in float32, and register constants as buffers",
    )


def overflows(error: Exception, origins: Origins) -> Finding:
    """Make the finding of a constant that float16 cannot hold."""
    return Finding(
        kind="dtype",
        severity="warn",
        where=origins.here(),
        line=raised_at(error),
        evidence=f"in float16 forward raises {(str(error).splitlines() or [''])[0][:200]}",
        explanation="a constant such as -1e9 is larger than what float16 holds (65504)",
        fix="use torch.finfo(x.dtype).min, or float('-inf') where no row is masked as a whole",
    )


ROWS = (
    Check(
        name="mixed_dtypes",
        run=check_mixed_dtypes,
        about="every tensor follows the model to float64 and to bfloat16",
    ),
)

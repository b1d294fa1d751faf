"""Whether a class's own code reads an attribute anywhere: told from bytecode, not by running."""

import dis
import functools
import sys
from collections.abc import Iterator
from types import CodeType
from typing import Any

from torch import nn

from zoo.testing.checks.slopes_events import owner_of

# methods that set a module up or print it do not use what they name
SETTING_UP = ("__init__", "reset", "init_", "_init", "extra_repr", "__repr__", "initialize")
DYNAMIC = {
    "getattr",
    "_modules",
    "_parameters",
    "__dict__",
    "children",
    "named_children",
    "modules",
}
DYNAMIC |= {
    "named_modules",
    "get_submodule",
    "parameters",
    "named_parameters",
    "state_dict",
    "apply",
}


def reads_attribute(root: nn.Module, owner: nn.Module, name: str, extra: tuple[Any, ...]) -> bool:
    """Say whether some code could read `owner.name` outside of setting up.

    Code that finds its attributes by other means (getattr, children) counts as reading it.
    """
    for code in codes_of(type(owner)):
        if name in loaded(code, on_self=True) or DYNAMIC & set(code.co_names):
            return True
    for kind in {type(m) for m in root.modules()}:
        if any(name in loaded(code, on_self=False) for code in codes_of(kind)):
            return True
    functions = [f for f in extra if callable(f)]
    return any(name in code.co_names for f in functions for code in code_of(f))


def codes_of(kind: type) -> Iterator[CodeType]:
    """Give the code of the methods that a class and its bases have of their own."""
    for base in kind.__mro__:
        if base is nn.Module or owner_of(file_of(base)) == "torch":
            continue
        for name, value in vars(base).items():
            if not any(part in name for part in SETTING_UP):
                yield from code_of(value)


def file_of(kind: type) -> str:
    """Give the file that a class stands in."""
    return getattr(sys.modules.get(kind.__module__), "__file__", None) or ""


def code_of(value: Any) -> Iterator[CodeType]:
    """Give the code behind a function, a property, a partial or a decorated one, and inside it."""
    if isinstance(value, property):
        for part in (value.fget, value.fset):
            yield from code_of(part)
        return
    if isinstance(value, functools.partial | functools.partialmethod):
        value = value.func
    value = getattr(value, "__func__", value)
    seen = set()
    while value is not None and id(value) not in seen:
        seen.add(id(value))
        code = getattr(value, "__code__", None)
        if isinstance(code, CodeType):
            yield from nested(code)
        value = getattr(value, "__wrapped__", None)


def nested(code: CodeType) -> Iterator[CodeType]:
    """Give a code and the functions, lambdas and comprehensions defined in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from nested(constant)


def loaded(code: CodeType, *, on_self: bool) -> set[str]:
    """Give the attributes that a code reads: all of them, or those of another thing than self."""
    found, before = set(), ""
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_ATTR", "LOAD_METHOD") and (on_self or before != "self"):
            found.add(str(step.argval))
        before = str(step.argval) if step.opname.startswith("LOAD_FAST") else ""
    return found

"""What hangs on a module without being registered: modules and tensors in plain attributes."""

import dataclasses
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

DEPTH = 3


@dataclass(frozen=True)
class Hidden:
    """A thing in a plain attribute."""

    owner: str  # path of the registered module that it hangs on
    attribute: str  # "heads[1]"
    holder: str  # "a list", "a tuple", "a plain attribute" ...
    thing: Any
    root: str = ""  # the name on self: "heads"


def hidden_things(module: nn.Module) -> list[Hidden]:
    """List modules and trainable tensors that parameters() and state_dict() do not see."""
    known = {id(m) for m in module.modules()} | {id(p) for p in module.parameters()}
    known |= {id(b) for b in module.buffers()}
    found: list[Hidden] = []
    for path, part in module.named_modules():
        for name, value in list(vars(part).items()):
            if name.startswith("_") and name in RESERVED:
                continue
            for attribute, holder, thing in things(value, name, "a plain attribute", DEPTH):
                if id(thing) not in known:
                    found.append(Hidden(path, attribute, holder, thing, name))
    return list({id(h.thing): h for h in reversed(found)}.values())[::-1]


RESERVED = {*vars(nn.Module()), "_forward_hooks", "_backward_hooks", "_flat_weights"}


def things(value: Any, name: str, holder: str, depth: int) -> Iterator[tuple[str, str, Any]]:
    """Walk through containers, partials, closures and plain objects."""
    if isinstance(value, nn.Module):
        yield name, holder, value
    elif isinstance(value, Tensor):
        if value.requires_grad:
            yield name, holder, value
    elif depth:
        for key, item, inside in parts(value):
            yield from things(item, f"{name}{key}", inside, depth - 1)


def parts(value: Any) -> list[tuple[str, Any, str]]:
    """Give what a plain value holds: how to get at it, what it is, and what holds it."""
    if isinstance(value, dict):
        return [(f"[{key!r}]", item, "a dict") for key, item in list(value.items())[:500]]
    if isinstance(value, list | tuple | set):
        kind = f"a {type(value).__name__}"
        return [(f"[{i}]", item, kind) for i, item in enumerate(list(value)[:500])]
    if isinstance(value, functools.partial):
        inside = [*value.args, *value.keywords.values(), value.func]
        return [(f".args[{i}]", item, "a partial") for i, item in enumerate(inside)]
    if callable(value) and getattr(value, "__closure__", None):
        cells = zip(value.__code__.co_freevars, value.__closure__, strict=False)
        return [(f" closes over {n}", content(c), "a function's closure") for n, c in cells]
    bound = getattr(value, "__self__", None)
    if isinstance(bound, nn.Module):
        return [(".__self__", bound, "a bound method")]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kind = f"a {type(value).__name__}"
        names = [f.name for f in dataclasses.fields(value)]
        return [(f".{n}", field_of(value, n), kind) for n in names]
    return []


def field_of(value: Any, name: str) -> Any:
    """Give a field of a plain object; None where the object refuses to give it."""
    try:
        return getattr(value, name, None)
    except Exception:
        return None


def content(cell: Any) -> Any:
    """Give what a closure's cell holds."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def leaves_of(*tensors: Tensor) -> list[Tensor]:
    """Give the leaves that a backward pass from these tensors would fill with gradients."""
    found: dict[int, Tensor] = {}
    seen: set[Any] = set()
    left = [x.grad_fn for x in tensors if x.grad_fn is not None]
    for x in tensors:
        if x.requires_grad and x.grad_fn is None:
            found[id(x)] = x
    while left:
        node = left.pop()
        if node in seen:
            continue
        seen.add(node)
        variable = getattr(node, "variable", None)
        if isinstance(variable, Tensor):
            found[id(variable)] = variable
        left += [following for following, _ in node.next_functions if following is not None]
    return list(found.values())

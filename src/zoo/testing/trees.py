"""Tensors inside tuples, lists, dicts, dataclasses and mappings: found, named and changed."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    """Give what is inside by path ("logits", "0.hidden"); a bare value has the path ''."""
    found: dict[str, Any] = {}
    for key, item in children(value):
        found.update(leaves(item, f"{path}.{key}" if path else str(key)))
    if not is_tree(value):
        found[path] = value
    return found


def tensors(value: Any) -> dict[str, Tensor]:
    """Give the tensors inside, by path."""
    return {path: x for path, x in leaves(value).items() if isinstance(x, Tensor)}


def is_tree(value: Any) -> bool:
    """Say whether a value holds others."""
    return isinstance(value, Mapping | list | tuple) or (
        dataclasses.is_dataclass(value) and not isinstance(value, type)
    )


def children(value: Any) -> list[tuple[Any, Any]]:
    """Give what a value holds, with its keys."""
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return list(zip(value._fields, value, strict=True))
    if isinstance(value, list | tuple):
        return list(enumerate(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(f.name, getattr(value, f.name)) for f in dataclasses.fields(value)]
    return []


def at(value: Any, path: str) -> Any:
    """Give what stands at a path: keys, attributes and positions, joined by dots."""
    for key in path.split(".") if path else []:
        if isinstance(value, Mapping) and key in value:
            value = value[key]
        elif isinstance(value, list | tuple) and key.lstrip("-").isdigit():
            value = value[int(key)]
        elif hasattr(value, key):
            value = getattr(value, key)
        else:
            have = ", ".join(str(k) for k, _ in children(value)) or type(value).__name__
            raise KeyError(f"no {key!r} on the way to output {path!r}; there is {have}")
    return value


def changed(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """Copy a tree of dicts, lists and tuples with every tensor changed; the rest stays."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {key: changed(item, change) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(changed(item, change) for item in value))
    if isinstance(value, list | tuple):
        return type(value)(changed(item, change) for item in value)
    return value

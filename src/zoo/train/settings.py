"""Nested frozen dataclasses from nested tables, and `a.b=value` to change one of their fields.

A key that no field has is an error with the nearest name; so is a value of another type.
"""

import dataclasses
import difflib
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any, get_args, get_origin

from zoo.config import ConfigError, typed


def parsed(change: str) -> tuple[list[str], Any]:
    """Read "a.b=value", where the value is TOML, or else a text without quotes."""
    key, equals, text = change.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {change!r}; expected key=value, such as optimizer.rate=1e-3")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    return key.strip().split("."), value


def put(table: dict[str, Any], keys: list[str], value: Any) -> None:
    """Put a value into nested tables."""
    for i, key in enumerate(keys[:-1]):
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            raise ConfigError(f"{'.'.join(keys[: i + 1])} is a value, not a table")
    table[keys[-1]] = value


def from_table(kind: Any, table: Mapping[str, Any], where: str = "", whole: Any = None) -> Any:
    """Build a dataclass from nested tables; raise ConfigError for what does not fit.

    `where` is the section that this table is in, and `whole` the dataclass around all sections.
    """
    known = {f.name: f for f in dataclasses.fields(kind)}
    values: dict[str, Any] = {}
    for name, value in table.items():
        if name not in known:
            raise ConfigError(
                f"no key {where}{name}{suggestion(where, name, known, whole or kind)}"
            )
        inner = known[name].type
        if dataclasses.is_dataclass(inner):
            if not isinstance(value, Mapping):
                raise ConfigError(f"{where}{name} is {value!r}; expected a table")
            values[name] = from_table(inner, value, f"{where}{name}.", whole or kind)
        else:
            values[name] = members(where + name, value, inner)
    plain = {n: v for n, v in values.items() if not dataclasses.is_dataclass(known[n].type)}
    try:
        return kind(**values | typed(kind, plain))
    except ConfigError as error:
        raise ConfigError(f"{where}{error}" if where else str(error)) from None


def every_key(kind: Any, where: str = "") -> list[str]:
    """List all keys of a dataclass with their sections."""
    result: list[str] = []
    for f in dataclasses.fields(kind):
        result += [f"{where}{f.name}"]
        if dataclasses.is_dataclass(f.type):
            result += every_key(f.type, f"{where}{f.name}.")
    return result


def members(name: str, value: Any, kind: Any) -> Any:
    """Give a list, or a text alone, as the tuple that a field holds; other values as they are.

    Raises ConfigError for a member of another kind.
    """
    member = next((get_args(k)[0] for k in (kind, *get_args(kind)) if get_origin(k) is tuple), None)
    if member is None:
        return value
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list | tuple):
        return value  # its type is told by `typed`
    for item in value:
        if not isinstance(item, member):
            raise ConfigError(f"{name} holds {item!r}; expected {member.__name__} only")
    return tuple(value)


def suggestion(where: str, name: str, here: Iterable[str], whole: Any) -> str:
    """Say which key may be meant: one of this section, the same word in another, or a like one."""
    close = difflib.get_close_matches(name, list(here), n=1, cutoff=0.6)
    if close:
        return f"; did you mean {where}{close[0]}?"
    keys = every_key(whole)
    same = [key for key in keys if key.rpartition(".")[2] == name]
    return f"; did you mean {same[0]}?" if same else nearest(where + name, keys)


def nearest(name: str, known: Iterable[str]) -> str:
    """Give "; did you mean ...?" where something known is near."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def as_table(config: Any) -> dict[str, Any]:
    """Give plain tables and lists, as JSON has them."""
    return plain(dataclasses.asdict(config))


def plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, list | tuple) else value


def flat(table: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Name each value with its sections."""
    result: dict[str, Any] = {}
    for name, value in table.items():
        if isinstance(value, Mapping) and value:
            result |= flat(value, f"{where}{name}.")
        else:
            result[f"{where}{name}"] = value
    return result

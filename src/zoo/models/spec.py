"""What the rest of the house needs to know about a model family."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from zoo.config import ConfigTable
from zoo.keymap import KeyTable


@dataclass(frozen=True, kw_only=True)
class Family:
    """One family: how to build it, what it is called elsewhere, what it promises.

    `promises` are fields of the testing kit's ModelSpec: facts that every check may rely on.
    `refuses` are, by check, facts that are false: the check must see it, which shows that it can.
    """

    name: str
    build: Any  # the class: build(config, head=...)
    config: type
    presets: Mapping[str, Any]
    heads: tuple[str | None, ...]
    example: Callable[..., dict[str, Tensor]]
    keys: Callable[[Any], KeyTable]  # of a config: an untied head has a tensor more
    config_keys: ConfigTable
    promises: Mapping[str, Any] = field(default_factory=dict)
    refuses: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

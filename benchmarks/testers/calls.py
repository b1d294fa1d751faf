"""How another kit is told of a ModelSpec: a module and inputs that it can call by itself."""

import inspect
import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from zoo.testing.spec import ModelSpec

ROWS = 8  # of the batch that is given to the peers
NAMED_ALL = inspect.Parameter.VAR_KEYWORD


def inputs_of(model: nn.Module, batch: Any) -> Any:
    """Keep of a batch what forward's signature names, in the form it was given."""
    if isinstance(batch, Tensor):
        return batch
    takes = inspect.signature(model.forward).parameters
    if isinstance(batch, Mapping):
        everything = any(p.kind is NAMED_ALL for p in takes.values())
        return {name: value for name, value in batch.items() if everything or name in takes}
    if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in takes.values()):
        return tuple(batch)
    needed = [p for p in takes.values() if p.default is p.empty]
    return tuple(batch[: len(needed)])


def seeded(spec: ModelSpec, rows: int = ROWS) -> tuple[nn.Module, Any, Any]:
    """Build under a seed: the module, the whole batch, and what forward takes of it."""
    torch.manual_seed(0)
    model = spec.build()
    batch = spec.batch(rows) if spec.batch else {}
    return model, batch, inputs_of(model, batch)


def place_in(message: str, names: Iterable[str], model: nn.Module) -> str:
    """Find which module a message speaks of: the first parameter or module path in it."""
    paths = {name for name, _ in model.named_modules() if name}
    owners = {name: name.rpartition(".")[0] for name, _ in model.named_parameters()}
    for name in names:
        if name in owners or name in paths:
            return owners.get(name, name)
    for word in re.findall(r"[A-Za-z_][\w.]*\w", message):
        if "." in word and (word in owners or word in paths):
            return owners.get(word, word)
    return ""


def floats(inputs: Any) -> bool:
    """Say whether every tensor of the inputs holds real numbers."""
    parts = inputs.values() if isinstance(inputs, Mapping) else inputs
    parts = [inputs] if isinstance(inputs, Tensor) else parts
    found = [part for part in parts if isinstance(part, Tensor)]
    return bool(found) and all(part.is_floating_point() for part in found)

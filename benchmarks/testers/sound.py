"""One correct model of the false-alarm side, described lazily, and helpers to describe it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.testing.spec import ModelSpec


@dataclass(frozen=True)
class Sound:
    """A correct model: nothing is built before `spec` is called."""

    id: str
    spec: Callable[[], ModelSpec]


@dataclass(frozen=True)
class Model:
    """A correct model with what its author would declare; `bare` asks for it undeclared too."""

    name: str
    build: Callable[[], nn.Module]
    batch: Callable[[int], Any]
    loss: Callable[[Any, Any], Tensor]
    facts: Mapping[str, Any] = field(default_factory=dict)
    bare: bool = True  # false where the declaration alone tells it from a bug

    def describe(self, declared: bool) -> ModelSpec:
        """Give the spec with the facts or without."""
        facts = dict(self.facts) if declared else {}
        return ModelSpec(
            build=self.build, batch=self.batch, loss=self.loss, name=self.name, **facts
        )


def both(group: str, models: list[Model]) -> list[Sound]:
    """List every model with its facts, and once more with none."""
    rows = [Sound(f"{group}/{m.name}/declared", lambda m=m: m.describe(True)) for m in models]
    plain = [m for m in models if m.bare]
    return rows + [Sound(f"{group}/{m.name}/bare", lambda m=m: m.describe(False)) for m in plain]


def first(output: Any) -> Tensor:
    """Take the first tensor of a nested output."""
    while not isinstance(output, Tensor):
        output = next(iter(output.values())) if isinstance(output, Mapping) else output[0]
    return output


def mse(output: Any, batch: Any) -> Tensor:
    """Compare with `target` by the mean squared error."""
    return F.mse_loss(first(output), batch["target"])


def cross_entropy(output: Any, batch: Any) -> Tensor:
    """Compare with `labels`, the classes on the last axis."""
    logits = first(output)
    return F.cross_entropy(logits.flatten(0, -2), batch["labels"].flatten())


def known(**facts: Any) -> dict[str, Any]:
    """Write facts down as keywords."""
    return facts


def teacher(build: Callable[[], nn.Module], given: dict[str, Any]) -> nn.Module:
    """Build another module of the kind, with other parameters; the caller's draws stay as is."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        module = build()
        module(**given)  # lazy modules learn their sizes
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return module


def taught(
    build: Callable[[], nn.Module], inputs: Callable[[int], dict[str, Any]]
) -> Callable[[int], dict[str, Any]]:
    """Make batches whose `target` another module of the kind answers: it can be learnt."""
    kept: list[nn.Module] = []

    def batch(size: int) -> dict[str, Any]:
        given = inputs(size)
        if not kept:
            kept.append(teacher(build, given))
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(2)
            target = first(kept[0](**given)).clone()
        return given | {"target": target}

    return batch

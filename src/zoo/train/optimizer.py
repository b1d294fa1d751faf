"""AdamW with the papers' parameter groups, and what is not trained at all.

Weight decay acts on "all non bias or gain weights" (Radford et al. 2018, section 4.1), and on
everything but biases and layer norms (Devlin et al. 2018, the published code): on tables and
matrices, which have two axes or more, and on no vector.

Layer-wise decay of the rate (Clark et al. 2020, section 3.1; Bao et al. 2021, appendix):

    scale = layer_decay ** (depth + 1 - layer)
    layer 0: what a tower holds before its blocks; i + 1: block i; depth + 1: everything after
"""

import difflib
import fnmatch
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

FUSED = ("cpu", "cuda", "mps", "xpu")  # devices that torch's fused AdamW knows


def decays(name: str, parameter: nn.Parameter, spared: Iterable[str] = ()) -> bool:
    """Tell whether weight decay acts on a parameter; `spared` names some that it leaves alone."""
    return parameter.dim() >= 2 and name not in spared


def parameter_groups(
    model: nn.Module,
    decay: float,
    *,
    layer_decay: float = 1.0,
    no_decay: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Split what is trained into groups by what their rate is multiplied by, and by decay.

    A group's `scale` multiplies the rate of a step; without layer-wise decay it is 1 in both
    groups. A model may name more parameters to leave alone in `no_decay`, and so may the argument,
    by patterns. Tied parameters count once, in the layer of their first name.
    Raises ValueError when nothing is trained, when a pattern matches nothing, for a layer decay
    outside of (0, 1], and for one of a model that does not say where its blocks are.
    """
    if not 0.0 < layer_decay <= 1.0:
        raise ValueError(f"layer_decay is {layer_decay}; expected more than 0 and at most 1")
    spared = {*getattr(model, "no_decay", ()), *matching(model, no_decay)}
    trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    if not trained:
        raise ValueError("the model has no parameter with requires_grad=True: nothing to train")
    below = {} if layer_decay == 1.0 else heights(model)
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, p in trained:
        groups.setdefault((below.get(name, 0), decays(name, p, spared)), []).append(p)
    return [
        {
            "params": groups[power, shrunk],
            "weight_decay": decay if shrunk else 0.0,
            "scale": layer_decay**power,
        }
        for power, shrunk in sorted(groups, reverse=True)  # the first layers come first
    ]


def heights(model: nn.Module) -> dict[str, int]:
    """Say how many layers each parameter is below the top: depth + 1 - layer, 0 for a head.

    A tower is what holds a stack of blocks. Its own parameters, and modules that it holds before
    its blocks, are what the first block reads; modules after them are its top.
    Raises ValueError for a model without `stacks`, which name the towers' blocks.
    """
    stacks = getattr(model, "stacks", None)
    if stacks is None:
        raise ValueError(
            f"layer_decay needs to know the blocks of {type(model).__name__}: give it a method "
            "stacks() that lists their names, such as ['blocks'], or leave layer_decay at 1.0"
        )
    result: dict[str, int] = {}
    for stack in stacks():
        where, _, held = stack.rpartition(".")
        tower = model.get_submodule(where)
        prefix = f"{where}." if where else ""
        depth = len(list(tower.get_submodule(held).children()))
        result |= {prefix + name: depth + 1 for name, _ in tower.named_parameters(recurse=False)}
        for name, child in tower.named_children():
            if name == held:
                break
            inside = child.named_parameters(prefix + name)
            result |= {full: depth + 1 for full, _ in inside}
        for number, block in enumerate(tower.get_submodule(held).children()):
            inside = block.named_parameters(f"{stack}.{number}")
            result |= {full: depth - number for full, _ in inside}
    return result


def names_of(model: nn.Module) -> dict[str, nn.Parameter]:
    """Give parameters by name, tied ones under each of theirs."""
    return dict(model.named_parameters(remove_duplicate=False))


def matching(model: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Give the names of the parameters that match a pattern, `*` for anything.

    Raises ValueError, with the nearest names, for a pattern that matches none.
    """
    return matches_of(list(names_of(model)), patterns, "parameter")


def matches_of(names: Sequence[str], patterns: Sequence[str], what: str) -> list[str]:
    """Give the names that match a pattern; raise ValueError for a pattern that matches none."""
    if isinstance(patterns, str):
        raise ValueError(f"{patterns!r} is one text; give a list of patterns, [{patterns!r}]")
    found: set[str] = set()
    for pattern in patterns:
        now = fnmatch.filter(names, pattern)
        if not now:
            raise ValueError(
                f"{pattern!r} matches no {what}; the nearest are {nearest(pattern, names)}"
            )
        found.update(now)
    return [name for name in names if name in found]


def nearest(pattern: str, names: Iterable[str], most: int = 3) -> str:
    """List the names, whole or by their beginnings, that look most like a pattern."""
    whole = dict.fromkeys(names)
    parts = [name.split(".") for name in whole]
    begun = {".".join(p[:k]) + ".*": None for p in parts for k in range(1, len(p))}
    candidates = [*whole, *begun]
    return ", ".join(difflib.get_close_matches(pattern, candidates, most, cutoff=0.0))


def freeze(model: nn.Module, patterns: Sequence[str]) -> list[str]:
    """Train nothing that matches a pattern, such as `blocks.0.*`; give what is frozen by it.

    A tied parameter is frozen under all of its names when one of them matches.
    Raises ValueError, and changes nothing, when a pattern matches nothing, and when nothing would
    be left to train.
    """
    named = names_of(model)
    found = {id(named[name]) for name in matching(model, patterns)}
    if all(id(p) in found or not p.requires_grad for p in named.values()):
        raise ValueError(f"{list(patterns)} freeze every parameter: nothing is left to train")
    for p in named.values():
        if id(p) in found:
            p.requires_grad_(False)
    return [name for name, p in named.items() if id(p) in found]


def make_optimizer(
    model: nn.Module,
    rate: float,
    *,
    decay: float = 0.1,
    betas: tuple[float, float] = (0.9, 0.95),
    eps: float = 1e-8,
    layer_decay: float = 1.0,
    no_decay: Sequence[str] = (),
) -> torch.optim.AdamW:
    """Make AdamW over the model's groups; fused, six times faster, where the device can.

    Each group begins at `rate` times its scale; who sets a group's `lr` multiplies by its `scale`.
    """
    groups = parameter_groups(model, decay, layer_decay=layer_decay, no_decay=no_decay)
    for group in groups:
        group["lr"] = rate * group["scale"]
    parameters = [p for group in groups for p in group["params"]]
    fused = all(p.device.type in FUSED and p.is_floating_point() for p in parameters)
    return torch.optim.AdamW(groups, lr=rate, betas=betas, eps=eps, fused=fused)

"""What reading any foreign layout takes: tensors by name, and a model made of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo import keymap
from zoo.checkpoint import CheckpointError, pickles
from zoo.checkpoint.pickles import state_of
from zoo.checkpoint.safetensors import read_header
from zoo.models.base import Model

Sizes = Mapping[str, tuple[int, ...]]


def read_tensors(folder: Path, files: tuple[str, ...], *, unpickle: bool) -> dict[str, Tensor]:
    """Read the first of `files` that the folder holds; a pickle only when told to."""
    for name in files:
        if not (folder / name).is_file():
            continue
        if name.endswith(".safetensors"):
            return {n: lazy.read() for n, lazy in read_header(folder, name)[0].items()}
        return state_of(folder / name, opened(folder / name, unpickle=unpickle))
    raise CheckpointError(f"{folder} holds none of {', '.join(files)}")


def opened(path: Path, *, unpickle: bool) -> Any:
    """Give what a pickle holds; raise CheckpointError where nobody allowed to read one."""
    if not unpickle:
        raise CheckpointError(
            f"{path} is a pickle; reading one is off by default. Only tensors and plain "
            "values would be taken from it: pass --unpickle (unpickle=True) if you trust it"
        )
    return pickles.unpickle(path)


def assemble(
    where: Path,
    build: Any,
    config: Any,
    head: str | None,
    keys: keymap.KeyTable,
    tensors: Mapping[str, Tensor],
) -> Any:
    """Make a model of a foreign state; raise CheckpointError listing what does not fit."""
    plan = keymap.plan(keys, head, tensors)
    with torch.device("meta"):
        model: Model = build(config, head)
    wanted = {name: tuple(p.shape) for name, p in model.named_parameters()}
    shapes = {
        ours: keymap.combined_shape(rule, [tuple(tensors[n].shape) for n in names])
        for ours, (rule, names) in plan.sources.items()
    }
    wrong = [f"{name} is unexpected" for name in plan.unexpected]
    wrong += [f"{name} is missing" for name in wanted.keys() - shapes.keys()]
    wrong += [
        f"{name} is {shapes[name]}, expected {shape}"
        for name, shape in wanted.items()
        if name in shapes and shapes[name] != shape
    ]
    if wrong:
        raise CheckpointError(f"{where}: {'; '.join(sorted(wrong)[:12])}")
    state = {
        ours: torch.nn.Parameter(keymap.combine(rule, [tensors[n] for n in names]).contiguous())
        for ours, (rule, names) in plan.sources.items()
        if ours in wanted
    }
    model.load_state_dict(state, assign=True, strict=False)
    model.tie()
    return model.eval()


def size_of(where: Path, tensors: Mapping[str, Tensor], name: str, axes: int) -> tuple[int, ...]:
    """Give the shape of a tensor that the layout cannot do without."""
    if name not in tensors or tensors[name].dim() != axes or not tensors[name].numel():
        raise CheckpointError(f"{where}: {name} is missing, empty or has not {axes} axes")
    return tuple(tensors[name].shape)


def depth_of(where: Path, tensors: Mapping[str, Tensor], pattern: str) -> int:
    """Count the numbers that stand for {} in a name; none may be left out."""
    found = (keymap.match(pattern, name) for name in tensors)
    numbers = sorted(int(number) for number in found if number)
    if numbers != list(range(len(numbers))):  # before anybody builds that many
        raise CheckpointError(
            f"{where}: {len(numbers)} of {pattern}, and the last has number {numbers[-1]}"
        )
    return len(numbers)


def check_said(where: Path, said: Mapping[str, Any], held: Mapping[str, Any]) -> None:
    """Raise when a config says another number than the weights hold: part of a file, or another."""
    wrong = [
        f"{name} {said[name]!r}, the weights hold {size}"
        for name, size in held.items()
        if said.get(name) is not None and said[name] != size
    ]
    if wrong:
        raise CheckpointError(f"{where}: the config says {'; '.join(wrong)}")


def side_of(where: Path, count: int) -> int:
    """Give the side of a square grid of `count` patches."""
    side = int(count**0.5 + 0.5)
    if side * side != count:
        raise CheckpointError(
            f"{where}: {count} positions are no square grid; the config must say the image's size"
        )
    return side

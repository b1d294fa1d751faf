"""Everything that a run needs to go on, in a folder without a pickle.

    config.json         the step, the groups' numbers, notes of the run's own
    model.safetensors   model.*, optimizer.<parameter>.<key>, and torch's generators

Written whole or not at all, by the same room that writes checkpoints. What must be the same on
resuming and is not kept: the data, the seed of its order (see `token_batches`) and the objective.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo.checkpoint import CheckpointError, Folder, read_folder, write_folder

FORMAT = "zoo training state 1"


def save_state(
    folder: str | Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    step: int,
    notes: Mapping[str, Any] | None = None,
) -> None:
    """Write the state before step `step`; `notes` is anything JSON that the run wants back.

    The folder holds the old state or the new one, whatever happens meanwhile.
    """
    tensors = {f"model.{name}": tensor for name, tensor in weights_of(model).items()}
    names = {id(p): name for name, p in model.named_parameters()}
    groups = []
    for group in optimizer.param_groups:
        numbers = {key: value for key, value in group.items() if key != "params"}
        groups.append({"names": [names[id(p)] for p in group["params"]], "numbers": numbers})
        for parameter in group["params"]:
            for key, value in optimizer.state[parameter].items():
                tensors[f"optimizer.{names[id(parameter)]}.{key}"] = torch.as_tensor(value)
    for name, state in generators().items():
        tensors[f"generator.{name}"] = state
    config = {"format": FORMAT, "step": step, "groups": groups, "notes": dict(notes or {})}
    # a copy of each: tied tensors, and views of one buffer, may not share memory in a file
    write_folder(folder, config, {name: t.detach().clone() for name, t in tensors.items()})


def load_state(
    folder: str | Path, model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[int, dict[str, Any]]:
    """Put a saved state into a model and an optimizer made as they were; give step and notes.

    Torch's generators are set too. Raises CheckpointError when the folder is damaged or was
    written by another model or optimizer, and then nothing has changed.
    """
    opened = read_folder(folder)
    if opened.config.get("format") != FORMAT:
        raise CheckpointError(f"{folder} is not a training state; expected format {FORMAT!r}")
    check_fits(opened, model, optimizer)
    tensors = {name: tensor.read() for name, tensor in opened.tensors.items()}
    for name, tensor in weights_of(model).items():
        tensor.detach().copy_(tensors[f"model.{name}"])
    optimizer.load_state_dict(optimizer_state(opened.config["groups"], tensors))
    set_generators({name: tensors[f"generator.{name}"] for name in generators()})
    return opened.config["step"], opened.config["notes"]


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Give parameters and buffers by name, tied ones once."""
    return dict(model.named_parameters()) | dict(model.named_buffers())


def generators() -> dict[str, Tensor]:
    """Give the states of torch's generators: the processor's and each card's."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        cards = torch.cuda.get_rng_state_all()
        states |= {f"cuda{i}": state for i, state in enumerate(cards)}
    return states


def set_generators(states: Mapping[str, Tensor]) -> None:
    torch.set_rng_state(states["cpu"])
    for name, state in states.items():
        if name.startswith("cuda"):
            torch.cuda.set_rng_state(state, int(name.removeprefix("cuda")))


def check_fits(folder: Folder, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Raise CheckpointError unless weights and groups are those of the model and the optimizer."""
    where = folder.path
    wanted = {f"model.{name}": tensor for name, tensor in weights_of(model).items()}
    held = {name for name in folder.tensors if name.startswith("model.")}
    if held != wanted.keys():
        differ = sorted(held ^ wanted.keys())
        raise CheckpointError(f"{where} was saved from another model: {', '.join(differ[:8])}")
    for name, tensor in wanted.items():
        entry = folder.tensors[name]
        if tuple(entry.shape) != tuple(tensor.shape) or entry.dtype != tensor.dtype:
            raise CheckpointError(
                f"{where}: {name} is {entry.dtype} {tuple(entry.shape)}; "
                f"the model has {tensor.dtype} {tuple(tensor.shape)}"
            )
    names = {id(p): name for name, p in model.named_parameters()}
    ours = [[names[id(p)] for p in group["params"]] for group in optimizer.param_groups]
    if [group["names"] for group in folder.config["groups"]] != ours:
        raise CheckpointError(f"{where} was saved from an optimizer with other parameter groups")
    absent = [f"generator.{n}" for n in generators() if f"generator.{n}" not in folder.tensors]
    if absent:
        raise CheckpointError(f"{where} lacks {', '.join(absent)}: it was saved on another machine")


def optimizer_state(groups: list[dict[str, Any]], tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Give what `Optimizer.load_state_dict` reads: parameters numbered through all groups."""
    state: dict[int, dict[str, Tensor]] = {}
    result = []
    number = 0
    for group in groups:
        members = []
        for name in group["names"]:
            prefix = f"optimizer.{name}."
            # a parameter's name may begin with another's, so what is left must be one word
            found = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
            state[number] = {key: t for key, t in found.items() if "." not in key}
            members.append(number)
            number += 1
        numbers = {k: tuple(v) if isinstance(v, list) else v for k, v in group["numbers"].items()}
        result.append(numbers | {"params": members})
    return {"state": {n: values for n, values in state.items() if values}, "param_groups": result}

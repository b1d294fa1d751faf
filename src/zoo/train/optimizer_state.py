"""What an optimizer keeps, by the names of its parameters.

    optimizer.<parameter>.<key>     a tensor: AdamW's exp_avg, exp_avg_sq, step
    groups                          JSON: the parameters' names, and numbers such as betas

A group's switches for how to calculate (fused, foreach) belong to the machine and are not kept.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from zoo.checkpoint import CheckpointError

PREFIX = "optimizer."
HOW = ("params", "foreach", "fused", "capturable", "differentiable")


def kept_by(name: str) -> bool:
    """Tell whether a tensor's name says that the optimizer keeps it."""
    return name.startswith(PREFIX)


def optimizer_tensors(optimizer: Optimizer, names: Mapping[int, str]) -> dict[str, Tensor]:
    """Give what the optimizer keeps; raise CheckpointError for what is no tensor."""
    result = {}
    for name, parameter in parameters_of(optimizer, names).items():
        for key, value in optimizer.state.get(parameter, {}).items():
            if value is None:  # a field that this optimizer does not use
                continue
            if not isinstance(value, Tensor):
                raise CheckpointError(
                    f"the optimizer keeps {type(value).__name__} as {key!r} of {name}; "
                    "only tensors can be kept"
                )
            result[f"{PREFIX}{name}.{key}"] = value.detach()
    return result


def parameters_of(optimizer: Optimizer, names: Mapping[int, str]) -> dict[str, Tensor]:
    """Give all parameters of all groups by name."""
    everything = [p for group in optimizer.param_groups for p in group["params"]]
    strange = [tuple(p.shape) for p in everything if id(p) not in names]
    if strange:
        raise CheckpointError(
            f"the optimizer has {len(strange)} parameters that are not the model's, "
            f"of shapes {strange[:4]}: make it after the model is wrapped, from its parameters"
        )
    return {names[id(p)]: p for p in everything}


def group_facts(optimizer: Optimizer, names: Mapping[int, str]) -> list[dict[str, Any]]:
    """Give each group's parameters by name, and its numbers."""
    parameters_of(optimizer, names)
    return [
        {
            "names": [names[id(p)] for p in group["params"]],
            "numbers": {k: plain(value) for k, value in group.items() if k not in HOW},
        }
        for group in optimizer.param_groups
    ]


def plain(value: Any) -> Any:
    return value.item() if isinstance(value, Tensor) else value


def check_groups(
    optimizer: Optimizer,
    names: Mapping[int, str],
    groups: list[dict[str, Any]],
    entries: Mapping[str, Any],
) -> None:
    """Raise CheckpointError unless the saved optimizer had the same groups and kept the same."""
    parameters = parameters_of(optimizer, names)
    ours = [[names[id(p)] for p in group["params"]] for group in optimizer.param_groups]
    if [group["names"] for group in groups] != ours:
        raise CheckpointError("this was saved from an optimizer with other parameter groups")
    kept = sorted_by_parameter(entries)
    strange = sorted(kept.keys() - parameters.keys())
    if strange:
        raise CheckpointError(f"the optimizer has no parameter {', '.join(strange[:4])}")
    for name, parameter in parameters.items():
        own = {k for k, v in optimizer.state.get(parameter, {}).items() if v is not None}
        if own and kept.get(name) and own != kept[name]:
            raise CheckpointError(
                f"this was saved from another optimizer: of {name} it kept {sorted(kept[name])}, "
                f"this one keeps {sorted(own)}"
            )


def sorted_by_parameter(entries: Mapping[str, Any]) -> dict[str, set[str]]:
    """Give parameter -> keys: a key is one word, so the last point ends the parameter's name."""
    result: dict[str, set[str]] = {}
    for entry in filter(kept_by, entries):
        name, _, key = entry.removeprefix(PREFIX).rpartition(".")
        result.setdefault(name, set()).add(key)
    return result


def blank(optimizer: Optimizer, names: Mapping[int, str], entries: Mapping[str, Any]) -> None:
    """Make what a fresh optimizer does not keep yet, as zeros; drop what the entries lack."""
    kept = sorted_by_parameter(entries)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            name = names[id(parameter)]
            if not kept.get(name):
                optimizer.state.pop(parameter, None)
            elif not optimizer.state.get(parameter):
                state = optimizer.state[parameter]
                for key in sorted(kept[name]):
                    dtype, shape = entries[f"{PREFIX}{name}.{key}"]
                    state[key] = zeros(parameter, key, getattr(torch, dtype), shape, group)


def zeros(
    parameter: Tensor, key: str, dtype: torch.dtype, shape: list[int], group: Mapping[str, Any]
) -> Tensor:
    """Make one tensor of the state: spread as its parameter is, where it has the same shape."""
    if list(parameter.shape) == shape and key != "step":
        return torch.zeros_like(parameter, dtype=dtype)
    return torch.zeros(shape, dtype=dtype, device=device_of(parameter, key, group))


def device_of(parameter: Tensor, key: str, group: Mapping[str, Any]) -> torch.device:
    """Give where the optimizer wants it: torch counts steps on the processor, unless fused."""
    there = key != "step" or group.get("fused") or group.get("capturable")
    return parameter.device if there else torch.device("cpu")


def adopt(
    optimizer: Optimizer, names: Mapping[int, str], tensors: Mapping[str, Tensor], *, take: bool
) -> None:
    """Put saved tensors into the optimizer: in place, or as new ones where it keeps nothing yet.

    With `take` the new ones are the tensors themselves, where they lie as they should.
    """
    kept = sorted_by_parameter(tensors)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            name = names[id(parameter)]
            given = {key: tensors[f"{PREFIX}{name}.{key}"] for key in sorted(kept.get(name, ()))}
            if not given:
                optimizer.state.pop(parameter, None)
                continue
            state = optimizer.state[parameter]
            for key, tensor in given.items():
                if state.get(key) is None and take and not is_spread(parameter):
                    state[key] = tensor.to(device_of(parameter, key, group))
                    continue
                if state.get(key) is None:
                    state[key] = zeros(parameter, key, tensor.dtype, list(tensor.shape), group)
                fill(state[key], tensor)


def set_groups(optimizer: Optimizer, groups: list[dict[str, Any]]) -> None:
    """Set each group's numbers; a rate that is a tensor stays the same tensor."""
    for group, saved in zip(optimizer.param_groups, groups, strict=True):
        for key, value in saved["numbers"].items():
            if isinstance(group.get(key), Tensor):
                group[key].fill_(value)
            else:
                group[key] = tuple(value) if isinstance(value, list) else value


def fill(own: Tensor, given: Tensor) -> None:
    """Copy into memory that is there, unless it is the same; a part takes its part of a whole."""
    if is_spread(own) and not is_spread(given):
        from torch.distributed.tensor import distribute_tensor

        part: Any = own
        given = distribute_tensor(given, part.device_mesh, part.placements, src_data_rank=None)
    if memory(own) != memory(given):
        own.copy_(given)


def is_spread(tensor: Tensor) -> bool:
    """Tell whether this is torch's DTensor, without importing it."""
    return hasattr(tensor, "placements")


def memory(tensor: Any) -> int:
    """Say where a tensor's data is: this process's part of it."""
    part = tensor.to_local() if is_spread(tensor) else tensor
    return int(part.data_ptr())

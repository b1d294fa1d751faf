"""Whether a module keeps to itself: same answer twice, inputs untouched, all of it saved."""

from copy import deepcopy
from io import BytesIO

import torch
from torch import nn

from zoo.testing.checks.common import (
    CheckFailed,
    Inputs,
    kept_generator,
    largest,
    output_of,
    stressed,
)


def check_determinism(module: nn.Module, inputs: Inputs) -> None:
    """Fail when two passes in eval mode differ by a bit."""
    module = stressed(module)
    with torch.no_grad(), kept_generator():
        torch.manual_seed(0)
        first = output_of(module, inputs)
        torch.manual_seed(1)
        moved = largest(output_of(module, inputs) - first)
    if moved:
        raise CheckFailed(
            f"two passes in eval mode differ by {moved:.3g}: dropout or another draw is on in "
            "eval, or the module keeps state between calls"
        )


def check_inputs_untouched(module: nn.Module, inputs: Inputs) -> None:
    """Fail when a forward pass writes into its inputs."""
    module = stressed(module)
    given = {name: x.clone() for name, x in inputs.items()}
    versions = {name: x._version for name, x in given.items()}
    with torch.no_grad():
        output_of(module, given)
    for name, x in given.items():
        if x._version != versions[name] or not torch.equal(x, inputs[name]):
            raise CheckFailed(f"{name} was changed in place: work on a copy")


def check_save_load(module: nn.Module, inputs: Inputs) -> None:
    """Fail when a state dict, loaded over other numbers, does not bring the output back.

    Other numbers stand for a fresh module: a tensor that the state dict forgets stays wrong.
    """
    module = stressed(module)
    for buffer in module.buffers():
        if buffer.is_floating_point():
            buffer.add_(0.25)
    plain = plain_tensors(module)
    with torch.no_grad():
        before = output_of(module, inputs)
        file = BytesIO()
        torch.save(module.state_dict(), file)
        file.seek(0)
        fresh = stressed(deepcopy(module), seed=9)
        for tensor in [*fresh.buffers(), *plain_tensors(fresh).values()]:
            if tensor.is_floating_point():
                tensor.add_(1.0)
        fresh.load_state_dict(torch.load(file, weights_only=True))
        moved = largest(output_of(fresh, inputs) - before)
    if moved:
        names = ", ".join(sorted(plain)) or "a buffer with persistent=False"
        raise CheckFailed(
            f"the output moved by {moved:.3g} after saving and loading: the state dict forgets "
            f"{names}; register it as a buffer or a parameter"
        )


def plain_tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    """Find tensors that are plain attributes: no state dict holds them."""
    return {
        f"{prefix}.{name}".lstrip("."): value
        for prefix, part in module.named_modules()
        for name, value in vars(part).items()
        if isinstance(value, torch.Tensor)
    }

"""Whether a module keeps to itself: same answer twice, inputs untouched, all of it saved."""

from collections.abc import Callable
from copy import deepcopy
from io import BytesIO

import torch
from torch import Tensor, nn

from zoo.testing.checks.common import (
    CheckFailed,
    Inputs,
    distance,
    doubled,
    kept_generator,
    output_of,
    stressed,
)


def check_determinism(module: nn.Module, inputs: Inputs) -> None:
    """Fail when two passes in eval mode differ by a bit."""
    module, inputs = stressed(module), doubled(inputs)
    with torch.no_grad(), kept_generator(module):
        torch.manual_seed(0)
        first = output_of(module, inputs)
        torch.manual_seed(1)
        moved = distance(output_of(module, inputs), first)
    if moved:
        raise CheckFailed(
            f"two passes in eval mode differ by {moved:.3g}: dropout or another draw is on in "
            "eval, or the module keeps state between calls"
        )


def check_inputs_untouched(module: nn.Module, inputs: Inputs) -> None:
    """Fail when a forward pass writes into its inputs, even if it takes it back."""
    module, inputs = stressed(module), doubled(inputs)
    given = {name: x.clone() for name, x in inputs.items()}
    versions = {name: x._version for name, x in given.items()}
    with torch.no_grad(), kept_generator(module):
        output_of(module, given)
    for name, x in given.items():
        if x._version != versions[name]:
            raise CheckFailed(f"{name} was changed in place: work on a copy")


def check_save_load(
    module: nn.Module, inputs: Inputs, *, build: Callable[[], nn.Module] | None = None
) -> None:
    """Fail when a state dict does not bring the output back, bit by bit, in a fresh module.

    Without `build`, a copy with all its numbers changed stands for the fresh module; a tensor that
    the constructor computes (rotary frequencies) then counts as forgotten: pass `build`.
    """
    module, inputs = stressed(module), doubled(inputs)
    lost = unsaved(module)
    with torch.no_grad(), kept_generator(module):
        shift({n: x for n, x in module.named_buffers() if n not in lost}, 0.25)
        before = output_of(module, inputs)
        file = BytesIO()
        torch.save(module.state_dict(), file)
        file.seek(0)
        fresh = stressed(deepcopy(module) if build is None else build(), seed=9)
        if build is None:
            shift(dict(fresh.named_buffers()) | unsaved(fresh), 1.0)
        try:
            fresh.load_state_dict(torch.load(file, weights_only=True))
        except RuntimeError as error:
            raise CheckFailed(f"a fresh module refuses the state dict: {error}") from None
        moved = distance(output_of(fresh, inputs), before)
    if moved:
        raise CheckFailed(
            f"the output moved by {moved:.3g} after saving and loading: the state dict forgets "
            f"{', '.join(sorted(lost)) or 'something that is no tensor'}; register it as a "
            "persistent buffer or a parameter, or pass build=... if the constructor makes it"
        )


def shift(tensors: dict[str, Tensor], by: float) -> None:
    """Add to floating tensors in place."""
    for tensor in tensors.values():
        if tensor.is_floating_point():
            tensor.add_(by)


def unsaved(module: nn.Module) -> dict[str, Tensor]:
    """Find the floating tensors that no state dict holds: plain attributes, passing buffers."""
    saved = module.state_dict(keep_vars=True).keys()
    found = {name: x for name, x in module.named_buffers() if name not in saved}
    for prefix, part in module.named_modules():
        for name, value in vars(part).items():
            if isinstance(value, Tensor):
                found[f"{prefix}.{name}".lstrip(".")] = value
    return {name: x for name, x in found.items() if x.is_floating_point()}

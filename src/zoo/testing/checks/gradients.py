"""Whether gradients arrive, and whether they are right."""

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor, nn

from zoo.testing.checks.common import (
    CheckFailed,
    Inputs,
    doubled,
    kept_generator,
    output_of,
    stressed,
)

STEP = 1e-5  # of the central difference: its error is of the order of its square
WRONG = 1e-6  # of the gradient's size; sound models of three blocks stay below 1e-8
ROUNDED = 1e-9  # what float64 leaves of a difference of two numbers near 1, over STEP


def check_gradient_flow(module: nn.Module, inputs: Inputs) -> None:
    """Fail when a trainable parameter gets no gradient, a zero one, or one that is not finite."""
    module = differentiated(module, doubled(inputs))
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        if parameter.grad is None or not parameter.grad.any():
            raise CheckFailed(
                f"{name} gets no gradient: it is unused, or something on its way to the output "
                "is detached; freeze it if that is meant"
            )
        if not parameter.grad.isfinite().all():
            raise CheckFailed(f"{name} gets a gradient with NaN or infinity")


def check_parameter_gradients(module: nn.Module, inputs: Inputs) -> None:
    """Fail when a parameter's gradient is not the slope that finite differences find.

    One random direction a parameter: a wrong backward is seen almost surely.
    """
    inputs = doubled(inputs)
    module = differentiated(module, inputs)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in module.named_parameters():
        if parameter.grad is None:
            continue
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        direction = direction.to(parameter.device)
        slope = float((parameter.grad * direction).sum())
        with kept_generator(module):
            found = slope_along(module, inputs, parameter, direction)
        size = float(parameter.grad.norm() * direction.norm()) + abs(found)
        if not abs(slope - found) <= WRONG * size + ROUNDED:  # NaN too
            raise CheckFailed(
                f"the gradient of {name} is {slope:.6g} along a direction in which the output "
                f"changes by {found:.6g}: the backward between them is wrong"
            )


def differentiated(module: nn.Module, inputs: Inputs) -> nn.Module:
    """Copy a module, stressed, and run it forward and backward once."""
    module = stressed(module)
    with kept_generator(module):
        value = weighted(module, inputs)
        if not value.requires_grad:
            raise CheckFailed("the output has no gradient: all that leads to it is detached")
        value.backward()
    return module


def slope_along(module: nn.Module, inputs: Inputs, parameter: Tensor, direction: Tensor) -> float:
    """Give the central difference of the weighted output along a direction."""
    with torch.no_grad():
        parameter.add_(direction, alpha=STEP)
        above = float(weighted(module, inputs))
        parameter.add_(direction, alpha=-2 * STEP)
        below = float(weighted(module, inputs))
        parameter.add_(direction, alpha=STEP)
    return (above - below) / (2 * STEP)


def weighted(module: nn.Module, inputs: Inputs) -> Tensor:
    """Make one number of the output, in which every element has a weight of its own."""
    output = output_of(module, inputs)
    generator = torch.Generator().manual_seed(2)
    weights = torch.randn(output.shape, generator=generator, dtype=torch.float64)
    return (output * weights.to(output.device)).sum() / output.numel() ** 0.5


def check_overfit(
    module: nn.Module,
    inputs: Inputs,
    *,
    loss: Callable[[nn.Module, Inputs], Tensor],
    steps: int = 100,
    rate: float = 1e-2,
    share: float = 0.1,
) -> None:
    """Fail unless AdamW brings the loss of one batch below `share` of where it began."""
    module = deepcopy(module).train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=rate, weight_decay=0.0)
    first = last = 0.0
    with kept_generator(module):
        torch.manual_seed(0)
        for step in range(steps):
            value = loss(module, inputs)
            last = float(value.detach())
            first = last if step == 0 else first
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
    if not last < share * first:
        raise CheckFailed(
            f"{steps} steps on one batch took the loss from {first:.4g} to {last:.4g}, not below "
            f"{share:g} of it: the labels may not be what the model is trained to give, or "
            "gradients do not reach the weights"
        )

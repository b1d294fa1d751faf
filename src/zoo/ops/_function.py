"""The glue between plain functions and autograd that every op shares.

An op is three plain functions (forward, backward, jvp), a `Function` that is their shell, and a
public function that checks, casts and calls `run`.  The shell's forward-mode rule is a static
method called `tangent`: the compiler refuses a Function that has a `jvp`, so `run` adds that name
only where forward mode is on.

A saved intermediate (a mean, a log-sum-exp) carries no graph, so differentiating a backward that
uses one is silently wrong.  Every backward therefore asks `differentiable()`: where a derivative of
the backward itself may be wanted it evaluates the formula in elementary torch operations from the
op's inputs; elsewhere it takes the fastest kernel there is.
"""

import functools
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function, forward_ad

NOTHING = nullcontext()
LOW = (torch.bfloat16, torch.float16)


def differentiable() -> bool:
    """Tell whether what is computed now may itself be differentiated."""
    return torch.is_grad_enabled() or forward_ad._current_level >= 0


def derivative_wanted(inputs: tuple[Any, ...]) -> bool:
    """Tell whether a backward through an op on `inputs` may be asked for later."""
    return torch.is_grad_enabled() and any(
        isinstance(x, Tensor) and x.requires_grad for x in inputs
    )


def run(function: type[Function], *inputs: Any) -> Any:
    """Run `function` on its inputs, the first a tensor, with autocast off.

    Without a derivative in view the plain forward is called: autograd's own book-keeping costs more
    than a small op does.
    """
    with no_autocast(inputs[0]):
        if torch.compiler.is_compiling():
            return function.apply(*inputs)
        if forward_ad._current_level >= 0:
            check_one_forward_mode(function.__name__)
            return with_jvp(function).apply(*inputs)
        if transformed():
            return function.apply(*inputs)
        if derivative_wanted(inputs):
            # Function.apply without its look at the signature: all arguments are here, and that
            # look takes longer than a small op
            return super(Function, function).apply(*inputs)  # type: ignore[misc]
        return function.forward(*inputs)


def transformed() -> bool:
    """Tell whether a transform of torch.func is going on."""
    return torch._C._functorch.peek_interpreter_stack() is not None


def check_one_forward_mode(name: str) -> None:
    """Refuse forward mode inside forward mode: torch runs a Function's `jvp` with it switched off.

    The outer derivative would come out wrong without a word.
    """
    transforms = torch._C._functorch
    stack = transforms.get_interpreter_stack() or ()
    if [level.key() for level in stack].count(transforms.TransformType.Jvp) > 1:
        raise NotImplementedError(
            f"{name}: forward mode inside forward mode; take one of the derivatives in reverse, "
            "jacfwd(jacrev(f)) for jacfwd(jacfwd(f))"
        )


@functools.cache
def with_jvp(function: Any) -> Any:
    """Give the subclass whose `jvp` is the function's `tangent`."""
    return type(function.__name__, (function,), {"jvp": staticmethod(function.tangent)})


def autocast_dtype(x: Tensor) -> torch.dtype | None:
    """Give the dtype that autocast asks for on the device of `x`, None where it is off."""
    if not torch._C._is_any_autocast_enabled():
        return None
    device = x.device.type
    if not torch.amp.is_autocast_available(device) or not torch.is_autocast_enabled(device):
        return None
    return torch.get_autocast_dtype(device)


def no_autocast(x: Tensor) -> AbstractContextManager[Any]:
    """Switch autocast off inside: the public function has cast already, and a backward must not."""
    if autocast_dtype(x) is None:
        return NOTHING
    return torch.autocast(x.device.type, enabled=False)


def lowered(x: Tensor, *others: Tensor | None) -> tuple[Any, ...]:
    """Cast to autocast's dtype where autocast is on, as torch does for products.

    float64 stays, as it does in torch.
    """
    dtype = autocast_dtype(x)
    if dtype is None:
        return (x, *others)
    return tuple(
        t if t is None or not t.is_floating_point() or t.dtype == torch.float64 else t.to(dtype)
        for t in (x, *others)
    )


def raised(x: Tensor) -> Tensor:
    """Cast bfloat16 and float16 to float32 where autocast is on, as torch does for statistics."""
    if autocast_dtype(x) is None:
        return x
    return wide(x)


def wide(x: Tensor) -> Tensor:
    """Give `x` in at least float32."""
    return x.float() if x.dtype in LOW else x


def wide_dtype(x: Tensor) -> torch.dtype:
    """Give the dtype that `wide` gives `x`."""
    return torch.float32 if x.dtype in LOW else x.dtype


def check_float(op: str, **tensors: Tensor | None) -> None:
    """Refuse tensors that are not floating point, by name."""
    for name, x in tensors.items():
        if x is not None and not x.dtype.is_floating_point:
            raise TypeError(f"{op}: {name} is {x.dtype}; give a floating tensor, {name}.float()")


def check_same_dtype(op: str, **tensors: Tensor | None) -> None:
    """Refuse tensors of different dtypes, by name."""
    given = {name: x.dtype for name, x in tensors.items() if x is not None}
    if len({*given.values()}) > 1:
        listed = ", ".join(f"{name} {dtype}" for name, dtype in given.items())
        raise TypeError(f"{op}: {listed} differ; cast them to one dtype")

"""Layers that lie behind each other, as one op while gradients are wanted: it keeps less.

What comes out, and every gradient, is the same to the bit. Each layer is called by itself wherever
its call is more than its op: a hook on it, a class or a forward of its own, a compiler that decides
itself what to keep.
"""

from contextvars import ContextVar
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.modules import module as modules

from zoo import ops
from zoo.nn.basic import LayerNorm, Linear
from zoo.nn.steady import gelu
from zoo.ops._function import transformed

APART = ContextVar("APART", default=False)
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class apart:
    """Call each layer by itself inside: for what must keep the same tensors when it runs again."""

    def __enter__(self) -> None:
        self.token = APART.set(True)

    def __exit__(self, *_: object) -> None:
        APART.reset(self.token)


def bare(*layers: nn.Module) -> bool:
    """Tell whether calling each of these runs its forward and nothing else."""
    return not modules._has_any_global_hook() and all(own(vars(layer)) for layer in layers)


def own(held: dict[str, Any]) -> bool:
    """Tell whether a call of the module that holds this is a call of its class's forward."""
    return "forward" not in held and not any(held[hooks] for hooks in HOOKS)


def fuses(x: Tensor, *layers: nn.Module) -> bool:
    """Tell whether these layers may be one op, and whether it would keep less."""
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():
        return False
    if transformed() or APART.get():
        return False
    if any(type(layer) is not Linear and type(layer) is not LayerNorm for layer in layers):
        return False
    wanted = x.requires_grad or any(p.requires_grad for layer in layers for p in layer.parameters())
    return wanted and bare(*layers)


def gelu_linear(h: Float[Tensor, "... i"], form: str, linear: Linear) -> Float[Tensor, "... o"]:
    """Give linear(gelu(h)), and keep h alone."""
    if fuses(h, linear):
        return ops.gelu_linear(h, linear.weight, linear.bias, form)
    return linear(gelu(h, form))


def norm_linear(
    x: Float[Tensor, "... d"], norm: LayerNorm | None, linear: Linear
) -> Float[Tensor, "... o"]:
    """Give linear(norm(x)), and keep x alone."""
    if norm is None:
        return linear(x)
    if fuses(x, norm, linear):
        return ops.layer_norm_linear(
            x, norm.weight, norm.bias, linear.weight, linear.bias, norm.eps
        )
    return linear(norm(x))


def after_norm(norm: nn.Module, inner: nn.Module, x: Float[Tensor, "b t d"], *rest: Any) -> Any:
    """Give inner(norm(x), ...), with the norm led into the layer that reads it.

    A class that can do so names that layer in `first`; one derived from it may have a forward of
    its own and is not asked.
    """
    first = vars(type(inner)).get("first")
    if first is not None and fuses(x, norm, getattr(inner, first)) and bare(inner):
        return inner(x, *rest, norm=norm)
    return inner(norm(x), *rest)

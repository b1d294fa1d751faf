"""Gaussian error linear units (Hendrycks and Gimpel, 2016), in the three forms in use.

    erf     y = x Phi(x)                 y' = Phi(x) + x phi(x)
            Phi(x) = (1 + erf(x / sqrt 2)) / 2,   phi(x) = exp(-x^2 / 2) / sqrt(2 pi)
    tanh    y = x (1 + tanh u) / 2       y' = (1 + tanh u) / 2 + x (1 - tanh^2 u) u' / 2
            u = c (x + k x^3),   u' = c (1 + 3 k x^2),   c = sqrt(2 / pi),   k = 0.044715
    quick   y = x s(q x)                 y' = s + q x s (1 - s),   q = 1.702,  s the logistic

The quick form is silu(q x) / q, and silu has kernels of its own in both directions.
"""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function
from torch.nn import functional as F

from zoo.ops._elementary import elementary
from zoo.ops._function import LOW, check_float, differentiable, no_autocast, run, wide

FORMS = ("erf", "tanh", "quick")
C = math.sqrt(2 / math.pi)
K = 0.044715
Q = 1.702

# what torch calls the forms that it has a kernel for
KERNEL = {"erf": "none", "tanh": "tanh"}


def gelu_forward(x: Tensor, form: str) -> Tensor:
    """Give y in the dtype of x; every kernel computes in at least float32."""
    if form == "quick":
        inner = wide(x) * Q
        if torch.compiler.is_compiling() or elementary(x):
            return (F.silu(inner) / Q).to(x.dtype)
        return F.silu(inner, inplace=True).div_(Q).to(x.dtype)  # fresh memory costs as much
    return F.gelu(x, approximate=KERNEL[form])


def gelu_slope(x: Tensor, form: str) -> Tensor:
    """Give dy/dx in elementary operations, for x of at least float32."""
    if form == "erf":
        inside = (1 + torch.erf(x / math.sqrt(2))) / 2
        return inside + x * torch.exp(x * x / -2) / math.sqrt(2 * math.pi)
    if form == "tanh":
        u = torch.tanh(C * (x + K * x**3))
        return (1 + u) / 2 + x * (1 - u * u) * C * (1 + 3 * K * x * x) / 2
    s = torch.sigmoid(Q * x)
    return s + Q * x * s * (1 - s)


def gelu_jvp(x: Tensor, t: Tensor, form: str) -> Tensor:
    """Multiply t by the slope: the Jacobian is diagonal, so this is the transposed map too."""
    return (wide(t) * gelu_slope(wide(x), form)).to(x.dtype)


def gelu_backward(dy: Tensor, x: Tensor, form: str) -> Tensor:
    """Give dx from the input."""
    if differentiable():
        return gelu_jvp(x, dy, form)
    if form == "quick":
        return torch.ops.aten.silu_backward(wide(dy), wide(x) * Q).to(x.dtype)
    return torch.ops.aten.gelu_backward(dy, x, approximate=KERNEL[form])


def gelu_backward_(dy: Tensor, x: Tensor, form: str) -> Tensor:
    """Give dx in the place of dy, where a kernel can; dy is no longer good for anything."""
    traced = torch.compiler.is_compiling() or elementary(dy)
    if traced or not (dy.is_contiguous() and x.is_contiguous()):
        return gelu_backward(dy, x, form)
    if form == "quick":
        if x.dtype in LOW:
            return gelu_backward(dy, x, form)
        return torch.ops.aten.silu_backward.grad_input(dy, x * Q, grad_input=dy)
    kernel = torch.ops.aten.gelu_backward.grad_input
    return kernel(dy, x, approximate=KERNEL[form], grad_input=dy)


class Gelu(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, form: str) -> Tensor:
        return gelu_forward(x, form)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        x, ctx.form = inputs
        ctx.save_for_backward(x)
        ctx.save_for_forward(x)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        with no_autocast(dy):
            return gelu_backward(dy, x, ctx.form), None

    @staticmethod
    def tangent(ctx: Any, t: Tensor, _: None) -> Any:
        (x,) = ctx.saved_tensors
        return gelu_jvp(x, t, ctx.form)


def check_form(op: str, form: str) -> None:
    """Refuse a form that nobody knows."""
    if form not in FORMS:
        raise ValueError(f"{op}: form {form!r} is unknown; give one of {', '.join(FORMS)}")


def gelu(x: Float[Tensor, "..."], form: str = "erf") -> Float[Tensor, "..."]:
    """Gate each element by how likely a normal number is below it.

    `form` is "erf" (exact: BERT, ViT), "tanh" (GPT-2) or "quick" (CLIP).
    """
    check_float("gelu", x=x)
    check_form("gelu", form)
    return run(Gelu, x, form)

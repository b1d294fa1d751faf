"""One step of a comparison: what a module computed, against what its family computes there."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.testing.family.layers import Layer
from zoo.testing.stress import apart

NEAR = 1e-8  # of the largest number, in float64: rounding stays far below, a slip far above
EPSILONS = (1e-5, 1e-12, 1e-6)  # of published checkpoints
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "GELU (tanh)": lambda x: F.gelu(x, approximate="tanh"),
    "GELU (erf)": lambda x: F.gelu(x),
    "GELU (quick)": lambda x: x * torch.sigmoid(1.702 * x),
    "no activation": lambda x: x,
    "ReLU": torch.relu,
    "SiLU": F.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "ReLU squared": lambda x: torch.relu(x) ** 2,
    "leaky ReLU": F.leaky_relu,
    "GELU twice": lambda x: F.gelu(F.gelu(x)),
    "GELU (tanh) twice": lambda x: gelu_tanh(gelu_tanh(x)),
    "softmax": lambda x: x.softmax(-1),
    "ELU": F.elu,
    "SELU": F.selu,
    "CELU": F.celu,
    "ReLU6": F.relu6,
    "Mish": F.mish,
    "softplus": F.softplus,
    "hard swish": F.hardswish,
    "hard tanh": F.hardtanh,
    "softsign": F.softsign,
    "log sigmoid": F.logsigmoid,
    "sine": torch.sin,
    "the square": torch.square,
    "the absolute value": torch.abs,
    "the sigmoid of GELU alone, without x": lambda x: torch.sigmoid(1.702 * x),
    "GELU (tanh) without the cube's 0.044715": lambda x: cubic(x, 1.0, math.sqrt(2 / math.pi)),
    "GELU (tanh) without sqrt(2 / pi)": lambda x: cubic(x, 0.044715, 1.0),
    "GELU (tanh) with 2 / pi for its root": lambda x: cubic(x, 0.044715, 2 / math.pi),
    "GELU (tanh) with 0.44715 for 0.044715": lambda x: cubic(x, 0.44715, math.sqrt(2 / math.pi)),
    "GELU (tanh) without its half": lambda x: 2 * gelu_tanh(x),
    "GELU (erf) without its half": lambda x: 2 * F.gelu(x),
    "GELU (erf) without 1 / sqrt(2)": lambda x: x * 0.5 * (1 + torch.erf(x)),
    "GELU (quick) with 1.72 for 1.702": lambda x: x * torch.sigmoid(1.72 * x),
    "layer norm": lambda x: F.layer_norm(x, x.shape[-1:]),
}


def gelu_tanh(x: Tensor) -> Tensor:
    """GELU by its tanh formula."""
    return F.gelu(x, approximate="tanh")


def cubic(x: Tensor, cube: float, outer: float) -> Tensor:
    """GELU's tanh formula with other constants."""
    return 0.5 * x * (1 + torch.tanh(outer * (x + cube * x**3)))


@dataclass(frozen=True)
class Step:
    """What one step showed."""

    name: str  # "attention of block 0"
    ok: bool
    where: str = ""
    line: str = ""
    found: str = ""  # what the module does there
    fix: str = ""
    gap: float = 0.0  # relative to the largest number
    rare: bool = False  # right, for some published checkpoints have it, but seldom meant


def near(one: Tensor, other: Tensor) -> bool:
    """Say whether two tensors are equal up to float64's rounding."""
    return one.shape == other.shape and apart(one.double(), other.double()) <= NEAR


def gap(one: Tensor, other: Tensor) -> float:
    """Give how far two tensors lie apart, relative to the largest number."""
    return apart(one.double(), other.double())


def norm_step(name: str, layer: Layer, stream: Tensor, *, slips: bool = True) -> Step:
    """Compare a norm's output with layer norm of the stream."""
    w = stream.new_ones(stream.shape[-1]) if layer.value is None else layer.value.flatten()
    b = torch.zeros_like(w) if layer.shift is None else layer.shift.flatten()
    fix = "normalise each position over its features: (x - mean) / sqrt(var + eps) * w + b"
    if w.shape != stream.shape[-1:] or b.shape != w.shape or layer.y.shape != stream.shape:
        said = f"it gives {tuple(layer.y.shape)} where the stream is {tuple(stream.shape)}"
        return Step(name, False, str(layer), layer.line, said, fix)
    for eps in (*EPSILONS, fitted_eps(layer.y, stream, w, b)):
        if near(F.layer_norm(stream, w.shape, w, b, eps), layer.y):
            if eps > 2 * EPSILONS[0]:
                said = f"its eps is {eps:.3g}, which shrinks rows of small variance"
                return Step(name, False, str(layer), layer.line, said, "use an eps of 1e-5 or less")
            if layer.value is None:
                said, fix = "scale and shift are left out", "give it a weight and a bias"
                return Step(name, False, str(layer), layer.line, said, fix)
            return Step(name, True, str(layer), layer.line)
    for said, made in norm_slips(stream, w, b).items() if slips else ():
        if near(made, layer.y):
            return Step(name, False, str(layer), layer.line, said, fix)
    off = gap(F.layer_norm(stream, w.shape, w, b, EPSILONS[0]), layer.y)
    said = "it is no layer norm of the stream that is known here"
    return Step(name, False, str(layer), layer.line, said, fix, off)


def fitted_eps(y: Tensor, x: Tensor, w: Tensor, b: Tensor) -> float:
    """Give the eps with which layer norm would have given y, from one element."""
    if y.shape != x.shape:
        return EPSILONS[0]
    centred = x - x.mean(-1, keepdim=True)
    flat = (centred * w).flatten()
    at = int(flat.abs().argmax())
    if not float(flat[at]):
        return EPSILONS[0]
    ratio = float(((y - b).flatten()[at] / flat[at]) ** 2)
    variance = centred.square().mean(-1, keepdim=True).expand_as(x).flatten()[at]
    return max(0.0, 1 / ratio - float(variance)) if ratio > 0 else EPSILONS[0]


def norm_slips(x: Tensor, w: Tensor, b: Tensor) -> dict[str, Tensor]:
    """Give what known slips of a layer norm give."""
    mean = x.mean(-1, keepdim=True)
    found = {}
    for eps in (*EPSILONS, 1e-8):
        tail = f" (eps {eps:g})"
        wide = (x.var(-1, keepdim=True) + eps).rsqrt()
        found["the variance divides by n - 1" + tail] = (x - mean) * wide * w + b
        true = (x.var(-1, keepdim=True, unbiased=False) + eps).rsqrt()
        found["the mean is subtracted for the variance alone" + tail] = x * true * w + b
        root = (x.square().mean(-1, keepdim=True) + eps).rsqrt()
        found["the mean is not subtracted" + tail] = x * root * w + b
        inner = x.var(-1, keepdim=True, unbiased=False).sqrt() + eps
        found["eps is added to the deviation" + tail] = (x - mean) / inner * w + b
        over = x.var(-1, keepdim=True).sqrt() + eps
        found["the deviation divides by n - 1, and eps is added to it" + tail] = (
            x - mean
        ) / over * w + b
        bare = F.layer_norm(x, x.shape[-1:], None, None, eps)
        found["the shift is left out" + tail] = bare * w
        found["scale and shift are left out" + tail] = bare
        found["the scale is left out" + tail] = bare + b
        if x.dim() == 3:
            along = x - x.mean(1, keepdim=True)
            time = along * (x.var(1, keepdim=True, unbiased=False) + eps).rsqrt()
            found["it normalises over positions, not over features" + tail] = time * w + b
            both = F.layer_norm(x, x.shape[1:], None, None, eps)
            found["it normalises over positions and features together" + tail] = both * w + b
            rows = (x - x.mean(0)) * (x.var(0, unbiased=False) + eps).rsqrt()
            found["it normalises over the rows of the batch" + tail] = rows * w + b
        found["the variance is not taken the root of" + tail] = (x - mean) * true.square() * w + b
        found["the shift comes before the scale" + tail] = (bare + b) * w
        found["the scale is 1 + weight" + tail] = bare * (1 + w) + b
        found["it normalises twice" + tail] = F.layer_norm(
            F.layer_norm(x, w.shape, w, b, eps), w.shape, w, b, eps
        )
        size = x.norm(dim=-1, keepdim=True) + eps
        found["it divides by the length of the vector" + tail] = x / size * w + b
        found["the variance is not divided by" + tail] = (x - mean) * w + b
        found["it is not normalised, only scaled and shifted" + tail] = x * w + b
    return found


def sum_step(
    name: str,
    found: Tensor,
    stream: Tensor,
    added: Tensor,
    where: str,
    line: str,
    normed: Tensor | None = None,
) -> Step:
    """Compare a stream with the sum of what it was and what a branch adds."""
    if near(found, stream + added):
        return Step(name, True, where, line)
    said = {
        "the residual is left out": added,
        "the branch is not added": stream,
        "the branch is added twice": stream + 2 * added,
        "the branch is subtracted": stream - added,
        "the stream is added twice": 2 * stream + added,
        "the sum is halved": (stream + added) / 2,
        "the sum is divided by sqrt(2)": (stream + added) / 2**0.5,
    }
    if normed is not None:
        said["the branch is added to what its norm gave, not to what it read"] = normed + added
    for text, made in said.items():
        if near(found, made):
            return Step(name, False, where, line, text, "write x = x + branch(norm(x))")
    a, b = fitted(found, stream, added)
    if near(found, a * stream + b * added):
        text = f"the sum is {a:.4g} x + {b:.4g} branch(x)"
        return Step(name, False, where, line, text, "write x = x + branch(norm(x))")
    text = "the stream is not x + branch(x)"
    return Step(
        name,
        False,
        where,
        line,
        text,
        "add the branch to what it read from, before the norm where the norm comes first",
        gap(found, stream + added),
    )


def fitted(found: Tensor, one: Tensor, other: Tensor) -> tuple[float, float]:
    """Give a, b for which a one + b other comes nearest to a tensor."""
    if not found.shape == one.shape == other.shape:
        return 1.0, 1.0
    columns = torch.stack([one.flatten(), other.flatten()], 1)
    a, b = torch.linalg.lstsq(columns, found.flatten()[:, None]).solution.flatten().tolist()
    return a, b


def activation_step(
    name: str,
    up: Layer,
    down: Layer,
    right: tuple[str, ...],
    where: str,
    rare: tuple[str, ...] = (),
) -> Step:
    """Find which activation stands between two maps."""
    line = down.line
    assert down.x is not None
    if up.y.shape != down.x.shape:
        said = f"the map up gives {tuple(up.y.shape)}, the map down reads {tuple(down.x.shape)}"
        fix = f"write down({right[0]}(up(x)))"
        return Step(name, False, where, line, said, fix)
    for said, act in ACTIVATIONS.items():
        if near(act(up.y), down.x):
            fine = said in right
            fix = f"use {right[0]}, as the family does"
            found = f"{said} stands there" if not fine or said in rare else ""
            return Step(name, fine, where, line, found, fix, rare=said in rare)
    made = ACTIVATIONS[right[0]](up.y)
    said = "what stands between the two maps is no activation that is known here"
    return Step(name, False, where, line, said, f"use {right[0]}", gap(made, down.x))


def equal_step(
    name: str,
    found: Tensor,
    right: Tensor,
    slips: Iterable[tuple[str, Tensor]],
    place: Layer,
    fix: str,
) -> Step:
    """Compare two tensors that must be equal; name the slip that explains it if they are not."""
    if near(found, right):
        return Step(name, True, str(place), place.line)
    for said, made in slips:
        if near(found, made):
            return Step(name, False, str(place), place.line, said, fix)
    return Step(name, False, str(place), place.line, "it differs", fix, gap(found, right))

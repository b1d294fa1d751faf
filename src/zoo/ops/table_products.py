"""Rows of the ops that lead a cheap map into the product behind it: what a block is made of."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.ops.gelu import FORMS
from zoo.ops.gelu_linear import gelu_linear
from zoo.ops.layer_norm_linear import layer_norm_linear
from zoo.testing.opinfo import OpInfo, Refusal, Sample, f64, randn


def gelu_linear_samples() -> Iterator[Sample]:
    w, b = randn(4, 5), randn(4)
    for form in FORMS:
        yield Sample(f"{form}-batch", (randn(2, 3, 5), w, b, form))
        yield Sample(f"{form}-no-bias", (randn(3, 5), w), {"form": form})
    yield Sample("row", (randn(5), w, b))
    yield Sample("no-rows", (randn(2, 0, 5), w, b))
    yield Sample("no-inputs", (randn(3, 0), randn(4, 0), b))
    yield Sample("no-outputs", (randn(3, 5), randn(0, 5), randn(0), "tanh"))
    yield Sample("transposed", (randn(5, 3).T, randn(5, 4).T, b))
    yield Sample("expanded", (randn(3, 1, 5).expand(3, 2, 5), w, f64(0.5).expand(4), "quick"))


def gelu_linear_reference(
    h: Tensor, weight: Tensor, bias: Tensor | None = None, form: str = "erf"
) -> Tensor:
    if form == "quick":
        return F.linear(h * torch.sigmoid(1.702 * h), weight, bias)
    return F.linear(F.gelu(h, approximate="none" if form == "erf" else "tanh"), weight, bias)


def gelu_linear_errors() -> Iterator[Refusal]:
    h, w, b = randn(3, 5), randn(4, 5), randn(4)
    match = r"^gelu_linear: form 'exact' is unknown; give one of erf, tanh, quick$"
    yield Refusal("form", (h, w, b, "exact"), {}, ValueError, match)
    match = r"^gelu_linear: h \(3, 5\) and weight \(5, 4\) do not fit; the last axis of h must be 4"
    yield Refusal("weight", (h, w.T), {}, ValueError, match)
    match = r"^gelu_linear: bias \(1,\) does not fit; give \(4,\)$"
    yield Refusal("bias", (h, w, b[:1]), {}, ValueError, match)
    match = "^gelu_linear: h torch.float64, weight torch.float32 differ; cast them to one dtype$"
    yield Refusal("dtypes", (h, w.float()), {}, TypeError, match)
    match = "^gelu_linear: h torch.float64, weight torch.float64, bias torch.float16 differ"
    yield Refusal("bias-dtype", (h, w, b.half()), {}, TypeError, match)
    yield Refusal("ids", (h.long(), w), {}, TypeError, "^gelu_linear: h is torch.int64; .*h.float")
    yield Refusal("int-w", (h, w.long()), {}, TypeError, "^gelu_linear: weight is torch.int64; ")


def layer_norm_linear_samples() -> Iterator[Sample]:
    scale, shift = randn(5), randn(5, seed=1)
    w, b = randn(4, 5), randn(4)
    yield Sample("batch", (randn(2, 3, 5), scale, shift, w, b))
    yield Sample("row", (randn(5), scale, shift, w, b))
    yield Sample("no-bias", (randn(3, 5), scale, shift, w))
    yield Sample("offset", (randn(3, 5) + 50, scale, shift, w, b, 1e-12), cancels=50)
    yield Sample("large-eps", (randn(3, 5), scale, shift, w, b), {"eps": 0.5})
    yield Sample("default-eps", (randn(3, 5) * 1e-3, scale, shift, w, b))
    yield Sample("no-rows", (randn(0, 5), scale, shift, w, b))
    yield Sample("no-outputs", (randn(3, 5), scale, shift, randn(0, 5), randn(0)))
    yield Sample("transposed", (randn(5, 3).T, scale, shift, randn(5, 4).T, b))
    # the largest number of a row is four of its deviations: centring it loses two bits
    repeated = randn(3, 1, 5).expand(3, 2, 5)
    yield Sample("expanded", (repeated, f64(2.0).expand(5), shift, w, b[:1].expand(4)), cancels=4)


def layer_norm_linear_reference(
    x: Tensor,
    scale: Tensor,
    shift: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Spell the norm out: the second derivatives of torch's own are wrong (2.13)."""
    centred = x - x.mean(-1, keepdim=True)
    xhat = centred / torch.sqrt(centred.square().mean(-1, keepdim=True) + eps)
    return F.linear(xhat * scale + shift, weight, bias)


def layer_norm_linear_errors() -> Iterator[Refusal]:
    op = "layer_norm_linear"
    x, s, w, b = randn(2, 3), randn(3), randn(4, 3), randn(4)
    match = rf"^{op}: scale \(4,\) does not fit x \(2, 3\); give \(3,\)$"
    yield Refusal("scale", (x, b, s, w, b), {}, ValueError, match)
    match = rf"^{op}: shift \(1,\) does not fit x \(2, 3\); give \(3,\)$"
    yield Refusal("shift", (x, s, s[:1], w, b), {}, ValueError, match)
    match = rf"^{op}: x \(2, 3\) and weight \(3, 4\) do not fit; the last axis of x must be 4$"
    yield Refusal("weight", (x, s, s, w.T, b), {}, ValueError, match)
    match = rf"^{op}: bias \(3,\) does not fit; give \(4,\)$"
    yield Refusal("bias", (x, s, s, w, s), {}, ValueError, match)
    yield Refusal("scalar", (x[0, 0], s, s, w, b), {}, ValueError, f"^{op}: x has no axis")
    yield Refusal("eps", (x, s, s, w, b, -1e-5), {}, ValueError, f"^{op}: eps -1e-05 is below 0")
    match = f"^{op}: x torch.float64, weight torch.float32 differ; cast them to one dtype$"
    yield Refusal("dtypes", (x, s, s, w.float()), {}, TypeError, match)
    match = f"^{op}: x torch.float64, weight torch.float64, bias torch.float16 differ"
    yield Refusal("bias-dtype", (x, s, s, w, b.half()), {}, TypeError, match)
    for name, i in (("x", 0), ("scale", 1), ("shift", 2), ("weight", 3), ("bias", 4)):
        args = [x, s, s, w, b]
        args[i] = args[i].long()
        match = f"^{op}: {name} is torch.int64; .*{name}.float"
        yield Refusal(f"int-{name}", tuple(args), {}, TypeError, match)


PRODUCTS: dict[str, OpInfo] = {
    "gelu_linear": OpInfo(
        name="gelu_linear",
        op=gelu_linear,
        reference=gelu_linear_reference,
        samples=gelu_linear_samples,
        errors=gelu_linear_errors,
        roundings=8,
        autocast="low",
    ),
    "layer_norm_linear": OpInfo(
        name="layer_norm_linear",
        op=layer_norm_linear,
        reference=layer_norm_linear_reference,
        samples=layer_norm_linear_samples,
        errors=layer_norm_linear_errors,
        roundings=8,
        autocast="low",
    ),
}

"""OPS: every public op, the reference it must equal, the samples it is tried on, what it refuses.

A new op is one row here; tests/unit/ops/test_ops.py and tests/integration/test_compile.py find it.
Samples are float64 masters of small sizes, all different; `table_fused.py` holds the rows of
attention and of the losses.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo import ops
from zoo.ops.gelu import FORMS
from zoo.ops.table_fused import FUSED
from zoo.testing.opinfo import OpInfo, Refusal, Sample, f64, randn

# far below, far above, around zero; a softmax that is one-sided and one that is not
TAILS = [[-30.0, -3.0, 0.0, 1.0, 20.0], [-1e-3, 1e-3, 7.0, -9.0, 2.0], [0.1, -0.4, 0.3, 0.0, 0.2]]


def unary_samples() -> Iterator[Sample]:
    yield Sample("batch", (randn(2, 3, 5),))
    yield Sample("row", (randn(4),))
    yield Sample("no-rows", (randn(0, 3),))
    yield Sample("no-columns", (randn(3, 0),))
    yield Sample("tails", (f64(TAILS),))
    yield Sample("transposed", (randn(3, 4).T,))
    yield Sample("expanded", (randn(3, 1, 2).expand(3, 4, 2),))


def gelu_samples() -> Iterator[Sample]:
    for form in FORMS:
        for sample in unary_samples():
            yield Sample(f"{form}-{sample.name}", (*sample.args, form))
    yield Sample("default", (randn(2, 3),))
    yield Sample("scalar", (f64(0.7), "tanh"))


def gelu_reference(x: Tensor, form: str = "erf") -> Tensor:
    if form == "quick":
        return x * torch.sigmoid(1.702 * x)
    return F.gelu(x, approximate="none" if form == "erf" else "tanh")


def gelu_errors() -> Iterator[Refusal]:
    match = r"^gelu: form 'exact' is unknown; give one of erf, tanh, quick$"
    yield Refusal("form", (randn(2), "exact"), {}, ValueError, match)
    yield Refusal("ids", (torch.arange(3),), {}, TypeError, r"^gelu: x is torch.int64; .*x.float")


def softmax_errors() -> Iterator[Refusal]:
    yield Refusal("scalar", (f64(1.0),), {}, ValueError, "^softmax: x has no axis to normalise")
    yield Refusal("ids", (torch.arange(3),), {}, TypeError, "^softmax: x is torch.int64; .*x.float")


OPS = {
    "gelu": OpInfo(
        name="gelu",
        op=ops.gelu,
        reference=gelu_reference,
        samples=gelu_samples,
        errors=gelu_errors,
    ),
    "softmax": OpInfo(
        name="softmax",
        op=ops.softmax,
        reference=lambda x: F.softmax(x, -1),
        samples=unary_samples,
        errors=softmax_errors,
        roundings=8,
        autocast="float32",
    ),
    **FUSED,
}

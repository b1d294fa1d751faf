"""OPS: every public op, the reference it must equal, the samples it is tried on, what it refuses.

A new op is one row here; tests/unit/ops/test_ops.py and tests/integration/test_compile.py find it.
Samples are float64 masters of small sizes, all different; `table_fused.py` holds the rows of
attention and of the losses, `table_products.py` those of a cheap map led into a product,
`table_vision.py` those of what images bring along.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo import ops
from zoo.ops.dropout import keep_mask
from zoo.ops.gelu import FORMS
from zoo.ops.table_fused import FUSED
from zoo.ops.table_products import PRODUCTS
from zoo.ops.table_vision import VISION
from zoo.testing.opinfo import OpInfo, Refusal, Sample, f64, randint, randn

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


def dropout_samples() -> Iterator[Sample]:
    for number, sample in enumerate(unary_samples()):
        yield Sample(sample.name, (*sample.args, 0.3, number))
    yield Sample("default-head", (randn(7, 5), 0.1, -3))
    yield Sample("high-rate", (randn(3, 4, 6), 0.9, 1 << 62))
    yield Sample("tensor-seed", (randn(2, 5), 0.25, torch.tensor(11)))


def dropout_reference(x: Tensor, rate: float, seed: int | Tensor) -> Tensor:
    dropped = round(rate * 65536) / 65536
    return torch.where(keep_mask(x.shape, rate, seed), x / (1 - dropped), 0)


def dropout_errors() -> Iterator[Refusal]:
    x = randn(2, 3)
    for rate in (1.0, -0.1, float("nan")):
        match = rf"^dropout: rate {rate} is outside \[0, 1\); give the share to drop$"
        yield Refusal(f"rate-{rate}", (x, rate, 0), {}, ValueError, match)
    yield Refusal("ids", (torch.arange(3), 0.1, 0), {}, TypeError, "^dropout: x is torch.int64; ")
    for seed, match in (
        (0.5, "^dropout: seed is 0.5; give an int or"),
        (torch.tensor([1]), r"^dropout: seed is torch.int64 \(1,\); give one int64 without axes"),
        (torch.tensor(1.0), r"^dropout: seed is torch.float32 \(\); give one int64"),
    ):
        yield Refusal(f"seed-{seed}", (x, 0.1, seed), {}, TypeError, match)
    for seed in (1 << 63, -(1 << 63) - 1):
        match = f"^dropout: seed {seed} does not fit into 64 bits"
        yield Refusal(f"seed-{seed}", (x, 0.1, seed), {}, ValueError, match)


def embedding_samples() -> Iterator[Sample]:
    table = randn(7, 3)
    yield Sample("batch", (randint(7, 2, 5), table))
    yield Sample("one-id", (torch.tensor(6), table))
    yield Sample("repeated", (torch.tensor([4, 0, 4, 4, 0]), table))
    yield Sample("int32", (randint(7, 4).int(), table))
    yield Sample("no-ids", (randint(7, 0, 2), table))
    yield Sample("no-width", (randint(7, 2), randn(7, 0)))
    yield Sample("transposed", (randint(3, 4, 2).T, randn(5, 3).T))
    yield Sample("expanded", (torch.tensor([[1], [2]]).expand(2, 3), randn(1, 4).expand(5, 4)))


def embedding_errors() -> Iterator[Refusal]:
    table = randn(5, 3)
    for low, high in ((2, 5), (-1, 4)):
        match = f"^embedding: ids go from {low} to {high}; give ids from 0 to 4, or a table of more"
        args = (torch.tensor([3, low, high]), table)
        yield Refusal(f"ids-{low}-{high}", args, {}, IndexError, match)
    ids = torch.arange(3)
    match = "^embedding: ids are torch.float64; give integers, ids.long"
    yield Refusal("float-ids", (ids.double(), table), {}, TypeError, match)
    yield Refusal("int-table", (ids, ids[None]), {}, TypeError, "^embedding: weight is torch.int64")
    match = r"^embedding: weight \(5,\) is not a table; give \(rows, width\)$"
    yield Refusal("vector", (ids, table[:, 0]), {}, ValueError, match)


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


def layer_norm_samples() -> Iterator[Sample]:
    w, b = randn(5), randn(5, seed=1)
    yield Sample("batch", (randn(2, 3, 5), w, b))
    yield Sample("row", (randn(4), randn(4, seed=2), randn(4, seed=3)))
    yield Sample("offset", (randn(3, 5) + 50, w, b, 1e-12), cancels=50)
    yield Sample("large-eps", (randn(3, 5), w, b), {"eps": 0.5})
    yield Sample("default-eps", (randn(3, 5) * 1e-3, w, b))
    yield Sample("no-eps", (randn(2, 5), w, b, 0.0))
    yield Sample("no-rows", (randn(0, 5), w, b))
    yield Sample("transposed", (randn(5, 3).T, w, b))
    yield Sample("expanded", (randn(3, 1, 5).expand(3, 2, 5), f64(2.0).expand(5), b))


def layer_norm_reference(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    """Spell the op out: the second derivatives of torch's own layer_norm are wrong (2.13)."""
    centred = x - x.mean(-1, keepdim=True)
    return centred / torch.sqrt(centred.square().mean(-1, keepdim=True) + eps) * weight + bias


def layer_norm_errors() -> Iterator[Refusal]:
    x, w = randn(2, 3), randn(3)
    match = r"^layer_norm: weight \(4,\) does not fit x \(2, 3\); give \(3,\)$"
    yield Refusal("weight", (x, randn(4), w), {}, ValueError, match)
    match = r"^layer_norm: bias \(1,\) does not fit x \(2, 3\); give \(3,\)$"
    yield Refusal("bias", (x, w, w[:1]), {}, ValueError, match)
    yield Refusal("scalar", (x[0, 0], w, w), {}, ValueError, "^layer_norm: x has no axis")
    yield Refusal("eps", (x, w, w, -1e-5), {}, ValueError, "^layer_norm: eps -1e-05 is below 0")
    yield Refusal("ids", (x.long(), w, w), {}, TypeError, "^layer_norm: x is torch.int64; ")
    yield Refusal("int-w", (x, w.long(), w), {}, TypeError, "^layer_norm: weight is torch.int64; ")
    yield Refusal("int-b", (x, w, w.long()), {}, TypeError, "^layer_norm: bias is torch.int64; ")


def linear_samples() -> Iterator[Sample]:
    w, b = randn(4, 5), randn(4)
    yield Sample("batch", (randn(2, 3, 5), w, b))
    yield Sample("row", (randn(5), w, b))
    yield Sample("no-bias", (randn(3, 5), w))
    yield Sample("no-rows", (randn(2, 0, 5), w, b))
    yield Sample("no-inputs", (randn(3, 0), randn(4, 0), b))
    yield Sample("no-outputs", (randn(3, 5), randn(0, 5), randn(0)))
    yield Sample("transposed", (randn(5, 3).T, randn(5, 4).T, b))
    yield Sample("expanded", (randn(3, 1, 5).expand(3, 2, 5), w, f64(0.5).expand(4)))


def linear_errors() -> Iterator[Refusal]:
    x, w, b = randn(3, 5), randn(4, 5), randn(4)
    match = r"^linear: x \(3, 5\) and weight \(5, 4\) do not fit; the last axis of x must be 4$"
    yield Refusal("weight", (x, w.T), {}, ValueError, match)
    match = r"^linear: weight \(4,\) is not a matrix; give \(out, in\)$"
    yield Refusal("vector", (x, b), {}, ValueError, match)
    match = r"^linear: bias \(1,\) does not fit; give \(4,\)$"
    yield Refusal("bias", (x, w, b[:1]), {}, ValueError, match)
    match = r"^linear: bias \(1, 4\) does not fit; give \(4,\)$"
    yield Refusal("bias-matrix", (x, w, b[None]), {}, ValueError, match)
    yield Refusal("scalar", (x[0, 0], w), {}, ValueError, r"^linear: x \(\) and weight \(4, 5\)")
    match = "^linear: x torch.float64, weight torch.float32 differ; cast them to one dtype$"
    yield Refusal("dtypes", (x, w.float()), {}, TypeError, match)
    match = "^linear: x torch.float64, weight torch.float64, bias torch.float16 differ; "
    yield Refusal("bias-dtype", (x, w, b.half()), {}, TypeError, match)
    yield Refusal("ids", (x.long(), w), {}, TypeError, "^linear: x is torch.int64; .*x.float")
    yield Refusal("int-w", (x, w.long()), {}, TypeError, "^linear: weight is torch.int64; ")
    yield Refusal("int-b", (x, w, b.long()), {}, TypeError, "^linear: bias is torch.int64; ")


def softmax_errors() -> Iterator[Refusal]:
    yield Refusal("scalar", (f64(1.0),), {}, ValueError, "^softmax: x has no axis to normalise")
    yield Refusal("ids", (torch.arange(3),), {}, TypeError, "^softmax: x is torch.int64; .*x.float")


OPS = {
    "dropout": OpInfo(
        name="dropout",
        op=ops.dropout,
        reference=dropout_reference,
        samples=dropout_samples,
        errors=dropout_errors,
    ),
    "embedding": OpInfo(
        name="embedding",
        op=ops.embedding,
        reference=lambda ids, weight: weight[ids.long()],
        samples=embedding_samples,
        errors=embedding_errors,
    ),
    "gelu": OpInfo(
        name="gelu",
        op=ops.gelu,
        reference=gelu_reference,
        samples=gelu_samples,
        errors=gelu_errors,
    ),
    "layer_norm": OpInfo(
        name="layer_norm",
        op=ops.layer_norm,
        reference=layer_norm_reference,
        samples=layer_norm_samples,
        errors=layer_norm_errors,
        autocast="float32",
    ),
    "linear": OpInfo(
        name="linear",
        op=ops.linear,
        reference=F.linear,
        samples=linear_samples,
        errors=linear_errors,
        autocast="low",
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
    **PRODUCTS,
    **VISION,
}

"""Rows of the ops that fuse several steps: attention and the losses."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.ops._attention_blocks import BLOCK, dense_keep
from zoo.ops.attention import attention
from zoo.ops.cross_entropy import cross_entropy
from zoo.ops.linear_cross_entropy import linear_cross_entropy
from zoo.testing.opinfo import OpInfo, Refusal, Sample, randint, randn


def qkv(b: int, h: int, t: int, s: int, n: int) -> tuple[Tensor, Tensor, Tensor]:
    return randn(b, h, t, n), randn(b, h, s, n, seed=1), randn(b, h, s, n, seed=2)


def looks(*shape: int) -> Tensor:
    """A mask in which about two thirds may look."""
    return randint(3, *shape, seed=5) > 0


#: real keys of four rows: all, in the middle, none, at the start
PADDING = torch.tensor(
    [[1, 1, 1, 1, 1], [0, 1, 1, 0, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 0]], dtype=torch.bool
)
LEFT = torch.tensor([[0, 0, 1, 1, 1], [0, 0, 1, 1, 1], [0, 1, 1, 1, 1]], dtype=torch.bool)
RAGGED = torch.tensor([[1, 0, 1, 1, 0], [1, 1, 1, 1, 1]], dtype=torch.bool)


def attention_samples() -> Iterator[Sample]:
    yield Sample("plain", qkv(2, 3, 4, 5, 6))
    yield Sample("causal", qkv(1, 2, 5, 5, 3), {"causal": True}, cancels=2)
    yield Sample("causal-new-queries", qkv(2, 1, 3, 5, 4), {"causal": True})
    yield Sample("one-token-and-a-cache", qkv(2, 3, 1, 5, 4), {"causal": True})
    yield Sample("mask-of-all", (*qkv(2, 3, 4, 5, 6), looks(2, 3, 4, 5)))
    yield Sample("mask-of-keys", (*qkv(2, 3, 4, 5, 6), looks(2, 1, 1, 5)))
    yield Sample("mask-of-heads", (*qkv(2, 3, 4, 5, 6), looks(3, 1, 5)))
    yield Sample("mask-of-pairs", (*qkv(2, 3, 4, 5, 6), looks(4, 5)), {"causal": False})
    yield Sample("mask-and-causal", (*qkv(2, 1, 4, 4, 3), looks(2, 1, 1, 4)), {"causal": True})
    yield Sample("mask-of-nothing", (*qkv(2, 1, 3, 4, 5), torch.zeros(3, 1).bool()))
    yield Sample("padding", qkv(4, 1, 5, 5, 2), {"padding": PADDING})
    yield Sample("padding-causal", qkv(3, 2, 5, 5, 1), {"padding": LEFT, "causal": True})
    yield Sample("padding-none", qkv(2, 1, 5, 5, 3), {"padding": torch.ones(2, 5).bool()})
    yield Sample("padding-ragged", qkv(2, 1, 5, 5, 3), {"padding": RAGGED})
    yield Sample("padding-of-keys", qkv(4, 1, 3, 5, 2), {"padding": PADDING, "causal": True})
    yield Sample("padding-and-a-cache", qkv(3, 2, 1, 5, 2), {"padding": LEFT})
    yield Sample("lengths", qkv(1, 2, 6, 6, 3), {"lengths": (2, 1, 3)})
    yield Sample("lengths-causal", qkv(1, 2, 6, 6, 3), {"lengths": [4, 2], "causal": True})
    drop = {"lengths": (1, 4), "rate": 0.4, "seed": 3}
    yield Sample("lengths-mask-dropout", (*qkv(1, 2, 5, 5, 3), looks(5, 5)), drop)
    yield Sample("dropout", qkv(2, 3, 4, 5, 6), {"rate": 0.3, "seed": 7})
    drop = {"rate": 0.4, "seed": torch.tensor(5), "causal": True, "padding": PADDING}
    yield Sample("dropout-causal-padding", (*qkv(4, 2, 5, 5, 3), looks(5, 5)), drop)
    yield Sample("head-of-one", qkv(1, 2, 3, 4, 1))
    yield Sample("scale", qkv(1, 2, 3, 4, 5), {"scale": 0.3})
    yield Sample("empty-batch", qkv(0, 2, 3, 4, 5))
    yield Sample("no-queries", qkv(2, 1, 0, 3, 4), {"causal": True})
    yield Sample("no-keys", qkv(2, 1, 3, 0, 4))
    packed = randn(2, 4, 3 * 2 * 5).view(2, 4, 3, 2, 5).permute(2, 0, 3, 1, 4)
    yield Sample("packed", tuple(packed))
    yield Sample("strided", tuple(x.mT for x in qkv(1, 2, 3, 3, 4)), {"causal": True})


def attention_reference(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    *,
    causal: bool = False,
    padding: Tensor | None = None,
    lengths: Sequence[int] | None = None,
    rate: float = 0.0,
    seed: int | Tensor | None = None,
    scale: float | None = None,
) -> Tensor:
    """Attention in torch's own words, and what we say of rows that may look nowhere.

    What is dropped is asked of the op; that it is a fair draw, tests/unit/ops/test_attention.py
    shows.
    """
    t, s = q.shape[2], k.shape[2]
    seen = torch.ones(t, s, dtype=torch.bool) if mask is None else mask
    if causal:
        seen = seen & (torch.arange(s) <= torch.arange(t)[:, None] + s - t)
    if padding is not None:
        seen = seen & padding[:, None, None, :]
        if t == s:
            seen = seen & padding[:, None, :, None]
    if lengths is not None:
        seen = seen & torch.block_diag(*(torch.ones(n, n) for n in lengths)).bool()
    some = seen.any(-1, keepdim=True)  # torch gives NaN to a row that sees nothing
    factor = q.shape[3] ** -0.5 if scale is None else scale
    scores = torch.einsum("bhtn,bhsn->bhts", q, k) * factor
    weights = F.softmax(scores.masked_fill(some & ~seen, float("-inf")), -1)
    if rate and seed is not None:
        keep = dense_keep(q, k, causal, rate, torch.as_tensor(seed), BLOCK)
        weights = weights * keep / (1 - round(rate * 65536) / 65536)
    return torch.einsum("bhts,bhsn->bhtn", weights, v) * some


def attention_errors() -> Iterator[Refusal]:
    q, k, v = qkv(2, 3, 4, 5, 6)
    wrong = r"^attention: q, k, v are .*; give \(b, h, t, n\), twice"
    shapes = r"\(2, 3, 4, 6\), \(2, 1, 5, 6\), \(2, 1, 5, 6\)"
    match = rf"^attention: q, k, v are {shapes}; give"
    yield Refusal("heads", (q, k[:, :1], v[:, :1]), {}, ValueError, match)
    yield Refusal("batch", (q[:1], k, v), {}, ValueError, wrong)
    yield Refusal("five-axes", (q[None], k[None], v[None]), {}, ValueError, wrong)
    yield Refusal("head-size", (q[..., :1], k, v), {}, ValueError, wrong)
    yield Refusal("values", (q, k, v[:, :, :2]), {}, ValueError, wrong)
    yield Refusal("axes", (q[0], k[0], v[0]), {}, ValueError, wrong)
    match = "^attention: q torch.float32, k torch.float64, v torch.float64 differ"
    yield Refusal("dtypes", (q.float(), k, v), {}, TypeError, match)
    ids = torch.ones(2, 3, 4, 5).long()
    yield Refusal("ids", (ids, ids, ids), {}, TypeError, "^attention: q is torch.int64")
    more = (*qkv(1, 2, 4, 3, 2),)
    match = "^attention: causal with 4 queries for 3 keys"
    yield Refusal("more-queries", more, {"causal": True}, ValueError, match)
    match = r"^attention: mask \(3, 5\) does not broadcast to \(2, 3, 4, 5\)$"
    yield Refusal("mask-shape", (q, k, v, looks(3, 5)), {}, ValueError, match)
    match = r"^attention: mask \(1, 2, 3, 4, 5\) does not"
    yield Refusal("mask-axes", (q, k, v, looks(1, 2, 3, 4, 5)), {}, ValueError, match)
    match = "^attention: mask is torch.float32; give a bool"
    yield Refusal("mask-dtype", (q, k, v, torch.ones(4, 5)), {}, TypeError, match)
    match = r"^attention: padding .*\(2, 4\).*; give a bool \(2, 5\)"
    yield Refusal("padding-shape", (q, k, v), {"padding": looks(2, 4)}, ValueError, match)
    match = "^attention: rate 0.5 needs a seed"
    yield Refusal("no-seed", (q, k, v), {"rate": 0.5}, ValueError, match)
    match = "^attention: seed is 0.5; give an int"
    yield Refusal("seed", (q, k, v), {"rate": 0.5, "seed": 0.5}, TypeError, match)
    match = "^attention: padding is torch.float32"
    yield Refusal("padding-dtype", (q, k, v), {"padding": torch.ones(2, 5)}, ValueError, match)
    one = tuple(x[:1, :, :4] for x in (q, k, v))
    for lengths in ((2, 1), (4, 0), (5, -1), ()):
        match = rf"^attention: lengths \[{', '.join(map(str, lengths))}\] do not fit 1 rows of 4"
        name = "lengths-" + "-".join(map(str, lengths))
        yield Refusal(name, one, {"lengths": lengths}, ValueError, match)
    match = r"^attention: lengths \[4\] do not fit 2 rows of 4 queries and 5 keys"
    yield Refusal("lengths-of-rows", (q, k, v), {"lengths": (4,)}, ValueError, match)
    both = {"lengths": (4,), "padding": torch.ones(1, 4).bool()}
    match = "^attention: give lengths or padding, not both"
    yield Refusal("lengths-and-padding", one, both, ValueError, match)
    match = r"^attention: rate 1.0 is outside \[0, 1\)"
    yield Refusal("rate", (q, k, v), {"rate": 1.0, "seed": 1}, ValueError, match)


def labelled(*shape: int, v: int) -> Tensor:
    """Labels of which the last is ignored, where there are several."""
    labels = randint(v, *shape, seed=3)
    if labels.numel() > 1:
        labels.view(-1)[-1] = -100
    return labels


def cross_entropy_samples() -> Iterator[Sample]:
    yield Sample("batch", (randn(2, 3, 5), labelled(2, 3, v=5)))
    yield Sample("rows", (randn(4, 3), randint(3, 4)))
    yield Sample("row", (randn(6), torch.tensor(5)))
    yield Sample("smoothing", (randn(2, 3, 5), labelled(2, 3, v=5)), {"smoothing": 0.3})
    yield Sample("sum", (randn(3, 4), labelled(3, v=4)), {"reduction": "sum"})
    yield Sample("ignore", (randn(3, 4), torch.tensor([0, 3, 2])), {"ignore": 0})
    yield Sample("ignore-all", (randn(2, 4), torch.full((2,), -100)))
    yield Sample("transposed", (randn(4, 3).T, labelled(3, v=4)))
    far = 30 * randn(3, 4)
    yield Sample("tails", (far, far.argmin(-1)), {"reduction": "sum"}, cancels=16)


def cross_entropy_reference(
    logits: Tensor,
    labels: Tensor,
    *,
    ignore: int = -100,
    smoothing: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """torch's own, whose mean over nothing is NaN where ours is 0."""
    total = F.cross_entropy(
        logits.reshape(-1, logits.shape[-1]),
        labels.reshape(-1),
        ignore_index=ignore,
        label_smoothing=smoothing,
        reduction="sum",
    )
    return total / max(1, int((labels != ignore).sum())) if reduction == "mean" else total


def loss_errors(op: str, call: Any) -> Iterator[Refusal]:
    """What both losses refuse; `call` makes the arguments from labels for 3 rows and 4 columns."""
    labels = torch.tensor([0, 4, 1])
    match = rf"^{op}: label 4 is outside \[0, 4\) and not -100$"
    yield Refusal("label-high", call(labels), {}, IndexError, match)
    match = rf"^{op}: label -1 is outside \[0, 4\) and not -100$"
    yield Refusal("label-low", call(labels - 1 - labels // 4), {}, IndexError, match)
    match = f"^{op}: labels are torch.int32; give int64"
    yield Refusal("label-dtype", call(labels.int()), {}, TypeError, match)
    match = rf"^{op}: labels \(2,\) do not name rows of \(3, 4\)$"
    yield Refusal("label-shape", call(labels[:2]), {}, ValueError, match)
    match = rf"^{op}: smoothing 1.5 is outside \[0, 1\]$"
    yield Refusal("smoothing-high", call(labels), {"smoothing": 1.5}, ValueError, match)
    match = f"^{op}: reduction 'none' is unknown; give one of mean, sum$"
    yield Refusal("reduction", call(labels), {"reduction": "none"}, ValueError, match)


def cross_entropy_errors() -> Iterator[Refusal]:
    yield from loss_errors("cross_entropy", lambda labels: (randn(3, 4), labels))
    ids = torch.ones(3, 4).long()
    yield Refusal("ids", (ids, ids[:, 0]), {}, TypeError, "^cross_entropy: logits is torch.int64")


def linear_cross_entropy_samples() -> Iterator[Sample]:
    yield Sample("batch", (randn(2, 3, 4), randn(5, 4), labelled(2, 3, v=5)))
    yield Sample("bias", (randn(3, 2), randn(4, 2), randint(4, 3), randn(4)))
    yield Sample("row", (randn(3), randn(4, 3), torch.tensor(2), randn(4)))
    both = {"smoothing": 0.3, "reduction": "sum"}
    yield Sample("smoothing-sum", (randn(4, 2), randn(3, 2), labelled(4, v=3), randn(3)), both)
    yield Sample("ignore", (randn(3, 2), randn(4, 2), torch.tensor([0, 3, 2])), {"ignore": 0})
    yield Sample("ignore-all", (randn(2, 3), randn(4, 3), torch.full((2,), -100), randn(4)))
    yield Sample("no-rows", (randn(0, 3), randn(4, 3), labelled(0, v=4)))
    yield Sample("transposed", (randn(2, 5).T, randn(2, 3).T, labelled(5, v=3)))


def linear_cross_entropy_reference(
    x: Tensor, weight: Tensor, labels: Tensor, bias: Tensor | None = None, **options: Any
) -> Tensor:
    return cross_entropy_reference(F.linear(x, weight, bias), labels, **options)


def linear_cross_entropy_errors() -> Iterator[Refusal]:
    x, weight = randn(3, 2), randn(4, 2)
    yield from loss_errors("linear_cross_entropy", lambda labels: (x, weight, labels))
    labels = torch.tensor([0, 1, 2])
    match = r"^linear_cross_entropy: x \(3, 2\) and weight \(2, 4\) do not fit"
    yield Refusal("weight-shape", (x, weight.T, labels), {}, ValueError, match)
    match = r"^linear_cross_entropy: x \(3, 2\) and weight \(4, 2, 2\) do not fit"
    yield Refusal("weight-axes", (x, randn(4, 2, 2), labels), {}, ValueError, match)
    match = "^linear_cross_entropy: x torch.float64, weight torch.float32 differ"
    yield Refusal("dtypes", (x, weight.float(), labels), {}, TypeError, match)
    match = "^linear_cross_entropy: bias is torch.int64"
    yield Refusal("int-bias", (x, weight, labels, labels.new_ones(4)), {}, TypeError, match)


FUSED: dict[str, OpInfo] = {
    "attention": OpInfo(
        name="attention",
        op=attention,
        reference=attention_reference,
        samples=attention_samples,
        errors=attention_errors,
        roundings=16,
        autocast="low",
    ),
    "cross_entropy": OpInfo(
        name="cross_entropy",
        op=cross_entropy,
        reference=cross_entropy_reference,
        samples=cross_entropy_samples,
        errors=cross_entropy_errors,
        roundings=8,
        autocast="float32",
        loss=True,
    ),
    "linear_cross_entropy": OpInfo(
        name="linear_cross_entropy",
        op=linear_cross_entropy,
        reference=linear_cross_entropy_reference,
        samples=linear_cross_entropy_samples,
        errors=linear_cross_entropy_errors,
        roundings=8,
        autocast="low",
        loss=True,
    ),
}

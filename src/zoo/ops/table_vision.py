"""The rows of what images bring along: patches, unit vectors, left-out rows, losses over pairs."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.ops.contrastive import contrastive
from zoo.ops.drop_path import drop_path
from zoo.ops.dropout import keep_mask
from zoo.ops.normalize import normalize
from zoo.ops.pairwise_sigmoid import pairwise_sigmoid
from zoo.ops.patches import patches, unpatches
from zoo.testing.opinfo import OpInfo, Refusal, Sample, f64, randint, randn


def patches_samples() -> Iterator[Sample]:
    yield Sample("batch", (randn(2, 3, 4, 10), (2, 5)))
    yield Sample("tall", (randn(1, 2, 9, 2), (3, 1)))
    yield Sample("image", (randn(2, 6, 4), (2, 2)))
    yield Sample("two-batch-axes", (randn(2, 1, 3, 2, 6), (1, 3)))
    yield Sample("one-patch", (randn(2, 1, 3, 5), (3, 5)))
    yield Sample("one-pixel", (randn(1, 2, 3, 4), (1, 1)))
    yield Sample("no-images", (randn(0, 3, 4, 6), (2, 3)))
    yield Sample("no-height", (randn(2, 3, 0, 6), (2, 3)))
    yield Sample("channels-last", (randn(2, 4, 6, 3).permute(0, 3, 1, 2), (2, 3)))
    yield Sample("expanded", (randn(1, 4, 1).expand(3, 4, 6), (2, 3)))


def patches_reference(x: Tensor, patch: tuple[int, int]) -> Tensor:
    """Slide a window along both axes, as a convolution would."""
    y, w = x.shape[-2], x.shape[-1]
    places = [(i, j) for i in range(0, y, patch[0]) for j in range(0, w, patch[1])]
    rows = [x[..., i : i + patch[0], j : j + patch[1]].flatten(-3) for i, j in places]
    width = x.shape[-3] * patch[0] * patch[1]
    return torch.stack(rows, -2) if rows else x.reshape(*x.shape[:-3], 0, width)


def patches_errors() -> Iterator[Refusal]:
    x = randn(1, 3, 4, 6)
    match = r"^patches: images of \(4, 6\) are no multiple of the patch \(4, 4\); crop or"
    yield Refusal("width", (x, (4, 4)), {}, ValueError, match)
    match = r"^patches: images of \(4, 6\) are no multiple of the patch \(3, 3\); crop or"
    yield Refusal("height", (x, (3, 3)), {}, ValueError, match)
    match = r"^patches: patch is \(0, 2\); give \(height, width\) from 1$"
    yield Refusal("zero", (x, (0, 2)), {}, ValueError, match)
    match = r"^patches: \(4, 6\) is no image; give"
    yield Refusal("matrix", (x[0, 0], (2, 2)), {}, ValueError, match)
    yield Refusal("bytes", (x.byte(), (2, 2)), {}, TypeError, "^patches: images is torch.uint8; ")


def unpatches_samples() -> Iterator[Sample]:
    yield Sample("batch", (randn(2, 4, 30), (2, 5), (2, 2)))
    yield Sample("tall", (randn(1, 6, 6), (3, 1), (3, 2)))
    yield Sample("image", (randn(6, 8), (2, 2), (3, 2)))
    yield Sample("one-patch", (randn(2, 1, 15), (3, 5), (1, 1)))
    yield Sample("no-images", (randn(0, 4, 6), (2, 3), (2, 2)))
    yield Sample("no-patches", (randn(2, 0, 12), (2, 3), (0, 2)))
    yield Sample("transposed", (randn(2, 12, 4).mT, (2, 3), (1, 4)))


def unpatches_reference(x: Tensor, patch: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """Lay patches side by side, and the strips one below the other."""
    tiles = x.unflatten(-1, (-1, *patch))  # (..., p, c, ph, pw)
    strips = [
        torch.cat([tiles[..., i * grid[1] + j, :, :, :] for j in range(grid[1])], -1)
        for i in range(grid[0])
    ]
    if strips:
        return torch.cat(strips, -2)
    return tiles.sum(-4).repeat_interleave(grid[1], -1)[..., :0, :]


def unpatches_errors() -> Iterator[Refusal]:
    x = randn(1, 4, 12)
    match = r"^unpatches: rows \(1, 4, 12\) do not fill the grid \(2, 3\); give \(..., 6, c height"
    yield Refusal("grid", (x, (2, 3), (2, 3)), {}, ValueError, match)
    match = r"^unpatches: rows of 12 hold no patches of \(5, 1\); give a multiple of 5$"
    yield Refusal("patch", (x, (5, 1), (2, 2)), {}, ValueError, match)
    match = r"^unpatches: patch is \(0, 3\); give \(height, width\) from 1$"
    yield Refusal("zero", (x, (0, 3), (2, 2)), {}, ValueError, match)
    match = r"^unpatches: grid is \(-2, -2\); give \(height, width\) from 0$"
    yield Refusal("negative", (x, (2, 3), (-2, -2)), {}, ValueError, match)
    yield Refusal(
        "bytes", (x.byte(), (2, 3), (2, 2)), {}, TypeError, "^unpatches: rows is torch.uint8"
    )


def normalize_samples() -> Iterator[Sample]:
    yield Sample("batch", (randn(2, 3, 5),))
    yield Sample("vector", (randn(4),))
    yield Sample("one-number", (f64([[-3.0], [0.5]]),))
    yield Sample("no-rows", (randn(0, 3),))
    yield Sample("no-columns", (randn(3, 0),))
    yield Sample("long-and-short", (f64([[3e3, -4e3, 5.0], [2e-3, 1e-3, -3e-3]]),))
    yield Sample("below-eps", (randn(3, 4) * 0.01, 0.5))
    yield Sample("at-eps", (f64([[0.5, 0.0, 0.0], [0.0, -0.5, 0.0]]), 0.5))
    yield Sample("zeros", (torch.zeros(2, 3, dtype=torch.float64), 0.25))
    yield Sample(
        "both-sides-of-eps", (f64([[0.3, 0.1, 0.2], [0.6, 0.0, -0.1], [3.0, -1.0, 2.0]]), 0.5)
    )
    yield Sample("transposed", (randn(5, 3).T,))
    yield Sample("expanded", (randn(3, 1, 2).expand(3, 4, 2),))


def normalize_reference(x: Tensor, eps: float = 1e-12) -> Tensor:
    """Spell the op out: torch's own norm has NaN for second derivatives at zero."""
    length = x.square().sum(-1, keepdim=True)
    inside = length <= eps * eps
    return torch.where(inside, x / eps, x / torch.where(inside, 1, length).sqrt())


def normalize_errors() -> Iterator[Refusal]:
    yield Refusal("scalar", (f64(1.0),), {}, ValueError, "^normalize: x has no axis to normalise")
    yield Refusal("eps", (randn(3), 0.0), {}, ValueError, "^normalize: eps 0.0 is not above 0")
    yield Refusal("nan", (randn(3), float("nan")), {}, ValueError, "^normalize: eps nan is not")
    yield Refusal("ids", (torch.arange(3),), {}, TypeError, "^normalize: x is torch.int64; .*float")


def drop_path_samples() -> Iterator[Sample]:
    yield Sample("batch", (randn(6, 2, 3), 0.3, 0))
    yield Sample("vector", (randn(7), 0.5, 3))
    yield Sample("one-row", (randn(1, 4), 0.4, 5))
    yield Sample("images", (randn(5, 2, 3, 4), 0.25, -9))
    yield Sample("no-rows", (randn(0, 3), 0.3, 1))
    yield Sample("no-columns", (randn(3, 0), 0.3, 1))
    yield Sample("high-rate", (randn(9, 2), 0.9, 1 << 62))
    yield Sample("tensor-seed", (randn(8, 3), 0.25, torch.tensor(11)))
    yield Sample("transposed", (randn(3, 4).T, 0.5, 2))
    yield Sample("expanded", (randn(4, 1, 2).expand(4, 3, 2), 0.5, 2))


def drop_path_reference(x: Tensor, rate: float, seed: int | Tensor) -> Tensor:
    dropped = round(rate * 65536) / 65536
    keep = keep_mask(x.shape[:1], rate, seed)
    return torch.where(keep.view(-1, *(1,) * (x.ndim - 1)), x / (1 - dropped), 0)


def drop_path_errors() -> Iterator[Refusal]:
    x = randn(2, 3)
    match = r"^drop_path: rate 1.0 is outside \[0, 1\); give the share to drop$"
    yield Refusal("rate", (x, 1.0, 0), {}, ValueError, match)
    match = "^drop_path: seed is 0.5; give an int or"
    yield Refusal("seed", (x, 0.1, 0.5), {}, TypeError, match)
    yield Refusal("scalar", (x[0, 0], 0.1, 0), {}, ValueError, "^drop_path: x has no rows")
    yield Refusal("ids", (torch.arange(3), 0.1, 0), {}, TypeError, "^drop_path: x is torch.int64; ")


def pairs(n: int, e: int, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    return randn(n, e), randn(n, e, seed=1), f64(scale)


def contrastive_samples() -> Iterator[Sample]:
    yield Sample("batch", pairs(5, 3, 1.5))
    yield Sample("one-pair", pairs(1, 4, 2.0))
    yield Sample("no-pairs", pairs(0, 3, 1.0))
    yield Sample("no-columns", pairs(3, 0, 1.0))
    yield Sample("negative-scale", pairs(4, 2, -0.7))
    yield Sample(
        "unit", (F.normalize(randn(6, 4)), F.normalize(randn(6, 4, seed=1)), f64(20.0)), cancels=8
    )
    # logits of -200, where exp ends in float32, to 200
    far = f64([[10.0, 0.0], [0.0, 10.0], [-7.0, 7.0]]), f64([[10.0, 0.0], [-10.0, 0.0], [7.0, 7.0]])
    yield Sample("far", (*far, f64(2.0)), cancels=8)
    x, y, scale = pairs(4, 3, 0.5)
    yield Sample("transposed", (randn(3, 4).T, y, scale))
    yield Sample("expanded", (x, randn(1, 3).expand(4, 3), scale))


def contrastive_reference(images: Tensor, texts: Tensor, scale: Tensor) -> Tensor:
    """Two cross entropies, as in the paper; the mean over no rows is 0."""
    logits = scale * images @ texts.T
    own = torch.arange(len(images))
    sides = [F.cross_entropy(side, own, reduction="sum") for side in (logits, logits.T)]
    return (sides[0] + sides[1]) / (2 * max(1, len(images)))


def pairwise_sigmoid_samples() -> Iterator[Sample]:
    for sample in contrastive_samples():
        # the gradients of scale and bias add up terms of both signs
        yield Sample(sample.name, (*sample.args, f64(-0.8)), cancels=max(4, sample.cancels))
    yield Sample(
        "tails", (4 * randn(3, 5), 4 * randn(3, 5, seed=1), f64(3.0), f64(-10.0)), cancels=16
    )


def pairwise_sigmoid_reference(x: Tensor, y: Tensor, scale: Tensor, bias: Tensor) -> Tensor:
    logits = scale * x @ y.T + bias
    signs = 2 * torch.eye(len(x), dtype=logits.dtype) - 1
    return -F.logsigmoid(signs * logits).sum() / max(1, len(x))


def pairs_errors(op: str, *scalars: Tensor) -> Iterator[Refusal]:
    """What both losses over pairs refuse."""
    x, y = randn(3, 4), randn(3, 4, seed=1)
    given: tuple[Any, ...] = scalars
    match = rf"^{op}: images \(3, 4\) and texts \(2, 4\) do not pair"
    yield Refusal("rows", (x, y[:2], *given), {}, ValueError, match)
    match = rf"^{op}: images \(3, 4\) and texts \(3, 3\) do not pair"
    yield Refusal("width", (x, y[:, :3], *given), {}, ValueError, match)
    match = rf"^{op}: images \(4,\) and texts \(4,\) do not pair"
    yield Refusal("vectors", (x[0], y[0], *given), {}, ValueError, match)
    match = rf"^{op}: scale has shape \(1,\); give one number$"
    yield Refusal("scale", (x, y, f64([1.0]), *given[1:]), {}, ValueError, match)
    match = f"^{op}: images torch.float64, texts torch.float32 differ; cast them to one dtype$"
    yield Refusal("dtypes", (x, y.float(), *given), {}, TypeError, match)
    ids = randint(5, 3, 4)
    yield Refusal("ids", (ids, y, *given), {}, TypeError, f"^{op}: images is torch.int64; ")
    match = f"^{op}: scale is torch.int64; "
    yield Refusal("int-scale", (x, y, torch.tensor(2), *given[1:]), {}, TypeError, match)


VISION: dict[str, OpInfo] = {
    "contrastive": OpInfo(
        name="contrastive",
        op=contrastive,
        reference=contrastive_reference,
        samples=contrastive_samples,
        errors=lambda: pairs_errors("contrastive", f64(1.0)),
        roundings=16,
        autocast="float32",
        loss=True,
    ),
    "drop_path": OpInfo(
        name="drop_path",
        op=drop_path,
        reference=drop_path_reference,
        samples=drop_path_samples,
        errors=drop_path_errors,
    ),
    "normalize": OpInfo(
        name="normalize",
        op=normalize,
        reference=normalize_reference,
        samples=normalize_samples,
        errors=normalize_errors,
        roundings=8,
        autocast="float32",
    ),
    "pairwise_sigmoid": OpInfo(
        name="pairwise_sigmoid",
        op=pairwise_sigmoid,
        reference=pairwise_sigmoid_reference,
        samples=pairwise_sigmoid_samples,
        errors=lambda: pairs_errors("pairwise_sigmoid", f64(1.0), f64(-1.0)),
        roundings=16,
        autocast="float32",
        loss=True,
    ),
    "patches": OpInfo(
        name="patches",
        op=patches,
        reference=patches_reference,
        samples=patches_samples,
        errors=patches_errors,
    ),
    "unpatches": OpInfo(
        name="unpatches",
        op=unpatches,
        reference=unpatches_reference,
        samples=unpatches_samples,
        errors=unpatches_errors,
    ),
}

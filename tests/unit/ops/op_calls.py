"""Every op on shapes that are drawn: four sizes, of which any may be 0 or 1, and a seed.

A call is (op, reference, floats): both take the floating tensors alone. The references are torch's
own functions, or written out where torch has NaN for a mean of nothing.
"""

from functools import partial

import torch
from torch.nn import functional as F

from unit.property_rows import chosen, drawn
from zoo import ops
from zoo.ops.dropout import keep_mask, keep_scale

IGNORE = -100


def mask_of(seed, kind, b, h, t, s):
    """A mask that broadcasts: none, of keys, of rows and keys, or whole."""
    shape = [None, (s,), (t, s), (b, 1, 1, s), (b, h, t, s), (1, h, 1, s), (b, 1, t, s)][kind % 7]
    return None if shape is None else drawn(seed, *shape) > -0.6


def attention_by_hand(q, k, v, mask=None, causal=False, scale=None):
    """Softmax written out; a query that may look nowhere gives zeros."""
    t, s = q.shape[2], k.shape[2]
    seen = torch.ones(1, 1, t, s, dtype=torch.bool) if mask is None else mask
    if causal:
        seen = seen & torch.ones(t, s, dtype=torch.bool).tril(s - t)
    scale = (q.shape[3] ** -0.5 if q.shape[3] else 1.0) if scale is None else scale
    x = (q @ k.mT * scale).masked_fill(~seen, -torch.inf)
    if s:
        top = x.detach().amax(-1, keepdim=True)
        x = x - torch.where(top.isinf(), torch.zeros_like(top), top)
    e = x.exp()
    total = e.sum(-1, keepdim=True)
    return e / torch.where(total == 0, torch.ones_like(total), total) @ v


def attention(n, seed):
    b, h, t, s, size = n[0] % 3, n[1] % 4, n[2], n[3], (n[0] + n[3]) % 4
    causal = bool(seed & 1) and t <= s
    mask = mask_of(seed, seed >> 1, b, h, t, s)
    floats = (
        drawn(seed, b, h, t, size),
        drawn(seed + 1, b, h, s, size),
        drawn(seed + 2, b, h, s, size),
    )
    return (
        lambda q, k, v: ops.attention(q, k, v, mask, causal=causal),
        lambda q, k, v: attention_by_hand(q, k, v, mask, causal),
        floats,
    )  # fmt: skip


def labels_of(seed, v, *shape):
    """Labels of which a third does not count."""
    return torch.where(drawn(seed + 9, *shape) < -0.4, IGNORE, chosen(seed, v, *shape))


def loss_by_hand(logits, labels, smoothing, reduction):
    """Torch's sum over the labels that count, by their number but never by 0."""
    counted = labels != IGNORE
    if not counted.any():
        return logits.sum() * 0
    total = F.cross_entropy(
        logits[counted], labels[counted], label_smoothing=smoothing, reduction="sum"
    )
    return total if reduction == "sum" else total / counted.sum()


def loss_options(seed):
    return {"smoothing": (0.0, 0.1, 1.0)[seed % 3], "reduction": ("mean", "sum")[seed % 2]}


def cross_entropy(n, seed):
    labels, options = labels_of(seed, n[2] + 1, *n[:2]), loss_options(seed)
    return (
        partial(ops.cross_entropy, labels=labels, **options),
        lambda x: loss_by_hand(x, labels, **options),
        (3 * drawn(seed, *n[:2], n[2] + 1),),
    )


def linear_cross_entropy(n, seed):
    v = n[2] + 1
    labels, options = labels_of(seed, v, *n[:2]), loss_options(seed)
    return (
        lambda x, w, c: ops.linear_cross_entropy(x, w, labels, c, **options),
        lambda x, w, c: loss_by_hand(F.linear(x, w, c), labels, **options),
        (drawn(seed, *n[:2], n[3]), drawn(seed + 1, v, n[3]), drawn(seed + 2, v)),
    )


def embedding(n, seed):
    ids = chosen(seed, n[2] + 1, *n[:2])
    weight = drawn(seed, n[2] + 1, n[3])
    return partial(ops.embedding, ids), lambda w: F.embedding(ids, w), (weight,)


def linear(n, seed):
    floats = drawn(seed, *n[:3]), drawn(seed + 1, n[3], n[2]), drawn(seed + 2, n[3])
    return ops.linear, F.linear, floats


def gelu(form):
    def reference(x):
        if form == "quick":
            return x * torch.sigmoid(1.702 * x)
        return F.gelu(x, approximate="none" if form == "erf" else "tanh")

    def call(n, seed):
        return lambda x: ops.gelu(x, form), reference, (3 * drawn(seed, *n[:3]),)

    return call


def layer_norm(n, seed):
    d = n[2] + 1
    eps = (1e-5, 1e-2, 0.5)[seed % 3]

    def reference(x, w, c):
        centred = x - x.mean(-1, keepdim=True)
        return centred / torch.sqrt(centred.square().mean(-1, keepdim=True) + eps) * w + c

    floats = drawn(seed, *n[:2], d), drawn(seed + 1, d), drawn(seed + 2, d)
    return lambda x, w, c: ops.layer_norm(x, w, c, eps), reference, floats


def gelu_linear(n, seed):
    form = ("erf", "tanh", "quick")[seed % 3]
    reference = gelu(form)(n, seed)[1]
    floats = 3 * drawn(seed, *n[:3]), drawn(seed + 1, n[3], n[2]), drawn(seed + 2, n[3])
    return (
        lambda h, w, c: ops.gelu_linear(h, w, c, form),
        lambda h, w, c: F.linear(reference(h), w, c),
        floats,
    )


def layer_norm_linear(n, seed):
    _, norm, floats = layer_norm(n, seed)
    eps = (1e-5, 1e-2, 0.5)[seed % 3]
    return (
        lambda x, a, b, w, c: ops.layer_norm_linear(x, a, b, w, c, eps),
        lambda x, a, b, w, c: F.linear(norm(x, a, b), w, c),
        (*floats, drawn(seed + 3, n[3], n[2] + 1), drawn(seed + 4, n[3])),
    )


def softmax(n, seed):
    return ops.softmax, lambda x: F.softmax(x, -1), (3 * drawn(seed, *n[:3]),)


def normalize(n, seed):
    return ops.normalize, lambda x: F.normalize(x, dim=-1), (drawn(seed, *n[:2], n[2] + 1),)


def patches(n, seed):
    patch, grid = (1 + n[0] % 3, 1 + n[1] % 3), (n[2], n[3])
    shape = (1 + seed % 3, grid[0] * patch[0], grid[1] * patch[1])

    def reference(x):
        cut = x.unfold(1, patch[0], patch[0]).unfold(2, patch[1], patch[1])  # (c, gy, gx, ph, pw)
        return cut.permute(1, 2, 0, 3, 4).reshape(grid[0] * grid[1], -1)

    if 0 in grid:  # torch's unfold wants a window

        def reference(x):
            return x.reshape(0, shape[0] * patch[0] * patch[1])

    return lambda x: ops.patches(x, patch), reference, (drawn(seed, *shape),)


def dropout(n, seed):
    rate = (0.1, 0.5, 0.9)[seed % 3]

    def reference(x):
        return x * (keep_mask(x.shape, rate, seed).double() * keep_scale(rate))

    return lambda x: ops.dropout(x, rate, seed), reference, (drawn(seed, *n),)


def drop_path(n, seed):
    rate = (0.1, 0.5, 0.9)[seed % 3]

    def reference(x):
        rows = keep_mask(x.shape[:1], rate, seed).double() * keep_scale(rate)
        return x * rows[:, None, None]

    return lambda x: ops.drop_path(x, rate, seed), reference, (drawn(seed, *n[:3]),)


def pairs(n, seed):
    shape = (n[0], n[1])
    return drawn(seed, *shape), drawn(seed + 1, *shape), drawn(seed + 2).exp()


def contrastive(n, seed):
    def reference(x, y, scale):
        logits = scale * x @ y.T
        if not len(x):
            return logits.sum()
        own = torch.arange(len(x))
        return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2

    return ops.contrastive, reference, pairs(n, seed)


def pairwise_sigmoid(n, seed):
    def reference(x, y, scale, bias):
        sign = 2 * torch.eye(len(x), dtype=x.dtype) - 1
        return -F.logsigmoid(sign * (scale * x @ y.T + bias)).sum() / max(1, len(x))

    return ops.pairwise_sigmoid, reference, (*pairs(n, seed), drawn(seed + 3))


CALLS = {
    "attention": attention,
    "contrastive": contrastive,
    "cross_entropy": cross_entropy,
    "drop_path": drop_path,
    "dropout": dropout,
    "embedding": embedding,
    "gelu-erf": gelu("erf"),
    "gelu-quick": gelu("quick"),
    "gelu-tanh": gelu("tanh"),
    "gelu_linear": gelu_linear,
    "layer_norm": layer_norm,
    "layer_norm_linear": layer_norm_linear,
    "linear": linear,
    "linear_cross_entropy": linear_cross_entropy,
    "normalize": normalize,
    "pairwise_sigmoid": pairwise_sigmoid,
    "patches": patches,
    "softmax": softmax,
}

"""What an attention computes, found by trying the right formula and the known slips.

q, k, v are what the projections gave, the result is what the output projection was given; between
them there is no parameter, so each formula either gives these numbers or does not.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

SCALES = {
    "1/sqrt(head size)": lambda n, d, t: n**-0.5,
    "no scale": lambda n, d, t: 1.0,
    "1/sqrt(width)": lambda n, d, t: d**-0.5,
    "1/(head size)": lambda n, d, t: 1.0 / n,
    "sqrt(head size)": lambda n, d, t: n**0.5,
    "1/(head size) squared": lambda n, d, t: 1.0 / n**2,
    "1/width": lambda n, d, t: 1.0 / d,
    "1/sqrt(number of heads)": lambda n, d, t: (d / n) ** -0.5,
    "1/sqrt(positions)": lambda n, d, t: t**-0.5,
    "1/(head size) to the power 1.5": lambda n, d, t: n**-1.5,
    "1/(head size) to the power 1/4": lambda n, d, t: n**-0.25,
    "1/sqrt(head size / 2)": lambda n, d, t: (n / 2) ** -0.5,
    "head size": lambda n, d, t: float(n),
    "a negative scale": lambda n, d, t: -(n**-0.5),
}
MASKS = (
    "causal",
    "none",
    "causal, one later",
    "causal, one earlier",
    "reversed",
    "reversed, without the position itself",
    "the position itself alone",
    "everything but the position itself",
)
FILLS = (
    "-inf before the softmax",
    "zeros after the softmax",
    "zeros before the softmax",
    "one added to what may be seen",
    "one subtracted from what may not",
)
SPLITS = ("tokens, heads", "view without transpose", "head size outside, heads inside")
JOINS = (
    "heads side by side",
    "view without transpose",
    "head size outside, heads inside",
    "positions last, then a view",
)
AXES = ("keys", "queries", "heads", "the rows of the batch")
SOFTMAX = ("softmax", "none", "softmax twice", "sigmoid", "log softmax", "ReLU")
KEYS = ("transposed", "viewed in another shape")
ORDERS = sorted({"".join(p) for p in itertools.product("qkv", repeat=3)} - {"qkv"})
FUSED = ("three thirds", "a q, k, v for each head", "q, k and v innermost")
SMALL = 20_000  # numbers in q: of larger ones pairs of slips are not tried


@dataclass(frozen=True)
class Way:
    """One way to compute an attention."""

    heads: int
    mask: str
    scale: str = "1/sqrt(head size)"
    split: str = SPLITS[0]
    join: str = JOINS[0]
    axis: str = AXES[0]
    order: str = "qkv"  # which third of a fused projection is taken for which
    fill: str = FILLS[0]
    softmax: str = SOFTMAX[0]
    keys: str = KEYS[0]
    fused: str = FUSED[0]
    rotated: str = ""  # rotary positions


SAYS = {
    "mask": "the mask is {0}, where it should be {1}: build it as "
    "torch.ones(t, t, dtype=bool).tril() for a causal one, and True means: may look",
    "scale": "scores are multiplied by {0}, where it should be {1}: divide q @ k.T by "
    "sqrt(head size)",
    "split": "heads are split by {0}: use view(b, t, heads, n).transpose(1, 2)",
    "join": "heads are joined by {0}: use transpose(1, 2).reshape(b, t, width)",
    "axis": "the softmax runs over {0}, where it should run over {1}: softmax(-1)",
    "order": "queries, keys and values are read from {0}, where it should be {1}: take each from "
    "its own projection",
    "fill": "what may not be seen gets {0}, where it should get {1}: fill the scores with -inf "
    "before the softmax, so that rows sum to one",
    "softmax": "scores become weights by {0}, where it should be {1}: weights = scores.softmax(-1)",
    "keys": "keys are {0}, where they should be {1}: use k.transpose(-2, -1), a view mixes "
    "positions and features",
    "fused": "the fused projection is cut into {0}, where it should be {1}: take q, k and v from "
    "its first, second and last third, or reshape(b, t, 3, heads, n)",
    "rotated": "queries and keys are turned by {0}: the family adds positions to the embedding",
}


def attend(q: Tensor, k: Tensor, v: Tensor, way: Way, keep: Tensor | None = None) -> Tensor:
    """Compute an attention (b, t, d) the given way; `keep` (b, t) says which keys are real."""
    q, k, v = recut(q, k, v, way)
    q, k, v = ({"q": q, "k": k, "v": v}[letter] for letter in way.order)
    b, t, d = q.shape
    n = d // way.heads
    parts = [split(x, way) for x in (q, k, v)]
    if way.rotated:
        parts[:2] = [rotate(x, way.rotated) for x in parts[:2]]
    turned = parts[1].mT if way.keys == KEYS[0] else parts[1].reshape(b, way.heads, n, t)
    scores = parts[0] @ turned * SCALES[way.scale](n, d, t)
    look = may_look(way.mask, t, q.device)
    if keep is not None:
        look = look & keep[:, None, None, :]
    return join(weights_of(scores, look, way) @ parts[2], way)


def weights_of(scores: Tensor, look: Tensor, way: Way) -> Tensor:
    """Turn scores into weights."""
    axis = {"keys": -1, "queries": -2, "heads": -3, AXES[3]: 0}[way.axis]
    before = {
        FILLS[0]: lambda: scores.masked_fill(~look, -math.inf),
        FILLS[1]: lambda: scores,
        FILLS[2]: lambda: scores * look,
        FILLS[3]: lambda: scores + look,
        FILLS[4]: lambda: scores - (~look).to(scores.dtype),
    }[way.fill]()
    made: Tensor = {
        "softmax": lambda x: x.softmax(axis),
        "none": lambda x: x.masked_fill(x == -math.inf, 0.0),
        "softmax twice": lambda x: x.softmax(axis).softmax(axis),
        "sigmoid": torch.sigmoid,
        "log softmax": lambda x: x.log_softmax(axis),
        "ReLU": torch.relu,
    }[way.softmax](before)
    return made * look if way.fill == FILLS[1] else made


def recut(q: Tensor, k: Tensor, v: Tensor, way: Way) -> tuple[Tensor, Tensor, Tensor]:
    """Cut a fused projection another way."""
    if way.fused == FUSED[0]:
        return q, k, v
    whole, n = torch.cat([q, k, v], -1), q.shape[-1] // way.heads
    if way.fused == FUSED[1]:
        cut = whole.unflatten(-1, (way.heads, 3, n)).unbind(-2)
    else:
        cut = whole.unflatten(-1, (way.heads, n, 3)).unbind(-1)
    return cut[0].flatten(-2), cut[1].flatten(-2), cut[2].flatten(-2)


def split(x: Tensor, way: Way) -> Tensor:
    """Cut (b, t, d) into (b, heads, t, n)."""
    b, t, d = x.shape
    n = d // way.heads
    if way.split == SPLITS[1]:
        return x.reshape(b, way.heads, t, n)
    if way.split == SPLITS[2]:
        return x.reshape(b, t, n, way.heads).permute(0, 3, 1, 2)
    return x.reshape(b, t, way.heads, n).transpose(1, 2)


def join(y: Tensor, way: Way) -> Tensor:
    """Put heads (b, heads, t, n) together as (b, t, d)."""
    b, h, t, n = y.shape
    if way.join == JOINS[1]:
        return y.reshape(b, t, h * n)
    if way.join == JOINS[2]:
        return y.permute(0, 2, 3, 1).reshape(b, t, h * n)
    if way.join == JOINS[3]:
        return y.transpose(2, 3).reshape(b, t, h * n)
    return y.transpose(1, 2).reshape(b, t, h * n)


def rotate(x: Tensor, how: str) -> Tensor:
    """Turn pairs of features by their position (RoPE, base 10000)."""
    t, n = x.shape[-2:]
    if n % 2:
        return x
    places = torch.arange(t, dtype=x.dtype, device=x.device)
    speeds = 10000.0 ** (-torch.arange(0, n, 2, dtype=x.dtype, device=x.device) / n)
    angle = places[:, None] * speeds
    halves = how == "rotary positions"
    one, other = x.chunk(2, -1) if halves else (x[..., ::2], x[..., 1::2])
    made = (one * angle.cos() - other * angle.sin(), one * angle.sin() + other * angle.cos())
    return torch.cat(made, -1) if halves else torch.stack(made, -1).flatten(-2)


def may_look(mask: str, t: int, device: torch.device) -> Tensor:
    """Give which keys (across) a query (down) may look at."""
    every = torch.ones(t, t, dtype=torch.bool, device=device)
    made = {
        "none": every,
        "causal": every.tril(),
        "causal, one later": every.tril(1),
        "causal, one earlier": every.tril(-1),
        "reversed": every.triu(),
        MASKS[5]: every.triu(1),
        MASKS[6]: torch.eye(t, dtype=torch.bool, device=device),
        MASKS[7]: ~torch.eye(t, dtype=torch.bool, device=device),
    }
    return made[mask]


def ways(heads: list[int], right: Way, *, pairs: bool, fused: bool) -> Iterator[Way]:
    """Give the right ways, then those with one slip, then those with two.

    Only of the first number of heads, the module's own, are pairs of slips tried.
    """
    rights = [replace(right, heads=h) for h in heads]
    yield from rights
    slips: dict[str, Any] = {
        "mask": [m for m in MASKS if m != right.mask],
        "scale": list(SCALES)[1:],
        "split": SPLITS[1:],
        "join": JOINS[1:],
        "axis": AXES[1:],
        "order": ORDERS,
        "fill": FILLS[1:] if right.mask != "none" else (),
        "softmax": SOFTMAX[1:],
        "keys": KEYS[1:],
        "fused": FUSED[1:] if fused else (),
        "rotated": ("rotary positions", "rotary positions, interleaved"),
    }
    for way in rights:
        for key, values in slips.items():
            for value in values:
                yield replace(way, **{key: value})
    if not pairs:
        return
    for way in rights[:1]:
        for (one, first), (other, second) in itertools.combinations(slips.items(), 2):
            if "rotated" in (one, other):
                continue
            for a, b in itertools.product(first, second):
                yield replace(way, **{one: a, other: b})


def differences(found: Way, right: Way) -> list[str]:
    """Say in which points a way is not the right one, and what to write instead."""
    told = []
    for key, says in SAYS.items():
        mine, theirs = getattr(found, key), getattr(right, key)
        if mine != theirs:
            told.append(says.format(mine, theirs))
    return told


def head_counts(width: int, first: int | None) -> list[int]:
    """Give numbers of heads to try: the module's own first, then all that divide the width."""
    every = [h for h in range(1, width + 1) if width % h == 0 and h <= 64]
    if first is None or width % first:
        return every
    return [first, *(h for h in every if h != first)]

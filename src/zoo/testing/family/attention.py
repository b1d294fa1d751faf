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
from torch.nn import functional as F

SCALES = {
    "1/sqrt(head size)": lambda n, d: n**-0.5,
    "no scale": lambda n, d: 1.0,
    "1/sqrt(width)": lambda n, d: d**-0.5,
    "1/(head size)": lambda n, d: 1.0 / n,
    "sqrt(head size)": lambda n, d: n**0.5,
    "1/(head size) twice over": lambda n, d: 1.0 / n**2,
}
MASKS = ("causal", "none", "causal, one later", "causal, one earlier", "reversed")
SPLITS = ("tokens, heads", "view without transpose")
JOINS = ("heads side by side", "view without transpose")
AXES = ("keys", "queries", "heads")
ORDERS = sorted({"".join(p) for p in itertools.product("qkv", repeat=3)} - {"qkv"})


@dataclass(frozen=True)
class Way:
    """One way to compute an attention."""

    heads: int
    mask: str
    scale: str = "1/sqrt(head size)"
    split: str = "tokens, heads"
    join: str = "heads side by side"
    axis: str = "keys"
    order: str = "qkv"  # which third of a fused projection is taken for which
    mask_after: bool = False  # the mask multiplies the probabilities


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
    "mask_after": "the mask is applied after the softmax, so rows no longer sum to one: fill the "
    "scores with -inf before it",
}


def attend(q: Tensor, k: Tensor, v: Tensor, way: Way) -> Tensor:
    """Compute an attention (b, t, d) the given way."""
    q, k, v = ({"q": q, "k": k, "v": v}[letter] for letter in way.order)
    b, t, d = q.shape
    n = d // way.heads
    parts = [split(x, way) for x in (q, k, v)]
    scale = SCALES[way.scale](n, d)
    if way == replace(Way(way.heads, way.mask), order=way.order) and way.mask in MASKS[:2]:
        y = F.scaled_dot_product_attention(
            parts[0], parts[1], parts[2], is_causal=way.mask == "causal"
        )
    else:
        scores = parts[0] @ parts[1].mT * scale
        look = may_look(way.mask, t, q.device)
        axis = {"keys": -1, "queries": -2, "heads": -3}[way.axis]
        if way.mask_after:
            weights = scores.softmax(axis) * look
        else:
            weights = scores.masked_fill(~look, -math.inf).softmax(axis).nan_to_num(0.0)
        y = weights @ parts[2]
    if way.join == "view without transpose":
        return y.reshape(b, t, d)
    return y.transpose(1, 2).reshape(b, t, d)


def split(x: Tensor, way: Way) -> Tensor:
    """Cut (b, t, d) into (b, heads, t, n)."""
    b, t, d = x.shape
    if way.split == "view without transpose":
        return x.reshape(b, way.heads, t, d // way.heads)
    return x.view(b, t, way.heads, d // way.heads).transpose(1, 2)


def may_look(mask: str, t: int, device: torch.device) -> Tensor:
    """Give which keys (across) a query (down) may look at."""
    every = torch.ones(t, t, dtype=torch.bool, device=device)
    return {
        "none": every,
        "causal": every.tril(),
        "causal, one later": every.tril(1),
        "causal, one earlier": every.tril(-1),
        "reversed": every.triu(),
    }[mask]


def ways(width: int, heads: list[int], mask: str) -> Iterator[Way]:
    """Give the right ways, then those with one slip, then those with two."""
    right = [Way(h, mask) for h in heads if width % h == 0]
    yield from right
    slips: dict[str, Any] = {
        "mask": [m for m in MASKS if m != mask],
        "scale": list(SCALES)[1:],
        "split": SPLITS[1:],
        "join": JOINS[1:],
        "axis": AXES[1:],
        "order": ORDERS,
        "mask_after": [True] if mask != "none" else [],
    }
    for way in right:
        for key, values in slips.items():
            for value in values:
                yield replace(way, **{key: value})
    for way in right:
        for (one, first), (other, second) in itertools.combinations(slips.items(), 2):
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
    return [first, *(h for h in every if h != first)] if first else every

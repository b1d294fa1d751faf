"""Attention rollout: how much of each token stands in what a token has become.

    A_l = (maps of layer l over the heads + I), rows made to sum to one      R = A_L ... A_2 A_1

The identity is the residual stream, which carries a token past the attention. R[i, j] is the share
of token j in token i behind the last layer, if each layer only mixed what it looked at.

Source: Abnar and Zuidema, Quantifying Attention Flow in Transformers, 2020, arXiv:2005.00928,
section 3; the smallest or largest over the heads, as is usual for images, in place of their mean.
"""

from collections.abc import Iterable

from jaxtyping import Bool, Float
from torch import Tensor, eye

HEADS = ("mean", "max", "min")


def over_heads(attention: Float[Tensor, "b h t t"], how: str) -> Float[Tensor, "b t t"]:
    """Take the mean, the largest or the smallest over the heads."""
    if how not in HEADS:
        raise ValueError(f"head {how!r}; expected one of {HEADS}")
    if how == "mean":
        return attention.mean(1)
    return attention.amax(1) if how == "max" else attention.amin(1)


def rollout(
    maps: Iterable[Float[Tensor, "b h t t"]], *, head: str = "mean"
) -> Float[Tensor, "b t t"]:
    """Multiply through the maps of layers, first layer first; each row sums to one.

    `head` says how heads become one: `mean`, `max` or `min`. Padding, whose rows and columns are
    zeros, keeps to itself: its row is that of the identity.
    Raises ValueError without a map, and for another `head`.
    """
    result = None
    for attention in maps:
        mixed = over_heads(attention, head)
        mixed = mixed + eye(mixed.shape[1], device=mixed.device)
        mixed = mixed / mixed.sum(-1, keepdim=True)
        result = mixed if result is None else mixed @ result
    if result is None:
        raise ValueError("no maps to roll out; give those of at least one layer")
    return result


def share_of(rolled: Float[Tensor, "b t t"], readers: Bool[Tensor, "b t"]) -> Float[Tensor, "b t"]:
    """Give the mean row of the tokens that an answer is read from; it sums to one."""
    rows = rolled.masked_fill(~readers[..., None], 0.0)
    return rows.sum(1) / readers.sum(1, keepdim=True)

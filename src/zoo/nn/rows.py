"""One new token for each of several texts that share nothing but the products.

Each row has a cache of its own, as long as it needs. Its attention is the call that it would be
alone; only norms, linear layers and gelu see all rows, in a number of them that keeps their bits
(see zoo.nn.steady). So a row's numbers do not depend on who else is there.
"""

from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.nn.cache import KVCache
from zoo.nn.steady import LADDER, Product, drawn, fill, good_counts, pointwise
from zoo.nn.step import Part, attend, linear, norm
from zoo.ops.gelu import gelu_forward

ALIGNED = 16  # numbers: rows of a multiple of them begin where memory may be handed out


def one_token_each(
    blocks: list[list[Part]], x: Float[Tensor, "n 1 d"], caches: Sequence[KVCache], width: int
) -> Float[Tensor, "w 1 d"]:
    """Lead one new token of each cache, which has taken it in, through blocks that norm first.

    Products are of `width` rows, at least n; what stands behind the first n means nothing.
    """
    held = [cache.buffer.unbind(0) for cache in caches]
    x = fill(x, width)
    for i, parts in enumerate(blocks):
        norm1, attn, qkv, out, norm2, mlp, up, down, _ = parts
        y = linear(norm(x, norm1), qkv)
        seen = torch.zeros_like(x)
        for row, (cache, layers) in enumerate(zip(caches, held, strict=True)):
            own = y.narrow(0, row, 1)
            if y.shape[2] % ALIGNED:
                own = own.clone()
            seen[row] = attend(own, attn["heads"], layers[i], cache.length, None)[0]
        x = x + linear(seen, out)
        inner = pointwise(partial(gelu_forward, form=mlp["gelu"]), linear(norm(x, norm2), up))
        x = x + linear(inner, down)
    return x


def widths(blocks: list[list[Part]], head: nn.Module, rows: int) -> tuple[int, ...]:
    """Give numbers of rows, up to the first that is at least `rows`, that keep each row's bits.

    Tried with the weights themselves. None are given where none was found: then each row must be
    computed alone.
    """
    products = products_of(blocks, head)
    for most in range(rows, 2 * rows + 1):
        counts: tuple[int, ...] = (*(n for n in LADDER if n < most), most)
        for product, weight in products:
            x = drawn(most, weight.shape[1], weight)
            counts = tuple(set(counts) & set(good_counts(product, x, counts)))
            if most not in counts:
                break
        else:
            return tuple(sorted(counts))
    return ()


def products_of(blocks: list[list[Part]], head: nn.Module) -> list[tuple[Product, Tensor]]:
    """Give the products of a step, each kind once, and their weights."""
    found: dict[object, tuple[Product, Tensor]] = {}
    for parts in blocks:
        for part in (parts[2], parts[3], parts[6], parts[7]):
            weights, packed = part["_parameters"], part.get("packed")
            weight = weights["weight"]
            form = None if packed is None else packed.form
            key = (weight.shape, weights["bias"] is None, form)
            found.setdefault(key, (partial(linear, part=part), weight))
    weight = next(head.parameters())
    return [*found.values(), (head, weight)]

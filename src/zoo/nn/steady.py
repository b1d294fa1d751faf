"""Rows whose numbers do not depend, to the last bit, on how many others are computed with them.

A product of few rows goes by another kernel than one of many, and each adds in an order of its own.
Which numbers of rows share an order is written nowhere, and differs with the CPU, the threads and
the form of the weight; so it is tried, on the machine that computes. Under `steady` every product
is made of such numbers of rows, filled up with zeros; what is short is computed row by row.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

#: numbers of rows that are tried, up to the largest that is wanted
LADDER = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256)
VECTOR = 64  # numbers: a multiple of what any kernel takes at a time
GRAIN = 32768  # numbers: torch gives no thread a smaller share of what is done number by number

Product = Callable[[Tensor], Tensor]  # (n, i) -> (n, o)


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Tell whether two tensors hold the same bits; a NaN is like itself."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return torch.equal(*(x.detach().contiguous().view(torch.uint8) for x in (a, b)))


def good_counts(
    product: Product, x: Float[Tensor, "n i"], counts: Sequence[int]
) -> tuple[int, ...]:
    """Give those of `counts` in which a product gives each row the bits that it has among all of x.

    None are good when the place of a row in x matters.
    """
    whole = product(x)
    if not same_bits(product(x.roll(1, 0)), whole.roll(1, 0)):
        return ()
    return tuple(count for count in counts if keeps(product, x, whole, count))


def keeps(
    product: Product, x: Float[Tensor, "n i"], whole: Float[Tensor, "n o"], count: int
) -> bool:
    """Tell whether the first and the last `count` rows of x have the bits that all of x give."""
    cuts = (slice(0, count), slice(len(x) - count, None))
    # cloned, because real rows begin where memory was handed out
    return all(same_bits(product(x[cut].clone()), whole[cut]) for cut in cuts)


def drawn(rows: int, inner: int, like: Tensor) -> Float[Tensor, "r i"]:
    """Make rows to try products with."""
    x = torch.randn(rows, inner, generator=torch.Generator().manual_seed(0))
    return x.to(like.device, like.dtype)


def fill(x: Float[Tensor, "n *i"], rows: int) -> Float[Tensor, "r *i"]:
    """Put rows of zeros behind those of x."""
    return x if len(x) == rows else torch.cat([x, x.new_zeros(rows - len(x), *x.shape[1:])])


def pointwise(function: Callable[[Tensor], Tensor], x: Float[Tensor, "... d"]) -> Tensor:
    """Apply a function of single numbers so that no row sees where a kernel's vectors end.

    A kernel goes by vectors, and by another formula where less than one is left of what a thread
    got. So there is always a whole number of them, in every thread's share.
    """
    flat = x.reshape(-1, x.shape[-1])
    n, d = flat.shape
    tall, wide = whole_vectors(n, d, torch.get_num_threads())
    if (tall, wide) == (n, d):
        return function(x)
    return function(F.pad(flat, (0, wide - d, 0, tall - n)))[:n, :d].reshape(x.shape)


def whole_vectors(rows: int, width: int, threads: int) -> tuple[int, int]:
    """Give the least rows and width, at least these, that fall into shares of whole vectors."""
    width += -width % VECTOR
    while rows * width % (VECTOR * shares(rows * width, threads)):
        rows += 1
    return rows, width


def shares(numbers: int, threads: int) -> int:
    """Count the threads that torch divides so many numbers among."""
    return max(1, min(threads, -(-numbers // GRAIN)))

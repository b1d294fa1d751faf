"""Rows whose numbers do not depend, to the last bit, on how many others are computed with them.

A product of few rows goes by another kernel than one of many, and each adds in an order of its own.
Which numbers of rows share an order is written nowhere, and differs with the CPU, the threads and
the form of the weight; so it is tried, on the machine that computes. Under `steady` products are
made of such numbers of rows, filled up with zeros; what is little work is done row by row.
"""

from collections.abc import Callable, Sequence
from contextvars import ContextVar
from functools import partial
from itertools import repeat
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from zoo import ops
from zoo.ops.packed import Packed, packed_linear

T = TypeVar("T")
Product = Callable[[Tensor], Tensor]  # (n, i) -> (n, o)

#: numbers of rows that are tried
LADDER = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
MOST = {"float16": 64}  # rows of one product, where a form serves fewer: see zoo.ops.packed
VECTOR = 64  # numbers: a multiple of what any kernel takes at a time
GRAIN = 32768  # numbers: torch gives no thread a smaller share of what is done number by number
LINE = 64  # bytes: memory is handed out from a multiple of them on


class Counts:
    """Numbers of rows that keep bits, for each kind of product: tried when one is first made."""

    def __init__(self) -> None:
        self.found: dict[object, tuple[int, ...]] = {}

    def of(
        self, product: Product, x: Tensor, weight: Tensor, bias: Tensor | None, form: str | None
    ) -> tuple[int, ...]:
        """Give the good numbers of rows of a product, ascending; at the least there is 1."""
        key = (weight.shape, weight.dtype, x.dtype, bias is None, form, torch.get_num_threads())
        if key not in self.found:
            most = MOST.get(form or "", LADDER[-1])
            ladder = [count for count in LADDER if count <= most]
            self.found[key] = climbed(product, drawn(most, weight.shape[1], x), ladder)
        return self.found[key]


COUNTS: ContextVar[Counts | None] = ContextVar("COUNTS", default=None)


class steady:
    """Give each row, inside, the bits that it has alone inside; `None` switches it off again.

    For answers: gradients want padding led along, and hooks whole batches, whose bits may differ.
    """

    def __init__(self, counts: Counts | None) -> None:
        self.counts = counts

    def __enter__(self) -> None:
        self.token = COUNTS.set(self.counts)

    def __exit__(self, *_: object) -> None:
        COUNTS.reset(self.token)


def current() -> Counts | None:
    """Give the numbers of rows to use; None outside of `steady`."""
    return None if torch.compiler.is_compiling() else COUNTS.get()


def affine(
    x: Float[Tensor, "*b i"],
    weight: Float[Tensor, "o i"],
    bias: Float[Tensor, " o"] | None,
    packed: Packed | None,
) -> Float[Tensor, "*b o"]:
    """Map the last axis of x, by the packed weight if there is one."""
    counts = current()
    product = partial(once, weight=weight, bias=bias, packed=packed)
    if counts is None:
        return product(x)
    form = None if packed is None or packed.of(weight) is None else packed.form
    return in_counts(product, x, counts.of(product, x, weight, bias, form))


def once(x: Tensor, weight: Tensor, bias: Tensor | None, packed: Packed | None) -> Tensor:
    if packed is None:
        return ops.linear(x, weight, bias)
    return packed_linear(x, weight, bias, packed)


def in_counts(
    product: Product, x: Float[Tensor, "*b i"], counts: Sequence[int]
) -> Float[Tensor, "*b o"]:
    """Give product(x), made of numbers of rows out of `counts`."""
    found = []
    for part in x.reshape(-1, x.shape[-1]).split(counts[-1]):
        count = min(count for count in counts if count >= len(part))
        found.append(product(fill(in_line(part), count))[: len(part)])
    y = found[0] if len(found) == 1 else torch.cat(found)
    return y.view(*x.shape[:-1], y.shape[1])


def gelu(x: Float[Tensor, "... d"], form: str) -> Float[Tensor, "... d"]:
    """Apply a gelu whose bits do not depend on a number's place."""
    if current() is None:
        return ops.gelu(x, form)
    return pointwise(partial(ops.gelu, form=form), x)


def each(function: Callable[..., Tensor], *batches: Tensor | None) -> Tensor:
    """Apply a function of batches; under `steady` to each row by itself, as if it were alone."""
    if current() is None or not all(len(x) for x in batches if x is not None):
        return function(*batches)
    cut = [repeat(None) if x is None else map(in_line, x.split(1)) for x in batches]
    with steady(None):
        found = [function(*row) for row in zip(*cut, strict=False)]
    return found[0] if len(found) == 1 else torch.cat(found)


def holds(compute: Callable[[list[T]], Sequence[Tensor]], items: Sequence[T]) -> bool:
    """Try whether each item's tensor keeps its bits, alone, in other company and other places."""
    whole = list(compute(list(items)))
    n = len(items)
    orders = [[i] for i in range(n)] + [[i, (i + 1) % n] for i in range(n)]
    orders += [list(range(n))[::-1], list(range(n // 2)), list(range(n)) * 2]
    for order in filter(None, orders):
        found = compute([items[i] for i in order])
        if not all(same_bits(a, whole[i]) for a, i in zip(found, order, strict=True)):
            return False
    return True


def climbed(product: Product, x: Float[Tensor, "n i"], ladder: Sequence[int]) -> tuple[int, ...]:
    """Give the numbers of rows of a ladder that agree with the largest that can be agreed with."""
    for top in range(len(ladder), 1, -1):
        counts = good_counts(product, x[: ladder[top - 1]], ladder[:top])
        if counts:
            return counts
    return (1,)


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Tell whether two tensors hold the same bits; a NaN is like itself."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return torch.equal(*(x.detach().reshape(-1).view(torch.uint8) for x in (a, b)))


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
    """Tell whether the last `count` rows of x have the bits that they have among all of x."""
    return same_bits(product(x[len(x) - count :].clone()), whole[len(x) - count :])


def drawn(rows: int, inner: int, like: Tensor) -> Float[Tensor, "r i"]:
    """Make rows to try products with."""
    x = torch.randn(rows, inner, generator=torch.Generator().manual_seed(0))
    return x.to(like.device, like.dtype)


def fill(x: Float[Tensor, "n *i"], rows: int) -> Float[Tensor, "r *i"]:
    """Put rows of zeros behind those of x."""
    return x if len(x) == rows else torch.cat([x, x.new_zeros(rows - len(x), *x.shape[1:])])


def in_line(x: Tensor) -> Tensor:
    """Give x where memory could have been handed out, as rows that were alone would be."""
    return x.clone() if x.is_contiguous() and x.data_ptr() % LINE else x


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

"""How much arithmetic a piece of work needs, and how many bytes it must at least read.

A product of (rows, inner) by (inner, cols) is 2 rows inner cols FLOP. Attention over p pairs of a
query and a key is 4 p d (scores, and the mix of values): p = t^2 a row, or t (t + 1) / 2 where
nobody looks ahead. A backward pass is twice the forward one, dx and dw each as much as y.
Layer norms, GELU, softmax, dropout and the optimizer are not counted: the limit is that of the
matrix products alone, or of reading the weights where that takes longer.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

FLOAT = 4  # bytes of what a cache holds


@dataclass(frozen=True)
class Product:
    """`count` products (rows, inner) @ (inner, cols)."""

    rows: int
    inner: int
    cols: int
    count: int = 1

    @property
    def flop(self) -> int:
        return 2 * self.rows * self.inner * self.cols * self.count

    @property
    def weights(self) -> int:
        """How many numbers the right-hand side holds, once a product."""
        return self.inner * self.cols * self.count


@dataclass(frozen=True)
class Phase:
    """Work that is done `times` times: products by weights, attention, and a cache that is read."""

    products: tuple[Product, ...]
    attention: float = 0.0  # FLOP
    cache: float = 0.0  # bytes
    times: int = 1

    @property
    def flop(self) -> float:
        return sum(p.flop for p in self.products) + self.attention

    def read(self, weight_bytes: float) -> float:
        """Bytes that must be read at least, with weights of so many bytes each."""
        return sum(p.weights for p in self.products) * weight_bytes + self.cache

    def seconds(self, flops: float, memory: float, weight_bytes: float) -> float:
        """The roofline: what takes longer, computing (FLOP/s) or reading (bytes/s)."""
        return self.times * max(self.flop / flops, self.read(weight_bytes) / memory)


Work = tuple[Phase, ...]


def flop_of(work: Work) -> float:
    return sum(phase.flop * phase.times for phase in work)


def bytes_of(work: Work, weight_bytes: float) -> float:
    return sum(phase.read(weight_bytes) * phase.times for phase in work)


def seconds_of(work: Work, flops: float, memory: float, weight_bytes: float) -> float:
    return sum(phase.seconds(flops, memory, weight_bytes) for phase in work)


def blocks(rows: int, width: int, hidden: int, depth: int) -> tuple[Product, ...]:
    """The four products of a transformer block, `depth` times."""
    return (
        Product(rows, width, 3 * width, depth),
        Product(rows, width, width, depth),
        Product(rows, width, hidden, depth),
        Product(rows, hidden, width, depth),
    )


def looks(width: int, depth: int, pairs: float) -> float:
    """FLOP of attention over so many pairs in each block."""
    return 4.0 * pairs * width * depth


def ahead(tokens: int, past: int = 0) -> float:
    """Pairs of a row of new tokens that look at themselves and at what came before."""
    return tokens * past + tokens * (tokens + 1) / 2


def trained(phase: Phase) -> Phase:
    """Add the backward pass: dx = dy wT and dw = xT dy beside each y = x w."""
    products = []
    for p in phase.products:
        products += [p, replace(p, inner=p.cols, cols=p.inner)]
        products += [replace(p, rows=p.inner, inner=p.rows)]
    return replace(phase, products=tuple(products), attention=3 * phase.attention)


def gpt2(config: Any, lengths: Iterable[int], *, causal: bool = True) -> Phase:
    """A forward pass over rows of these lengths, with logits of every token."""
    c = config
    lengths = [*lengths]
    pairs = sum(ahead(t) if causal else t * t for t in lengths)
    rows = sum(lengths)
    products = (*blocks(rows, c.width, c.hidden, c.depth), Product(rows, c.width, c.vocab))
    return Phase(products, looks(c.width, c.depth, pairs))


def decoding(config: Any, rows: int, prompt: int, new: int) -> Work:
    """Prompts at once, of which the last token's logits are read, then a token a row and step."""
    c = config
    head = Product(rows, c.width, c.vocab)
    first = Phase(
        (*blocks(rows * prompt, c.width, c.hidden, c.depth), head),
        looks(c.width, c.depth, rows * ahead(prompt)),
    )
    seen = prompt + new / 2  # tokens that a step looks at, in the mean
    each = Phase(
        (*blocks(rows, c.width, c.hidden, c.depth), head),
        looks(c.width, c.depth, rows * seen),
        cache=2.0 * rows * seen * c.width * c.depth * FLOAT,
        times=new - 1,
    )
    return (first, each)


def bert(config: Any, lengths: Iterable[int], *, read: int | None = None) -> Phase:
    """A forward pass over real tokens, with masked-word logits of all or of `read` of them."""
    c = config
    lengths = [*lengths]
    rows = sum(lengths)
    read = rows if read is None else read
    products = (
        *blocks(rows, c.width, c.hidden, c.depth),
        Product(read, c.width, c.width),
        Product(read, c.width, c.vocab),
    )
    return Phase(products, looks(c.width, c.depth, sum(t * t for t in lengths)))


def grid(config: Any) -> int:
    """Patches of a picture."""
    c = config
    return (c.image[0] // c.patch[0]) * (c.image[1] // c.patch[1])


def vit(config: Any, rows: int) -> Phase:
    """A forward pass over pictures, with a class read from the first token."""
    c = config
    patches, tokens = grid(c), grid(c) + 1
    products = (
        Product(rows * patches, c.channels * c.patch[0] * c.patch[1], c.width),
        *blocks(rows * tokens, c.width, c.hidden, c.depth),
        Product(rows, c.width, c.classes),
    )
    return Phase(products, looks(c.width, c.depth, rows * tokens**2))


def clip(config: Any, rows: int, tokens: int, *, causal: bool = True) -> Phase:
    """A forward pass over as many pictures and texts, and all their cosines."""
    c = config
    patches, seen = grid(c), grid(c) + 1
    pairs = ahead(tokens) if causal else tokens**2
    products = (
        Product(rows * patches, c.channels * c.patch[0] * c.patch[1], c.image_width),
        *blocks(rows * seen, c.image_width, c.image_hidden, c.image_depth),
        *blocks(rows * tokens, c.text_width, c.text_hidden, c.text_depth),
        Product(rows, c.image_width, c.embed),
        Product(rows, c.text_width, c.embed),
        Product(rows, c.embed, rows),
    )
    attention = looks(c.image_width, c.image_depth, rows * seen**2)
    return Phase(products, attention + looks(c.text_width, c.text_depth, rows * pairs))

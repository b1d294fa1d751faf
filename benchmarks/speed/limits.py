"""What this machine can do at most, measured beside the work: products a second, bytes a second.

The rate of an arithmetic is the best that any of torch's kernels reaches at one of the shapes that
the work is made of, in any layout, packed or not; the limit of the work is its FLOP over that rate,
or its bytes over the rate of reading where that takes longer. A share of 100 % would mean that
nothing but products ran, all at the rate of the fastest.
"""

import statistics
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from benchmarks.speed.clock import Took, took
from benchmarks.speed.work import Product, Work
from torch import Tensor
from torch.nn import functional as F

FEWEST, MOST = 256, 1024  # rows that a rate is measured at: fewer would measure reading
LONGEST = 4096  # of the other sides
TICK = 1e-9  # seconds: less than any clock tells
SHAPES = 4  # that a rate is measured at
MEMORY = 1 << 28  # bytes that are read: more than a cache holds

# what computes: bytes of a weight
WEIGHT_BYTES = {"float64": 8.0, "float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "int8": 1.0}

Call = Callable[[], Tensor]


def kernels(m: int, k: int, n: int, arithmetic: str) -> Iterator[tuple[str, Call]]:
    """Yield each way in which torch can multiply (m, k) by (k, n) here."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(m, k, generator=draw)
    w = torch.randn(n, k, generator=draw) / k**0.5
    if arithmetic in ("int8", "float16"):
        yield from stored(x, w, arithmetic)
        return
    x, w = (t.to(getattr(torch, arithmetic)) for t in (x, w))
    yield "linear", lambda: F.linear(x, w)
    other = w.mT.contiguous()
    yield "mm", lambda: x @ other
    turned = x.mT.contiguous()
    yield "mm, turned", lambda: turned.mT @ other
    yield from packed(x, w)


def packed(x: Tensor, w: Tensor) -> Iterator[tuple[str, Call]]:
    """Yield oneDNN's product with weights laid out for it, where this build of torch has it."""
    one = torch.ops.mkldnn
    try:
        ready = one._reorder_linear_weight(w, x.shape[0])
        one._linear_pointwise(x[:1], ready, None, "none", [], "")
    except (AttributeError, RuntimeError):
        return
    yield "oneDNN, packed", lambda: one._linear_pointwise(x, ready, None, "none", [], "")


def stored(x: Tensor, w: Tensor, arithmetic: str) -> Iterator[tuple[str, Call]]:
    """Yield fbgemm's product with weights stored as float16 or int8, where there is one."""
    q = torch.ops.quantized
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch means to move its quantised tensors elsewhere
            if arithmetic == "float16":
                half = q.linear_prepack_fp16(w, None)
                yield "fbgemm, float16 weights", lambda: q.linear_dynamic_fp16(x, half)
            else:
                scales, zeros = w.abs().amax(1) / 127, torch.zeros(len(w), dtype=torch.long)
                whole = torch.quantize_per_channel(w, scales, zeros, 0, torch.qint8)
                ready = q.linear_prepack(whole, None)
                yield "fbgemm, int8", lambda: q.linear_dynamic(x, ready, True)
    except (AttributeError, RuntimeError):
        return


def shape_of(product: Product) -> tuple[int, int, int]:
    """Give the shape that a product's rate is measured at: enough rows, and no side too long."""
    rows = min(max(product.rows, FEWEST), MOST)
    return rows, min(product.inner, LONGEST), min(product.cols, LONGEST)


def largest(work: Work) -> list[tuple[int, int, int]]:
    """Give the few shapes that most FLOP of the work fall to."""
    flop: dict[tuple[int, int, int], int] = {}
    for phase in work:
        for product in phase.products:
            shape = shape_of(product)
            flop[shape] = flop.get(shape, 0) + product.flop * phase.times
    return sorted(flop, key=lambda shape: -flop[shape])[:SHAPES]


def reading(size: int) -> Iterator[tuple[str, Call]]:
    """Yield ways to read `size` bytes once and to write next to nothing."""
    x = torch.ones(size // 4)
    rows, v = x.view(-1, 1024), torch.ones(1024)
    yield "matrix times vector", lambda: rows @ v
    yield "sum", lambda: x.sum()
    yield "dot", lambda: torch.dot(x, x)


@dataclass
class Gauge:
    """One limit: its unit is `amount` a second; `samples` grow by a round."""

    amount: float
    kernel: str
    call: Call
    samples: list[Took]

    def rate(self, clock: str) -> float:
        seconds = statistics.median(getattr(s, clock) for s in self.samples)
        return self.amount / max(seconds, TICK)


class Limits:
    """The limits of one piece of work, measured round by round beside it."""

    def __init__(self, work: Work, arithmetics: set[str], *, memory: int = MEMORY) -> None:
        shapes = largest(work)
        self.products = {
            name: [fastest(2.0 * m * k * n, kernels(m, k, n, name)) for m, k, n in shapes]
            for name in sorted(arithmetics)
        }
        self.memory = fastest(float(memory), reading(memory))

    def round(self) -> None:
        """Measure everything once more."""
        for gauge in (self.memory, *(g for all_ in self.products.values() for g in all_)):
            if gauge is not None:
                gauge.samples.append(took(gauge.call))

    def flops(self, arithmetic: str, clock: str) -> float | None:
        """FLOP/s, at the shape where it is highest; None where torch has no such kernel here."""
        rates = [g.rate(clock) for g in self.products.get(arithmetic, ()) if g is not None]
        return max(rates, default=None)

    def bytes(self, clock: str) -> float:
        """Bytes/s of reading."""
        assert self.memory is not None
        return self.memory.rate(clock)

    def record(self, clock: str) -> dict[str, float | None]:
        """Give all rates by name: FLOP/s and, of `memory`, bytes/s."""
        found = {name: self.flops(name, clock) for name in self.products}
        return found | {"memory": self.bytes(clock)}


def fastest(amount: float, calls: Iterator[tuple[str, Call]]) -> Gauge | None:
    """Give a gauge of the fastest of several ways, with no sample yet; None where there is none."""
    best: Gauge | None = None
    least = float("inf")
    for name, call in calls:
        call()
        seconds = min(took(call).cpu for _ in range(2))
        if seconds < least:
            best, least = Gauge(amount, name, call, []), seconds
    return best

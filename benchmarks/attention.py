"""Attention and the losses beside torch's own: time and live memory of forward and backward.

    OMP_NUM_THREADS=1 python benchmarks/attention.py [--case TEXT] [--pairs 7] [--dtype float32]

One process, one thread, CPU time, in turns; `ratio` is the median of torch's time over ours, above
1 we are faster.  Memory is the peak of tensors that operations give out and that live at the same
time, above what lived before; what a kernel takes and returns inside is not seen.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from speed.live import Live  # beside this file
from torch import Tensor
from torch.nn import functional as F

from zoo import ops

MIB = 1 << 20


@dataclass(frozen=True)
class Case:
    """The same work twice, on tensors that want a gradient unless it is a decoding step."""

    name: str
    ours: Callable[..., Tensor]
    torchs: Callable[..., Tensor]
    floats: tuple[Tensor, ...]
    backward: bool = True


def heads(b: int, t: int, h: int = 12, n: int = 64) -> tuple[Tensor, ...]:
    """Queries, keys and values as views of one packed tensor, as a linear layer gives them."""
    return tuple(torch.randn(b, t, 3, h, n).permute(2, 0, 3, 1, 4))


def attention_cases() -> Iterator[Case]:
    sdpa = F.scaled_dot_product_attention
    for b, t in ((1, 512), (1, 1024), (8, 128)):
        for causal in (True, False):
            name = f"{'causal' if causal else 'full'}-{b}x{t}"
            yield Case(
                name,
                lambda q, k, v, causal=causal: ops.attention(q, k, v, causal=causal),
                lambda q, k, v, causal=causal: sdpa(q, k, v, is_causal=causal),
                heads(b, t),
            )
            yield Case(
                f"{name}-dropout",
                lambda q, k, v, c=causal: ops.attention(q, k, v, causal=c, rate=0.1, seed=1),
                lambda q, k, v, c=causal: sdpa(q, k, v, is_causal=c, dropout_p=0.1),
                heads(b, t),
            )
    real = torch.arange(128) < torch.tensor([128, 100, 90, 70, 60, 50, 30, 20])[:, None]
    yield Case(
        "padded-8x128",
        lambda q, k, v: ops.attention(q, k, v, padding=real),
        lambda q, k, v: sdpa(q, k, v, attn_mask=real[:, None, None, :]),
        heads(8, 128),
    )
    for b, s in ((1, 160), (8, 160)):
        q, k, v = torch.randn(b, 12, 1, 64), *(torch.randn(b, 12, s, 64) for _ in range(2))
        step = lambda q, k, v: ops.attention(q, k, v, causal=True)  # noqa: E731
        yield Case(f"one-token-{b}x{s}", step, sdpa, (q, k, v), backward=False)


def loss_cases() -> Iterator[Case]:
    n, d, v = 1024, 768, 50257
    labels = torch.randint(v, (n,))
    masked = labels.masked_fill(torch.rand(n) > 0.15, -100)
    x, weight = torch.randn(n, d), torch.randn(v, d) / 28
    logits = torch.randn(n, v)
    yield Case(
        "cross_entropy",
        lambda z: ops.cross_entropy(z, labels),
        lambda z: F.cross_entropy(z, labels),
        (logits,),
    )
    for name, y in (("linear_cross_entropy", labels), ("linear_cross_entropy-masked", masked)):
        yield Case(
            name,
            lambda x, w, y=y: ops.linear_cross_entropy(x, w, y),
            lambda x, w, y=y: F.cross_entropy(F.linear(x, w), y),
            (x, weight),
        )


def once(call: Callable[..., Tensor], floats: tuple[Tensor, ...], backward: bool) -> None:
    """One forward, and one backward into fresh gradients."""
    for x in floats:
        x.grad = None
    y = call(*floats)
    if backward:
        y.backward(None if y.ndim == 0 else y.detach())


def seconds(work: Callable[[], None], times: int) -> float:
    """CPU seconds of one run, from several."""
    start = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - start) / times


def measure(case: Case, dtype: torch.dtype, pairs: int) -> dict[str, Any]:
    """Time both in turns; then run each once more to see its memory."""
    floats = tuple(x.to(dtype).requires_grad_(case.backward) for x in case.floats)
    works = [lambda c=c: once(c, floats, case.backward) for c in (case.ours, case.torchs)]
    times = max(1, int(0.05 / max(seconds(works[1], 1), 1e-5)))
    runs = [[seconds(work, times) for work in works] for _ in range(pairs)]
    peaks = []
    for work in works:
        for x in floats:
            x.grad = None
        with Live() as live:
            work()
        peaks.append(live.peak)
    ours, torchs = (statistics.median(column) for column in zip(*runs, strict=True))
    return {
        "case": case.name,
        "dtype": str(dtype).removeprefix("torch."),
        "ours_ms": round(1e3 * ours, 3),
        "torch_ms": round(1e3 * torchs, 3),
        "ratio": round(statistics.median(b / a for a, b in runs), 2),
        "ours_mib": round(peaks[0] / MIB, 1),
        "torch_mib": round(peaks[1] / MIB, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", default="", help="only cases whose name has this in it")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--dtype", default="float32")
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    for case in (*attention_cases(), *loss_cases()):
        if args.case in case.name:
            print(json.dumps(measure(case, getattr(torch, args.dtype), args.pairs)), flush=True)


if __name__ == "__main__":
    main()

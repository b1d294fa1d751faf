"""What a run on many GPUs would do, on paper: memory, bytes over the wire, time of a step.

    python benchmarks/scaling.py

Nothing is measured here. The assumptions are the constants below; the formulas and what follows
from them are in docs/scaling.md, whose tables this prints.
"""

import math
from dataclasses import dataclass

# one GPU: half of what matrices alone reach on a H100 or H200; bytes/s of its memory
FLOPS, MEMORY = 400e12, 3.0e12
# bytes/s of a collective over all GPUs (8 network cards a node), inside a node, of one card
ALL, NODE, CARD = 300e9, 360e9, 40e9
# seconds: a step of a ring over all, and inside a node; a hop over the network
STEP, NODE_STEP, HOP = 3e-6, 2e-6, 10e-6
BUCKET = 25e6  # bytes that DDP reduces at once
ADAMW = 40  # bytes of memory a parameter, read or written: norm, scaling, update


@dataclass(frozen=True)
class Stack:
    """Equal blocks: FLOP are of a token's forward pass, tokens of a sample."""

    blocks: int
    parameters: int
    tokens: int
    width: int
    seen: float  # tokens that one looks at, in the mean

    def flop(self) -> float:
        return 2 * self.parameters + 4 * self.seen * self.width


@dataclass(frozen=True)
class Model:
    name: str
    parameters: int
    stacks: tuple[Stack, ...]
    head: float  # FLOP of a sample's forward pass outside the blocks
    vectors: int = 0  # numbers of a sample that every process sees

    def root(self) -> int:
        return self.parameters - sum(s.blocks * s.parameters for s in self.stacks)

    def forward(self) -> float:
        return self.head + sum(s.blocks * s.tokens * s.flop() for s in self.stacks)


XL = Model(
    "GPT-2 XL",
    1_557_611_200,
    (Stack(48, 30_740_800, 1024, 1600, 512),),
    head=1024 * 2 * 50257 * 1600,
)
CLIP = Model(
    "CLIP ViT-L/14",
    427_616_513,
    (Stack(24, 12_596_224, 257, 1024, 257), Stack(12, 7_087_872, 77, 768, 38.5)),
    head=256 * 2 * 588 * 1024,
    vectors=2 * 768,
)


def ring(size: float, n: int, rate: float = ALL, step: float = STEP) -> float:
    """Seconds to gather, or to reduce and scatter, `size` bytes in all over n GPUs."""
    return size * (n - 1) / n / rate + step * (n - 1)


def tree(size: float, n: int, rate: float = ALL) -> float:
    """Seconds to reduce `size` bytes to all of n GPUs."""
    return 2 * size * (n - 1) / n / rate + 2 * math.log2(n) * HOP


def ddp(model: Model, rows: int, n: int, backward: float) -> float:
    """Seconds of a step in which only the network works."""
    size = 4 * model.parameters
    return max(0.0, size / BUCKET * tree(BUCKET, n) - backward) + tree(BUCKET, n)


def fsdp(model: Model, rows: int, n: int, again: bool, hybrid: bool) -> float:
    """Likewise: a block's gather hides behind the block before it, its reduction too."""
    parts = [(s.blocks, s.parameters, rows * s.tokens * s.flop() / FLOPS) for s in model.stacks]
    shown = 0.0
    for count, size, forward in (*parts, (1, model.root(), rows * model.head / FLOPS)):
        gather, reduce = ring(2 * size, n), ring(4 * size, n)
        if hybrid:
            gather = ring(2 * size, 8, NODE, NODE_STEP)
            reduce = ring(4 * size, 8, NODE, NODE_STEP) + tree(4 * size / 8, n // 8, CARD)
        backward = forward * (3 if again else 2)
        shown += count * (max(0.0, gather - forward) + max(0.0, gather + reduce - backward))
    return shown + gather  # the first waits for nothing


def vectors(model: Model, rows: int, n: int) -> float:
    """Seconds in which the vectors of all are gathered (2 bytes), and their gradients added (4)."""
    size = rows * n * model.vectors
    return ring(2 * size, n) + tree(4 * size, n) if size else 0.0


def seconds(model: Model, mode: str, rows: int, n: int, again: bool) -> tuple[float, float]:
    """Give what a GPU alone needs without recomputing, and what a step takes."""
    forward = rows * model.forward() / FLOPS
    extra = forward if again else 0.0
    if mode == "ddp":
        shown, over = ddp(model, rows, n, 2 * forward + extra), 1
    else:
        shown = fsdp(model, rows, n, again, mode == "hybrid")
        over = 8 if mode == "hybrid" else n
    update = ADAMW * model.parameters / over / MEMORY
    return 3 * forward, 3 * forward + extra + shown + update + vectors(model, rows, n)


def memory(model: Model, mode: str, rows: int, n: int, again: bool) -> tuple[float, float, float]:
    """Give bytes of a GPU: what stays, what passes, activations."""
    over = {"ddp": 1, "fsdp": n, "hybrid": 8}[mode]
    block = max(s.parameters for s in model.stacks)
    if mode == "ddp":
        passing = 2.0 * model.parameters + BUCKET  # autocast's copies in bfloat16
    else:  # three blocks gathered, two blocks' gradients, and the root
        passing = 3 * 2.0 * block + 2 * 4 * block + 6 * model.root()
    kept, thin = (36, 4) if mode == "ddp" else (32, 2)  # bytes a token, block and unit of width
    each = [rows * s.tokens * s.width for s in model.stacks]
    held = sum(
        e * s.blocks * (thin if again else kept) for e, s in zip(each, model.stacks, strict=True)
    )
    return 16 * model.parameters / over, passing, held + (kept * max(each) if again else 0)


def wire(model: Model, mode: str, n: int) -> float:
    """Give bytes that a GPU sends in a step for weights and gradients."""
    size, share, nodes = model.parameters, (n - 1) / n, n // 8
    if mode == "ddp":
        return 8 * size * share
    own = 2 * (size - model.root()) + 2 * size + 4 * size
    if mode == "fsdp":
        return own * share
    return own * 7 / 8 + 8 * size / 8 * (nodes - 1) / nodes


def line(model: Model, n: int, mode: str, rows: int, again: bool = False) -> str:
    stays, passes, held = (x / 1e9 for x in memory(model, mode, rows, n, again))
    useful, whole = seconds(model, mode, rows, n, again)
    name = f"{mode}, recompute" if again else mode
    total = stays + passes + held
    return (
        f"| {n:,} | {name} | {rows} | {n * rows:,} | {stays:.1f} | {passes:.1f} | {held:.1f} "
        f"| {total:.0f} | {wire(model, mode, n) / 1e9:.1f} | {useful * 1e3:.0f} "
        f"| {whole * 1e3:.0f} | {useful / whole:.0%} |"
    )


CASES = {
    XL: [
        (64, "ddp", 2),
        (64, "ddp", 8),
        (64, "fsdp", 8),
        (64, "hybrid", 8),
        (64, "fsdp", 24),
        (64, "fsdp", 64, True),
        (1024, "ddp", 1),
        (1024, "ddp", 8),
        (1024, "fsdp", 8),
        (1024, "fsdp", 24),
        (1024, "hybrid", 1),
        (1024, "hybrid", 4),
        (1024, "hybrid", 8),
    ],
    CLIP: [
        (64, "ddp", 64),
        (64, "fsdp", 64),
        (64, "ddp", 256),
        (64, "ddp", 512, True),
        (1024, "ddp", 32),
        (1024, "fsdp", 32),
        (1024, "hybrid", 32),
        (1024, "ddp", 64),
        (1024, "ddp", 256),
    ],
}


def main() -> None:
    for model, cases in CASES.items():
        print(f"\n{model.name}: {3 * model.forward() / 1e12:.2f} TFLOP a sample\n")
        print("| GPUs | mode | rows | batch | stays | passes | act. | GB | wire | C | T | C/T |")
        print("|" + "---:|" * 12)
        for case in cases:
            print(line(model, *case))


if __name__ == "__main__":
    main()

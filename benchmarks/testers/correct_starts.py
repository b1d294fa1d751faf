"""Correct models that begin at zero, share a block, recompute, or show a few rows of many."""

import copy
from typing import Any

import torch
from benchmarks.testers.small import CLASSES, NOISE, body, pictures, rows_of, texts
from benchmarks.testers.sound import Model, Sound, both, cross_entropy, known
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint


class Adapted(nn.Module):
    """LoRA: a frozen layer and a product whose second factor begins at 0."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(6, 16).requires_grad_(False)
        self.down = nn.Parameter(torch.randn(4, 6) / 6**0.5)
        self.up = nn.Parameter(torch.zeros(16, 4))
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.gelu(self.base(x) + 2.0 * F.linear(F.linear(x, self.down), self.up)))


class Controlled(nn.Module):
    """ControlNet: a trainable copy joined by convolutions that begin at 0."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Conv2d(3, 8, 3, padding=1)
        self.copy = copy.deepcopy(self.base)
        self.base.requires_grad_(False)
        self.join = nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 5)
        nn.init.zeros_(self.join.weight)
        nn.init.zeros_(self.join.bias)

    def forward(self, x: Tensor, hint: Tensor) -> Tensor:
        x = self.base(x) + self.join(F.silu(self.copy(x + hint)))
        return self.head(F.silu(x).mean((2, 3)))


def hinted(size: int) -> dict[str, Tensor]:
    return pictures(size) | {"hint": torch.randn(size, 3, 8, 8)}


class Scaled(nn.Module):
    """Residual branches that begin at nothing: at 0 (ReZero) or at 1e-6 (layer scale)."""

    def __init__(self, start: float) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(6, 16), nn.Linear(16, 5)
        self.norms = nn.ModuleList(nn.LayerNorm(16) for _ in range(2))
        self.branches = nn.ModuleList(nn.Linear(16, 16) for _ in range(2))
        self.scales = nn.ParameterList(torch.full((16,), start) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for norm, branch, scale in zip(self.norms, self.branches, self.scales, strict=True):
            x = x + scale * F.gelu(branch(norm(x)))
        return self.head(x)


class ZeroLast(nn.Module):
    """The last layer begins at 0, so all first answers are alike."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = body(), nn.Linear(16, 5)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


class Checkpointed(nn.Module):
    """Activations that are computed again in the backward pass, dropout included."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(6, 16), nn.Linear(16, 5)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(16, 16), nn.GELU(), nn.Dropout(0.1)) for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = x + (checkpoint(block, x, use_reentrant=False) if self.training else block(x))
        return self.head(x)


class Hooked(nn.Module):
    """Features are taken by a forward hook, and forgotten after use."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = body(), nn.Linear(32, 5)
        self.kept: list[Tensor] = []
        self.body[0].register_forward_hook(self.keep)

    def keep(self, module: nn.Module, args: Any, output: Tensor) -> None:
        self.kept.append(output)

    def forward(self, x: Tensor) -> Tensor:
        last = self.body(x)
        return self.head(torch.cat([self.kept.pop(), last], -1))


class Repeated(nn.Module):
    """One block, run four times; and registered under a second name."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(6, 16), nn.Linear(16, 5)
        self.block = nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 16), nn.GELU())
        self.last = self.block

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for _ in range(3):
            x = x + self.block(x)
        return self.head(x + self.last(x))


class Rare(nn.Module):
    """A vocabulary of 1000 of which a batch shows a few."""

    def __init__(self, sparse: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(1000, 12, padding_idx=0, sparse=sparse)
        self.head = nn.Linear(12, 5)

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.head(self.embed(input_ids).mean(1))


VOCAB = known(tokens="input_ids", vocab_size=1000, pad_id=0)
MODELS = [
    Model("lora", Adapted, rows_of, cross_entropy, CLASSES | {"frozen": ["base.*"]}),
    Model("control-net", Controlled, hinted, cross_entropy, CLASSES | {"frozen": ["base.*"]}),
    Model("rezero", lambda: Scaled(0.0), rows_of, cross_entropy, CLASSES),
    Model("layer-scale", lambda: Scaled(1e-6), rows_of, cross_entropy, CLASSES),
    Model("zero-last-layer", ZeroLast, rows_of, cross_entropy, CLASSES),
    Model("checkpointed", Checkpointed, rows_of, cross_entropy, CLASSES | NOISE),
    Model("hooks", Hooked, rows_of, cross_entropy, CLASSES),
    Model("one-block-four-times", Repeated, rows_of, cross_entropy, CLASSES),
    Model("rare-rows", Rare, texts, cross_entropy, CLASSES | VOCAB),
    Model("rare-rows-sparse", lambda: Rare(True), texts, cross_entropy, CLASSES | VOCAB),
]


def rows() -> list[Sound]:
    """List them with their facts and without."""
    return both("starts", MODELS)

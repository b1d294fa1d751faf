"""Torch's own transformer layers as a GPT and a BERT."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from zoo.testing.spec import ModelSpec


class Stack(nn.Module):
    """Torch's own encoder as a GPT, a BERT or bare."""

    def __init__(self, *, norm_first: bool, batch_first: bool = True, tables: bool = True) -> None:
        super().__init__()
        kind = {"norm_first": norm_first, "batch_first": batch_first}
        layer = nn.TransformerEncoderLayer(12, 3, 48, activation="gelu", **kind)
        self.batch_first, self.tables = batch_first, tables
        self.tokens, self.places = nn.Embedding(23, 12), nn.Embedding(9, 12)
        self.norm = nn.Identity() if norm_first else nn.LayerNorm(12)
        final = nn.LayerNorm(12) if norm_first else None
        self.blocks = nn.TransformerEncoder(layer, 2, norm=final, enable_nested_tensor=False)
        self.causal = norm_first

    def forward(self, ids: torch.Tensor) -> Any:
        t = ids.shape[1]
        x = self.norm(self.tokens(ids) + self.places(torch.arange(t)))
        mask = nn.Transformer.generate_square_subsequent_mask(t) if self.causal else None
        if self.batch_first:
            return self.blocks(x, mask=mask)
        return self.blocks(x.transpose(0, 1), mask=mask).transpose(0, 1)


def ids(size: int) -> dict[str, torch.Tensor]:
    return {"ids": torch.randint(1, 23, (size, 7))}


def real(size: int) -> dict[str, torch.Tensor]:
    return {"src": torch.randn(size, 7, 12)}


def torchs(build: Callable[[], nn.Module], batch: Any = ids) -> ModelSpec:
    """Describe a module of torch's own parts."""
    return ModelSpec(build=build, batch=batch)


def encoder(norm_first: bool) -> Callable[[], nn.Module]:
    kind = {"norm_first": norm_first, "batch_first": True}
    return lambda: nn.TransformerEncoderLayer(12, 3, 48, activation="gelu", **kind)


OTHERS: dict[str, tuple[str, ModelSpec]] = {
    "torch's encoder as a GPT": ("gpt2", torchs(lambda: Stack(norm_first=True))),
    "torch's encoder as a GPT, time first": (
        "gpt2",
        torchs(lambda: Stack(norm_first=True, batch_first=False)),
    ),
    "torch's encoder as a BERT": ("bert", torchs(lambda: Stack(norm_first=False))),
    "torch's encoder as a BERT, time first": (
        "bert",
        torchs(lambda: Stack(norm_first=False, batch_first=False)),
    ),
    "torch's layer, norm last": ("bert", torchs(encoder(False), real)),
}

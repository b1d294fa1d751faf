"""One step of the model, without gradients and without dropout."""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from zoo.nn.cache import KVCache

T = TypeVar("T")


def left_padded(rows: list[list[int]]) -> tuple[Int[Tensor, "b t"], Bool[Tensor, "b t"]]:
    """Make ids and mask of rows that end in the same column."""
    longest = max(map(len, rows))
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros(len(rows), longest, dtype=torch.bool)
    for i, row in enumerate(rows):
        ids[i, longest - len(row) :] = torch.tensor(row)
        mask[i, longest - len(row) :] = True
    return ids, mask


class Step:
    """Read new tokens of a model again and again; give the next one's logits as they come.

    Modules in training mode are put back into it after each step. Raises ValueError for logits
    that are not finite.
    """

    def __init__(self, model: nn.Module) -> None:
        self.decoder: Any = model
        self.modules = list(model.modules())  # walked once: it takes as long as a small model

    def __call__(
        self, ids: Int[Tensor, "b t"], mask: Bool[Tensor, "b t"], cache: KVCache
    ) -> Float[Tensor, "b v"]:
        return self.columns(ids, mask, cache, 1)[:, 0]

    def columns(
        self, ids: Int[Tensor, "b t"], mask: Bool[Tensor, "b t"], cache: KVCache, count: int
    ) -> Float[Tensor, "b c v"]:
        """Read likewise; give the logits behind each of the last `count` tokens."""
        logits = self.quietly(
            lambda: self.decoder.head(self.decoder.encode(ids, mask, cache=cache)[:, -count:])
        )
        check_finite(logits)
        return logits

    def quietly(self, compute: Callable[[], T]) -> T:
        """Compute something of the model without gradients and without dropout."""
        training = [module for module in self.modules if module.training]
        for module in training:
            module.training = False
        try:
            with torch.inference_mode():
                return compute()
        finally:
            for module in training:
                module.training = True


def last_logits(
    step: Step, ids: Int[Tensor, "b t"], mask: Bool[Tensor, "b t"], cache: KVCache
) -> Float[Tensor, "b v"]:
    """Read new tokens; give the next one's logits in float64."""
    return step(ids, mask, cache).double()


def check_finite(logits: Float[Tensor, "..."]) -> None:
    """Raise unless all are finite: the least and the largest tell, and a NaN is both."""
    ends = torch.stack(torch.aminmax(logits)).tolist() if logits.numel() else ()
    if not all(map(math.isfinite, ends)):
        raise ValueError("the model gave logits that are not finite: its weights are damaged")

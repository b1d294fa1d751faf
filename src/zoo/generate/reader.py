"""A model and its cache, for rows of text that grow at different rates and may be taken back."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.generate.forward import Step, left_padded
from zoo.nn.cache import KVCache


class Reader:
    """What a model has read of each row, at most `capacity` tokens.

    All rows end in the same column. What one row takes back and another keeps becomes a hole in
    the cache's mask: positions are counted from the mask, so no row sees the others' tokens or
    its own holes. Holes are squeezed out when the columns are all in use.
    """

    def __init__(self, model: nn.Module, rows: int, capacity: int) -> None:
        decoder: Any = model
        self.step = Step(model)
        self.capacity = capacity
        self.cache: KVCache = decoder.new_cache(rows, capacity)
        self.held = [0] * rows  # real tokens of each row

    @property
    def longest(self) -> int:
        return max(self.held)

    def read(self, rows: Sequence[list[int]], columns: int) -> Float[Tensor, "b c v"]:
        """Read new tokens of each row, at least one; give the logits of the last columns.

        Raises ValueError for logits that are not finite.
        """
        most = max(map(len, rows))
        if self.cache.length + most > self.capacity:
            squeeze(self.cache)
        ids, mask = left_padded(list(rows))
        device = self.cache.mask.device
        logits = self.step.columns(ids.to(device), mask.to(device), self.cache, columns)
        self.held = [held + len(row) for held, row in zip(self.held, rows, strict=True)]
        return logits

    def forget(self, counts: Sequence[int]) -> None:
        """Take back the last so many tokens of each row, of those that were read last."""
        cache, common = self.cache, min(counts)
        if common:
            cache.truncate(cache.length - common)
        for row, count in enumerate(counts):
            if count > common:
                cache.mask[row, cache.length - (count - common) : cache.length] = False
                cache.padded = True
        self.held = [held - count for held, count in zip(self.held, counts, strict=True)]

    def keep(self, rows: Sequence[int]) -> None:
        """Go on with these rows alone."""
        self.cache.select(torch.tensor(rows, device=self.cache.mask.device))
        self.held = [self.held[row] for row in rows]


def squeeze(cache: KVCache) -> None:
    """Move each row's real tokens to the end of as few columns as the longest row needs."""
    mask = cache.mask[:, : cache.length]
    order = mask.byte().argsort(dim=1, stable=True)  # padding first, the rest as it stands
    length = int(mask.sum(1).max())
    order = order[:, cache.length - length :]
    for layer in cache.layers:
        for kept in (layer.keys, layer.values):
            where = order[:, None, :, None].expand(-1, kept.shape[1], -1, kept.shape[3])
            kept[:, :, :length] = kept.gather(2, where)
    cache.mask[:, :length] = mask.gather(1, order)
    cache.length = length
    cache.padded = not bool(cache.mask[:, :length].all())

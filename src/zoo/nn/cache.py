"""Keys and values seen so far, in buffers made once.

A decoding step writes its keys and values behind the earlier ones, (b, h, capacity, n) a block.
The mask of real tokens is kept too, so a left-padded batch needs nothing from its caller.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class KVCache:
    """Keys and values of every block for `batch` rows and up to `capacity` tokens."""

    def __init__(
        self,
        *,
        depth: int,
        batch: int,
        heads: int,
        capacity: int,
        size: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        shape = (depth, 2, batch, heads, capacity, size)
        self.buffer = torch.empty(shape, dtype=dtype, device=device)
        self.mask = torch.zeros(batch, capacity, dtype=torch.bool, device=device)
        self.length = 0  # tokens held, padding among them
        self.padded = False  # whether any of them is padding

    @property
    def batch(self) -> int:
        return self.mask.shape[0]

    @property
    def capacity(self) -> int:
        return self.mask.shape[1]

    @property
    def layers(self) -> "list[LayerCache]":
        return [LayerCache(self, keys_values) for keys_values in self.buffer.unbind(0)]

    def extend(self, rows: int, tokens: int, mask: Bool[Tensor, "b t"] | None) -> None:
        """Take in the mask of `tokens` new tokens; their keys and values follow block by block."""
        if rows != self.batch:
            raise ValueError(f"{rows} rows for a cache of {self.batch}")
        stop = self.length + tokens
        if stop > self.capacity:
            raise ValueError(
                f"{self.length} tokens held and {tokens} new do not fit in a cache of "
                f"{self.capacity}: ask new_cache for more"
            )
        self.mask[:, self.length : stop] = True if mask is None else mask
        self.padded |= mask is not None
        self.length = stop

    def real(self) -> Int[Tensor, " b"]:
        """Count the real tokens held in each row."""
        return self.mask[:, : self.length].sum(1)

    def padding(self) -> Bool[Tensor, "b s"] | None:
        """Give the mask of the tokens held, or None when all are real."""
        return self.mask[:, : self.length] if self.padded else None

    def select(self, rows: Int[Tensor, " n"]) -> None:
        """Keep these rows in this order; a row may be dropped or taken twice."""
        held = self.buffer.narrow(4, 0, self.length)
        self.buffer = self.buffer.new_empty(
            *self.buffer.shape[:2], len(rows), *self.buffer.shape[3:]
        )
        self.buffer.narrow(4, 0, self.length).copy_(held.index_select(2, rows))
        self.mask = self.mask.index_select(0, rows)
        self.padded = not bool(self.mask[:, : self.length].all())

    def truncate(self, length: int) -> None:
        """Forget all but the first `length` tokens."""
        if not 0 <= length <= self.length:
            raise ValueError(f"cannot keep {length} of {self.length} tokens")
        self.mask[:, length:] = False
        self.length = length
        self.padded = not bool(self.mask[:, :length].all())


class LayerCache:
    """One block's share of a cache."""

    def __init__(self, cache: KVCache, keys_values: Float[Tensor, "2 b h c n"]) -> None:
        self.cache = cache
        self.keys, self.values = keys_values.unbind(0)

    def append(
        self, k: Float[Tensor, "b h t n"], v: Float[Tensor, "b h t n"]
    ) -> tuple[Float[Tensor, "b h s n"], Float[Tensor, "b h s n"]]:
        """Write the newest keys and values; give all of them."""
        stop, new = self.cache.length, k.shape[2]
        self.keys.narrow(2, stop - new, new).copy_(k)
        self.values.narrow(2, stop - new, new).copy_(v)
        return self.keys.narrow(2, 0, stop), self.values.narrow(2, 0, stop)

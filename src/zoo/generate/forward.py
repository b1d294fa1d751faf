"""One step of the model, without gradients and without dropout."""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from zoo.nn.cache import KVCache


def left_padded(rows: list[list[int]]) -> tuple[Int[Tensor, "b t"], Bool[Tensor, "b t"]]:
    """Make ids and mask of rows that end in the same column."""
    longest = max(map(len, rows))
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros(len(rows), longest, dtype=torch.bool)
    for i, row in enumerate(rows):
        ids[i, longest - len(row) :] = torch.tensor(row)
        mask[i, longest - len(row) :] = True
    return ids, mask


def last_logits(
    model: nn.Module, ids: Int[Tensor, "b t"], mask: Bool[Tensor, "b t"], cache: KVCache
) -> Float[Tensor, "b v"]:
    """Read new tokens; give the next one's logits in float64.

    Modules in training mode are put back into it. Raises ValueError for logits that are not finite.
    """
    decoder: Any = model
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        with torch.inference_mode():
            hidden = decoder.encode(ids, mask, cache=cache)
            logits = decoder.head(hidden[:, -1:]).squeeze(1).double()
    finally:
        for module in training:
            module.training = True
    if not bool(logits.isfinite().all()):
        raise ValueError("the model gave logits that are not finite: its weights are damaged")
    return logits

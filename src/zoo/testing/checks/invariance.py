"""What an output may depend on: not the future, not padding, not the rest of the batch.

Each check runs a copy in float64 with large weights and changes what must not matter. A difference
above the noise of float64 is a dependence.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from zoo.testing.checks.common import (
    NOISE,
    CheckFailed,
    Inputs,
    another,
    largest,
    output_of,
    stressed,
)


def check_causality(module: nn.Module, inputs: Inputs, *, of: str) -> None:
    """Fail when an output position moves with a later token of the input `of` (b, t, ...)."""
    module = stressed(module)
    with torch.no_grad():
        base = output_of(module, inputs)
        for place in range(1, inputs[of].shape[1]):
            changed = {**inputs, of: another(inputs[of], (slice(None), place))}
            moved = largest(output_of(module, changed)[:, :place] - base[:, :place])
            if moved > NOISE:
                raise CheckFailed(
                    f"output before {place} moved by {moved:.3g} when {of}[:, {place}] changed: "
                    "a token looks ahead; check the causal mask and its alignment"
                )


def check_padding_invariance(
    module: nn.Module, inputs: Inputs, *, of: str, mask: str, pad_id: int = 0
) -> None:
    """Fail when real positions move as padding is added on either side under the mask.

    Every input of the shape of `of` is padded with it; what stands under the mask is tried too.
    """
    module = stressed(module)
    ids = inputs[of]
    along = {name for name, x in inputs.items() if x.shape[:2] == ids.shape[:2] and name != mask}
    real = inputs.get(mask, torch.ones(ids.shape[:2], dtype=torch.long))
    t = ids.shape[1]
    with torch.no_grad():
        base = output_of(module, {**inputs, mask: real})
        for left, right in ((0, 3), (3, 0), (2, 1)):
            side = {(0, 3): "right", (3, 0): "left"}.get((left, right), "both sides")
            for value in (pad_id, int(ids.max())):
                padded = {
                    name: pad_time(x, left, right, value if name == of else 0)
                    if name in along
                    else x
                    for name, x in inputs.items()
                }
                padded[mask] = pad_time(real, left, right, 0)
                output = output_of(module, padded)
                if output.shape[1:2] == (t + left + right,):
                    output = output[:, left : left + t]
                if output.shape != base.shape:
                    raise CheckFailed(
                        f"padding turned an output of {tuple(base.shape)} into "
                        f"{tuple(output.shape)}"
                    )
                moved = largest(output - base)
                if moved > NOISE:
                    raise CheckFailed(
                        f"real positions moved by {moved:.3g} under padding on the {side} with "
                        f"id {value}: attention reads padding, or positions do not come from "
                        f"{mask}"
                    )


def pad_time(x: Tensor, left: int, right: int, value: int) -> Tensor:
    """Pad the second axis."""
    return pad(x, (0, 0) * (x.dim() - 2) + (left, right), value=value)


def check_batch_independence(module: nn.Module, inputs: Inputs) -> None:
    """Fail when a row's output depends on which other rows share its batch."""
    module = stressed(module)
    rows = next(iter(inputs.values())).shape[0]
    if rows < 2:
        raise CheckFailed("one row cannot tell; give inputs of at least two rows")
    with torch.no_grad():
        base = output_of(module, inputs)
        for row in range(rows):
            alone = output_of(module, {name: x[row : row + 1] for name, x in inputs.items()})
            moved = largest(alone - base[row : row + 1])
            if moved > NOISE:
                raise CheckFailed(
                    f"row {row} moved by {moved:.3g} when it was alone: rows mix; look for a "
                    "mean or a norm over the batch axis, or a reshape that crosses it"
                )


def check_cached_decoding(module: Any, inputs: Mapping[str, Tensor], *, of: str) -> None:
    """Fail when tokens read through a cache give other hidden states than read at once.

    The module has `new_cache(rows, capacity)` and `encode(ids, mask, cache=cache)`; every split in
    two is tried, and one token at a time, with and without padding on the left.
    """
    module = stressed(module)
    ids = inputs[of]
    b, t = ids.shape
    padded = torch.ones(b, t, dtype=torch.long)
    padded[0, : t // 2] = 0
    splits = [[k, t - k] for k in range(1, t)] + [[1] * t]
    with torch.no_grad():
        for mask in (torch.ones(b, t, dtype=torch.long), padded):
            whole = module.encode(ids, mask)
            for split in splits:
                cache = module.new_cache(b, t)
                pieces = [
                    module.encode(part, seen, cache=cache)
                    for part, seen in zip(ids.split(split, 1), mask.split(split, 1), strict=True)
                ]
                moved = largest((torch.cat(pieces, 1) - whole)[mask.bool()])
                if moved > NOISE:
                    raise CheckFailed(
                        f"tokens read as {split} through a cache moved by {moved:.3g}: check "
                        "positions behind the cache, and which keys it gives back"
                    )

"""What an output may depend on: not the future, not padding, not the rest of the batch.

Each check runs a copy in float64 with large weights and changes what must not matter. A difference
above the noise of float64 is a dependence.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from zoo.testing.checks.common import (
    NOISE,
    CheckFailed,
    Inputs,
    another,
    distance,
    doubled,
    kept_generator,
    output_of,
    stressed,
)

PADDING = 3  # columns that are added


def check_causality(module: nn.Module, inputs: Inputs, *, of: str) -> None:
    """Fail when an output position moves with a later token of the input `of` (b, t, ...)."""
    module, inputs = stressed(module), doubled(inputs)
    with torch.no_grad(), kept_generator(module):
        base = output_of(module, inputs)
        if base.shape[:2] != inputs[of].shape[:2]:
            raise CheckFailed(
                f"an output of {tuple(base.shape)} has no position for each of {of} "
                f"{tuple(inputs[of].shape)}; causality is a property of (b, t, ...)"
            )
        for place in range(1, inputs[of].shape[1]):
            changed = {**inputs, of: another(inputs[of], (slice(None), place))}
            moved = distance(output_of(module, changed)[:, :place], base[:, :place])
            if moved > NOISE:
                raise CheckFailed(
                    f"output before {place} moved by {moved:.3g} when {of}[:, {place}] changed: "
                    "a token looks ahead; check the causal mask and its alignment"
                )


def check_padding_invariance(
    module: nn.Module, inputs: Inputs, *, of: str, mask: str, pad_id: int = 0
) -> None:
    """Fail when real positions move as padding is added under the mask.

    Padding stands on the right, on the left, and on both sides by another amount in each row, with
    `pad_id` and with an id that occurs. Inputs of the leading shape of `of` are padded along.
    """
    module, inputs = stressed(module), doubled(inputs)
    ids = inputs[of]
    b, t = ids.shape[:2]
    real = inputs.get(mask, torch.ones(b, t, dtype=torch.long, device=ids.device))
    along = {name: x for name, x in inputs.items() if x.shape[:2] == ids.shape[:2]} | {mask: real}
    sides = {
        "the right": [0] * b,
        "the left": [PADDING] * b,
        "both sides": [(2 * row + 1) % (PADDING + 1) for row in range(b)],
    }
    with torch.no_grad(), kept_generator(module):
        base = output_of(module, {**inputs, mask: real})
        for side, lefts in sides.items():
            for value in (pad_id, int(ids.max())):
                padded = {n: pad_time(x, lefts, value if n == of else 0) for n, x in along.items()}
                output = output_of(module, {**inputs, **padded})
                if base.shape[1:2] == (t,) and output.shape[1:2] == (t + PADDING,):
                    rows = zip(output, lefts, strict=True)
                    output = torch.stack([row[left : left + t] for row, left in rows])
                if output.shape != base.shape:
                    raise CheckFailed(
                        f"{PADDING} columns of padding turned an output of {tuple(base.shape)} "
                        f"into {tuple(output.shape)}"
                    )
                moved = distance(output, base)
                if moved > NOISE:
                    raise CheckFailed(
                        f"real positions moved by {moved:.3g} under padding on {side} with id "
                        f"{value}: attention reads padding, or positions do not come from {mask}"
                    )


def pad_time(x: Tensor, lefts: Sequence[int], value: int) -> Tensor:
    """Pad the second axis by so many on the left of each row, and the rest on the right."""
    inner = (0, 0) * (x.dim() - 2)
    return torch.stack(
        [
            pad(row, (*inner, left, PADDING - left), value=value)
            for row, left in zip(x, lefts, strict=True)
        ]
    )


def check_batch_independence(module: nn.Module, inputs: Inputs) -> None:
    """Fail when a row's output depends on which other rows share its batch."""
    module, inputs = stressed(module), doubled(inputs)
    rows = next(iter(inputs.values())).shape[0]
    if rows < 2:
        raise CheckFailed("one row cannot tell; give inputs of at least two rows")
    with torch.no_grad(), kept_generator(module):
        base = output_of(module, inputs)
        for row in range(rows):
            alone = output_of(module, {name: x[row : row + 1] for name, x in inputs.items()})
            moved = distance(alone, base[row : row + 1])
            if moved > NOISE:
                raise CheckFailed(
                    f"row {row} moved by {moved:.3g} when it was alone: rows mix; look for a "
                    "mean or a norm over the batch axis, or a reshape that crosses it"
                )


def check_cached_decoding(module: nn.Module, inputs: Inputs, *, of: str) -> None:
    """Fail when tokens read through a cache give other hidden states than read at once.

    The module has `new_cache(rows, capacity)` and `encode(ids, mask, cache=cache)`; every split in
    two is tried, and one token at a time, without a mask and with padding on the left.
    """
    reader: Any = stressed(module)
    ids = inputs[of]
    b, t = ids.shape
    padded = torch.ones_like(ids)
    padded[0, : t // 2] = 0
    splits = [[k, t - k] for k in range(1, t)] + [[1] * t]
    with torch.no_grad(), kept_generator(reader):
        for what, mask in (("", None), (" after padding", padded)):
            whole = reader.encode(ids, mask)
            real = slice(None) if mask is None else mask.bool()
            for split in splits:
                cache = reader.new_cache(b, t)
                parts = ids.split(split, 1)
                masks = [None] * len(parts) if mask is None else mask.split(split, 1)
                pieces = [reader.encode(*p, cache=cache) for p in zip(parts, masks, strict=True)]
                moved = distance(torch.cat(pieces, 1)[real], whole[real])
                if not moved <= NOISE:  # NaN too
                    raise CheckFailed(
                        f"tokens read as {split} through a cache{what} moved by {moved:.3g}: "
                        "check positions behind the cache, and which keys it gives back"
                    )

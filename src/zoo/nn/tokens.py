"""What stands at the door of a model that reads tokens: ids, masks and positions.

Positions come from the mask alone: a token's position is the number of real tokens before it. So
left padding, right padding and no padding give the same numbers for the real tokens.
"""

from functools import partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from zoo.nn.cache import KVCache
from zoo.nn.steady import current, each
from zoo.ops._elementary import readable


def check_ids(
    ids: Tensor, *, vocab: int, context: int, past: int = 0, name: str = "input_ids"
) -> None:
    """Raise unless ids are (b, t) integers of the vocabulary that fit the context."""
    if ids.dim() != 2:
        raise ValueError(
            f"{name} has shape {tuple(ids.shape)}; expected (batch, tokens): "
            "for one sequence, pass ids[None]"
        )
    if ids.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"{name} is {ids.dtype}; expected torch.int64")
    if past + ids.shape[1] > context:
        held = f" after {past} in the cache" if past else ""
        raise ValueError(
            f"{ids.shape[1]} tokens{held}, but the context is {context}: "
            f"truncate to the last {context - past}"
        )
    if ids.numel() and readable(ids):
        low, high = (int(v) for v in torch.aminmax(ids))
        if low < 0 or high >= vocab:
            raise ValueError(
                f"{name} holds {low if low < 0 else high}; this vocabulary has ids 0 to "
                f"{vocab - 1}: use the tokenizer that the model was trained with"
            )


def real_tokens(
    ids: Int[Tensor, "b t"], attention_mask: Tensor | None, pad: int | None
) -> Bool[Tensor, "b t"] | None:
    """Give the mask as booleans, None when all is real; refuse padding without a mask."""
    if attention_mask is None:
        if pad is not None and readable(ids) and bool((ids == pad).any()):
            raise ValueError(
                f"input_ids holds the padding id {pad} but no attention_mask was given: pass "
                f"attention_mask=(input_ids != {pad}), or the mask that the tokenizer returns"
            )
        return None
    if attention_mask.shape != ids.shape:
        raise ValueError(
            f"attention_mask has shape {tuple(attention_mask.shape)}, "
            f"input_ids {tuple(ids.shape)}: one entry a token, 1 = real"
        )
    mask = attention_mask if attention_mask.dtype == torch.bool else attention_mask != 0
    if readable(mask):
        if attention_mask.dtype != torch.bool and not bool((attention_mask == mask).all()):
            raise ValueError("attention_mask has values other than 0 (padding) and 1 (real)")
        if bool(mask.all()):
            return None
    return mask


def positions_of(
    tokens: int, mask: Bool[Tensor, "b t"] | None, cache: KVCache | None, device: torch.device
) -> Int[Tensor, "#b t"]:
    """Number the real tokens of each row from 0, or from what the cache holds."""
    if mask is None and (cache is None or not cache.padded):
        start = cache.length if cache is not None else 0
        return torch.arange(start, start + tokens, device=device)[None]
    if mask is None:
        assert cache is not None
        return cache.real()[:, None] + torch.arange(tokens, device=device)
    count = mask.long().cumsum(1) - 1
    if cache is not None:
        count = count + cache.real()[:, None]
    return count.clamp_min(0)  # padding before the first token looks up any row: nobody reads it


def first_real(
    hidden: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"] | None
) -> Float[Tensor, "b d"]:
    """Take each row's first real token."""
    if mask is None:
        return hidden[:, 0]
    return take(hidden, mask.long().argmax(1))


def last_real(
    hidden: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"] | None
) -> Float[Tensor, "b d"]:
    """Take each row's last real token."""
    if mask is None:
        return hidden[:, -1]
    return take(hidden, hidden.shape[1] - 1 - mask.flip(1).long().argmax(1))


def take(hidden: Float[Tensor, "b t d"], index: Int[Tensor, " b"]) -> Float[Tensor, "b d"]:
    return hidden.gather(1, index[:, None, None].expand(-1, 1, hidden.shape[2])).squeeze(1)


def pool(
    hidden: Float[Tensor, "b t d"], mask: Bool[Tensor, "b t"] | None, how: str
) -> Float[Tensor, "b d"]:
    """Make one vector a row of the real tokens: `cls` (the first), `mean` or `max`."""
    if how not in POOLINGS:
        raise ValueError(f"pooling {how!r}; expected one of {POOLINGS}")
    if mask is not None and readable(mask) and not bool(mask.any(1).all()):
        raise ValueError("a row of attention_mask has no real token; there is nothing to pool")
    if how == "cls":
        return first_real(hidden, mask)
    if current() is not None:  # what padding adds to a sum is nothing, but in another order
        return each(partial(pool_real, how=how), hidden, mask)
    if mask is None:
        return hidden.mean(1) if how == "mean" else hidden.amax(1)
    if how == "max":
        return hidden.masked_fill(~mask[..., None], -torch.inf).amax(1)
    return hidden.masked_fill(~mask[..., None], 0).sum(1) / mask.sum(1, keepdim=True)


def pool_real(
    hidden: Float[Tensor, "1 t d"], mask: Bool[Tensor, "1 t"] | None, how: str
) -> Float[Tensor, "1 d"]:
    """Give the `mean` or `max` of one row's real tokens alone."""
    real = hidden if mask is None else hidden[:, mask[0]]
    return real.mean(1) if how == "mean" else real.amax(1)


POOLINGS = ("cls", "mean", "max")

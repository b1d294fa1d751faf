"""From logits to a token.

    repetition penalty   l = l / p if l > 0 else l p, for tokens seen (Keskar et al. 2019, eq. 2)
    temperature          l / t
    top-k                the k largest (Fan et al. 2018)
    top-p                the fewest tokens whose mass reaches p (Holtzman et al. 2019)
    min-p                tokens of at least p times the largest probability (Nguyen et al. 2024)

Filters are applied in this order, each to what the last one left; a token that is out has -inf.
A draw inverts the cumulative distribution in vocabulary order with one uniform number a row, so a
row's token depends on its own logits and its own number and on nothing else in the batch.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

BLOCK = 64  # logits looked at together by `greedy`


def penalize(
    logits: Float[Tensor, "b v"], seen: Bool[Tensor, "b v"], penalty: float
) -> Float[Tensor, "b v"]:
    """Make tokens that were `seen` less likely (penalty > 1) or more (< 1).

    What a tiny or a huge penalty would make infinite becomes the largest number there is.
    """
    most = torch.finfo(logits.dtype).max
    scaled = torch.where(logits > 0, logits / penalty, logits * penalty)
    return torch.where(seen, scaled.clamp(-most, most), logits)


def keep_top_k(logits: Float[Tensor, "b v"], k: int) -> Float[Tensor, "b v"]:
    """Keep the k largest of each row, and what ties with the last of them."""
    if k >= logits.shape[-1]:
        return logits
    least = logits.topk(k).values[:, -1:]
    return logits.masked_fill(logits < least, -torch.inf)


def keep_top_p(logits: Float[Tensor, "b v"], p: float) -> Float[Tensor, "b v"]:
    """Keep the likeliest tokens up to and with the one at which their mass reaches p."""
    if p >= 1:
        return logits
    ordered, where = logits.sort(descending=True, stable=True)
    mass = ordered.softmax(-1)
    before = mass.cumsum(-1) - mass  # of the likelier ones: 0 for the first, so it always stays
    out = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, where, before >= p)
    return logits.masked_fill(out, -torch.inf)


def keep_min_p(logits: Float[Tensor, "b v"], p: float) -> Float[Tensor, "b v"]:
    """Keep tokens of at least p times the probability of the likeliest."""
    mass = logits.softmax(-1)
    return logits.masked_fill(mass < p * mass.amax(-1, keepdim=True), -torch.inf)


def filtered(
    logits: Float[Tensor, "b v"],
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
) -> Float[Tensor, "b v"]:
    """Apply what was asked for, in the order at the top of this file."""
    # shifted first, so that no temperature makes an infinity of the largest
    logits = (logits - logits.amax(-1, keepdim=True)) / temperature
    if top_k is not None:
        logits = keep_top_k(logits, top_k)
    if top_p is not None:
        logits = keep_top_p(logits, top_p)
    if min_p is not None:
        logits = keep_min_p(logits, min_p)
    return logits


def greedy(logits: Float[Tensor, "b v"]) -> Int[Tensor, " b"]:
    """Take the likeliest token; of equals, the first.

    torch's argmax of a long row is ten times slower than its amax, so blocks are looked at first.
    """
    _, v = logits.shape
    if v < 2 * BLOCK:
        return (logits == logits.amax(-1, keepdim=True)).long().argmax(-1)
    whole = v // BLOCK * BLOCK
    most = logits[:, :whole].unflatten(1, (-1, BLOCK)).amax(-1)  # (b, blocks)
    if whole < v:
        most = torch.cat([most, logits[:, whole:].amax(-1, keepdim=True)], 1)
    block = (most == most.amax(-1, keepdim=True)).long().argmax(-1, keepdim=True)
    places = (block * BLOCK + torch.arange(BLOCK, device=logits.device)).clamp_max(v - 1)
    inside = logits.gather(-1, places)
    inside = (inside == inside.amax(-1, keepdim=True)).long().argmax(-1, keepdim=True)
    return places.gather(-1, inside).squeeze(-1)


def logprobs(logits: Float[Tensor, "b v"], tokens: Int[Tensor, " b"]) -> Float[Tensor, " b"]:
    """Give the log-probability of each row's token, in float64.

    Logits of float64 are summed in it. Of others the exponentials are float32: as the weighted mean
    of m - l is at most log v, that moves the result by (log v + 5) 2^-24 or so, no more than
    the rounding of a logit of size 16; the logits themselves are taken as they are.
    """
    if logits.dtype != torch.float64:
        logits = logits.float()
    most = logits.amax(-1, keepdim=True)
    total = (logits - most).exp_().sum(-1)
    return (logits.gather(-1, tokens[:, None]) - most).squeeze(-1).double() - total.double().log()


def draw(logits: Float[Tensor, "b v"], uniform: Float[Tensor, " b"]) -> Int[Tensor, " b"]:
    """Take the first token at which the cumulative probability exceeds `uniform`, in [0, 1)."""
    mass = logits.double().softmax(-1).cumsum(-1)
    # the last sum is 1 up to rounding; scaled by it, no number lies beyond the last token
    at = (uniform.double() * mass[:, -1])[:, None]
    return torch.searchsorted(mass, at, right=True).squeeze(-1)


def uniforms(generators: list[torch.Generator]) -> Float[Tensor, " b"]:
    """Draw one number in [0, 1) from each row's own generator."""
    drawn = [torch.rand((), generator=g, dtype=torch.float64) for g in generators]
    return torch.stack(drawn)

"""Beam search (Wu et al. 2016, section 7, with the length penalty as a plain power).

    score = logprob / tokens ** length_penalty

Every step extends the running beams by their likeliest tokens. Of the first `beams` candidates,
those that stop join the finished ones, of which the best `beams` are kept; the likeliest others
run on. The search ends when the best running beam, scored at its present length, is no better
than the worst of a full set of finished ones (Hugging Face's `early_stopping=False`).
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.generate.forward import Step, last_logits, left_padded
from zoo.generate.request import Request
from zoo.generate.sample import penalize


@dataclass(frozen=True)
class Beam:
    """A candidate: its tokens, the sum it is ranked by, and the model's own sum."""

    ids: list[int]
    total: float  # with the repetition penalty
    logprob: float
    parent: int = 0  # the running beam that it extends


def search(model: nn.Module, request: Request) -> None:
    """Find the best continuation and let the request take it."""
    decoder: Any = model
    o = request.options
    cache = decoder.new_cache(1, len(request.prompt) + o.max_new_tokens - 1)
    device = cache.mask.device
    ids, mask = left_padded([request.prompt])
    step, running = Step(model), [Beam([], 0.0, 0.0)]
    finished: list[Beam] = []
    for length in range(1, o.max_new_tokens + 1):
        logits = last_logits(step, ids.to(device), mask.to(device), cache)
        candidates = extend(logits, running, request)
        stopped = [length == o.max_new_tokens or stops(request, beam.ids) for beam in candidates]
        ended = zip(candidates[: o.beams], stopped[: o.beams], strict=True)
        finished += [beam for beam, stop in ended if stop]
        finished = sorted(finished, key=lambda b: -score(b, o.length_penalty))[: o.beams]
        running = [b for b, stop in zip(candidates, stopped, strict=True) if not stop][: o.beams]
        if not running or settled(running, finished, request):
            break
        cache.select(torch.tensor([beam.parent for beam in running], device=device))
        ids, mask = left_padded([beam.ids[-1:] for beam in running])
    best = finished[0]
    for token in best.ids:
        request.take(token, 0.0)
    request.logprob = best.logprob


def extend(logits: Float[Tensor, "b v"], running: list[Beam], request: Request) -> list[Beam]:
    """Give the likeliest extensions, best first: enough that `beams` of them do not stop."""
    o = request.options
    given = logits.log_softmax(-1)
    steps = given
    if o.repetition_penalty != 1:
        seen = request.seen.repeat(len(running), 1)
        for row, beam in zip(seen, running, strict=True):
            row[beam.ids] = True
        steps = penalize(steps, seen.to(steps.device), o.repetition_penalty)
    before = torch.tensor([b.total for b in running], dtype=torch.float64, device=logits.device)
    totals = (steps + before[:, None])[:, : request.choices]
    count = o.beams * max(2, 1 + len(set(request.stop_tokens)))
    values, where = totals.flatten().topk(min(count, totals.numel()))
    result = []
    for total, index in zip(values.tolist(), where.tolist(), strict=True):
        parent, token = divmod(index, totals.shape[1])
        beam = running[parent]
        logprob = beam.logprob + float(given[parent, token])
        result.append(Beam([*beam.ids, token], total, logprob, parent))
    return result


def stops(request: Request, ids: list[int]) -> bool:
    """Tell whether the last of these tokens is a stop token or ends a stop string."""
    if ids[-1] in request.stop_tokens:
        return True
    text = request.new_text() if request.options.stop_strings else None
    if text is None:
        return False
    for token in ids:
        text.push(token)
    return text.stops.hit


def score(beam: Beam, length_penalty: float) -> float:
    return beam.total / len(beam.ids) ** length_penalty


def settled(running: list[Beam], finished: list[Beam], request: Request) -> bool:
    """Tell whether no running beam is expected to beat the finished ones."""
    o = request.options
    if len(finished) < o.beams:
        return False
    return score(running[0], o.length_penalty) <= score(finished[-1], o.length_penalty)

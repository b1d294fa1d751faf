"""Decoding: the prompts once, then a token a step against the cache.

Prompts of different lengths are padded on the left, so that all end in the same column. A row
draws from its own generator and leaves the batch when it is done; so a prompt gets the same text
alone, in a batch and streamed, up to what rounding does to the logits.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from zoo.generate import sample, speculate
from zoo.generate.beam import search
from zoo.generate.choose import choose
from zoo.generate.drafts import DraftModel, NGram, check_draft
from zoo.generate.forward import Step, left_padded
from zoo.generate.options import Generation, Sampling
from zoo.generate.request import Prompt, Request, make_requests
from zoo.tokenizers import Tokenizer

DEFAULT = Sampling()


def generate(
    model: nn.Module,
    prompts: Sequence[Prompt],
    options: Sampling | Sequence[Sampling] = DEFAULT,
    tokenizer: Tokenizer | None = None,
    *,
    draft: NGram | DraftModel | nn.Module | None = None,
    at_once: int = 32,
) -> list[Generation]:
    """Continue each prompt (ids, or text with a tokenizer); options are for all or one each.

    A `draft`, n-grams or a smaller decoder of the same vocabulary, may save steps and changes no
    text (see zoo.generate.speculate). At most `at_once` prompts share a batch; the number changes
    no text. Raises ValueError for a prompt that with its new tokens exceeds the context, for an
    empty one without a start token, for a draft of another vocabulary or a shorter context, and
    for beams with a draft. The model's training mode is left as it was.
    """
    if at_once < 1:
        raise ValueError(f"at_once {at_once}; expected at least 1")
    requests = make_requests(model, prompts, options, tokenizer)
    plan = None if draft is None else check_draft(draft, model, requests)
    plain = [request for request in requests if request.options.beams == 1]
    for request in requests:
        if request.options.beams > 1:
            search(model, request)
    config: Any = model.config
    for group in groups(plain, config.context, at_once):
        for _ in run(model, group) if plan is None else speculate.run(model, group, plan):
            pass
    return [request.result() for request in requests]


def stream(
    model: nn.Module,
    prompt: Prompt,
    options: Sampling,
    tokenizer: Tokenizer,
    *,
    draft: NGram | DraftModel | nn.Module | None = None,
) -> Iterator[str]:
    """Give the text of `generate` in pieces as they come.

    A piece holds whole characters; what may belong to a stop string waits. Raises as `generate`
    does, when called, and for beams, which know their text only at the end.
    """
    if options.beams > 1:
        raise ValueError("beam search knows its text only at the end: use generate, or beams=1")
    requests = make_requests(model, [prompt], options, tokenizer)
    plan = None if draft is None else check_draft(draft, model, requests)
    told = run(model, requests) if plan is None else speculate.run(model, requests, plan)
    return (piece for _, piece in told if piece)


def groups(requests: list[Request], context: int, at_once: int) -> list[list[Request]]:
    """Divide requests so that each group fits the context: its longest prompt and most tokens."""
    result: list[list[Request]] = []
    room = (0, 0)
    for request in sorted(requests, key=lambda r: -len(r.prompt)):
        asked = request.options.max_new_tokens
        longest, most = max(room[0], len(request.prompt)), max(room[1], asked)
        if not result or len(result[-1]) == at_once or longest + most - 1 > context:
            result.append([])
            longest, most = len(request.prompt), asked
        result[-1].append(request)
        room = (longest, most)
    return result


def run(model: nn.Module, rows: list[Request]) -> Iterator[tuple[Request, str]]:
    """Decode a batch to its end; give each row's text as tokens come."""
    decoder: Any = model
    longest = max(len(row.prompt) for row in rows)
    most = max(row.options.max_new_tokens for row in rows)
    cache = decoder.new_cache(len(rows), longest + most - 1)  # the last token is never read
    device = cache.mask.device
    step = Step(model)
    ids, mask = left_padded([row.prompt for row in rows])
    while True:
        logits = step(ids.to(device), mask.to(device), cache)
        tokens = choose(logits, rows)
        given = sample.logprobs(logits, tokens)
        for row, token, logprob in zip(rows, tokens.tolist(), given.tolist(), strict=True):
            yield row, row.take(token, logprob)
        alive = [i for i, row in enumerate(rows) if row.finish is None]
        if not alive:
            return
        if len(alive) < len(rows):
            cache.select(torch.tensor(alive, device=device))
            rows = [rows[i] for i in alive]
            tokens = tokens[alive]
        ids = tokens[:, None]
        mask = torch.ones_like(ids, dtype=torch.bool)

"""Decoding: the prompts once, then a token a step against the cache.

Prompts of different lengths are padded on the left, so that all end in the same column. A row
draws from its own generator and leaves the batch when it is done; so a prompt gets the same text
alone, in a batch and streamed, up to what rounding does to the logits.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from zoo.generate import sample
from zoo.generate.beam import search
from zoo.generate.forward import Step, left_padded
from zoo.generate.options import Generation, Sampling
from zoo.generate.request import Prompt, Request, make_requests, seen_rows
from zoo.tokenizers import Tokenizer

DEFAULT = Sampling()


def generate(
    model: nn.Module,
    prompts: Sequence[Prompt],
    options: Sampling | Sequence[Sampling] = DEFAULT,
    tokenizer: Tokenizer | None = None,
    *,
    at_once: int = 32,
) -> list[Generation]:
    """Continue each prompt (ids, or text with a tokenizer); options are for all or one each.

    At most `at_once` prompts share a batch; the number changes no text. Raises ValueError for a
    prompt that with its new tokens exceeds the context, and for an empty one without a start
    token. The model's training mode is left as it was.
    """
    if at_once < 1:
        raise ValueError(f"at_once {at_once}; expected at least 1")
    requests = make_requests(model, prompts, options, tokenizer)
    plain = [request for request in requests if request.options.beams == 1]
    for request in requests:
        if request.options.beams > 1:
            search(model, request)
    config: Any = model.config
    for group in groups(plain, config.context, at_once):
        for _ in run(model, group):
            pass
    return [request.result() for request in requests]


def stream(
    model: nn.Module, prompt: Prompt, options: Sampling, tokenizer: Tokenizer
) -> Iterator[str]:
    """Give the text of `generate` in pieces as they come.

    A piece holds whole characters; what may belong to a stop string waits. Raises as `generate`
    does, when called, and for beams, which know their text only at the end.
    """
    if options.beams > 1:
        raise ValueError("beam search knows its text only at the end: use generate, or beams=1")
    requests = make_requests(model, [prompt], options, tokenizer)
    return (piece for _, piece in run(model, requests) if piece)


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


def choose(logits: Float[Tensor, "b v"], rows: Sequence[Request]) -> Int[Tensor, " b"]:
    """Choose each row's next token as its options say; rows with equal options go together."""
    same: dict[tuple[Any, ...], list[int]] = {}
    for i, row in enumerate(rows):
        o = row.options
        numbers = (o.temperature, o.top_k, o.top_p, o.min_p, o.repetition_penalty)
        same.setdefault(numbers, []).append(i)
    if len(same) == 1:
        return choose_alike(logits, list(rows))
    tokens = torch.empty(len(rows), dtype=torch.long, device=logits.device)
    for where in same.values():
        tokens[where] = choose_alike(logits[where], [rows[i] for i in where])
    return tokens


def choose_alike(logits: Float[Tensor, "b v"], rows: list[Request]) -> Int[Tensor, " b"]:
    """Choose for rows that differ only in their seeds and in what they have seen.

    What is computed is computed in float64; the largest is the same in any type.
    """
    o = rows[0].options
    if o.temperature or o.repetition_penalty != 1:
        logits = logits.double()
    if o.repetition_penalty != 1:
        logits = sample.penalize(logits, seen_rows(rows, logits.device), o.repetition_penalty)
    logits = logits[:, : rows[0].choices]
    if o.temperature == 0:
        return sample.greedy(logits)
    left = sample.filtered(
        logits, temperature=o.temperature, top_k=o.top_k, top_p=o.top_p, min_p=o.min_p
    )
    uniform = sample.uniforms([row.generator for row in rows])
    return sample.draw(left, uniform.to(logits.device))

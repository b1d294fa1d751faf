"""Each row's next token, as its options say; rows with equal options go together."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from zoo.generate import sample
from zoo.generate.request import Request, seen_rows


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

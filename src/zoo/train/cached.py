"""The contrastive loss of a whole batch whose activations fit the memory only piece by piece.

GradCache (Gao et al. 2021, section 3): the loss compares every row with every other one, so pieces
do not simply add up; but it reads nothing of a row except its two vectors.

    1  vectors f_i of every piece, without a graph
    2  L(f_1, ..., f_n, scale, bias) and its gradients by these, over all pieces and processes
    3  each piece again, with a graph, from dL/df_i backward

Each piece is embedded twice, with the same random numbers, so dropout drops the same; the
generators end where one pass over all pieces leaves them.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from zoo.objectives import Batch, features, pair_loss


def embed(model: Any, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Give the vectors of a piece, and what their products are scaled and shifted by."""
    return *features(model, batch), model.scale(), model.logit_bias


def cached_backward(
    act: Callable[..., Any],
    micros: Sequence[Batch],
    *,
    finish: Callable[[Tensor], Tensor],
    autocast: Callable[[], AbstractContextManager[Any]],
    syncing: Callable[[bool], AbstractContextManager[Any]],
) -> Tensor:
    """Add the gradients of `match` over all of `micros` to the parameters; give the sum of losses.

    `act(function, batch)` runs a function of the model; `finish` makes of the sum the loss that is
    differentiated; `syncing(last)` is the block for forward and backward of one piece.
    """
    device = micros[0]["pixel_values"].device
    before, pieces = [], []
    with torch.no_grad():
        for batch in micros:
            before.append(generators(device))
            pieces.append(act(embed, batch))
    images, texts, scales, biases = zip(*pieces, strict=True)
    one, other, scale = leaf(torch.cat(images)), leaf(torch.cat(texts)), leaf(scales[0])
    bias = None if biases[0] is None else leaf(biases[0])
    with autocast():
        loss = pair_loss(one, other, scale, bias, reduction="sum")
    finish(loss).backward()
    rows = [len(x) for x in images]
    sides = [gradient(x).split(rows) for x in (one, other)]
    shared = [gradient(x) for x in (scale, bias) if x is not None]
    for number, batch in enumerate(micros):
        last = number == len(micros) - 1
        restore(before[number], device)
        with syncing(last):
            made = [x for x in act(embed, batch) if x is not None]
            given = [side[number] for side in sides] + (shared if last else [])
            torch.autograd.backward(made[: len(given)], given)
    return loss.detach()


def leaf(x: Tensor) -> Tensor:
    return x.detach().clone().requires_grad_()


def gradient(x: Tensor) -> Tensor:
    assert x.grad is not None
    return x.grad


def generators(device: torch.device) -> tuple[Tensor, ...]:
    """Give the states of the generators that a forward pass may draw from."""
    host = torch.get_rng_state()
    return (host, torch.cuda.get_rng_state(device)) if device.type == "cuda" else (host,)


def restore(states: tuple[Tensor, ...], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    for state in states[1:]:
        torch.cuda.set_rng_state(state, device)

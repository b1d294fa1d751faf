"""Exponential moving average of the weights (Polyak and Juditsky 1992).

    average <- d average + (1 - d) weight        d = min(decay, (1 + n) / (10 + n)) at update n

The first updates are averaged over few steps: the weights before them are chance. Averages are
float32 at least, where a change of a thousandth is not rounded away.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from zoo.ops._function import LOW

COUNT = ".updates"  # no parameter's name begins with a dot


class EMA:
    """Averages of the parameters that a model trains when this is made, tied ones once.

    Buffers are not averaged: a swapped model keeps its own, as torch.optim.swa_utils has it.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"decay is {decay}; expected at least 0 and less than 1")
        self.decay = decay
        self.updates = 0
        self.swaps = 0  # how many `with swapped()` are open
        self.parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
        if not self.parameters:
            raise ValueError("the model has no parameter with requires_grad=True: nothing to track")
        self.averages = {name: widened(p) for name, p in self.parameters.items()}
        low = [local(p) for p in self.parameters.values() if p.dtype in LOW]
        # what a low precision parameter is widened in; as large as the largest
        self.spare = [torch.empty(max(p.numel() for p in low), device=low[0].device)] if low else []

    def update(self) -> None:
        """Take the weights of one more step in, in place."""
        if self.swaps:
            raise RuntimeError("the model holds the averages now: update after the `with`")
        weight = 1.0 - self.rate()
        same: list[tuple[Tensor, Tensor]] = []
        with torch.no_grad():
            for name, p in self.parameters.items():
                average, new = local(self.averages[name]), local(p)
                if average.dtype == new.dtype:
                    same.append((average, new))
                else:
                    wide = self.spare[0][: new.numel()].view(new.shape)
                    average.lerp_(wide.copy_(new), weight)
            if same:
                averages, weights = zip(*same, strict=True)
                torch._foreach_lerp_(averages, weights, weight)
        self.updates += 1

    def rate(self) -> float:
        """Give what the next update multiplies the averages by."""
        return min(self.decay, (1 + self.updates) / (10 + self.updates))

    def state(self) -> dict[str, Tensor]:
        """Give the averages themselves by the parameters' names, and how many updates made them."""
        return self.averages | {COUNT: torch.tensor(self.updates)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Put in what `state` gave; raise ValueError, and change nothing, where it does not fit."""
        wanted = self.state()
        if state.keys() != wanted.keys():
            differ = sorted(state.keys() ^ wanted.keys())
            raise ValueError(f"these are another model's averages: {', '.join(differ[:8])}")
        for name, tensor in wanted.items():
            given = state[name]
            if given.shape != tensor.shape or given.dtype != tensor.dtype:
                raise ValueError(
                    f"{name} is {given.dtype} {tuple(given.shape)}; "
                    f"the average is {tensor.dtype} {tuple(tensor.shape)}"
                )
        for name, average in self.averages.items():
            average.copy_(state[name])
        self.updates = int(state[COUNT])

    def _swapped(self) -> Iterator[None]:
        """Let the model hold the averages inside a `with`, and its own bits after it."""
        kept = {name: p.detach().clone() for name, p in self.parameters.items()}
        self.swaps += 1
        try:
            self.put(self.averages)
            yield
        finally:
            self.put(kept)
            self.swaps -= 1

    swapped = contextmanager(_swapped)

    def put(self, tensors: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, p in self.parameters.items():
                p.copy_(tensors[name])


def widened(parameter: Tensor) -> Tensor:
    """Copy a parameter, in float32 where it is less."""
    wide = parameter.detach().clone()
    return wide.float() if wide.dtype in LOW else wide


def local(tensor: Tensor) -> Tensor:
    """Give this process's share of a sharded tensor, and any other as it is."""
    whole: Any = tensor.detach()
    return whole.to_local() if hasattr(whole, "to_local") else whole

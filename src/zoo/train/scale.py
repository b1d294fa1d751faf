"""A factor that keeps small float16 gradients from becoming 0.

    backward of  scale x loss;      gradient / scale before anything looks at it
    a gradient overflowed:  no step, scale / 2;      `patience` steps without:  scale x 2

Micikevicius et al. 2018, section 3.2; powers of two, so that scaling rounds nothing. torch's
GradScaler asks each process for itself whether something overflowed, which goes wrong where each
holds a share of the gradients; here the global norm tells all of them the same. The numbers are on
the host: a step that looks at its norm anyway waits for nothing more.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor


class Scaler:
    """A loss scale that finds its size by itself; `floor` is the least that makes sense."""

    def __init__(
        self, scale: float = 2.0**16, *, patience: int = 2000, floor: float = 2.0**-13
    ) -> None:
        if not 0 < floor <= scale:
            raise ValueError(f"scale {scale} and floor {floor}; expected 0 < floor <= scale")
        if patience < 1:
            raise ValueError(f"patience {patience}; expected a number of steps, 1 or more")
        self.scale = scale
        self.patience = patience
        self.floor = floor
        self.good = 0  # steps since the scale changed

    def unscale(self, parameters: Iterable[Tensor]) -> None:
        """Divide the gradients by the scale, in place."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        if gradients:
            torch._foreach_mul_(gradients, 1 / self.scale)

    def update(self, fits: bool) -> None:
        """Take in whether the gradients of a step fit into float16."""
        self.good = self.good + 1 if fits else 0
        if not fits:
            self.scale /= 2
        elif self.good == self.patience:
            self.scale, self.good = self.scale * 2, 0

    def spent(self) -> bool:
        """Tell whether the scale has fallen under its floor: then it is not the scale's fault."""
        return self.scale < self.floor

    def state_dict(self) -> dict[str, Any]:
        """Give what a run needs to go on, as JSON knows it."""
        return {"scale": self.scale, "good": self.good}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put in what `state_dict` gave."""
        self.scale, self.good = float(state["scale"]), int(state["good"])

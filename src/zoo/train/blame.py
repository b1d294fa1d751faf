"""Where a number stopped being finite: the first module, in the forward pass or in the backward."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Fault:
    """The first place that is not finite.

    `where` is input, parameter, output, loss or gradient; `module` is its name in `named_modules`,
    `kind` its class; `what` says NaN or Inf, how many values, and where the first is.
    """

    module: str
    kind: str
    where: str
    what: str

    def sentence(self) -> str:
        return f"{self.where} of {self.module or 'the model'} ({self.kind}): {self.what}"


def find_fault(
    module: nn.Module,
    run: Callable[[], Tensor],
    *,
    batch: Mapping[str, Tensor] | None = None,
) -> Fault | None:
    """Run a forward and a backward pass again, and find the first number that is not finite."""
    raise NotImplementedError

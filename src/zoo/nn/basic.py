"""torch's Linear, LayerNorm, Embedding and Dropout, led through zoo.ops, and small relatives."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from zoo import ops
from zoo.nn.steady import affine
from zoo.ops.packed import Packed

STD = 0.02  # of a fresh weight: GPT-2 (Radford et al. 2019), BERT (Devlin et al. 2018)


def fresh_(tensor: Tensor, std: float = STD) -> None:
    """Fill a new weight with normal numbers; one on the meta device has none.

    There torch would trace the drawing, which loads its compiler: half the time of a short call.
    """
    if not tensor.is_meta:
        nn.init.normal_(tensor, std=std)


class Linear(nn.Linear):
    """Affine map of the last axis; fresh weights are normal with deviation 0.02."""

    packed: Packed | None = None  # what to multiply by instead, where no derivative is wanted

    def reset_parameters(self) -> None:
        fresh_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Float[Tensor, "... i"]) -> Float[Tensor, "... o"]:
        return affine(x, self.weight, self.bias, self.packed)


class LayerNorm(nn.Module):
    """Zero mean and unit variance over the last axis, then scale and shift."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        return ops.layer_norm(x, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[0]}, eps={self.eps}"


class Embedding(nn.Module):
    """Rows of a table; fresh rows are normal with deviation 0.02."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(count, width))
        fresh_(self.weight)

    def forward(self, ids: Int[Tensor, "..."]) -> Float[Tensor, "... d"]:
        return ops.embedding(ids, self.weight)

    def extra_repr(self) -> str:
        return "{}, {}".format(*self.weight.shape)


class Dropout(nn.Module):
    """Zero a share of the values while training; each call draws one seed from torch's generator.

    The seed is all that is kept: the mask is made again from it in the backward pass.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        if not self.training or self.rate == 0:
            return x
        return ops.dropout(x, self.rate, draw_seed())

    def extra_repr(self) -> str:
        return f"rate={self.rate}"


class DropPath(nn.Module):
    """Leave out, while training, what a block would add to a share of the rows of a batch.

    Stochastic depth (Huang et al. 2016); one seed a call, as for dropout.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
        if not self.training or self.rate == 0:
            return x
        return ops.drop_path(x, self.rate, draw_seed())

    def extra_repr(self) -> str:
        return f"rate={self.rate}"


class LayerScale(nn.Module):
    """Scale each channel of what a block adds (Touvron et al. 2021, section 2)."""

    def __init__(self, width: int, initial: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((width,), initial))

    def forward(self, x: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        return x * self.weight


def draw_seed() -> Tensor:
    """Draw a seed from torch's CPU generator, which checkpointing and resuming restore."""
    return torch.randint(2**62, ())

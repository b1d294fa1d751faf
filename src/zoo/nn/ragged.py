"""Real tokens alone, one row behind the other, so that padding costs nothing.

Linear layers, norms and gelu act on each token by itself; attention is told where rows end. So a
padded batch (b, t, d) with n real tokens goes through its blocks as (1, n, d). That is for answers
alone: while gradients are wanted a label of a padding token has to find what the token became.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from zoo.nn.attention import Attention
from zoo.nn.fused import bare
from zoo.nn.stack import through
from zoo.nn.steady import current
from zoo.ops._elementary import readable

#: share of padding from which on leaving it out repays moving the rows
WASTE = 1 / 8


def through_real(
    blocks: Iterable[nn.Module],
    x: Float[Tensor, "b t d"],
    padding: Bool[Tensor, "b t"] | None,
    *,
    recompute: bool,
) -> Float[Tensor, "b t d"]:
    """Lead x through blocks that take a mask; without gradients, padding is left out.

    What comes out for real tokens is the same up to rounding; for padding it is then zeros.
    """
    blocks = list(blocks)
    if padding is None or not leaves_out(blocks, padding):
        return through(blocks, x, padding, recompute=recompute)
    lengths = tuple(n for n in padding.sum(1).tolist() if n)

    def together(rows: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        y: Tensor = through(blocks, rows[None], lengths, recompute=False)[0]
        return y

    return scattered(together, x, padding)


def of_real(
    head: nn.Module, x: Float[Tensor, "b t d"], padding: Bool[Tensor, "b t"] | None
) -> Float[Tensor, "b t v"]:
    """Give head(x) of a head that looks at each token by itself; padding is left out as above."""
    if padding is None or not leaves_out([head], padding):
        return head(x)
    return scattered(head, x, padding)


def scattered(
    function: Callable[[Tensor], Tensor], x: Float[Tensor, "b t d"], padding: Bool[Tensor, "b t"]
) -> Float[Tensor, "b t v"]:
    """Give what a function makes of the real rows, each where it belongs, and zeros between."""
    b, t, d = x.shape
    where = padding.flatten().nonzero().squeeze(1)
    real = function(x.reshape(b * t, d)[where])
    y = real.new_zeros(b * t, real.shape[1])
    return y.index_copy_(0, where, real).view(b, t, -1)


def leaves_out(blocks: list[nn.Module], padding: Bool[Tensor, "b t"]) -> bool:
    """Tell whether padding can be left out here, and whether there is enough of it.

    A hook expects whole batches; dropped attention weights are drawn for whole rows.
    """
    if torch.is_grad_enabled() or not readable(padding):
        return False
    real = int(padding.sum())
    # under `steady` whether a batch is led so must not depend on its rows
    waste = WASTE if current() is None else 0
    if not 0 < real <= (1 - waste) * padding.numel():
        return False
    return all(plain(module) for block in blocks for module in block.modules())


def plain(module: Any) -> bool:
    """Tell whether a module of a block takes rows one behind the other."""
    if isinstance(module, Attention) and (
        type(module) is not Attention or (module.training and module.rate)
    ):
        return False
    return bare(module)

"""LoRA: Low-Rank Adaptation (Hu et al. 2021, section 4.1).

    y = x W^T + b + (alpha / rank) drop(x) down^T up^T        down (rank, in), up (out, rank)

W and b stay as they were read; `up` begins at zero, so that nothing has changed before the first
step. A layer that maps to queries, keys and values at once has one `down` for the three of them.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo import ops
from zoo.nn.basic import Dropout, Linear
from zoo.ops._function import wide


class LoRALinear(Linear):
    """A linear layer and what is learnt on top of it; the weight and the bias are `base`'s own.

    The adapter is float32 at least, so that small steps are not rounded away.
    """

    def __init__(self, base: Linear, *, rank: int, alpha: float, rate: float = 0.0) -> None:
        nn.Module.__init__(self)
        if rank < 1:
            raise ValueError(f"rank is {rank}; expected 1 or more")
        if not 0.0 < alpha < math.inf:
            raise ValueError(f"alpha is {alpha}; expected a positive number, such as the rank")
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"rate is {rate}; expected at least 0 and less than 1")
        self.in_features, self.out_features = base.in_features, base.out_features
        self.weight = base.weight
        self.register_parameter("bias", base.bias)
        self.rank = rank
        self.alpha = alpha
        self.scale = alpha / rank
        self.drop = Dropout(rate)
        like = wide(base.weight.detach()[:0])  # its device, and the dtype of what is learnt
        self.down = nn.Parameter(like.new_empty(rank, self.in_features))
        self.up = nn.Parameter(like.new_zeros(self.out_features, rank))
        if not self.down.is_meta:
            nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))  # as in the published code
        self.train(base.training)

    def forward(self, x: Float[Tensor, "... i"]) -> Float[Tensor, "... o"]:
        y = ops.linear(x, self.weight, self.bias)
        learnt = ops.linear(ops.linear(self.drop(x).to(self.down.dtype), self.down), self.up)
        return y + (self.scale * learnt).to(y.dtype)

    def change(self) -> Float[Tensor, "o i"]:
        """Give what is learnt as a matrix beside the weight, in float64."""
        with torch.no_grad():
            return self.scale * (self.up.double() @ self.down.double())

    def plain(self) -> Linear:
        """Give the layer below, without what is learnt."""
        layer = Linear(self.in_features, self.out_features, bias=False, device="meta")
        layer.weight = self.weight
        layer.register_parameter("bias", self.bias)
        return layer.train(self.training)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, rank={self.rank}, alpha={self.alpha}"

"""The two layers of a block that look at one token at a time (Vaswani et al. 2017, section 3.3)."""

from jaxtyping import Float
from torch import Tensor, nn

from zoo.nn.basic import LayerNorm, Linear
from zoo.nn.fused import gelu_linear, norm_linear


class MLP(nn.Module):
    """Up, gelu, down."""

    first = "up"  # see zoo.nn.fused.after_norm

    def __init__(self, width: int, hidden: int, gelu: str) -> None:
        super().__init__()
        self.gelu = gelu
        self.up = Linear(width, hidden)
        self.down = Linear(hidden, width)

    def forward(
        self, x: Float[Tensor, "... d"], norm: LayerNorm | None = None
    ) -> Float[Tensor, "... d"]:
        """Map each token; `norm` is what x goes through first."""
        return gelu_linear(norm_linear(x, norm, self.up), self.gelu, self.down)

    def extra_repr(self) -> str:
        return f"gelu={self.gelu}"

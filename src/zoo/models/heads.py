"""What reads an answer out of hidden states; a language head's `weight` may be the token table."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zoo.nn import Dropout, LayerNorm, Linear
from zoo.nn.basic import fresh_
from zoo.nn.steady import affine, gelu
from zoo.ops.packed import Packed


class LMHead(nn.Module):
    """The next token's logits (Radford et al. 2019)."""

    packed: Packed | None = None

    def __init__(self, vocab: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(vocab, width))
        fresh_(self.weight)

    def forward(self, hidden: Float[Tensor, "... d"]) -> Float[Tensor, "... v"]:
        return affine(hidden, self.weight, None, self.packed)


class MaskedLMHead(nn.Module):
    """Affine map, gelu, norm, then the token table (Devlin et al. 2018, appendix A)."""

    packed: Packed | None = None  # of the table; `transform` has its own

    def __init__(self, vocab: int, width: int, gelu: str, eps: float) -> None:
        super().__init__()
        self.gelu = gelu
        self.transform = Linear(width, width)
        self.norm = LayerNorm(width, eps)
        self.weight = nn.Parameter(torch.empty(vocab, width))
        fresh_(self.weight)
        self.bias = nn.Parameter(torch.zeros(vocab))

    def features(self, hidden: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        """Give what the last linear layer reads."""
        return self.norm(gelu(self.transform(hidden), self.gelu))

    def forward(self, hidden: Float[Tensor, "... d"]) -> Float[Tensor, "... v"]:
        return affine(self.features(hidden), self.weight, self.bias, self.packed)


class Classifier(nn.Module):
    """Dropout, then an affine map."""

    def __init__(self, width: int, classes: int, rate: float) -> None:
        super().__init__()
        self.drop = Dropout(rate)
        self.linear = Linear(width, classes)

    def forward(self, hidden: Float[Tensor, "... d"]) -> Float[Tensor, "... k"]:
        return self.linear(self.drop(hidden))

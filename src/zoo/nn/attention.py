"""Multi-head attention (Vaswani et al. 2017, section 3.2.2) over zoo.ops.attention."""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from zoo import ops
from zoo.nn.basic import LayerNorm, Linear, draw_seed
from zoo.nn.cache import LayerCache
from zoo.nn.fused import norm_linear
from zoo.nn.steady import current, each
from zoo.ops._attention_dense import attention_weights, visible
from zoo.ops._function import no_autocast
from zoo.ops.attention import use_padding

Lengths = tuple[int, ...]
ALIGNED = 16  # numbers: memory is handed out from a multiple of so many on


class Attention(nn.Module):
    """Self attention; `causal` lets a token look at itself and at what came before."""

    first = "qkv"  # see zoo.nn.fused.after_norm

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        causal: bool = False,
        rate: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} is not a multiple of heads {heads}")
        self.heads = heads
        self.causal = causal
        self.rate = rate
        self.qkv = Linear(width, 3 * width, bias=bias)  # `bias`: of queries, keys and values
        self.out = Linear(width, width)

    def forward(
        self,
        x: Float[Tensor, "b t d"],
        padding: Bool[Tensor, "b s"] | Lengths | None = None,
        past: LayerCache | None = None,
        norm: LayerNorm | None = None,
    ) -> Float[Tensor, "b t d"]:
        """Attend; `padding` is True for a real key, `past` holds the keys that came before.

        Lengths in its place say that the one row of x is sequences one behind the other.
        `norm` is what x goes through first.
        """
        b, t, d = x.shape
        q, k, v = self.split(x, norm)
        if past is not None:
            k, v = past.append(k, v)  # (b, h, s, n)
        rate = self.rate if self.training else 0.0
        seed = draw_seed() if rate else None
        lengths, padding = (padding, None) if isinstance(padding, tuple) else (None, padding)
        look = partial(ops.attention, causal=self.causal, rate=rate, seed=seed)
        if current() is None:
            y = look(q, k, v, padding=padding, lengths=lengths)
        else:
            y = one_by_one(look, (q, k, v), padding, lengths)
        return self.out(y.transpose(1, 2).reshape(b, t, d))  # (b, t, h n)

    def split(self, x: Float[Tensor, "b t d"], norm: LayerNorm | None = None) -> tuple[Tensor, ...]:
        """Give queries, keys and values, each (b, h, t, n)."""
        b, t, d = x.shape
        qkv = norm_linear(x, norm, self.qkv).view(b, t, 3, self.heads, d // self.heads)
        return qkv.permute(2, 0, 3, 1, 4).unbind(0)

    def weights(
        self, x: Float[Tensor, "b t d"], padding: Bool[Tensor, "b s"] | None = None
    ) -> Float[Tensor, "b h t s"]:
        """Give the probabilities of `forward`, which never forms them, in at least float32.

        Rows of real tokens sum to one; padding is not looked at, and its own rows are zeros.
        Dropout is left out.
        """
        q, k, _ = self.split(x)
        spans, mask = (None, None) if padding is None else use_padding(padding, None, x.shape[1])
        with no_autocast(q):
            seen = visible(q, k, mask, self.causal, spans)
            return attention_weights(q, k, seen, q.shape[3] ** -0.5)

    def extra_repr(self) -> str:
        return f"heads={self.heads}, causal={self.causal}, rate={self.rate}"


def one_by_one(
    look: Callable[..., Tensor],
    qkv: tuple[Tensor, ...],
    padding: Bool[Tensor, "b s"] | None,
    lengths: Lengths | None,
) -> Float[Tensor, "b h t n"]:
    """Let each sequence attend in a call of its own: threads share a batch out by its size."""
    if lengths is None:
        rows = map(dense, qkv)
        return each(lambda q, k, v, real: look(q, k, v, padding=real), *rows, padding)
    parts = zip(*(x.split(lengths, 2) for x in qkv), strict=True)
    return torch.cat([look(*map(dense, part)) for part in parts], 2)


def dense(x: Float[Tensor, "b h t n"]) -> Float[Tensor, "b h t n"]:
    """Give x where memory begins, if its tokens do not: the kernel's sums depend on that."""
    if x.stride(2) % ALIGNED == 0:
        return x
    return x.clone(memory_format=torch.contiguous_format)

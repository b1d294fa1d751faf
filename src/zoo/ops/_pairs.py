"""What losses over all pairs of two sets of vectors share: the pairs of some rows at a time.

z = x y^T      l = s z  (+ b)      g = d loss / d l
dx = s g y     dy = s g^T x        ds = sum g z       db = sum g
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from zoo.ops._function import check_float, wide

#: up to so many rows, all pairs are formed at once: more chunks than one would cost time
DENSE = 4096
#: rows in a chunk where there are more
ROWS = 1024

# the residual g of a chunk of products z, whose first row has this number
Residual = Callable[[Tensor, int], Tensor]


def chunks(n: int) -> Iterator[slice]:
    """Cut n rows; where they are traced or few, one piece holds them all."""
    rows = n if torch.compiler.is_compiling() or n <= DENSE else ROWS
    for start in range(0, n, max(1, rows)):
        yield slice(start, min(n, start + rows))


def products(x: Tensor, y: Tensor, part: slice) -> Tensor:
    """Give the products of some rows of x with all of y, in at least float32.

    Rounded to bfloat16, a cosine of 1 would be off by 1/256, and a scale of 100 makes it worse.
    """
    return torch.matmul(wide(x[part]), wide(y).mT)


def own(z: Tensor, start: int) -> Tensor:
    """Tell which of a chunk's pairs belong together."""
    rows = torch.arange(start, start + z.shape[-2], device=z.device)
    return rows[:, None] == torch.arange(z.shape[-1], device=z.device)


def pulled_back(
    residual: Residual, x: Tensor, y: Tensor, scale: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Give dx, dy, ds and db in the dtypes of x, y, scale and wide."""
    s = wide(scale)
    dx, dy = [], torch.zeros_like(wide(y))
    ds = db = torch.zeros((), dtype=dy.dtype, device=y.device)
    for part in chunks(len(x)):
        z = products(x, y, part)
        g = residual(z, part.start)
        dx.append(s * torch.matmul(g, wide(y)))
        dy = dy + torch.matmul(g.mT, wide(x[part]))
        ds, db = ds + (g * z).sum(), db + g.sum()
    whole = torch.cat(dx) if dx else torch.zeros_like(wide(x))
    return whole.to(x.dtype), (s * dy).to(y.dtype), ds.to(scale.dtype), db


def pushed_forward(
    residual: Residual,
    x: Tensor,
    y: Tensor,
    scale: Tensor,
    tangents: tuple[Tensor | None, Tensor | None, Tensor | None],
) -> Tensor:
    """Give sum g (s tz + ts z), the tangent of the loss; None stands for a constant."""
    tx, ty, ts = tangents
    total = torch.zeros((), dtype=wide(x[:0]).dtype, device=x.device)
    for part in chunks(len(x)):
        z = products(x, y, part)
        change = torch.zeros_like(z)
        if tx is not None:
            change = change + wide(scale) * products(tx, y, part)
        if ty is not None:
            change = change + wide(scale) * products(x, ty, part)
        if ts is not None:
            change = change + wide(ts) * z
        total = total + (residual(z, part.start) * change).sum()
    return total


def asked(ctx: Any, gradients: tuple[Tensor, ...]) -> tuple[Tensor | None, ...]:
    """Keep the gradients that autograd asks for."""
    pairs = zip(gradients, ctx.needs_input_grad, strict=True)
    return tuple(g if need else None for g, need in pairs)


def check_pairs(op: str, images: Tensor, texts: Tensor, **scalars: Tensor) -> None:
    """Refuse what is not as many vectors of one size, and scalars that are none."""
    check_float(op, images=images, texts=texts, **scalars)
    if images.ndim != 2 or images.shape != texts.shape:
        raise ValueError(
            f"{op}: images {tuple(images.shape)} and texts {tuple(texts.shape)} do not pair; "
            "give (n, e) twice: row i of one belongs to row i of the other"
        )
    for name, scalar in scalars.items():
        if scalar.ndim:
            raise ValueError(f"{op}: {name} has shape {tuple(scalar.shape)}; give one number")

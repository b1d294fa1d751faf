"""What losses over all pairs of two sets of vectors share.

z = x y^T      l = s z  (+ b)      g = d loss / d l
dx = s g y     dy = s g^T x        ds = sum g z = sum x (g y)       db = sum g

The sums on the right need no pairs, so a chunk of g is used for two products and forgotten.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from zoo.ops._elementary import mapped
from zoo.ops._function import check_float, check_same_dtype, raised, wide, wide_dtype

#: rows in a chunk: its pairs stay near the processor
ROWS = 256


def chunks(n: int, rows: int) -> Iterator[slice]:
    """Cut n rows into pieces."""
    for start in range(0, n, rows):
        yield slice(start, min(n, start + rows))


def products(x: Tensor, y: Tensor) -> Tensor:
    """Give all products of rows, in at least float32.

    Rounded to bfloat16, a cosine of 1 would be off by 1/256, and a scale of 100 makes it worse.
    """
    return torch.matmul(wide(x), wide(y).mT)


def own(z: Tensor) -> Tensor:
    """Give the matrix that is one where a pair belongs together."""
    return torch.eye(z.shape[1], dtype=z.dtype, device=z.device)


def pulled_back(g: Tensor, x: Tensor, y: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Give dx, dy and ds from all of g, in elementary operations."""
    s, gy = wide(scale), torch.matmul(g, wide(y))
    dy = s * torch.matmul(g.mT, wide(x))
    return (s * gy).to(x.dtype), dy.to(y.dtype), (gy * wide(x)).sum().to(scale.dtype)


def pushed_forward(
    x: Tensor,
    y: Tensor,
    scale: Tensor,
    tangents: tuple[Tensor | None, Tensor | None, Tensor | None],
) -> Tensor:
    """Give s tz + ts z, the tangent of the logits; None stands for a constant."""
    tx, ty, ts = tangents
    z = products(x, y)
    change = torch.zeros_like(z)
    if tx is not None:
        change = change + wide(scale) * products(tx, y)
    if ty is not None:
        change = change + wide(scale) * products(x, ty)
    return change if ts is None else change + wide(ts) * z


class Formed:
    """Gradients of x, y and scale that grow with each chunk of g, before the scale is in them."""

    def __init__(self, x: Tensor, y: Tensor, needs: list[bool]) -> None:
        self.x, self.y = wide(x), wide(y)
        # the gradient of the scale comes out of that of x
        self.dx = torch.zeros_like(self.x) if needs[0] or needs[2] else self.x.new_empty(0)
        self.dy = torch.zeros_like(self.y) if needs[1] else self.y.new_empty(0)

    def add(self, g: Tensor, part: slice) -> None:
        """Take in a chunk of g, the rows `part` of it."""
        if self.dx.numel():
            torch.mm(g, self.y, out=self.dx[part])
        if self.dy.numel():
            self.dy.addmm_(g.T, self.x[part])

    def gradients(self, scale: Tensor, weight: float) -> tuple[Tensor, Tensor, Tensor]:
        """Give dx, dy and ds with g times `weight`; those that were not asked for are empty."""
        ds = (self.dx * self.x).sum() * weight if self.dx.numel() else self.dx.new_zeros(())
        factor = wide(scale) * weight
        return self.dx.mul_(factor), self.dy.mul_(factor), ds


def scaled(formed: list[Tensor], dy: Tensor, inputs: list[Tensor]) -> tuple[Tensor, ...]:
    """Give what forward formed times dy, in the dtypes of the inputs."""
    return tuple((g * dy).to(x.dtype) for g, x in zip(formed, inputs, strict=True))


def wanted(needs: tuple[bool, ...], grads: tuple[Tensor, ...]) -> tuple[Tensor | None, ...]:
    """Keep the gradients that autograd asks for."""
    return tuple(g if need else None for g, need in zip(grads, needs, strict=True))


def forms(*inputs: Tensor) -> list[bool]:
    """Tell which gradients to form in forward: under a functional transform backward takes the
    formula, and forward need form nothing."""
    able = torch.is_grad_enabled() and not mapped()
    return [able and x.requires_grad for x in inputs]


def check_pairs(op: str, images: Tensor, texts: Tensor, **scalars: Tensor) -> tuple[Tensor, Tensor]:
    """Refuse what is not as many vectors of one size, and scalars that are none; cast the vectors.

    Under autocast they are raised to float32.
    """
    check_float(op, images=images, texts=texts, **scalars)
    images, texts = raised(images), raised(texts)
    check_same_dtype(op, images=images, texts=texts)
    if images.ndim != 2 or images.shape != texts.shape:
        raise ValueError(
            f"{op}: images {tuple(images.shape)} and texts {tuple(texts.shape)} do not pair; "
            "give (n, e) twice: row i of one belongs to row i of the other"
        )
    for name, scalar in scalars.items():
        if scalar.ndim:
            raise ValueError(f"{op}: {name} has shape {tuple(scalar.shape)}; give one number")
    return images, texts


def formed_shapes(x: Tensor, y: Tensor, needs: list[bool]) -> tuple[Any, ...]:
    """Give the loss, dx, dy and ds in shape alone, for the compiler."""
    loss = torch.empty((), dtype=wide_dtype(x), device=x.device)
    dx = torch.empty(x.shape if needs[0] or needs[2] else 0, dtype=loss.dtype, device=x.device)
    dy = torch.empty(y.shape if needs[1] else 0, dtype=loss.dtype, device=x.device)
    return loss, dx, dy, torch.empty_like(loss) if any(needs) else torch.empty_like(dx)

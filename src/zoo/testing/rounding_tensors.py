"""Two tensors, and nothing else: do they look like rounding, or like a mistake, and like which?

Rounding leaves differences of a few units in the last place that go up as often as down and have no
pattern. A mistake has one: a factor, a sign, a shift, another order, a transposition, missing rows.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

FEW = 64.0  # units in the last place (root mean square) that a deep model's rounding may reach
SURE = 8.0  # standard errors
CLOSE = 0.02  # a pattern must leave less than this share of the difference
MOST_ROLLS = 8


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What two tensors show."""

    verdict: Literal["equal", "rounding", "bug"]
    text: str
    largest: float = 0.0
    typical: float = 0.0
    bound: float = 0.0
    relative: float = 0.0  # typical difference over typical size
    pattern: str = ""  # scale, sign, offset, transposed, rolled, ...
    ulps: Mapping[str, float] | None = None

    def record(self) -> dict[str, Any]:
        """Give what is JSON-able."""
        return {
            "verdict": self.verdict,
            "text": self.text,
            "largest": self.largest,
            "typical": self.typical,
            "pattern": self.pattern,
            "ulps": dict(self.ulps or {}),
        }


def dtype_name(dtype: torch.dtype) -> str:
    """Give "float32" for torch.float32."""
    return str(dtype).removeprefix("torch.")


def shape_words(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> str:
    """Say that shapes differ."""
    one, other = ([tuple(x.shape) for x in side.values()] for side in (a, b))
    return f"the shapes are {one} and {other}"


def compare_tensors(a: Tensor, b: Tensor, dtype: torch.dtype | None = None) -> Comparison:
    """Compare two tensors of numbers; the lower dtype of both, or the one given, is the measure."""
    if a.shape != b.shape:
        return other_shape(a, b)
    if not a.is_floating_point() and not b.is_floating_point():
        count = int((a != b).sum())
        if not count:
            return Comparison(verdict="equal", text="the same whole numbers")
        text = f"{count} of {a.numel()} whole numbers differ, which no rounding explains"
        return Comparison(verdict="bug", text=text, relative=math.inf)
    floats = [d for d in (a.dtype, b.dtype) if d.is_floating_point]
    coarse = dtype or max(floats, key=lambda d: torch.finfo(d).eps)
    one, other = a.detach().double(), b.detach().double()
    odd = one.isfinite() != other.isfinite()
    odd |= ~one.isfinite() & ~other.isfinite() & (one != other) & ~(one.isnan() & other.isnan())
    if bool(odd.any()):
        text = f"{int(odd.sum())} of {a.numel()} numbers are NaN or infinite in one of them only"
        return Comparison(verdict="bug", text=text, relative=math.inf)
    one, other = one.nan_to_num(0, 0, 0), other.nan_to_num(0, 0, 0)
    if torch.equal(one, other):
        return Comparison(verdict="equal", text="the same numbers")
    return measured(one, other, coarse)


def measured(a: Tensor, b: Tensor, dtype: torch.dtype) -> Comparison:
    """Count units in the last place, and look for a pattern."""
    gap = (b - a).abs()
    size = float(a.square().mean().sqrt()) or float(b.square().mean().sqrt())
    eps, name = torch.finfo(dtype).eps, dtype_name(dtype)
    largest, typical = float(gap.max()), float(gap.square().mean().sqrt())
    relative = typical / size
    steps = in_ulps(a, b, eps)
    ulps = {
        "median": float(steps.median()),
        "largest": float(steps.max()),
        "typical": relative / eps,
        "changed": float((gap > 0).double().mean()),
    }
    bound = FEW * eps * size
    told = (
        f"differences are {typical:.3g} (root mean square, {relative:.2g} of the numbers' size), "
        f"{ulps['typical']:.3g} units in the last place of {name}, at most {largest:.3g}; "
        f"{ulps['changed']:.0%} of {a.numel()} numbers differ"
    )
    found = pattern(a, b, eps)
    common: dict[str, Any] = {
        "largest": largest,
        "typical": typical,
        "bound": bound,
        "relative": relative,
    }
    if found is not None:
        return Comparison(
            verdict="bug", text=f"{found[1]}. {told}", pattern=found[0], ulps=ulps, **common
        )
    if relative > FEW * eps:
        told += f"; that is more than {FEW:g} units, the most that rounding is believed to give"
        told += place_words(a, b, gap)
        return Comparison(verdict="bug", text=told, ulps=ulps, **common)
    if float(gap.max()) > 16 * FEW * eps * max(size, float(a.abs().max())):
        told += "; a few numbers are far off" + place_words(a, b, gap)
        return Comparison(verdict="bug", text=told, ulps=ulps, **common)
    told += "; they go up and down alike and show no pattern"
    return Comparison(verdict="rounding", text=told, ulps=ulps, **common)


def in_ulps(a: Tensor, b: Tensor, eps: float) -> Tensor:
    """Give every difference in units in the last place of the larger number."""
    larger = torch.maximum(a.abs(), b.abs()).clamp_min(torch.finfo(torch.float32).tiny)
    return (a - b).abs() / (eps * torch.exp2(torch.floor(torch.log2(larger))))


def other_shape(a: Tensor, b: Tensor) -> Comparison:
    """Say how two tensors of different shapes may have come from one."""
    said = f"the shapes are {tuple(a.shape)} and {tuple(b.shape)}"
    kind = ""
    if a.numel() == b.numel() and alike(a.double().reshape(-1), b.double().reshape(-1)):
        kind, said = "reshaped", f"the numbers are the same, in another shape; {said}"
    elif a.dim() == b.dim() and sorted(a.shape) == sorted(b.shape):
        for order in orders(a.dim()):
            moved = a.permute(order)
            if moved.shape == b.shape and alike(moved.double(), b.double()):
                kind, said = "transposed", f"b is a with its axes in the order {order}; {said}"
                break
    elif a.dim() == b.dim():
        for axis in range(a.dim()):
            n = min(a.shape[axis], b.shape[axis])
            for words, start in (("last", 0), ("first", None)):
                one, other = (
                    x.narrow(axis, 0 if start == 0 else x.shape[axis] - n, n) for x in (a, b)
                )
                if one.shape == other.shape and alike(one.double(), other.double()):
                    more = abs(a.shape[axis] - b.shape[axis])
                    kind = "missing rows"
                    said = f"the {words} {more} along axis {axis} are missing in one; {said}"
    return Comparison(verdict="bug", text=said, pattern=kind, relative=math.inf)


def orders(dims: int) -> list[tuple[int, ...]]:
    """Give every order of a few axes but the given one."""
    import itertools

    if dims > 5:
        return []
    return [p for p in itertools.permutations(range(dims)) if p != tuple(range(dims))]


def alike(a: Tensor, b: Tensor) -> bool:
    """Say whether two tensors have the same numbers up to rounding of bfloat16."""
    size = float(a.abs().max()) if a.numel() else 0.0
    return a.shape == b.shape and float((a - b).abs().max()) <= 2e-2 * size


def pattern(a: Tensor, b: Tensor, eps: float) -> tuple[str, str] | None:
    """Find what turns the first tensor into the second, and leaves far less than their gap."""
    total = float((b - a).square().sum())

    def explains(guess: Tensor) -> bool:
        return float((b - guess).square().sum()) < CLOSE**2 * total

    coarse = total > (4 * eps) ** 2 * float(a.square().sum())
    if coarse:
        if explains(-a):
            return "sign", "b is a with its sign turned"
        for words, guess in moves(a):
            if explains(guess):
                return words.split()[0], f"b is a {words}"
        for axis in range(a.dim()):
            found = reordered(a, b, axis)
            if found is not None and explains(a.index_select(axis, found)):
                return "permuted", f"b is a with what lies along axis {axis} in another order"
        one, other = a.reshape(-1).sort().values, b.reshape(-1).sort().values
        if float((one - other).square().sum()) < CLOSE**2 * total:
            return "permuted", "b has the numbers of a, in another order"
    return regular(a, b, total, explains)


def moves(a: Tensor) -> list[tuple[str, Tensor]]:
    """Give what common mistakes make of a tensor."""
    found: list[tuple[str, Tensor]] = []
    for order in orders(a.dim()):
        if a.permute(order).shape == a.shape:
            found.append((f"transposed (axes {order})", a.permute(order)))
    for axis in range(a.dim()):
        if a.shape[axis] < 2:
            continue
        found.append((f"flipped along axis {axis}", a.flip(axis)))
        for by in range(1, min(a.shape[axis], MOST_ROLLS)):
            for step in (by, -by):
                words = f"shifted by {step} along axis {axis}"
                found.append((words, a.roll(step, axis)))
    return found


def reordered(a: Tensor, b: Tensor, axis: int) -> Tensor | None:
    """Give the order along an axis that brings every slice to its nearest one."""
    one, other = (x.movedim(axis, 0).reshape(x.shape[axis], -1) for x in (a, b))
    if not 2 <= one.shape[0] <= 2048:
        return None
    near = torch.cdist(other, one).argmin(1)
    return near if near.unique().numel() == near.numel() else None


def regular(
    a: Tensor, b: Tensor, total: float, explains: Callable[[Tensor], bool]
) -> tuple[str, str] | None:
    """Find a factor, an offset, or slices that are missing, beyond what chance gives."""
    n, size = a.numel(), float(a.square().sum())
    factor = float((a * b).sum()) / size if size else 1.0
    rest = float((b - factor * a).square().sum())
    error = math.sqrt(rest / max(n - 1, 1) / size) if size else math.inf
    share = 1 - rest / total
    if abs(factor - 1) > SURE * error and share > 0.5 and n > 4:
        return "scale", f"b is a times {factor:.9g}{root_words(factor, a)}"
    gap = b - a
    mean = float(gap.mean())
    spread = float(gap.std()) / math.sqrt(n) if n > 1 else math.inf
    if abs(mean) > SURE * spread and mean**2 * n > 0.5 * total:
        return "offset", f"b is a plus {mean:.6g}"
    for axis in range(a.dim()):
        other = tuple(i for i in range(a.dim()) if i != axis)
        off = gap.abs().amax(other) if other else gap.abs()
        empty = (b.abs().amax(other) if other else b.abs()) == 0
        full = (a.abs().amax(other) if other else a.abs()) > 0
        gone = (empty & full).nonzero()[:, 0].tolist()
        if gone and explains(torch.where(expanded(empty & full, axis, a), 0.0, a)):
            return "missing", f"b is zero at {few(gone)} along axis {axis}, where a is not"
        wrong = (off > 0).nonzero()[:, 0].tolist()
        if 0 < len(wrong) <= a.shape[axis] // 2 and math.sqrt(total / size) > 1e-3:
            return "some", f"only {few(wrong)} along axis {axis} differ, the others are equal"
    return None


def expanded(which: Tensor, axis: int, like: Tensor) -> Tensor:
    """Give a mask of one axis the shape of a tensor."""
    shape = [1] * like.dim()
    shape[axis] = -1
    return which.reshape(shape).expand_as(like)


def few(numbers: list[int]) -> str:
    """Write a few numbers."""
    said = ", ".join(str(i) for i in numbers[:5])
    return f"number{'s' if len(numbers) > 1 else ''} {said}" + (", ..." if numbers[5:] else "")


def root_words(factor: float, a: Tensor) -> str:
    """Say if a factor is a square root or a share of a size."""
    for size in sorted({*a.shape, 8, 16, 32, 64, 128, 256, 512, 768, 1024}):
        for words, value in (
            (f"1 / {size}", 1 / size),
            (f"{size}", float(size)),
            (f"1 / sqrt({size})", size**-0.5),
            (f"sqrt({size})", size**0.5),
        ):
            if size > 1 and abs(factor / value - 1) < 1e-3:
                return f" = {words}"
    return ""


def place_words(a: Tensor, b: Tensor, gap: Tensor) -> str:
    """Say where the largest difference is."""
    at = int(gap.argmax())
    where = []
    for n in reversed(a.shape):
        where.append(at % n)
        at //= n
    index = tuple(reversed(where))
    return f"; the largest is at {list(index)}: {float(a[index]):.6g} and {float(b[index]):.6g}"

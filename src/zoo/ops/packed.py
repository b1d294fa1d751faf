"""Products of rows by a weight that was brought into another layout or number format once.

    y = x W^T + b        W (o, i), multiplied by from a copy:

    float32   the same numbers in oneDNN's blocked layout
    float16   w' = w (1 + e), |e| <= 2^-11, or |w' - w| <= 2^-25 below 2^-14; sums are float32
    int8      w' = s round(w / s), s = max|w| / 127 of each output channel; each row of x is rounded
              to 255 steps r of its own range (of one row, zero belongs to the range)

    float16   |y' - y| <= sum |x| (2^-11 |w| + 2^-25)
    int8      |y' - y| <= r / 2 sum |w'| + s / 2 sum |x|,  r = (max x - min x) / 255;  for one row
              r sum |w'| + s / 2 sum |x|,  r = (max(x, 0) - min(x, 0)) / 255

beside the rounding of sums in float32.  Rows that are not finite go by the weight itself.

The copies are for inference on a CPU: where a derivative may be wanted, under a transform, a
compiler or autocast, and for other dtypes and devices the weight itself is used.  `_version` and
the place in memory of a weight tell that it has changed; then its copy is made again.  The kernels
(oneDNN; FBGEMM, Khudia et al. 2021, arXiv:2101.05615) are not of torch's public interface: where
one is missing another is taken.
"""

import functools
import warnings
import weakref
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional as F
from torch.optim.optimizer import register_optimizer_step_post_hook

from zoo.ops._function import autocast_dtype, derivative_wanted, transformed
from zoo.ops.linear import linear

FORMS = ("float32", "float16", "int8")
LARGEST_HALF = 65504.0
# the extent of a row that the int8 kernel divides itself: it divides no small one, drops a NaN
LEAST, MOST = 2.0**-6, 2.0**99
FEW, MANY = 4, 384  # rows between which oneDNN's layout is faster than MKL on the plain one
SOME = 96  # rows up to which float16 is
HOLDERS: "weakref.WeakSet[Packed]" = weakref.WeakSet()  # of something made
BLOCKED_FOR = 16  # rows: oneDNN's layout for them serves all of those


@runtime_checkable
class Product(Protocol):
    """A weight's copy, and how rows are multiplied by it."""

    size: int  # bytes

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor: ...


class Blocked:
    """float32 in oneDNN's layout, for some rows; few are bound by memory, many by arithmetic."""

    def __init__(self, weight: Tensor) -> None:
        self.copy = torch.ops.mkldnn._reorder_linear_weight(weight, BLOCKED_FOR)
        self.size = 4 * weight.numel()
        self.multiply = torch.ops.mkldnn._linear_pointwise.default

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not FEW * x.shape[-1] <= x.numel() < MANY * x.shape[-1]:
            return F.linear(x, weight, bias)
        return self.multiply(x, self.copy, bias, "none", [], "")


class Half:
    """float16 in FBGEMM's layout; of many rows the weight itself is faster."""

    def __init__(self, weight: Tensor) -> None:
        self.copy = torch.fbgemm_pack_gemm_matrix_fp16(weight)
        self.size = 2 * weight.numel()
        self.multiply = torch.fbgemm_linear_fp16_weight_fp32_activation

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if x.numel() >= SOME * x.shape[-1]:
            return F.linear(x, weight, bias)
        y: Tensor = self.multiply(x, self.copy, bias)
        return y


class HalfObject:
    """The same behind an object of torch's: a call takes 20 us more."""

    def __init__(self, weight: Tensor) -> None:
        self.copy = torch.ops.quantized.linear_prepack_fp16(weight, None)
        self.size = 2 * weight.numel()
        self.multiply = torch.ops.quantized.linear_dynamic_fp16.default

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if x.numel() >= SOME * x.shape[-1]:
            return F.linear(x, weight, bias)
        y: Tensor = self.multiply(x, self.copy)
        return y if bias is None else y.add_(bias)


class Int8:
    """int8 in FBGEMM's layout; a product in units of the weight's steps, then the steps."""

    def __init__(self, weight: Tensor) -> None:
        self.step = steps(weight)
        whole = (weight / self.step[:, None]).round_().to(torch.int8)
        self.total = whole.sum(1, dtype=torch.int32)
        self.sums = self.step * self.total
        self.copy = torch.fbgemm_pack_quantized_matrix(whole)
        self.shape = whole.new_zeros(()).expand_as(whole)  # the kernel asks it for nothing else
        self.none = weight.new_zeros(weight.shape[0])
        self.size = weight.numel() + 16 * weight.shape[0]
        self.multiply: Any = torch.fbgemm_linear_int8_weight_fp32_activation

    def product(self, x: Tensor) -> Tensor:
        """Multiply by the int8 weight; one range is divided for all rows of x."""
        y: Tensor = self.multiply(x, self.shape, self.copy, self.total, 1.0, 0, self.none)
        return y

    def one(self, x: Tensor, bias: Tensor | None) -> Tensor:
        y = self.product(x)
        return y.mul_(self.step) if bias is None else torch.addcmul(bias, y, self.step)

    def add(self, to: Tensor, y: Tensor, span: Tensor) -> Tensor:
        return to.addcmul_(y.mul_(self.step), span)

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if x.numel() == x.shape[-1] and LEAST < extent(x) < MOST:
            return self.one(x, bias)
        low, high = x.amin(-1, True), x.amax(-1, True)
        span = high - low
        finite = span.isfinite()
        if not finite.all():
            y = self(torch.where(finite, x, 0), weight, bias)
            wrong = ~finite.squeeze(-1)
            y[wrong] = F.linear(x[wrong], weight, bias)  # it alone: the others keep their bits
            return y
        span.clamp_min_(torch.finfo(torch.float32).tiny)
        # every row from 0 to 1, so that none sees the others' range
        y = self.product((x - low).div_(span))
        lowest = low * self.sums if bias is None else torch.addcmul(bias, low, self.sums)
        return self.add(lowest, y, span)


class Int8Object(Int8):
    """The same behind an object of torch's: it takes the steps in stride, 20 us a call more."""

    coarse = False

    def __init__(self, weight: Tensor) -> None:
        step = steps(weight)
        zeros = torch.zeros(weight.shape[0], dtype=torch.int64)
        whole = torch.quantize_per_channel(weight, step, zeros, 0, torch.qint8)
        self.sums = step * whole.int_repr().sum(1, dtype=torch.int32)
        self.copy = torch.ops.quantized.linear_prepack(whole, None)
        self.size = weight.numel() + 12 * weight.shape[0]
        self.multiply = torch.ops.quantized.linear_dynamic.default

    def product(self, x: Tensor) -> Tensor:
        y: Tensor = self.multiply(x, self.copy, self.coarse)
        return y

    def one(self, x: Tensor, bias: Tensor | None) -> Tensor:
        y = self.product(x)
        return y if bias is None else y.add_(bias)

    def add(self, to: Tensor, y: Tensor, span: Tensor) -> Tensor:
        return to.addcmul_(y, span)


class Int8Coarse(Int8Object):
    """Of 7 bits, for CPUs whose sums overflow with activations of 8 (before AVX512-VNNI)."""

    coarse = True


# the first that works is taken; the second of int8 for wide outputs, where the steps take a pass
WAYS: dict[str, tuple[Any, ...]] = {
    "float32": (Blocked,),
    "float16": (Half, HalfObject),
    "int8": (Int8, Int8Object, Int8Coarse),
}
WIDE = 16384  # outputs


def extent(x: Tensor) -> float:
    """Give the distance of the largest and the least number, zero among them; NaN for a NaN."""
    low, high = torch.aminmax(x)
    least, most = low.item(), high.item()
    return max(most, 0.0) - min(least, 0.0)  # a NaN in the first place stays


def steps(weight: Float[Tensor, "o i"]) -> Float[Tensor, " o"]:
    """Give what one unit of int8 is worth in each output channel; a channel of zeros has any."""
    step = weight.abs().amax(1) / 127
    return torch.where(step > 0, step, 1.0)


def works(way: Any) -> bool:
    """Try a product whose sums are known and as large as can be."""
    weight, x = torch.ones(16, 512), torch.ones(FEW, 512)
    x[:, 0] = 0  # a row of int8 has a range to be divided
    try:
        y = way(weight)(x, 0 * weight, None)
    except (AttributeError, RuntimeError, NotImplementedError):
        return False
    return bool((y - 511).abs().max() < 0.5)


def working(form: str) -> tuple[Any, ...]:
    """Give the ways of a form that this build of torch has and this CPU computes rightly."""
    return quietly(lambda: tuple(way for way in WAYS[form] if works(way)))


ways = functools.cache(working)


def quietly(do: Callable[[], Any]) -> Any:
    """Do it without a word that torch means to replace these kernels: then another way is taken."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return do()


def chosen(found: tuple[Any, ...], outputs: int) -> Any:
    """Choose among the ways that work, the best first."""
    wide = outputs >= WIDE and found[0] is Int8
    return found[1] if wide and len(found) > 1 else found[0]


def product_of(weight: Tensor, form: str) -> Product | None:
    """Bring a weight into a form; None where the form cannot hold it, or torch lacks the form."""
    found = ways(form)
    if not found or not fits(weight, form):
        return None
    way = chosen(found, weight.shape[0])
    with torch.no_grad():
        product: Product = quietly(lambda: way(weight.detach()))
    return product


def fits(weight: Tensor, form: str) -> bool:
    """Tell whether a form can hold these numbers: all finite, and for float16 in its range."""
    if weight.dtype != torch.float32 or not weight.is_cpu or weight.dim() != 2:
        return False
    if weight.numel() == 0 or weight.is_inference():  # one that counts no changes
        return False
    low, high = torch.aminmax(weight.detach())
    most = max(-float(low), float(high))
    return most <= (LARGEST_HALF if form == "float16" else torch.finfo(torch.float32).max)


class Packed:
    """A layer's weight in a form: made when first wanted, and again when the weight has changed.

    What was made is not copied or pickled with it; a copy makes its own.
    """

    def __init__(self, form: str) -> None:
        if form not in FORMS:
            raise ValueError(f"weights {form!r}; expected one of {FORMS}")
        self.form = form
        self.made: tuple[Tensor, int, Product | None] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"form": self.form, "made": None}

    def of(self, weight: Tensor) -> Product | None:
        """Give the product for this weight as it is now; None where the form cannot hold it."""
        made = self.made
        if made is not None:
            source, version, product = made
            if weight.data_ptr() == source.data_ptr() and weight._version == version:
                return product
        return self.make(weight)

    def make(self, weight: Tensor) -> Product | None:
        """Bring the weight into the form."""
        if weight.is_inference():
            return None
        # holding the tensor keeps its memory from becoming another's: an address says enough
        source, version = weight.detach(), weight._version
        product = product_of(weight, self.form)
        self.made = source, version, product
        watch_optimizers()
        HOLDERS.add(self)
        return product


def forget_stepped(optimizer: torch.optim.Optimizer, *_: Any) -> None:
    """Forget what was made of an optimizer's parameters: its fused kernels leave no version."""
    groups = (group["params"] for group in optimizer.param_groups)
    places = {parameter.data_ptr() for group in groups for parameter in group}
    for packed in list(HOLDERS):
        if packed.made is not None and packed.made[0].data_ptr() in places:
            packed.made = None


@functools.cache
def watch_optimizers() -> None:
    """Let every optimizer say that it has stepped; once, when there is something to forget."""
    register_optimizer_step_post_hook(forget_stepped)


def plain_wanted(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Tell whether a product must be the weight's own."""
    return (
        torch.compiler.is_compiling()
        or torch._C._get_tracing_state() is not None
        or x.dtype is not torch.float32
        or not x.is_cpu
        or x.dim() < 2
        or derivative_wanted((x, weight, bias))
        or type(x) is not Tensor
        or forward_ad._current_level >= 0
        or transformed()
        or autocast_dtype(x) is not None
    )


def packed_linear(
    x: Float[Tensor, "*b i"],
    weight: Float[Tensor, "o i"],
    bias: Float[Tensor, " o"] | None,
    packed: Packed,
) -> Float[Tensor, "*b o"]:
    """Map the last axis of x as `zoo.ops.linear` does, by the packed weight where that may be."""
    if plain_wanted(x, weight, bias):
        return linear(x, weight, bias)
    product = packed.of(weight)
    if product is None or x.shape[-1] != weight.shape[1]:
        return linear(x, weight, bias)
    return product(x, weight, bias)

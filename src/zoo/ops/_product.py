"""How matrix products of low dtypes are made.

Weights may be wider than what they multiply: under autocast the op rounds them itself, so that no
copy is kept for the backward and their gradient is not rounded on its way back.

Products of bfloat16 numbers are exact in float32, so multiplying in float32 and rounding what comes
out gives what a bfloat16 kernel with float32 sums gives. Many x86 CPUs do that faster: measured at
512 rows on one with avx512_bf16 but no AMX, 72 GFLOP/s in bfloat16 and 128 in float32. AMD's are
twice as fast in bfloat16.
"""

import platform
from pathlib import Path

import torch
from torch import Tensor

from zoo.ops._function import LOW, autocast_dtype, check_same_dtype, lowered

#: rows from which on a float32 product repays the casts of a weight
ROWS = 128


def amd() -> bool:
    """Tell whether the CPU says that it is AMD's."""
    try:
        return "AuthenticAMD" in Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        return "AuthenticAMD" in platform.processor()


def slow_bfloat16() -> bool:
    """Tell whether this CPU multiplies bfloat16 matrices slower than float32 ones."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    if torch.cpu._is_amx_tile_supported():
        return False
    return not (torch.cpu._is_avx512_bf16_supported() and amd())


SLOW_BFLOAT16 = slow_bfloat16()


def multiplies_in(x: Tensor, rows: int) -> torch.dtype:
    """Give the dtype in which products of so many rows of `x` are made."""
    if x.dtype != torch.bfloat16 or x.device.type != "cpu" or not SLOW_BFLOAT16:
        return x.dtype
    # a compiled graph serves all numbers of rows
    return torch.float32 if torch.compiler.is_compiling() or rows >= ROWS else x.dtype


def rounded(weight: Tensor, dtype: torch.dtype, by: torch.dtype) -> Tensor:
    """Give a weight in the precision of `dtype`, as a tensor of `by`."""
    return weight.to(dtype).to(by)


def rounded_bias(bias: Tensor | None, dtype: torch.dtype, by: torch.dtype) -> Tensor | None:
    """Give a bias, if there is one, as `rounded` gives a weight."""
    return None if bias is None else rounded(bias, dtype, by)


def cast(x: Tensor) -> Tensor:
    """Give what has the dtype that autocast casts x to; nothing else of it is meant."""
    return x if autocast_dtype(x) is None else lowered(x[..., :0])[0]


def masters(x: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Give weight and bias as an op on `x` takes them.

    Under autocast to a low dtype the op rounds float32 ones itself; else autocast's rule holds.
    """
    dtype = autocast_dtype(x)
    both = weight.dtype == torch.float32 and (bias is None or bias.dtype == torch.float32)
    if dtype is None or (both and dtype in LOW and x.dtype != torch.float64):
        return weight, bias
    low_weight, low_bias = lowered(weight, bias)
    return low_weight, low_bias


def check_fits(op: str, **tensors: Tensor | None) -> None:
    """Refuse dtypes that differ, but for float32 weights that autocast lets the op round."""
    x, *weights = tensors.values()
    assert x is not None
    wide = all(w is None or w.dtype == torch.float32 for w in weights)
    if wide and x.dtype in LOW and autocast_dtype(x) is not None:
        return
    check_same_dtype(op, **tensors)

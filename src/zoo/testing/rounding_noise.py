"""How rounding moves a result: a module run in float64, every op disturbed as rounding would.

An op's result moves by u = eps / 2 of the dtype that is worked in (relative, random signs). Where
an op sums n products, what goes in moves by (1 + 0.3 sqrt(n)) u', u' = min(u, 2^-24), because
kernels add in float32 at least: a plain sum of n terms of size s has the deviation
u' s n / sqrt(6), and that noise gives the same. Several samples make a standard deviation for each
number of the output. This is the CESTAC method (Vignes 1993), op by op.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from zoo.testing.guard import DefaultDtype, seed_all
from zoo.testing.stress import NARROW, Widths
from zoo.testing.trees import changed, tensors

SAMPLES = 6

SUMS = {
    "linear", "matmul", "__matmul__", "__rmatmul__", "mm", "bmm", "addmm", "baddbmm", "einsum",
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
    "scaled_dot_product_attention", "sum", "mean", "var", "std", "cumsum", "norm", "layer_norm",
    "batch_norm", "group_norm", "instance_norm", "rms_norm", "softmax", "log_softmax", "logsumexp",
    "cross_entropy", "lstm", "gru", "rnn_tanh", "rnn_relu", "avg_pool1d", "avg_pool2d", "dot",
    "adaptive_avg_pool2d", "multi_head_attention_forward", "bilinear", "embedding_bag", "prod",
}  # fmt: skip
COPIES = {
    "__get__", "__set__", "__getitem__", "__setitem__", "view", "reshape", "transpose", "permute",
    "contiguous", "chunk", "split", "unbind", "expand", "expand_as", "unsqueeze", "squeeze", "mT",
    "flatten", "unflatten", "detach", "clone", "to", "type_as", "double", "float", "cat", "stack",
    "masked_fill", "masked_fill_", "where", "narrow", "select", "index_select", "gather", "flip",
    "roll", "tril", "triu", "relu", "dropout", "embedding", "max", "min", "clamp", "abs", "neg",
    "__neg__", "view_as", "repeat", "repeat_interleave", "movedim", "pad", "copy_", "size", "dim",
    "sort", "topk", "amax", "amin", "zeros_like", "ones_like", "new_zeros", "new_ones", "full_like",
    "requires_grad_", "is_floating_point", "numel", "swapaxes", "t", "unfold", "tile", "rearrange",
}  # fmt: skip


class Disturbed(TorchFunctionMode):
    """A block in which every op's result moves as rounding to a dtype would move it."""

    def __init__(self, unit: float, seed: int) -> None:
        super().__init__()
        self.unit = unit
        self.generator = torch.Generator().manual_seed(seed)

    def noisy(self, x: Any, size: float) -> Any:
        """Move a float64 tensor by a share of itself, up or down."""
        if not isinstance(x, Tensor) or x.dtype is not torch.float64 or not x.numel():
            return x
        signs = torch.randint(2, x.shape, generator=self.generator, dtype=torch.float64) * 2 - 1
        return x * (1 + size * signs)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function on what rounding makes of its inputs, and round what it gives."""
        name = getattr(func, "__name__", "")
        given = dict(kwargs or {})
        if name in COPIES or (name.endswith("_") and not name.endswith("__")):
            return func(*args, **given)
        if name in SUMS:
            inner = min(self.unit, 2.0**-24) * (1 + 0.3 * math.sqrt(terms(name, args)))
            args = changed(tuple(args), lambda x: self.noisy(x, inner))
        found = func(*args, **given)
        if isinstance(found, Tensor):
            return self.noisy(found, self.unit)
        if type(found) in (tuple, list):
            return type(found)(self.noisy(x, self.unit) for x in found)
        return found


def terms(name: str, args: Any) -> int:
    """Give how many products one number of the result is the sum of."""
    if name.startswith("conv") and len(args) > 1 and isinstance(args[1], Tensor):
        return int(args[1][0].numel())
    first = next((x for x in tensors(args).values() if x.dim()), None)
    return int(first.shape[-1]) if first is not None else 1


def called(module: nn.Module, batch: Any, seed: int) -> Any:
    """Run forward without gradients: a mapping by keyword, a tuple by place, a tensor alone."""
    seed_all(seed)
    with torch.no_grad():
        if isinstance(batch, Mapping):
            return module(**batch)
        return module(*batch) if isinstance(batch, tuple | list) else module(batch)


def as_dtype(batch: Any, dtype: torch.dtype | None) -> Any:
    """Give a batch's real numbers a dtype."""

    def cast(x: Tensor) -> Tensor:
        return x.to(dtype) if dtype is not None and x.is_floating_point() else x

    return changed(batch, cast)


def working_dtype(module: nn.Module) -> torch.dtype | None:
    """Give the dtype of the first real parameter or buffer."""
    every = (*module.parameters(), *module.buffers())
    return next((x.dtype for x in every if x.is_floating_point()), None)


def reals(output: Any) -> dict[str, Tensor]:
    """Give the real tensors of an output by path, in float64."""
    found = tensors(output)
    return {n: x.detach().double() for n, x in found.items() if x.is_floating_point()}


def flat(found: Mapping[str, Tensor]) -> Tensor:
    """Lay tensors out as one vector."""
    return torch.cat([x.reshape(-1) for x in found.values()])


def rms(x: Tensor) -> float:
    """Give the root of the mean square."""
    return float(x.square().mean().sqrt()) if x.numel() else 0.0


@dataclass
class Shadow:
    """A module in float64, its output there, and how rounding moves it."""

    module: nn.Module
    batch: Any
    seed: int
    output: dict[str, Tensor]
    unit: float = 2.0**-53  # of the lowest precision that it works in, whatever it is given

    def run(self) -> Any:
        """Run forward."""
        with DefaultDtype(torch.float64):
            return called(self.module, self.batch, self.seed)

    def deviation(self, unit: float) -> Tensor:
        """Give every number's standard deviation under rounding to a unit."""
        total = torch.zeros_like(flat(self.output))
        for sample in range(SAMPLES):
            with Disturbed(unit, sample):
                got = reals(self.run())
            total += (flat(got) - flat(self.output)).square()
        return (total / SAMPLES).sqrt()


def shadow_of(module: nn.Module, batch: Any, seed: int, weights: nn.Module | None) -> Shadow | None:
    """Run a copy in float64, with another's weights if given; None where it cannot run there."""
    try:
        copied = copy.deepcopy(module).double()
        if weights is not None:
            copied.load_state_dict(weights.state_dict())
        made = Shadow(copied, as_dtype(batch, torch.float64), seed, {})
        with Widths() as watch:
            made.output = reals(made.run())
        lower = [torch.finfo(d).eps / 2 for d in watch.seen & NARROW]
        made.unit = max([made.unit, *lower])
    except Exception:
        return None
    return made


def rounded_weights(coarse: nn.Module, fine: nn.Module) -> bool:
    """Say whether one's state is the other's, rounded to its own dtype."""
    one, other = coarse.state_dict(), fine.state_dict()
    return one.keys() == other.keys() and all(
        one[n].shape == x.shape and torch.equal(one[n], x.to(one[n].dtype))
        for n, x in other.items()
    )

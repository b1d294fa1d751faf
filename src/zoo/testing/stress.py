"""A bench: a model in float64 whose weights hide nothing, and the rounding to expect of it.

At initialisation weights of deviation 0.02 make a leak so small that a tolerance swallows it, and
zeros (the last layer of a residual branch) make it vanish. On a bench every matrix has about unit
gain, every bias and scale is off its neutral value, and running statistics are not 0 and 1.

Where a model computes some part in float32 whatever it is given, differences are judged by
float32's rounding. Where it cannot run in float64 at all, it runs in float32.
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from zoo.testing.guard import DefaultDtype, seed_all
from zoo.testing.trees import changed, tensors

# rounding grows with the length of sums and the depth; these leave a factor of thousands for it,
# and a real dependence under stress weights lies above 1e-6 (float64) or 1e-2 (float32)
ROOM = {torch.float64: 2.0**22, torch.float32: 2.0**12}
NARROW = {torch.float32, torch.float16, torch.bfloat16}


class Bench:
    """A module ready to be compared with itself: call it with a batch, get outputs by path."""

    def __init__(
        self, subject: Any, module: nn.Module, dtype: torch.dtype, kind: str, train: bool
    ) -> None:
        self.subject, self.module, self.dtype, self.kind = subject, module, dtype, kind
        self.train = train
        self.pristine: nn.Module | None = None  # a large module as it was before it ran
        self.bound = torch.finfo(dtype).eps * ROOM[dtype]  # relative; see `apart`

    def batch(self, size: int = 3, seed: int | None = None) -> dict[str, Any]:
        """Make a batch in the bench's dtype."""
        return self.cast(self.subject.batch(size, seed))

    def cast(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Give a batch's floating tensors the bench's dtype."""
        return {name: changed(x, self.widened) for name, x in batch.items()}

    def widened(self, x: Tensor) -> Tensor:
        """Give a tensor the bench's dtype if it holds real numbers."""
        if x.is_complex():
            return x.to(torch.complex128 if self.dtype is torch.float64 else torch.complex64)
        return x.to(self.dtype) if x.is_floating_point() else x

    def run(self, batch: Mapping[str, Any], seed: int = 0) -> Any:
        """Run forward with gradients, seeded; give the output as the model gives it."""
        seed_all(seed)
        with DefaultDtype(self.dtype):
            return self.subject.call(self.module, batch)

    def __call__(self, batch: Mapping[str, Any], seed: int = 0) -> dict[str, Tensor]:
        """Run forward without gradients, seeded; give every tensor of the output by path."""
        with torch.no_grad():
            return {n: x.clone() for n, x in tensors(self.run(batch, seed)).items()}

    def main(self, batch: Mapping[str, Any], seed: int = 0) -> Tensor:
        """Run forward without gradients, seeded; give the output that counts."""
        with torch.no_grad():
            return self.subject.main(self.run(batch, seed)).clone()

    def loss(self, batch: Mapping[str, Any], seed: int = 0) -> Tensor:
        """Run forward and the loss with gradients, seeded."""
        seed_all(seed)
        with DefaultDtype(self.dtype):
            return self.subject.loss(self.subject.call(self.module, batch), batch)

    def apart(self, one: Tensor, other: Tensor) -> float:
        """Give the largest difference as a share of the larger tensor's largest number."""
        return apart(one, other)

    def differ(self, one: Tensor, other: Tensor) -> bool:
        """Say whether two tensors differ by more than rounding."""
        return not self.apart(one, other) <= self.bound


def apart(one: Tensor, other: Tensor) -> float:
    """Give the largest difference relative to the largest number; infinite for another shape."""
    if one.shape != other.shape:
        return float("inf")
    if not one.numel():
        return 0.0
    if not (one.is_floating_point() or one.is_complex()):
        return float(not torch.equal(one, other))
    a, b = one.detach(), other.detach()
    same = (a == b) | (a.isnan() & b.isnan())
    gap = torch.where(same, 0.0, (a - b).abs().double())
    finite = torch.cat([a[a.isfinite()].abs().double(), b[b.isfinite()].abs().double()])
    scale = float(finite.max()) if finite.numel() else 1.0
    worst = float(gap.nan_to_num(nan=torch.inf, posinf=torch.inf).max())
    return worst / max(scale, torch.finfo(one.dtype).tiny) if worst else 0.0


def make_bench(subject: Any, *, train: bool, stress: bool, like: Bench | None) -> Bench:
    """Make a bench: in float64 if the model runs there, stressed as much as it bears.

    `like` is an earlier bench of the same kind: what it found is not looked for again.
    """
    if like is not None:
        kept = like.pristine
        module = subject.fresh(train=train) if kept is None else copy.deepcopy(kept)
        made = Bench(subject, module, like.dtype, like.kind, train)
        made.bound = like.bound
        if kept is None:
            dress(made)
        return made
    for dtype in (torch.float64, torch.float32):
        for kind in ("strong", "mild", "as built") if stress else ("as built",):
            made = Bench(subject, subject.fresh(train=train), dtype, kind, train)
            dress(made)
            kept = copy.deepcopy(made.module) if subject.large() else None
            if runs(made, strict=(dtype, kind) == (torch.float32, "as built")):
                made.pristine = kept
                return made
    return made


def dress(bench: Bench) -> None:
    """Give a bench's module its dtype and its weights."""
    if bench.dtype is torch.float64:
        bench.module.double()
    elif any(p.dtype in NARROW - {torch.float32} for p in bench.module.parameters()):
        bench.module.float()
    if bench.kind != "as built":
        put_weights(bench.module, strong=bench.kind == "strong")


def runs(bench: Bench, *, strict: bool) -> bool:
    """Say whether a bench gives finite numbers, and learn in which precision it computes."""
    watch = Widths()
    batch = bench.batch()
    try:
        with watch:
            output = bench(batch)
    except Exception:
        if strict:
            raise
        return False
    if bench.dtype is torch.float64 and watch.seen & NARROW:
        bench.bound = torch.finfo(torch.float32).eps * ROOM[torch.float32]
        if watch.seen & {torch.float16, torch.bfloat16}:
            bench.bound = torch.finfo(torch.bfloat16).eps * 16
    fine = all(bool(x.isfinite().all()) for x in output.values() if x.is_floating_point())
    return fine or strict


class Widths(TorchFunctionMode):
    """A block that notes the floating dtypes of all that torch's functions give."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[torch.dtype] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function and note what dtype it gives."""
        found = func(*args, **(kwargs or {}))
        if isinstance(found, Tensor) and found.is_floating_point() and found.numel():
            self.seen.add(found.dtype)
        return found


def put_weights(module: nn.Module, *, strong: bool, seed: int = 7) -> None:
    """Give every parameter a value that hides nothing; mild ones stay near where they were."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = [m for m in module.modules() if isinstance(m, nn.Embedding)]
    tables = {id(m.weight) for m in embeddings}
    with torch.no_grad():
        padding = [
            (m, m.padding_idx, m.weight[m.padding_idx].clone())
            for m in embeddings
            if m.padding_idx is not None
        ]
        for parameter in module.parameters():
            if not (parameter.is_floating_point() or parameter.is_complex()):
                continue
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            noise = noise.to(parameter.device, parameter.dtype)
            if not strong:
                spread = float(parameter.abs().mean()) or 0.02
                parameter.add_(noise, alpha=0.3 * spread)
            elif parameter.dim() < 2:
                parameter.add_(noise, alpha=0.3)
            elif id(parameter) in tables:
                parameter.copy_(noise)
            else:
                fan = parameter[0].numel()
                spread = max(fan**-0.5, float(parameter.abs().mean()))
                parameter.copy_(noise * min(spread, 2.0))
        for table, row, kept in padding:  # never trained: it stays what it is
            table.weight[row] = kept
        for part in module.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_var is not None:
                size = part.running_var.shape
                noise = torch.randn(2, *size, generator=generator, dtype=torch.float64)
                noise = noise.to(part.running_var)
                assert part.running_mean is not None
                part.running_mean.add_(noise[0], alpha=0.3)
                part.running_var.mul_((0.3 * noise[1]).exp())

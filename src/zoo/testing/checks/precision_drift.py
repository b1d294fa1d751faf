"""Whether low precision costs no more than its rounding.

What an algorithm may lose follows from its own conditioning, measured in float64: how far does the
output move when inputs and weights move by one rounding? A result in float32 that is thousands of
times further off is unstable: sums of squares minus squares of sums, exp without its maximum.
For bfloat16 the bound is the effect of rounding inputs and weights alone, plus the error of
float32 scaled by the ratio of the units, 2^-8 / 2^-24.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from zoo.testing.blame import Place, first_wrong, record
from zoo.testing.checks.precision import moved
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.finding import Finding
from zoo.testing.guard import DefaultDtype, seed_all
from zoo.testing.stress import apart
from zoo.testing.subject import Subject

UNIT = 2.0**-24  # of float32
RATIO = 2.0**16  # bfloat16's unit to float32's
UNSTABLE, STABLE = 1e-2, 1e-4  # an error that is seen, where the problem itself moves far less
MARGIN = 16.0
FAR = 300.0  # how far off zero inputs are put, in their own deviations


def output_in(
    subject: Subject, module: nn.Module, batch: Mapping[str, Any], dtype: torch.dtype, seed: int
) -> Tensor:
    """Run a module in a dtype; give the output that counts in float64."""
    seed_all(seed)
    with torch.no_grad(), DefaultDtype(dtype):
        found = subject.main(subject.call(module, batch))
    return found.double() if found.is_floating_point() else found


class Probe:
    """One set of weights and inputs, in float32 numbers, run in several precisions."""

    def __init__(self, subject: Subject, *, seed: int = 0) -> None:
        self.subject = subject
        self.batch = dict(subject.batch(3, seed))

    def module(self, dtype: torch.dtype, *, noise: float = 0.0, through: Any = None) -> nn.Module:
        """Build the module in a dtype; weights moved by noise, or rounded through a dtype."""
        module = self.subject.fresh(train=False)
        if through is not None:
            module.to(through)
        module.to(dtype)
        if noise:
            generator = torch.Generator().manual_seed(11)
            with torch.no_grad():
                for p in module.parameters():
                    if p.is_floating_point():
                        p.mul_(1 + noise * signs(p, generator))
        return module

    def run(
        self, dtype: torch.dtype, *, noise: float = 0.0, through: Any = None, seed: int = 0
    ) -> Tensor:
        """Give the output in a dtype, with weights and inputs as asked for."""
        batch = moved(self.batch, through) if through is not None else self.batch
        batch = moved(batch, dtype)
        if noise:
            generator = torch.Generator().manual_seed(12)
            batch = {n: shaken(x, noise, generator) for n, x in batch.items()}
        module = self.module(dtype, noise=noise, through=through)
        return output_in(self.subject, module, batch, dtype, seed)

    def place(self) -> Place:
        """Find the first step whose float32 numbers are far from those of float64."""
        runs = []
        for dtype in (torch.float32, torch.float64):
            module, batch = self.module(dtype), moved(self.batch, dtype)

            def work(m: nn.Module = module, b: Any = batch, d: torch.dtype = dtype) -> Any:
                with DefaultDtype(d):
                    return self.subject.call(m, b)

            seed_all(0)
            runs.append(record(module, work))

        def wrong(a: Tensor, b: Tensor) -> bool:
            real = a.is_floating_point() and b.is_floating_point()
            return real and a.shape == b.shape and apart(a.double(), b.double()) > UNSTABLE / 10

        return first_wrong(runs[0], runs[1], wrong) or Place("")


def signs(x: Tensor, generator: torch.Generator) -> Tensor:
    """Draw -1 or 1 for every number."""
    drawn = torch.randint(2, x.shape, generator=generator) * 2 - 1
    return drawn.to(x)


def shaken(x: Any, noise: float, generator: torch.Generator) -> Any:
    """Move real numbers by a share of themselves."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        return x
    return x * (1 + noise * signs(x, generator))


def check_precision(subject: Subject) -> Iterable[Finding]:
    """Compare float32 and bfloat16 with float64, and the gap with what rounding must cost."""
    if any(p.dtype != torch.float32 for p in subject.fresh().parameters() if is_float(p)):
        raise NotApplicable("the parameters are not all float32 as built")
    plain = Probe(subject)
    try:
        true = plain.run(torch.float64)
    except Exception as why:
        raise NotApplicable(f"the model does not run in float64: {why}"[:200]) from why
    if not true.is_floating_point() or not bool(true.isfinite().all()):
        raise NotApplicable("the output is not finite, or no real number")
    if apart(true, plain.run(torch.float64, seed=1)) > 1e-9:
        raise NotApplicable("the model draws random numbers, other ones in every dtype")
    error = apart(plain.run(torch.float32), true)
    yield from unstable(plain, true, error)
    yield from digits_lost_far_from_zero(plain)
    if subject.built.count < 5_000_000:
        yield from drift(plain, true, error)


def is_float(p: Tensor) -> bool:
    """Say whether a tensor holds real numbers."""
    return p.is_floating_point()


def unstable(probe: Probe, true: Tensor, error: float) -> Iterable[Finding]:
    """Find a float32 result that is far off where the problem is well conditioned."""
    if not UNSTABLE < error < float("inf"):
        return
    moves = max(apart(probe.run(torch.float64, noise=n), true) for n in (UNIT, -UNIT, 2 * UNIT))
    again = Probe(probe.subject, seed=5)
    other = apart(again.run(torch.float32), again.run(torch.float64))
    if moves > STABLE or error < 300 * moves or other <= UNSTABLE:
        return
    place = probe.place()
    yield Finding(
        kind="precision",
        severity="fail",
        where=place.where,
        line=place.line,
        evidence=f"the output in float32 is {error:.2g} off that in float64 (relative), and moving "
        f"all weights and inputs by a rounding of float32 moves the output by {moves:.2g} only",
        explanation="the result is lost in the way it is computed: large numbers are subtracted "
        "that agree in most digits",
        fix="take the mean away before squaring (variance), subtract the maximum before exp, use "
        "logsumexp, log1p, expm1 and torch's own norms",
    )


def digits_lost_far_from_zero(probe: Probe) -> Iterable[Finding]:
    """Shift what the author's own layers get: those that must not care must keep their digits.

    A layer whose float64 output does not change when its input is shifted (a norm, a softmax)
    loses UNIT * FAR of it in float32 to the rounding of the input, and UNIT * FAR^2 if it squares
    before it takes the mean away, or all if it takes exp of what it gets.
    """
    module = probe.module(torch.float64)
    seen: dict[str, tuple[nn.Module, Tensor]] = {}
    names = {m: n for n, m in module.named_modules()}

    def look(part: nn.Module, inputs: Any) -> None:
        only = len(inputs) == 1 and isinstance(inputs[0], Tensor) and inputs[0].dim() > 1
        kind = type(part).__qualname__
        own = not type(part).__module__.startswith("torch.")
        if only and own and inputs[0].dtype is torch.float64 and kind not in seen and names[part]:
            seen[kind] = (part, inputs[0].detach().clone())

    handles = [part.register_forward_pre_hook(look) for part in module.modules()]
    try:
        output_in(probe.subject, module, moved(probe.batch, torch.float64), torch.float64, 0)
    finally:
        for handle in handles:
            handle.remove()
    for part, x in seen.values():
        lost = digits_lost(part, x)
        if lost is not None:
            yield Finding(
                kind="precision",
                severity="fail",
                where=names[part],
                evidence=f"shifting this layer's input by {FAR:g} of its deviations changes its "
                "output by nothing in float64, and "
                + ("to NaN" if lost == float("inf") else f"by {lost:.2g} of it")
                + f" in float32, where rounding the input costs {UNIT * FAR:.1g}",
                explanation="a variance taken as the mean of squares minus the square of the mean, "
                "or an exp without its maximum taken off, loses its digits when inputs lie far "
                "from zero, as the residual stream of a deep model does",
                fix="take the mean (for softmax the maximum) off first: "
                "((x - x.mean(-1, keepdim=True)) ** 2).mean(-1), torch.softmax, nn.LayerNorm",
            )


def digits_lost(part: nn.Module, x: Tensor) -> float | None:
    """Give what a layer that ignores shifts loses in float32; None if it loses little, or cares."""
    shifted = x + FAR * (float(x.std()) or 1.0)
    far = shifted.float()
    with torch.no_grad():
        try:
            near, wide = part(x), part(shifted)
            if not isinstance(wide, Tensor) or apart(near, wide) > 1e-8:
                return None
            wide = part(far.double())
            low = part.float()(far).double()
        except Exception:
            return None  # it cannot be run alone
        finally:
            part.double()
    if not bool(wide.isfinite().all()):
        return None
    if not bool(low.isfinite().all()):
        return float("inf")
    lost = apart(low, wide)
    return lost if lost > 0.1 * UNSTABLE else None


def drift(probe: Probe, true: Tensor, error: float) -> Iterable[Finding]:
    """Compare the drift of bfloat16 with the bound that the model's own conditioning gives."""
    try:
        got = probe.run(torch.bfloat16)
    except Exception:
        return  # told by the check of dtypes, or a kernel that there is not
    gap = apart(got, true) if bool(got.isfinite().all()) else float("inf")
    if gap <= 0.1:
        return
    rounded = apart(probe.run(torch.float64, through=torch.bfloat16), true)
    shaken_by = apart(probe.run(torch.float64, noise=UNIT * RATIO), true)
    bound = MARGIN * (max(rounded, shaken_by) + error * RATIO)
    if gap <= bound:
        return
    words = "NaN or infinity" if gap == float("inf") else f"{gap:.2g} off (relative)"
    yield Finding(
        kind="precision",
        severity="warn",
        where="",
        evidence=f"in bfloat16 the output is {words}; rounding weights and inputs to bfloat16 "
        f"and computing in float64 costs {rounded:.2g}, and float32 is {error:.2g} off, which "
        f"scales to {error * RATIO:.2g}: the bound is {bound:.2g}",
        explanation="some part loses more than rounding: a long sum, a variance, positions or "
        "frequencies counted in bfloat16 (exact only to 256), an eps below its unit",
        fix="compute norms, softmax, sums over many items and positions in float32, and cast back",
    )


ROWS = (
    Check(
        name="precision",
        run=check_precision,
        tier="full",
        about="float32 and bfloat16 lose no more than their rounding",
    ),
)

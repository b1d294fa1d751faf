"""Bug or rounding: what lies between two results that should be the same.

For two modules three things are asked, in this order.

1. Are they one function? Both run in float64 (a shadow run; weights that are the rounded weights of
   the other are replaced by those). One function computed in two ways differs there by float64's
   rounding; two functions by what makes them two.
2. How large is rounding? Every op of the shadow run is disturbed: see rounding_noise.
3. Is the difference larger? Errors of both sides add up as independent ones, so sqrt(2) of that is
   expected, and ROOM times as much allowed. The root of the mean square is compared, which depends
   on all numbers and hardly varies; a single number may be PEAK times further off.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from zoo.testing.blame import Place, Recording, record
from zoo.testing.guard import Untouched
from zoo.testing.rounding_noise import (
    Shadow,
    as_dtype,
    called,
    flat,
    rms,
    rounded_weights,
    shadow_of,
    working_dtype,
)
from zoo.testing.rounding_tensors import Comparison, compare_tensors, dtype_name, shape_words
from zoo.testing.trees import tensors

ROOM = 6.0  # times the expected deviation: another algorithm rounds more often
PEAK = 12.0  # of one number, over its own deviation and that of all
FUNCTION = 1e3  # times float64's rounding: beyond it they are two functions


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What lies between two results, in a word and in words."""

    verdict: Literal["equal", "rounding", "bug"]
    text: str
    largest: float = 0.0  # of the differences
    typical: float = 0.0  # the root of their mean square
    bound: float = 0.0  # what rounding may give of the typical one
    where: str = ""  # the module at which two modules part
    line: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)  # JSON-able


def explain_difference(
    a: Any, b: Any, batch: Any = None, *, dtype: torch.dtype | None = None, seed: int = 0
) -> Difference:
    """Say whether two modules (on one batch), or two tensors, differ by rounding or by a bug.

    `a` is the one to be trusted; `b` the other. `dtype` is the precision that was worked in; by
    default the lower one of both. Tensors may come in dicts, by name. Modules are copied, and run
    in the mode they are in. Raises TypeError for anything else, and what the modules raise.
    """
    if isinstance(a, nn.Module) and isinstance(b, nn.Module):
        if batch is None:
            raise TypeError("two modules need a batch: a dict of forward's keywords, a tuple, ...")
        with Untouched(seed):
            return between_modules(a, b, batch, dtype, seed)
    if tensors(a) and tensors(b) and not isinstance(a, nn.Module) and not isinstance(b, nn.Module):
        return between_tensors(tensors(a), tensors(b), dtype)
    raise TypeError(
        f"a is {type(a).__name__} and b is {type(b).__name__}; expected two modules, or two "
        "tensors, or two dicts of tensors"
    )


def between_tensors(
    a: Mapping[str, Tensor], b: Mapping[str, Tensor], dtype: torch.dtype | None
) -> Difference:
    """Compare tensors by name; the worst one gives the verdict."""
    lone = [n for n in (*a, *b) if n not in a or n not in b]
    if lone and len(a) == len(b) == 1:
        b, lone = {next(iter(a)): next(iter(b.values()))}, []
    if lone:
        said = f"{lone[0]} is in one of them only (and {len(lone) - 1} more)"
        return Difference(verdict="bug", text=f"bug: {said}", details={"missing": lone})
    every = {n: compare_tensors(x, b[n], dtype) for n, x in a.items()}
    order = ("equal", "rounding", "bug")
    worst = max(every, key=lambda n: (order.index(every[n].verdict), every[n].relative))
    found = every[worst]
    text = f"{found.verdict}: " + (f"{worst}: " if worst else "") + found.text
    if len(every) > 1:
        counts = {v: sum(1 for c in every.values() if c.verdict == v) for v in order}
        text += "\nof all: " + ", ".join(f"{n} {v}" for v, n in counts.items() if n)
    return Difference(
        verdict=found.verdict,
        text=text,
        largest=found.largest,
        typical=found.typical,
        bound=found.bound,
        details={n: c.record() for n, c in every.items()},
    )


def between_modules(
    a: nn.Module, b: nn.Module, batch: Any, dtype: torch.dtype | None, seed: int
) -> Difference:
    """Compare two modules on one batch."""
    found, given = [], []
    for module in (a, b):
        own = as_dtype(batch, working_dtype(module))
        given.append(own)
        found.append(tensors(called(copy.deepcopy(module), own, seed)))
    real = [{n: x for n, x in one.items() if x.is_floating_point()} for one in found]
    if [list(x.shape) for x in real[0].values()] != [list(x.shape) for x in real[1].values()]:
        return Difference(verdict="bug", text=f"bug: {shape_words(real[0], real[1])}")
    if not real[0]:
        raise TypeError("the modules give no tensor of real numbers to compare")
    one, other = ({n: x.double() for n, x in r.items()} for r in real)
    gap = flat(one) - flat(other)
    same = (flat(one) == flat(other)) | (flat(one).isnan() & flat(other).isnan())
    if bool(same.all()):
        return Difference(verdict="equal", text="equal: both give the same numbers")
    if not bool(gap[~same].isfinite().all()):
        count = int((~gap.isfinite() & ~same).sum())
        return Difference(
            verdict="bug",
            text=f"bug: {count} of {gap.numel()} numbers are NaN or infinite in one alone",
        )
    gap = torch.where(same, 0.0, gap)
    dtypes = [x.dtype for r in real for x in r.values()] + [
        d for d in (working_dtype(a), working_dtype(b), dtype) if d is not None
    ]
    coarse = dtype or max(dtypes, key=lambda d: torch.finfo(d).eps)
    precise = a if finer(a, b) else b
    rough = b if precise is a else a
    replaced = working_dtype(a) != working_dtype(b) and rounded_weights(rough, precise)
    if replaced:  # inputs that were rounded for the rough one are no difference of the two either
        given = [batch if working_dtype(precise) is None else given[precise is b]] * 2
    mine = shadow_of(a, given[0], seed, precise if replaced and rough is a else None)
    theirs = shadow_of(b, given[1], seed, precise if replaced and rough is b else None)
    comparable = replaced or working_dtype(a) == working_dtype(b)
    return judged(gap, one, other, mine, theirs, coarse, comparable)


def finer(a: nn.Module, b: nn.Module) -> bool:
    """Say whether the first works in at least the precision of the second."""
    one, other = working_dtype(a), working_dtype(b)
    if one is None or other is None:
        return True
    return torch.finfo(one).eps <= torch.finfo(other).eps


def judged(
    gap: Tensor,
    one: Mapping[str, Tensor],
    other: Mapping[str, Tensor],
    mine: Shadow | None,
    theirs: Shadow | None,
    coarse: torch.dtype,
    comparable: bool,
) -> Difference:
    """Compare the gap with what the shadow runs say."""
    typical, largest = rms(gap), float(gap.abs().max())
    name, unit = dtype_name(coarse), torch.finfo(coarse).eps / 2
    if mine is None:
        comparison = compare_tensors(flat(one), flat(other), coarse)
        return plain(comparison, "(a does not run in float64: judged by the numbers alone) ")
    if theirs is not None and comparable:
        apart = rms(flat(mine.output) - flat(theirs.output))
        finest = max(mine.unit, theirs.unit)
        fine = rms(mine.deviation(finest)) + rms(theirs.deviation(finest))
        if apart > FUNCTION * fine and apart > 1e-3 * typical:
            place = parting(mine, theirs)
            text = (
                f"bug: they are two functions. In float64, where rounding gives {fine:.2g}, they "
                f"still differ by {apart:.3g} (root mean square; {typical:.3g} in {name}), first "
                f"at {place}"
            )
            return Difference(
                verdict="bug",
                text=text,
                largest=largest,
                typical=typical,
                bound=ROOM * math.sqrt(2) * rms(mine.deviation(unit)),
                where=place.where,
                line=place.line,
                details={"float64": apart, "float64_rounding": fine, "dtype": name},
            )
    spread = mine.deviation(unit)
    expected = math.sqrt(2) * rms(spread)
    bound = ROOM * expected
    peaks = PEAK * math.sqrt(2) * (spread + rms(spread))
    far = int((gap.abs() > peaks).sum())
    details = {"dtype": name, "expected": expected, "beyond": far, "largest": largest}
    size = rms(flat(mine.output)) or 1.0
    told = (
        f"they differ by {typical:.3g} (root mean square; {typical / size:.2g} of the output, at "
        f"most {largest:.3g}); {name}'s rounding, op by op, gives {expected:.3g}, and up to "
        f"{bound:.3g} is allowed"
    )
    if typical <= bound and not far:
        text = f"rounding: {told}"
        if theirs is not None and comparable:
            text += ". In float64 both are the same function"
        return Difference(
            verdict="rounding",
            text=text,
            largest=largest,
            typical=typical,
            bound=bound,
            details=details,
        )
    errors = [rms(flat(x) - flat(mine.output)) for x in (one, other)]
    worse = "a" if errors[0] > errors[1] else "b"
    where = "" if typical <= bound else f"; {far} numbers are further off than their own rounding"
    text = (
        f"bug: {told}{where}. From the float64 run a is {errors[0]:.3g} away and b "
        f"{errors[1]:.3g}: {worse} does some step in too low a precision, or in an unstable way"
    )
    return Difference(
        verdict="bug",
        text=text,
        largest=largest,
        typical=typical,
        bound=bound,
        details=details | {"errors": errors},
    )


def plain(found: Comparison, before: str) -> Difference:
    """Give the verdict on numbers alone."""
    return Difference(
        verdict=found.verdict,
        text=f"{found.verdict}: {before}{found.text}",
        largest=found.largest,
        typical=found.typical,
        bound=found.bound,
        details=found.record(),
    )


def parting(mine: Shadow, theirs: Shadow) -> Place:
    """Find the first step of the second at which it gives what the first gives nowhere.

    The two may be written differently: an op counts as known when any tensor of the first run has
    its numbers. What leaves the last known numbers is the place.
    """
    one, other = record(mine.module, mine.run), record(theirs.module, theirs.run)
    known = prints(one)
    for step in other.steps:
        for x in step.tensors:
            if x.dtype is torch.float64 and x.numel() > 1 and not seen(x, known):
                return Place(step.module, step.line, step.name)
    return Place("")


def prints(run: Recording) -> dict[int, list[Tensor]]:
    """Give all float64 tensors of a run by their size."""
    found: dict[int, list[Tensor]] = {}
    for step in run.steps:
        for x in step.tensors:
            if x.dtype is torch.float64:
                found.setdefault(x.numel(), []).append(x.reshape(-1).sort().values)
    return found


def seen(x: Tensor, known: Mapping[int, list[Tensor]]) -> bool:
    """Say whether some tensor has these numbers, in any order and up to float64's rounding."""
    mine = x.reshape(-1).sort().values
    scale = float(mine.abs().max()) or 1.0
    return any(float((mine - y).abs().max()) <= 1e-10 * scale for y in known.get(x.numel(), []))

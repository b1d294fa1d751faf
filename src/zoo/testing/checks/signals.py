"""How a model is born: which units can ever answer, and which can still change their mind.

Everything is measured on the model as it is built, over several batches and several seeds. Only
what holds for all of them is a bug.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator

from torch import Tensor

from zoo.testing.checks.signals_flow import Act, Passed, flow
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.finding import Finding
from zoo.testing.subject import Subject

LARGE = 5_000_000  # parameters from which on one run must do
Key = tuple[str, str, int]  # where, which function, the how manyth there


def check_signals(subject: Subject) -> Iterator[Finding]:
    """Look for dead and saturated units, and for signals that grow or fade with depth."""
    runs = measured(subject)
    if not runs:
        raise NotApplicable("the model does not run in train mode")
    together = grouped([acts for acts, _ in runs])
    found = [*dead(together), *saturated(together)]
    yield from found
    if not any(one.severity == "fail" for one in found):
        yield from depth([calls for _, calls in runs])


def measured(subject: Subject) -> list[tuple[list[Act], list[Passed]]]:
    """Run the model as it is built: with several seeds and several batches."""
    found = []
    large = subject.built.count > LARGE
    for seed, rows in ((0, 2),) if large else ((0, 16), (0, 17), (1, 16), (2, 16)):
        module = subject.fresh(subject.seed + seed, train=True)
        try:
            batch = subject.batch(rows, 10 * seed + rows)
            found.append(flow(module, lambda m=module, b=batch: subject.call(m, b)))  # type: ignore[misc]
        except Exception:
            return []
    return found


def grouped(runs: list[list[Act]]) -> dict[Key, list[Act]]:
    """Put the same use of a function in all runs together; uses that some runs lack are left."""
    every: dict[Key, list[Act]] = {}
    for acts in runs:
        counts: dict[tuple[str, str], int] = defaultdict(int)
        for act in acts:
            if not act.before.numel() or not act.before.is_floating_point():
                continue
            place = (act.where, act.name)
            every.setdefault((*place, counts[place]), []).append(act)
            counts[place] += 1
    return every


def units(x: Tensor) -> Tensor:
    """Give a tensor as (samples, units): channels are axis 1 of pictures, else the last axis."""
    axis = 1 if x.dim() >= 4 else -1
    return x.movedim(axis, -1).flatten(0, -2) if x.dim() > 1 else x[:, None]


FLOORS = {"relu": 0.0, "relu6": 0.0, "gelu": -6.0, "silu": -12.0}


def dead_share(act: Act) -> float:
    """Give the share of units that no input wakes."""
    x = units(act.before)
    if x.shape[0] < 6 or x.shape[1] < 4:
        return 0.0
    return float((x.amax(0) < FLOORS[act.name]).double().mean())


def dead(together: dict[Key, list[Act]]) -> Iterator[Finding]:
    """Find layers whose units are off for every input."""
    worst = {
        key: min(dead_share(act) for act in acts)
        for key, acts in together.items()
        if key[1] in FLOORS and len(acts) > 1
    }
    bad = [key for key, part in worst.items() if part > 0.9]
    if not bad:
        return
    first = together[bad[0]][0]
    lowest = max(float(act.before.max()) for act in together[bad[0]])
    others = (
        f"; so it is in {', '.join(place(together[k][0]) for k in bad[1:6])}" if bad[1:] else ""
    )
    yield Finding(
        kind="dead-units",
        severity="fail",
        where=place(first),
        line=first.line,
        evidence=f"{worst[bad[0]]:.0%} of the {units(first.before).shape[1]} units before "
        f"{first.name} are below {FLOORS[first.name]:g} for every input of "
        f"{len(together[bad[0]])} runs with other seeds and batches (the largest number is "
        f"{lowest:.4g}){others}",
        explanation=f"{first.name} gives 0 there and has no slope, so no gradient ever reaches the "
        "weights before it: the layer is constant and stays so",
        fix="start the bias at 0 (or slightly above), and the weights around 0; check the sign "
        "before the activation",
    )


def place(act: Act) -> str:
    """Name the module to look at: the one that gave the input, else the one that ran the op."""
    return act.maker or act.where


def stuck_share(act: Act) -> float:
    """Give the share of answers that cannot change: the slope there is below 1e-6."""
    if act.name == "softmax":
        return sharp_rows(act)
    y = act.after.double()
    slope = y * (1 - y) if act.name == "sigmoid" else 1 - y * y
    return float((slope.abs() < 1e-6).double().mean()) if y.numel() >= 16 else 0.0


def sharp_rows(act: Act) -> float:
    """Give the share of softmax rows that are one-hot although several entries were allowed."""
    sums = [a for a in range(act.after.dim()) if ones_along(act.after, a)]
    if not sums:
        return 0.0
    x, y = act.before.movedim(sums[-1], -1), act.after.movedim(sums[-1], -1)
    open_ = ((x.amax(-1, keepdim=True) - x) < 1e8) & x.isfinite()  # more is a mask
    rows = open_.sum(-1) > 1
    if int(rows.sum()) < 16:
        return 0.0
    return float((y.amax(-1) > 1 - 1e-6)[rows].double().mean())


def ones_along(y: Tensor, axis: int) -> bool:
    """Say whether a tensor sums to 1 along an axis."""
    return y.shape[axis] > 1 and bool(((y.double().sum(axis) - 1).abs() < 1e-3).all())


def saturated(together: dict[Key, list[Act]]) -> Iterator[Finding]:
    """Find gates and softmaxes that always give the same answer."""
    worst = {
        key: min(stuck_share(act) for act in acts)
        for key, acts in together.items()
        if key[1] in ("sigmoid", "tanh", "softmax") and len(acts) > 1
    }
    bad = [key for key, part in worst.items() if part > 0.9]
    if not bad:
        return
    key = max(bad, key=lambda k: worst[k])
    first, part = together[key][0], worst[key]
    spread = float(first.before[first.before.abs() < 1e8].double().std())
    what = "rows are one-hot" if first.name == "softmax" else "numbers have a slope below 1e-6"
    yield Finding(
        kind="saturated",
        severity="fail" if part > 0.99 else "warn",
        where=first.where,
        line=first.line,
        evidence=f"as built, {part:.1%} of the {first.name}'s {what}, in {len(together[key])} runs "
        f"with other seeds and batches; its input has a standard deviation of {spread:.3g}",
        explanation=f"where {first.name} is saturated its gradient is 0: what stands before it "
        "cannot be learnt",
        fix="bring its input to a standard deviation near 1: divide scores by sqrt(head size), "
        "check the temperature (multiplied where it should divide?), and the weights' scale",
    )


def depth(runs: list[list[Passed]]) -> Iterator[Finding]:
    """Compare the size of what equal blocks give, from the first to the last."""
    ratios: dict[str, list[float]] = {}
    for calls in runs:
        for name, sizes in stacks(calls).items():
            if sizes[0] > 0:
                ratios.setdefault(name, []).append(sizes[-1] / sizes[0])
    tests: tuple[tuple[str, Callable[[float], bool], str], ...] = (
        (
            "exploding",
            lambda r: r > 1e4,
            "normalise inside the block, or scale its last layer down",
        ),
        ("vanishing", lambda r: r < 1e-5, "keep the residual connection, and the weights' scale"),
    )
    for name, found in ratios.items():
        for kind, test, fix in tests:
            if len(found) == len(runs) and all(test(r) for r in found):
                extreme = all(r > 1e8 or r < 1e-10 for r in found)
                yield Finding(
                    kind=kind,
                    severity="fail" if extreme else "warn",
                    where=name,
                    evidence=f"as built, the last block of {name!r} gives numbers "
                    f"{min(found):.3g} to {max(found):.3g} times as large as the first one",
                    explanation="the signal's size changes by a factor in every block, and the "
                    "gradient's with it",
                    fix=fix,
                )
                return


def stacks(calls: list[Passed]) -> dict[str, list[float]]:
    """Give the root mean squares of what the blocks of every list of modules gave, in order."""
    found: dict[str, list[float]] = defaultdict(list)
    for call in calls:
        head, _, tail = call.where.rpartition(".")
        block = tail.isdigit() and any(True for _ in call.module.children())
        if block and call.gave and call.gave[0].is_floating_point():
            x = call.gave[0].detach().double()
            found[head].append(float(x.square().mean().sqrt()) if x.numel() else 0.0)
    return {name: sizes for name, sizes in found.items() if len(sizes) > 1}


def bad_signals(subject: Subject) -> bool:
    """Say whether dead or saturated units explain what does not learn."""
    together = grouped([acts for acts, _ in measured(subject)])
    return any(one.severity == "fail" for one in [*dead(together), *saturated(together)])


ROWS = (
    Check(
        name="signals",
        run=check_signals,
        about="as built no layer is dead or saturated, and signals keep their size with depth",
    ),
)

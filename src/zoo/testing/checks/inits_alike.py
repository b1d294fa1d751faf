"""Weights that are alike from the start, and so stay alike for ever."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from zoo.testing.checks.learning_run import train, trainable
from zoo.testing.checks.signals import LARGE
from zoo.testing.checks.signals_flow import Passed, flow
from zoo.testing.finding import Finding
from zoo.testing.subject import Subject


def flat(parameter: Tensor) -> Tensor:
    """Give a weight as (units, inputs)."""
    return parameter.detach().flatten(1)


def constant_rows(parameter: Tensor) -> bool:
    """Say whether all units of a weight begin with the same numbers, which are not zeros."""
    rows = flat(parameter)
    return rows.shape[0] > 1 and bool((rows == rows[:1]).all()) and bool(rows.any())


def alike_rows(subject: Subject) -> Iterator[Finding]:
    """Find layers whose units are all the same, and stay so in training."""
    module = subject.fresh(train=True)
    maps = {
        f"{path}.weight" if path else "weight": part
        for path, part in module.named_modules()
        if isinstance(part, nn.Linear | nn.modules.conv._ConvNd)
    }
    own = {n: p for n, p in trainable(module).items() if n in maps}
    bad = [n for n, p in own.items() if p.dim() > 1 and p.numel() > 3 and constant_rows(p)]
    if not bad:
        return
    begun = {n: flat(own[n]).clone() for n in bad}
    stay: list[str] = []
    if subject.spec.batch is not None:
        size = max(4, subject.spec.min_batch_train or 1)
        try:
            train(subject, module, lambda i: subject.batch(size, i), 4, 1e-2)
        except Exception:
            return
        stay = [n for n in bad if constant_rows(own[n]) and not torch.equal(begun[n], flat(own[n]))]
    names = stay or bad
    where = names[0].rpartition(".")[0]
    value = begun[names[0]]
    yield Finding(
        kind="init",
        severity="fail" if stay or one_number_inside(subject, names[0]) else "warn",
        where=where,
        evidence=f"all {value.shape[0]} units of {names[0]!r} begin with the same weights "
        f"({worded(value)})"
        + (
            ", and after 4 steps of training they have moved and are still the same to the bit"
            if stay
            else ""
        )
        + (f"; so it is in {', '.join(names[1:5])}" if names[1:] else ""),
        explanation="units that begin alike get the same gradient, so the layer is one unit wide "
        "for ever",
        fix="initialise the weights at random",
    )


def one_number_inside(subject: Subject, name: str) -> bool:
    """Say whether a weight holds one number only, and something that bends comes after it.

    A last linear layer may begin as a mean (of a series, say); in front of a nonlinearity all
    units are one function of one number, the sum of the inputs.
    """
    module = subject.fresh(train=False)
    weight = dict(module.named_parameters())[name]
    part = module.get_submodule(name.rpartition(".")[0])
    rows = flat(weight)
    few = len(rows) < 4 or rows.shape[1] < 4 or getattr(part, "groups", 1) != 1
    if few or not constant(rows) or subject.large() or subject.spec.batch is None:
        return False
    begun = weight.detach().clone()
    try:
        found = []
        for factor in (1.0, 2.0, 3.0):
            with torch.no_grad():
                weight.copy_(begun * factor)
                found.append(subject.main(subject.call(module, subject.batch(6))).double())
    except Exception:
        return False
    one, two, three = found
    size = float((two - one).abs().max())
    return size > 0 and float((three - 2 * two + one).abs().max()) > 1e-2 * size


def flat_tables(subject: Subject) -> Iterator[Finding]:
    """Find tables of equal rows that leave the model unable to tell inputs apart."""
    module = subject.fresh(train=False)
    tables = [
        path
        for path, part in module.named_modules()
        if isinstance(part, nn.Embedding)
        and part.weight.requires_grad
        and len(part.weight) > 1
        and bool((part.weight == part.weight[:1]).all())
    ]
    axis = subject.facts.output_batch_axis
    if not tables or axis is None or subject.spec.batch is None:
        return
    try:
        with torch.no_grad():
            rows = subject.main(subject.call(module, subject.batch(4))).movedim(axis, 0)
    except Exception:
        return
    rows = rows.detach().double().flatten(1)
    size = float(rows.abs().max())
    same = float((rows - rows[:1]).abs().max()) <= 1e-6 * size
    if not same or float(rows[0].max() - rows[0].min()) <= 1e-3 * size:
        return  # rows differ, or the last layer begins at zero, as it may
    yield Finding(
        kind="init",
        severity="fail",
        where=tables[0],
        evidence=f"all {len(module.get_submodule(tables[0]).weight)} rows of the table "  # type: ignore[arg-type]
        f"{tables[0]!r} begin with the same numbers, and as built the output is the same for "
        "4 different inputs",
        explanation="what is looked up says nothing, so all inputs give one answer; of a codebook "
        "the first entry is chosen for everything",
        fix="initialise the table at random, for example nn.init.normal_(weight, std=0.02)",
    )


def worded(value: Tensor) -> str:
    """Say what equal rows hold."""
    return f"all {float(value.flatten()[0]):.4g}" if constant(value) else "equal rows"


def constant(x: Tensor) -> bool:
    """Say whether a tensor holds one number only."""
    return bool((x == x.flatten()[0]).all())


def twins(subject: Subject) -> Iterator[Finding]:
    """Find modules side by side that begin with the same random weights and read the same."""
    module = subject.fresh(train=True)
    same = equal_weights(module)
    if not same or subject.spec.batch is None or subject.built.count > LARGE:
        return
    try:
        _, calls = flow(module, lambda: subject.call(module, subject.batch(6)), ())
    except Exception:
        return
    given: dict[str, list[Passed]] = {}
    for call in calls:
        given.setdefault(call.where, []).append(call)
    for names in same:
        heard = [n for n in names if given.get(n) and given[n][0].given]
        for other in heard[1:]:
            if shares_input(given[heard[0]][0], given[other][0]):
                listed = parent(heard[0]) == parent(other) and heard[0].rpartition(".")[2].isdigit()
                yield Finding(
                    kind="init",
                    severity="fail" if listed else "warn",
                    where=heard[0],
                    evidence=f"{heard[0]!r} and {other!r} begin with the same random weights "
                    f"({len(heard)} modules in all: {', '.join(heard[:6])}), and read the same "
                    "numbers",
                    explanation="modules side by side that begin alike give the same answer, and "
                    "learn the same as long as they get the same gradient: several do the work "
                    "of one",
                    fix="initialise each by itself: no copy.deepcopy of one that is initialised, "
                    "and no generator that is seeded anew for each",
                )
                return


def parent(path: str) -> str:
    """Give the path of what a module stands in."""
    return path.rpartition(".")[0]


def equal_weights(module: nn.Module) -> list[list[str]]:
    """Give groups of modules whose trainable parameters are equal in value and not one tensor."""
    groups: dict[tuple[object, ...], list[str]] = {}
    kept: dict[tuple[object, ...], nn.Module] = {}
    for path, part in module.named_modules():
        own = [p for p in part.parameters() if p.requires_grad and not nn.parameter.is_lazy(p)]
        matrices = [p for p in own if p.dim() > 1 and p.numel() >= 16 and not constant(p.detach())]
        if not path or not matrices:
            continue
        key: tuple[object, ...] = (
            type(part),
            *(tuple(p.shape) for p in own),
            *(float(p.detach().double().sum()) for p in matrices),
        )
        first = kept.setdefault(key, part)
        if first is part or (
            first is not part
            and all(
                torch.equal(a, b) and a is not b
                for a, b in zip(first.parameters(), part.parameters(), strict=True)
            )
        ):
            groups.setdefault(key, []).append(path)
    return [names for names in groups.values() if len(names) > 1]


def shares_input(one: Passed, other: Passed) -> bool:
    """Say whether two calls read the same rows, or some of the same."""
    a, b = one.given[0], other.given[0]
    if not a.is_floating_point() or not a.numel() or not b.numel() or a.shape[-1] != b.shape[-1]:
        return False
    if a.shape == b.shape and torch.equal(a, b):
        return True
    rows = {tuple(row) for row in a.detach().flatten(0, -2).tolist()}
    return any(tuple(row) in rows for row in b.detach().flatten(0, -2).tolist())

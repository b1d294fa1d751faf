"""Whether the rows of a batch keep to themselves in train mode, and draw noise each for itself.

The same seed gives the same noise, so that rows can be compared as in eval mode. Layers that work
on the whole batch on purpose (batch norm) are let be.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from zoo.testing.checks.batches import (
    NORMS,
    blame_exchange,
    check_batch_independence,
    leak,
    mixed,
    separate,
    size_for,
)
from zoo.testing.checks.influence_tools import Batch, Rig, gap, rows_in, scale_of, take_rows
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.finding import Finding
from zoo.testing.subject import Subject

QUIET = (nn.Linear, nn.modules.conv._ConvNd, nn.LayerNorm, nn.Embedding, NORMS, nn.GELU, nn.ReLU)


def check_batch_independence_train(subject: Subject) -> Iterator[Finding]:
    """Prove that rows do not change each other in train mode, where no layer is made to do so."""
    try:
        rig = Rig(subject, train=True)
    except NotApplicable:
        raise
    except Exception as error:
        raise NotApplicable(f"train mode does not run: {type(error).__name__}") from error
    separate(rig)
    batch = rig.batch(size_for(rig))
    if rig.tried(batch) is None:
        raise NotApplicable("train mode does not run at this size")
    yield from one_draw(rig, batch)
    why = coupled(rig)
    if why:
        raise NotApplicable(why)
    yield from exchanged_in_train(rig, batch)


def coupled(rig: Rig) -> str:
    """Say why rows may depend on each other in train mode, or nothing."""
    spec = rig.subject.spec
    if spec.couples_batch or spec.couples_batch_train:
        return "rows may depend on each other in train mode"
    if rig.layout.squares:
        return "the output compares rows with rows"
    norms = [n for n, m in rig.bench.module.named_modules() if couples(m)]
    if norms and spec.couples_batch_train is None:
        return f"{norms[0]} works on the whole batch in train mode"
    return ""


def exchanged_in_train(rig: Rig, batch: Batch) -> Iterator[Finding]:
    """Exchange the other rows under the same noise and see whether one row moves."""
    size = rows_in(rig, batch)
    base, given = rig(batch), rig.tried(mixed(rig, batch, 0)) or {}
    for path, axis in rig.layout.rows.items():
        x, y = base.get(path), given.get(path)
        if x is None or y is None or x.shape != y.shape or x.shape[axis] != size:
            continue
        apart = gap(x.select(axis, 0), y.select(axis, 0), scale_of(x))
        if apart <= rig.bench.bound:
            continue
        if next(iter(check_batch_independence(rig.subject)), None) is not None:
            raise NotApplicable("rows change each other in eval mode already")
        place = blame_exchange(rig, batch, 0)
        done = "the other rows were exchanged for other samples, under the same noise"
        found = leak(rig, place, (apart, 0, path), done, "train mode")
        declared = rig.subject.spec.couples_batch_train is False
        yield found if declared else replace(found, severity="warn")
        return


def one_draw(rig: Rig, batch: Batch) -> Iterator[Finding]:
    """Look for noise that is drawn once for all rows."""
    shared = shared_noise(rig, batch)
    if shared is None:
        return
    part = rig.bench.module.get_submodule(shared)
    drops = not list(part.parameters()) and not list(part.children())
    said = rig.subject.spec.train_noise or rig.subject.spec.couples_batch_train is False
    yield Finding(
        kind="batch-leak",
        severity="fail" if drops and said else "warn",  # whole layers may be left out on purpose
        where=shared,
        evidence=(
            "in train mode, given the same sample in every row, the layer's output changes with "
            "the seed but is the same in all rows, for 6 seeds: one draw for the whole batch"
        ),
        explanation=(
            "dropout and stochastic depth draw for each sample; one draw for all drops or keeps "
            "the whole batch together, and makes gradients far noisier"
        ),
        fix="draw with the batch's size: x.new_empty(x.size(0), 1, ...).bernoulli_(keep)",
    )


def couples(part: nn.Module) -> bool:
    """Say whether a layer works on the whole batch in train mode."""
    name = type(part).__name__
    return isinstance(part, NORMS) or ("BatchNorm" in name and not list(part.children()))


def shared_noise(rig: Rig, batch: Batch) -> str | None:
    """Find the innermost module that draws one number for all rows."""
    if not rig.small:
        return None
    one, two = rig(batch, 0), rig(batch, 1)
    if all(torch.equal(x, two.get(path, x)) for path, x in one.items()):
        return None
    size = rows_in(rig, batch)
    bench = rig.subject.bench(train=False)
    given: dict[str, tuple[object, Mapping[str, object]]] = {}
    names = {id(m): n for n, m in bench.module.named_modules()}

    def look(part: nn.Module, args: object, kwargs: Mapping[str, object]) -> None:
        given.setdefault(names[id(part)], (args, dict(kwargs)))

    handles = [m.register_forward_pre_hook(look, with_kwargs=True) for m in bench.module.modules()]
    try:
        bench(take_rows(rig, batch, [0] * size))
    finally:
        for handle in handles:
            handle.remove()
    bench.module.train()
    parts = dict(bench.module.named_modules())
    noisy: list[str] = []
    for name in sorted(given, key=lambda n: -n.count(".") - bool(n)):
        if any(n.startswith(name + "." if name else "") for n in noisy):
            continue
        drawn = draws(parts[name], *given[name], size)
        if drawn is None:
            continue
        noisy.append(name)
        if drawn:
            return name
    return None


def draws(part: nn.Module, args: object, kwargs: Mapping[str, object], size: int) -> bool | None:
    """Say whether a module's noise is the same for all rows; None where it has none."""
    if isinstance(part, QUIET):
        return None
    seen: list[Tensor] = []
    for seed in range(6):
        torch.manual_seed(seed)
        try:
            with torch.no_grad():
                output = part(*args, **kwargs)  # type: ignore[misc]
        except Exception:
            return None
        if not isinstance(output, Tensor) or not output.dim() or output.shape[0] != size:
            return None
        seen.append(output)
    if all(torch.equal(x, seen[0]) for x in seen):
        return None
    return all(gap(x, x[:1].expand_as(x)) <= 1e-9 for x in seen)


ROWS = (
    Check(
        name="batch_independence_train",
        run=check_batch_independence_train,
        about="rows of a batch do not change each other in train mode",
    ),
)

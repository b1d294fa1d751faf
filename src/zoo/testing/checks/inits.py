"""Whether the initial weights let a model learn: not all alike, not all zero, of a sane size."""

import fnmatch
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from zoo.testing.checks.inits_alike import alike_rows, flat_tables, twins
from zoo.testing.checks.learning_run import live_under_stress, objective, train, trainable
from zoo.testing.checks.losses_free import Free
from zoo.testing.checks.signals import LARGE, bad_signals, measured
from zoo.testing.checks.signals_flow import Passed
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.facts import names_of
from zoo.testing.finding import Finding
from zoo.testing.subject import Subject

MAPS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def check_init(subject: Subject) -> Iterator[Finding]:
    """Look at the weights as they are built, and at what a few steps make of them."""
    if not any(p.requires_grad for p in subject.fresh().parameters()):
        raise NotApplicable("no parameter is trainable")
    for part in (gains, alike_rows, flat_tables, never_moved, twins):
        found = list(part(subject))
        yield from found
        if any(one.severity == "fail" for one in found):
            return


def gain(weight: Tensor) -> float:
    """Give by how much a matrix makes a random signal larger."""
    return float(weight.detach().double().square().mean().sqrt()) * weight[0].numel() ** 0.5


def measured_gain(call: Passed) -> float:
    """Give how much larger the output of a layer is than its input."""
    x, y = call.given[0].detach().double(), call.gave[0].detach().double()
    bias = getattr(call.module, "bias", None)
    if isinstance(bias, Tensor):
        y = y - bias.detach().double().reshape(-1, *[1] * channels_after(call.module))
    size = float(x.square().mean().sqrt()) if x.numel() else 0.0
    return float(y.square().mean().sqrt()) / size if size else 0.0


def channels_after(module: nn.Module) -> int:
    """Give how many axes stand after the channels in a layer's output."""
    return len(module.kernel_size) if isinstance(module, nn.modules.conv._ConvNd) else 0


def gains(subject: Subject) -> Iterator[Finding]:
    """Find models most of whose layers blow the signal up, or nearly lose it."""
    runs = measured(subject)
    found: dict[str, list[tuple[float, float]]] = {}
    for _, calls in runs:
        for call in calls:
            weight = getattr(call.module, "weight", None)
            if type(call.module) in MAPS and call.given and isinstance(weight, nn.Parameter):
                pair = (gain(weight), measured_gain(call)) if weight.requires_grad else (1.0, 1.0)
                found.setdefault(call.where, []).append(pair)
    large = [n for n, pairs in found.items() if all(min(p) > 3 for p in pairs)]
    small = [n for n, pairs in found.items() if all(0 < max(p) < 2e-3 for p in pairs)]
    for names, word, effect, kind in (
        (large, "larger", "saturates what follows and explodes with depth", "init"),
        (small, "smaller", "fades with depth, and the gradient with it", "init"),
    ):
        if not names:
            continue
        most = len(names) >= 3 and 2 * len(names) > len(found)
        sizes = [p[1] for n in names for p in found[n]]
        factor = max(sizes) if word == "larger" else 1 / max(min(sizes), 1e-30)
        if not most and factor < 30:
            continue
        yield Finding(
            kind=kind,
            severity="fail" if most and harms(subject, names, word) else "warn",
            where=names[0] if len(names) == 1 else common(names),
            evidence=f"as built, {len(names)} of {len(found)} linear and convolution layers give "
            f"an output up to {factor:.3g} times {word} than their input, in {len(runs)} runs "
            f"with other seeds and batches: {', '.join(names[:6])}",
            explanation=f"a layer should keep the size of its input; here it {effect}",
            fix="initialise weights with a standard deviation of about 1/sqrt(inputs): torch's own "
            "default, xavier or kaiming, or 0.02 for a transformer of ordinary width",
        )


def harms(subject: Subject, names: list[str], word: str) -> bool:
    """Say whether weights of a wrong size show: in a loss above that of zeros, or in gradients."""
    try:
        if word == "larger":
            free = Free(subject, 8)
            nothing = free.number(torch.zeros_like(free.base()))
            return free.number(free.base()) > 2 * nothing + 1
        module = subject.fresh(train=True)
        size = max(8, subject.spec.min_batch_train or 1)
        objective(subject, module, subject.batch(size)).backward()
        sizes = {
            n: float(p.grad.abs().max()) for n, p in trainable(module).items() if p.grad is not None
        }
        return min(sizes[f"{n}.weight"] for n in names) < 1e-5 * max(sizes.values())
    except Exception:
        return False


def common(names: list[str]) -> str:
    """Give the path that all names have in common."""
    parts = [name.split(".") for name in names]
    same = 0
    while all(len(p) > same + 1 and p[same] == parts[0][same] for p in parts):
        same += 1
    return ".".join(parts[0][:same])


def spared(subject: Subject) -> tuple[str, ...]:
    """Give the patterns of parameters that need not learn."""
    return (*names_of(subject.spec.frozen), *names_of(subject.spec.unused_ok))


def never_moved(subject: Subject) -> Iterator[Finding]:
    """Find parameters that the initial values keep from ever having a gradient."""
    if subject.spec.batch is None:
        return
    module = subject.fresh(train=True)
    few = 3 if subject.built.count > LARGE else 6
    size = max(6 if few == 6 else 2, subject.spec.min_batch_train or 1)
    try:
        steps = train(subject, module, lambda i: subject.batch(size, i), few, 1e-2)
        dead = steps.seen - steps.alive
        dead = {n for n in dead if not any(fnmatch.fnmatch(n, p) for p in spared(subject))}
        if len(steps.losses) < few or not dead:
            return
        stuck = sorted(
            dead & live_under_stress(subject), key=list(dict(module.named_parameters())).index
        )
    except Exception:
        return
    own: dict[str, Any] = dict(subject.fresh(train=True).named_parameters())
    zeros = [n for n in stuck if not bool(own[n].any())]
    matrices = [n for n in zeros if own[n].dim() > 1]
    if not matrices or bad_signals(subject):
        return
    every = [n for n in own if own[n].dim() > 1 and not bool(own[n].any())]
    places = sorted({name.rpartition(".")[0] for name in every})
    yield Finding(
        kind="init",
        severity="fail",
        where=places[0] if len(places) == 1 else common(places),
        evidence=f"{len(stuck)} of {len(steps.seen)} parameters have a gradient of exactly 0 in "
        f"each of {few} steps of training from the initial weights, and one that is not 0 from "
        f"random weights; {len(matrices)} of them are matrices of zeros: "
        f"{', '.join(matrices[:5])}",
        explanation="zeros multiply the signal and the gradient by 0 on both sides, so these "
        "weights can never leave their initial value",
        fix="initialise weights at random; only the last layer of a branch with a residual "
        "connection around it may start at 0",
    )


ROWS = (
    Check(
        name="init",
        run=check_init,
        about="initial weights keep the signal's size, differ from each other, and can be learnt",
    ),
)

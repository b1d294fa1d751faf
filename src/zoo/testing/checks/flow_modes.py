"""Gradients that are cut in train mode: what is drawn there, and what only eval mode trains."""

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from zoo.testing.blame import user_line
from zoo.testing.checks.flow_runs import Seen, look_as_built, look_at_bench
from zoo.testing.checks.flow_unused import common
from zoo.testing.checks.slopes import declared
from zoo.testing.checks.slopes_events import code_owner
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.finding import Finding
from zoo.testing.subject import Subject

RUNS = 10  # in train mode: what is chosen by chance is chosen in one of them


def check_training_gradients(subject: Subject) -> Iterable[Finding]:
    """Stop parameters that have a gradient in eval mode, and in train mode never."""
    if not subject.has_loss() or subject.large() or subject.spec.stop_gradient is True:
        raise NotApplicable("there is no loss, or the model is large")
    spec = subject.spec
    seen, module = Seen(), subject.fresh(train=True)
    try:
        for number in range(RUNS):
            if number < 2:
                look_as_built(subject, seen, module, subject.seed + number)
            else:
                look_at_bench(subject.bench(train=True), subject.seed + number, seen)
            if not seen.dead():
                return
    except Exception as error:
        raise NotApplicable("train mode does not run with gradients") from error
    patterns = (*spec.unused_ok, *(spec.frozen or ()))
    if not isinstance(spec.stop_gradient, bool):
        patterns += tuple(spec.stop_gradient)
    left = {n for n in seen.dead() if not declared(n, patterns) and n not in seen.by_loss}
    left &= alive_in_eval(subject)
    holders = {n: module.get_submodule(n.rpartition(".")[0]) for n in left}
    left = {n for n in left if code_owner(holders[n]) != "library"}
    before = dict(subject.fresh(train=True).named_parameters())
    now = dict(module.named_parameters())
    left = {n for n in left if torch.equal(before[n], now[n])}  # a moving average moves itself
    if not left or library(subject):
        return
    names = sorted(left)
    yield Finding(
        kind="detached",
        severity="fail",
        where=common(names),
        evidence=f"{', '.join(names[:4])} ({len(names)} in all) get a gradient from the loss in "
        f"eval mode, and none, or only zeros, in {seen.runs} runs in train mode with other "
        "batches, seeds and weights",
        explanation="train mode takes a way that the gradient cannot go back (a sample, a hard "
        "choice, a detached copy), so these parameters are never trained, and eval mode uses them",
        fix="draw so that the gradient passes: rsample() or mean + std * noise, "
        "F.gumbel_softmax(hard=True), or a term of the loss with the sample's log_prob; or take "
        "out the detach() or no_grad() of train mode",
    )


def library(subject: Subject) -> bool:
    """Say whether the model's class is an installed package's."""
    return code_owner(subject.built.module) == "library"


def alive_in_eval(subject: Subject) -> set[str]:
    """Give the parameters that the loss gives a gradient in eval mode, for all of 3 batches."""
    found: list[set[str]] = []
    for seed in range(3):
        seen = Seen()
        look_at_bench(subject.bench(train=False), subject.seed + seed, seen)
        found.append(seen.by_loss)
    return set.intersection(*found)


@dataclass
class Drawn:
    """A number that was drawn around a mean that is to be learnt."""

    call: int  # which call of torch's functions
    line: str


class Draws(TorchFunctionMode):
    """A block that finds torch.normal(mean, std) of learnt numbers, and lets gradients through.

    `through` names the calls that give mean + std * noise instead, which is the same number.
    """

    def __init__(self, through: frozenset[int] = frozenset()) -> None:
        super().__init__()
        self.through, self.calls = through, 0
        self.found: list[Drawn] = []
        self.means: dict[int, list[Tensor]] = {}
        self.samples: dict[int, Tensor] = {}
        self.scored = False  # the sample's own likelihood is taken: a score function estimator

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function; note a sample, and what becomes of it."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        self.calls += 1
        number = self.calls
        met = self.samples and name in ("sub", "__sub__", "rsub", "__rsub__")
        self.scored = self.scored or bool(met and (self.of_both(args) or in_log_prob()))
        result = func(*args, **kwargs)
        if name != "normal" or not isinstance(result, Tensor):
            return result
        given = [*args[:2], kwargs.get("mean"), kwargs.get("std")]
        learnt = [x for x in given if isinstance(x, Tensor) and source(x).requires_grad]
        if not learnt:
            return result
        self.found.append(Drawn(number, user_line()))
        self.samples[id(result)] = result
        self.means[id(result)] = [source(x) for x in learnt]
        if number not in self.through:
            return result
        with torch.enable_grad():
            mean, std = (
                again(x) if isinstance(x, Tensor) else x
                for x in (
                    args[0] if args else kwargs.get("mean", 0.0),
                    args[1] if len(args) > 1 else kwargs.get("std", 1.0),
                )
            )
            noise = (result - mean) / std
            result = mean + std * noise.detach()
        self.samples[id(result)] = result
        return result

    def of_both(self, args: Any) -> bool:
        """Say whether a sample meets the mean that it was drawn around."""
        given = [x for x in args if isinstance(x, Tensor)]
        ids = {id(source(x)) for x in given}
        return any(
            id(x) in self.means and any(id(m) in ids for m in self.means[id(x)]) for x in given
        )


def source(x: Tensor) -> Tensor:
    """Give the tensor that a view made without gradients was made of."""
    base = x._base
    return base if base is not None and x.grad_fn is None else x


def again(x: Tensor) -> Tensor:
    """Make a view of a tensor once more, with its gradient."""
    base = source(x)
    if base is x:
        return x
    return base.as_strided(x.shape, x.stride(), x.storage_offset())


def in_log_prob() -> bool:
    """Say whether a distribution's log_prob is running."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "log_prob":
            return True
        frame = frame.f_back
    return False


def check_samples(subject: Subject) -> Iterable[Finding]:
    """Stop samples of a normal distribution with learnt mean or spread that no gradient passes."""
    if not subject.has_loss() or subject.spec.stop_gradient or subject.spec.straight_through:
        raise NotApplicable("there is no loss, or gradients are cut on purpose")
    seen = gradients(subject, frozenset())
    if seen is None or not seen[1].found:
        raise NotApplicable("nothing is drawn around numbers that are learnt")
    first, draws = seen
    if draws.scored:
        return
    for one in draws.found:
        after = gradients(subject, frozenset([one.call]))
        if after is None or after[1].scored:
            continue
        moved = [n for n, g in after[0].items() if differs(g, first.get(n))]
        if moved and not library(subject):
            yield Finding(
                kind="detached",
                severity="fail",
                where=common(moved[:1]) if len(moved) == 1 else "",
                line=one.line,
                evidence="in train mode a sample is drawn with torch.normal() or .sample() around "
                "numbers that are learnt, and the loss reads it; drawn as mean + std * noise (the "
                f"same numbers) the gradient of {', '.join(moved[:4])} ({len(moved)} in all) is "
                "another one",
                explanation="no gradient goes back through a sample: what gives its mean and its "
                "spread learns nothing from what is made of it",
                fix="draw with rsample(), or mean + std * torch.randn_like(std); if the cut is "
                "meant, declare stop_gradient=True",
            )
            return


def differs(one: Tensor | None, other: Tensor | None) -> bool:
    """Say whether two gradients differ by more than rounding."""
    if one is None:
        return False
    if other is None:
        return bool(one.any())
    size = max(float(one.abs().max()), float(other.abs().max()))
    return float((one - other).abs().max()) > 1e-6 * size


def gradients(
    subject: Subject, through: frozenset[int]
) -> tuple[dict[str, Tensor | None], Draws] | None:
    """Take the loss's gradients in train mode, with some draws let through."""
    draws = Draws(through)
    try:
        bench = subject.bench(train=True)
        batch = bench.batch(max(3, subject.spec.min_batch_train or 2))
        own = {n: p for n, p in bench.module.named_parameters() if p.requires_grad}
        with draws:
            value = bench.loss(batch)
        found = torch.autograd.grad(value.sum(), list(own.values()), allow_unused=True)
    except Exception:
        return None
    return dict(zip(own, found, strict=True)), draws


def table() -> tuple[tuple[str, Callable[[Subject], Iterable[Finding]], str], ...]:
    """List the checks of this file."""
    return (
        (
            "training_gradients",
            check_training_gradients,
            "what eval mode could train, train mode does train",
        ),
        ("samples", check_samples, "a gradient passes what is drawn around learnt numbers"),
    )


ROWS = tuple(Check(name=name, run=run, about=about) for name, run, about in table())

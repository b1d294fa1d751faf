"""Whether every layer follows train() and eval(), and dropout does what dropout does."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from zoo.testing.checks.modes import DROPOUTS
from zoo.testing.checks.running_spy import (
    Call,
    Repeated,
    answer,
    fresh_bench,
    is_library,
    moved,
    snapshot,
    spy,
    told,
)
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.finding import Finding
from zoo.testing.stress import Bench
from zoo.testing.subject import Subject
from zoo.testing.trees import tensors

NORMS = (nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)
DROPS = (nn.modules.dropout._DropoutNd,)


def check_modes(subject: Subject) -> Iterable[Finding]:
    """Stop a model some of whose layers do not follow train() and eval()."""
    found = [*stuck(subject), *statistics(subject)]
    yield from found
    if not found:
        yield from same_or_not(subject)


def stuck(subject: Subject) -> Iterator[Finding]:
    """Find layers in the wrong mode after train() and eval(), or after a forward."""
    module = subject.fresh(train=True)
    if not module.training:
        yield wrong_mode("", "after model.train(), model.training is still False", "fail")
        return
    module.eval()
    for where, part in module.named_modules():
        if part.training and acts(part):
            yield wrong_mode(where, f"after model.eval(), {told(where)} is in train mode", "fail")
            return
    module.train()
    for where, part in module.named_modules():
        if part.training or not acts(part) or frozen_around(module, where):
            continue
        certain = isinstance(part, DROPS) and subject.spec.train_noise is True
        said = f"after model.train(), {told(where)} ({type(part).__name__}) is in eval mode"
        yield wrong_mode(where, said, "fail" if certain else "warn")
        break
    yield from switched(subject, module)


def acts(part: nn.Module) -> bool:
    """Say whether a layer does something else in train mode than in eval mode."""
    return (isinstance(part, DROPS) and part.p > 0) or isinstance(part, NORMS)


def frozen_around(module: nn.Module, where: str) -> bool:
    """Say whether a layer belongs to a part none of whose parameters is trained."""
    path = where
    while path:
        parameters = list(module.get_submodule(path).parameters())
        if parameters:
            return not any(p.requires_grad for p in parameters)
        path = path.rpartition(".")[0]
    return False


def switched(subject: Subject, module: nn.Module) -> Iterator[Finding]:
    """Find a forward that changes the mode by itself."""
    for train in (True, False):
        module.train(train)
        before = {name: part.training for name, part in module.named_modules()}
        with torch.no_grad():
            try:
                subject.call(module, subject.batch(max(3, subject.spec.min_batch_train or 1)))
            except Exception:
                return
        for name, part in module.named_modules():
            if before.get(name, part.training) != part.training:
                mode = "train" if train else "eval"
                now = "train" if part.training else "eval"
                said = f"a forward pass in {mode} mode leaves {told(name)} in {now} mode"
                yield wrong_mode(name, said, "fail")
                return


def wrong_mode(where: str, evidence: str, severity: Any) -> Finding:
    """Make the finding of a layer in the wrong mode."""
    return Finding(
        kind="train-eval",
        severity=severity,
        where=where,
        evidence=evidence,
        explanation="dropout and batch norm then behave as in the other mode: predictions are "
        "noisy, or training lacks its regularisation and its statistics",
        fix="let train() and eval() reach the layer: call super().train(mode) where train is "
        "overridden and return self, set self.training nowhere, call no .train() in forward",
    )


def statistics(subject: Subject) -> Iterator[Finding]:
    """Find batch norm that uses the batch in eval mode, or never learns what to use there."""
    bench = fresh_bench(subject)
    parts = dict(bench.module.named_modules())
    batch = bench.batch()
    made = spy(bench.module, lambda: answer(bench, batch))
    for call in made.calls:
        if call.name != "batch_norm" or not call.given(5, "training", False):
            continue
        if call.given(1, "running_mean") is None and not tracks(call.module):
            continue
        yield Finding(
            kind="train-eval",
            severity="fail",
            where=call.where,
            evidence=f"in eval mode, batch_norm in {told(call.where)} runs with training=True",
            explanation="it normalises by the statistics of the batch at hand: an answer depends "
            "on the other rows, and one row alone cannot be answered rightly",
            fix="use nn.BatchNorm's own mode (training=self.training in F.batch_norm), with "
            "running statistics",
        )
        return
    for where, part in parts.items():
        if isinstance(part, NORMS) and part.track_running_stats and part.momentum is not None:
            still = part.momentum == 0.0 and as_built(subject, where)
            if still or part.momentum >= 0.9:
                yield slow(where, float(part.momentum), still)
                return


def tracks(part: nn.Module | None) -> bool:
    """Say whether a norm keeps running statistics."""
    return isinstance(part, NORMS) and part.track_running_stats


def as_built(subject: Subject, where: str) -> bool:
    """Say whether a norm's running statistics are still those of a new layer."""
    part: Any = subject.fresh().get_submodule(where)
    return not bool(part.running_mean.any()) and bool((part.running_var == 1).all())


def slow(where: str, momentum: float, still: bool) -> Finding:
    """Make the finding of running statistics that do not move, or do not last."""
    return Finding(
        kind="train-eval",
        severity="fail" if still else "warn",
        where=where,
        evidence=f"{where} has momentum={momentum:g}: its running statistics "
        + ("stay at mean 0 and variance 1 for ever" if still else "are those of the last batch"),
        explanation="eval mode normalises by the running statistics, train mode by the batch's: "
        "the two models differ however long the training was",
        fix="use momentum=0.1; torch's momentum is the share of the new batch, other libraries' "
        "0.99 is torch's 0.01",
    )


def same_or_not(subject: Subject) -> Iterator[Finding]:
    """Compare the modes where it was said whether they agree."""
    said = subject.spec.train_eval_same
    if said is None:
        return
    bench, trained = fresh_bench(subject), fresh_bench(subject, train=True)
    batch = bench.batch(max(3, subject.spec.min_batch_train or 1))
    before = snapshot(trained.module)
    gap = moved(answer(bench, batch), answer(trained, batch))[1]
    later = snapshot(trained.module)
    learns = any(not torch.equal(x, later[n]) for n, x in before.items() if n in later)
    if said and gap and not bench.bound >= gap:
        where = mode_layer(trained, bench, batch)
        yield Finding(
            kind="train-eval",
            severity="fail",
            where=where,
            evidence=f"train and eval mode differ by {gap:.2g} of the output's size, first in "
            f"{told(where)}; train_eval_same=True was declared",
            explanation="a layer behaves by its mode though none should",
            fix="remove it, or declare train_eval_same=False",
        )
    if said is False and not gap:
        yield Finding(
            kind="train-eval",
            severity="warn" if learns else "fail",
            where="",
            evidence="train and eval mode give the same numbers; train_eval_same=False was "
            "declared",
            explanation="dropout or batch norm that should act in train mode does not",
            fix="look for a layer that is stuck in eval mode, p=0, or a training flag that is "
            "never passed on",
        )


def mode_layer(one: Bench, other: Bench, batch: Any) -> str:
    """Name the first module at which two modes part."""
    from zoo.testing import blame
    from zoo.testing.checks.running_spy import differs, run_with

    mine = blame.record(one.module, lambda: run_with(one, batch), ops=False)
    theirs = blame.record(other.module, lambda: run_with(other, batch), ops=False)
    place = blame.first_wrong(mine, theirs, differs)
    return place.where if place else ""


def check_dropout(subject: Subject) -> Iterable[Finding]:
    """Stop dropout that does nothing, whose result is thrown away, or that is scaled wrongly."""
    bench = fresh_bench(subject, train=True)
    batch = bench.batch(max(3, subject.spec.min_batch_train or 1))
    try:
        made = spy(bench.module, lambda: answer(bench, batch), draws=True)
    except Exception as error:
        raise NotApplicable("train mode does not run: see sizes") from error
    found = list(switched_off(made.calls))
    found += list(thrown_away(made.calls, made.output)) if not found else []
    found += list(scaled(bench, made.visits)) if not found else []
    if not found and subject.spec.train_noise is True:
        found += list(silent(bench, batch, any(call.drew for call in made.calls)))
    yield from found


def switched_off(calls: list[Call]) -> Iterator[Finding]:
    """Find functional dropout that is told to be off in train mode."""
    for call in calls:
        if call.name not in DROPOUTS or call.module is None or not call.module.training:
            continue
        if isinstance(call.module, DROPS) or is_library(call.module):
            continue
        rate, on = call.given(1, "p", 0.5), call.given(2, "training", True)
        if rate and not on:
            yield Finding(
                kind="no-train-noise",
                severity="fail",
                where=call.where,
                evidence=f"in train mode, {call.name} in {told(call.where)} is called with "
                f"p = {rate:g} and training=False",
                explanation="the dropout that was asked for never acts",
                fix="pass training=self.training",
            )
            return


def thrown_away(calls: list[Call], output: Any) -> Iterator[Finding]:
    """Find dropout whose result nothing reads."""
    kept = {id(x) for x in tensors(output).values()}
    for number, call in enumerate(calls):
        if call.name not in DROPOUTS or not call.drew or not isinstance(call.result, Tensor):
            continue
        given = call.tensors()
        if given and given[0] is call.result:  # in place
            continue
        mine = id(call.result)
        used = any(mine == id(x) for later in calls[number + 1 :] for x in later.tensors())
        if not used and mine not in kept and not call.result._is_view():
            yield Finding(
                kind="no-train-noise",
                severity="fail" if in_user_code(call) else "warn",
                where=call.where,
                line=call.line,
                evidence=f"{call.name} in {told(call.where)} draws a mask, and nothing reads what "
                "it gives",
                explanation="dropout gives a new tensor; the old one goes on undisturbed",
                fix="assign the result: x = F.dropout(x, p, self.training), x = self.dropout(x)",
            )
            return


def in_user_code(call: Call) -> bool:
    """Say whether a call's result can be followed: its module hands tensors on through torch."""
    return not is_library(call.module)


def scaled(bench: Bench, visits: list[Any]) -> Iterator[Finding]:
    """Find hand-made dropout whose mean in train mode is not what eval mode gives."""
    seen = set[type]()
    for visit in visits:
        part = visit.module
        own = not type(part).__module__.startswith("torch.") and not any(
            True for _ in part.children()
        )
        if type(part) in seen or not own or any(True for _ in part.parameters()):
            continue
        if not ("drop" in type(part).__name__.lower() or "depth" in type(part).__name__.lower()):
            continue
        given = [x for x in tensors(visit.inputs).values() if x.is_floating_point()]
        if len(given) != 1 or given[0].dim() < 2 or not part.training:
            continue
        seen.add(type(part))
        yield from measured(part, visit.where, given[0])


DRAWS = 64  # of a tensor of ones


def measured(part: nn.Module, where: str, like: Tensor) -> Iterator[Finding]:
    """Run a layer on ones many times: the mean must be what eval mode gives."""
    ones = torch.ones(64, *like.shape[1:], dtype=like.dtype)
    torch.manual_seed(0)
    try:
        with torch.no_grad():
            runs = torch.stack([part(ones.clone()).flatten(1)[:, :8] for _ in range(DRAWS)])
            quiet = part.eval()(ones.clone()).flatten(1)[:, :8]
    except Exception:
        return
    finally:
        part.train()
    if not bool(quiet.isfinite().all()) or not float(runs.std()):
        return
    rows = runs[:, :, 0]
    alike = bool((rows == rows[:, :1]).all())  # one draw for the whole batch
    number = DRAWS if alike else rows.numel()
    error = float(rows.std()) / number**0.5
    mean, want = float(rows.mean()), float(quiet[:, 0].mean())
    if abs(mean - want) > 6 * error:
        yield Finding(
            kind="train-eval",
            severity="fail",
            where=where,
            evidence=f"{where} of ones gives {mean:.4f} on average in train mode ({number} draws, "
            f"standard error {error:.2g}) and {want:.4f} in eval mode",
            explanation="dropout must keep the mean, or the layers after it see another scale in "
            "eval mode than they were trained on",
            fix="divide what is kept by the probability of keeping: x * mask / (1 - p)",
        )
    elif alike:
        path = "path" in type(part).__name__.lower()
        yield Finding(
            kind="batch-leak",
            severity="fail" if path else "warn",
            where=where,
            evidence=f"in train mode {where} draws once for all 64 rows: they are dropped together "
            f"in each of {DRAWS} draws",
            explanation="stochastic depth and dropout are independent by row; drawn once, a whole "
            "batch loses the branch and gradients become noisier",
            fix="draw a mask of shape (x.size(0), 1, ..., 1)",
        )


def silent(bench: Bench, batch: Any, drew: bool) -> Iterator[Finding]:
    """Find a model that was said to draw in train mode and does not."""
    run = Repeated(bench, batch)
    once = run()
    seeds = ({"own": n, "python": n, "numpy": n} for n in (3, 4, 5, 6))
    if any(moved(once, run(**one))[1] for one in seeds):
        return
    if any(bool(x.isnan().any()) for x in once.values()):
        return
    zeros = [n for n, m in bench.module.named_modules() if isinstance(m, DROPS) and m.p == 0]
    yield Finding(
        kind="no-train-noise",
        severity="warn" if drew else "fail",  # drawn and lost on the way has another cause
        where=zeros[0] if zeros else "",
        evidence="in train mode five seeds give the same output; train_noise=True was declared"
        + (f"; {', '.join(zeros[:3])} has p = 0" if zeros else ""),
        explanation="dropout that was declared does nothing: its rate is 0, it is not called, its "
        "result is not used, or it stays in eval mode",
        fix="give the layer its rate, call it in forward, and use what it gives",
    )


def table() -> tuple[tuple[str, Callable[[Subject], Iterable[Finding]], str], ...]:
    """List the checks of this file."""
    return (
        ("modes", check_modes, "every layer follows train() and eval()"),
        ("dropout", check_dropout, "dropout acts in train mode, and keeps the mean"),
    )


ROWS = tuple(Check(name=name, run=run, about=about) for name, run, about in table())

"""Whether the same input gives the same numbers, and whose random numbers a model draws."""

import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

from zoo.testing import blame
from zoo.testing.checks.running_spy import (
    Call,
    Repeated,
    answer,
    fresh_bench,
    is_library,
    moved,
    spy,
    told,
    unregistered,
)
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.finding import Finding
from zoo.testing.stress import Bench
from zoo.testing.subject import Subject

DROPOUTS = (
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "alpha_dropout",
    "feature_dropout",
    "feature_alpha_dropout",
    "dropout_",
    "alpha_dropout_",
    "feature_dropout_",
    "feature_alpha_dropout_",
)
RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu")
RARELY = range(6, 22)  # seeds: what happens to one row in ten shows in one of them
GENERATORS = {"python": "Python's random", "numpy": "numpy.random"}


def check_determinism(subject: Subject) -> Iterable[Finding]:
    """Stop a model whose answers in eval mode change from call to call, or with a seed."""
    if subject.spec.deterministic is False:
        raise NotApplicable("the model is declared to draw in eval mode")
    bench = fresh_bench(subject)
    batch = bench.batch()
    found = list(dropout_left_on(bench, batch))
    if found:
        yield from found
        return
    run = Repeated(bench, batch)
    once = run()
    path, gap = moved(once, run())
    if gap:
        if moved(answer(fresh_bench(subject), batch), answer(fresh_bench(subject), batch))[1]:
            yield unseeded(run, path, gap, "eval")  # fresh modules differ too: it is no state
        return
    first = [{"own": 5}, {"python": 5}, {"numpy": 5}]
    for seeds in (*first, *({which: n} for which in drawing(run) for n in RARELY)):
        path, gap = moved(once, run(**seeds))
        if gap:
            yield drawn_in_eval(subject, run, seeds, gap)
            return


def drawing(run: Repeated) -> list[str]:
    """Name the generators that a run draws from: what is drawn may seldom show in the answer."""
    run()
    torch_now, python_now = torch.get_rng_state(), random.getstate()
    torch.manual_seed(0)
    random.seed(0)
    moved_on = {
        "own": not torch.equal(torch.get_rng_state(), torch_now),
        "python": random.getstate() != python_now,
    }
    return [which for which, drew in moved_on.items() if drew]


def dropout_left_on(bench: Bench, batch: Any) -> Iterator[Finding]:
    """Find dropout that is active although the model is in eval mode."""
    made = spy(bench.module, lambda: answer(bench, batch))
    seen, registered = set[str](), {id(m) for m in bench.module.modules()}
    for call in made.calls:
        rate = active_rate(call)
        if not rate or call.where in seen:
            continue
        seen.add(call.where)
        if call.module is not None and id(call.module) not in registered:
            yield not_reached(bench, call, rate)
            continue
        own = call.module is not None and call.module.training
        why = (
            f"{told(call.where)} still has training=True after model.eval(): eval() does not reach "
            "it, because it is not registered as a submodule or because train()/training is "
            "overwritten"
            if own
            else "the call does not follow self.training, so the mode has no effect on it"
        )
        fix = (
            "keep the layer in an attribute, nn.ModuleList or nn.ModuleDict, and let eval() "
            "switch it"
            if own
            else "pass training=self.training (F.dropout), or dropout_p=self.p if self.training "
            "else 0.0 (scaled_dot_product_attention), or use nn.Dropout"
        )
        yield Finding(
            kind="eval-noise",
            severity="fail",
            where=call.where,
            line=line_of(bench, batch, call),
            evidence=f"after model.eval(), {call.name} runs in {told(call.where)} with "
            f"p = {rate:g} and training on",
            explanation=f"{why}; predictions are random and worse than they should be",
            fix=fix,
        )


def not_reached(bench: Bench, call: Call, rate: float) -> Finding:
    """Make the finding of a layer that no attribute registers, so that eval() cannot switch it."""
    owners = [
        (where, path) for where, path, item in unregistered(bench.module) if item is call.module
    ]
    where, path = owners[0] if owners else (call.where, f"a {type(call.module).__name__}")
    return Finding(
        kind="unregistered",
        severity="fail",
        where=where,
        evidence=f"{told(where)} calls {path} ({type(call.module).__name__}), which is no "
        f"registered submodule: after model.eval() its {call.name} still runs with p = {rate:g}",
        explanation="a module in a plain list, dict or function is invisible to its owner: eval(), "
        "parameters(), state_dict() and to() all pass it by",
        fix="put it in an attribute of its own, nn.ModuleList, nn.ModuleDict or nn.Sequential",
    )


def active_rate(call: Call) -> float:
    """Give the rate of dropout that a call applies, or 0.0."""
    if call.name in DROPOUTS:
        rate, on = call.given(1, "p", 0.5), call.given(2, "training", True)
    elif call.name == "scaled_dot_product_attention":
        rate, on = call.given(4, "dropout_p", 0.0), True
    elif call.name == "multi_head_attention_forward":
        rate, on = call.given(10, "dropout_p", 0.0), call.given(13, "training", True)
    elif call.name in RECURRENT and len(call.args) >= 7:
        at = 5 if not isinstance(call.args[3], bool) else 6
        layers, rate, on = call.args[at - 1], call.args[at], call.args[at + 1]
        rate = rate if isinstance(layers, int) and layers > 1 else 0.0
    else:
        return 0.0
    return float(rate) if on and isinstance(rate, int | float) else 0.0


def line_of(bench: Bench, batch: Any, call: Call) -> str:
    """Find the user's line of a call, by running once more."""
    lines = list[str]()

    def look(mine: Call) -> None:
        if mine.called == call.called:
            lines.append(blame.user_line())

    spy(bench.module, lambda: answer(bench, batch), before=look)
    return lines[0] if lines else ""


def unseeded(run: Repeated, path: str, gap: float, mode: str) -> Finding:
    """Make the finding of numbers that no seed brings back."""
    place = run.parting()
    return Finding(
        kind="nondeterministic" if mode == "eval" else "hidden-rng",
        severity="fail",
        where=place.where,
        line=place.line,
        evidence=f"two runs in {mode} mode on one batch, all of torch, Python and numpy seeded, "
        f"differ by {gap:.2g} of the output's size, first in {place}"
        + (f" (output {path!r})" if path else ""),
        explanation="the numbers come from a generator that no global seed reaches (numpy's "
        "default_rng, a torch.Generator of its own, the clock): no run can be repeated",
        fix="draw from torch's global generator (torch.rand, torch.randn, nn.Dropout), or from a "
        "generator that the caller hands over",
    )


def drawn_in_eval(subject: Subject, run: Repeated, seeds: dict[str, int], gap: float) -> Finding:
    """Make the finding of random numbers that change an answer in eval mode."""
    place = run.parting(**seeds)
    which = next(iter(seeds))
    certain = subject.spec.deterministic or draws_a_mask(run) or supervised(subject)
    certain = certain and not (pools_at_random(run) and subject.spec.deterministic is None)
    source = GENERATORS.get(which, "torch's generator")
    return Finding(
        kind="eval-noise",
        severity="fail" if certain else "warn",
        where=place.where,
        line=place.line,
        evidence=f"in eval mode, another seed of {source} changes the output by {gap:.2g} of its "
        f"size, first in {place}",
        explanation="in eval mode the same input must give the same answer; noise that belongs to "
        "training (dropout, drop path, jitter) is left on",
        fix="draw only if self.training is true, and return the input unchanged otherwise; for a "
        "model that samples on purpose declare deterministic=False",
    )


def draws_a_mask(run: Repeated) -> bool:
    """Say whether what is drawn in eval mode is a mask of zeros and ones: dropout by hand."""
    made = spy(run.bench.module, run, draws=True)
    drawn = [call for call in made.calls if call.drew]
    if any("bernoulli" in call.name for call in drawn):
        return True
    uniform = {id(call.result) for call in drawn if call.name in ("rand", "rand_like", "uniform_")}
    compare = ("lt", "le", "gt", "ge", "__lt__", "__le__", "__gt__", "__ge__")
    return any(
        call.name in compare and any(id(x) in uniform for x in call.tensors())
        for call in made.calls
    )


def pools_at_random(run: Repeated) -> bool:
    """Say whether torch's fractional pooling runs: it draws in eval mode, as its authors meant."""
    return any("fractional" in call.name for call in spy(run.bench.module, run).calls)


def supervised(subject: Subject) -> bool:
    """Say whether answers are given that forward does not see: a model that samples has none."""
    labels, batch = subject.facts.labels, subject.batch()
    return labels in batch and labels not in subject.arguments(batch)


def check_train_randomness(subject: Subject) -> Iterable[Finding]:
    """Stop a model whose train mode does not follow torch's seed, or is noisy as was not said."""
    bench = fresh_bench(subject, train=True)
    batch = bench.batch(max(3, subject.spec.min_batch_train or 1))
    run = Repeated(bench, batch)
    once = run()
    path, gap = moved(once, run())
    if gap:
        fresh = [answer(fresh_bench(subject, train=True), batch) for _ in range(2)]
        if moved(*fresh)[1]:
            yield unseeded(run, path, gap, "train")
        return
    for which, name in GENERATORS.items():
        path, gap = moved(once, run(**{which: 5}))
        if gap:
            yield foreign(run, which, name, gap)
            return
    path, gap = moved(once, run(own=5))
    if gap and subject.spec.train_noise is False:
        place = run.parting(own=5)
        yield Finding(
            kind="nondeterministic",
            severity="fail",
            where=place.where,
            line=place.line,
            evidence=f"in train mode another seed changes the output by {gap:.2g} of its size, "
            f"first in {place}; train_noise=False was declared",
            explanation="train mode draws random numbers though it was said not to",
            fix="remove the draw, or declare train_noise=True",
        )


def foreign(run: Repeated, which: str, name: str, gap: float) -> Finding:
    """Make the finding of a model that draws from another library's generator."""
    place = run.parting(**{which: 5})
    parts = dict(run.bench.module.named_modules())
    return Finding(
        kind="hidden-rng",
        severity="warn" if is_library(parts.get(place.where)) else "fail",
        where=place.where,
        line=place.line,
        evidence=f"with torch's seed the same, another seed of {name} changes the output in train "
        f"mode by {gap:.2g} of its size, first in {place}",
        explanation=f"{name} is not torch's generator: torch.manual_seed does not repeat a run, "
        "saved generator states do not cover it, and the workers of a DataLoader or the ranks of "
        "a job may all draw the same numbers",
        fix="draw with torch (torch.rand(()), torch.randn_like, torch.randint)",
    )


def table() -> tuple[tuple[str, Callable[[Subject], Iterable[Finding]], str], ...]:
    """List the checks of this file."""
    return (
        ("determinism", check_determinism, "eval mode gives the same numbers whatever the seed"),
        ("train_randomness", check_train_randomness, "what train mode draws follows torch's seed"),
    )


ROWS = tuple(Check(name=name, run=run, about=about) for name, run, about in table())

"""Whether one call changes the next: hidden states, caches, weights and inputs written in place."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from zoo.testing import blame
from zoo.testing.checks.running_spy import (
    answer,
    bring_back,
    differs,
    fresh_bench,
    moved,
    run_with,
    snapshot,
)
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.facts import cut
from zoo.testing.finding import Finding
from zoo.testing.guard import described
from zoo.testing.stress import Bench, apart
from zoo.testing.subject import Subject

LATER = "state that belongs to a sequence belongs to the caller: take it as an argument and give it"


def check_state(subject: Subject) -> Iterable[Finding]:
    """Stop a model whose answer depends on what it was asked before."""
    spec = subject.spec
    bench = fresh_bench(subject)
    batch = bench.batch()
    if spec.stateful:
        yield from reset_fails(subject, bench, batch)
        return
    before = snapshot(bench.module)
    first = answer(bench, batch)
    found = list(changed_in_eval(bench.module, before))
    again = fresh_bench(subject)
    for what, other, used in others(subject, bench, again, batch):
        path, gap = moved(first, after(used, other, batch))
        if gap:
            if moved(answer(fresh_bench(subject), batch), answer(fresh_bench(subject), batch))[1]:
                raise NotApplicable("two fresh modules differ: see determinism")
            found.append(carried(subject, batch, other, what, path, gap))
            break
    yield from found
    if not found:
        yield from carried_in_train(subject)


def others(
    subject: Subject, bench: Bench, again: Bench, batch: Any
) -> Iterator[tuple[str, Any, Bench]]:
    """Give batches to run in between, and on what: other rows, other sizes, another length.

    `bench` has already run the batch; `again` is fresh, so that what it keeps is of another one.
    """
    yield "the same batch", batch, bench
    yield "a batch of other rows", bench.batch(3, seed=1), again
    for size in (2, 5):
        try:
            yield f"a batch of {size} rows", bench.batch(size, seed=1), again
        except Exception:
            continue
    if subject.facts.output_sequence_axis is not None and subject.facts.length > 2:
        shorter = cut(batch, subject.facts, 0, subject.facts.length - 1)
        try:
            used = fresh_bench(subject)
            answer(used, shorter)
        except Exception:
            return
        yield "a shorter batch", shorter, used


def after(bench: Bench, other: Any, batch: Any) -> dict[str, Tensor]:
    """Run another batch, whatever becomes of it, then the batch."""
    try:
        answer(bench, other)
    except Exception:
        return answer(bench, batch)  # sizes are another check's
    try:
        return answer(bench, batch)
    except Exception:
        return {}


def carried(subject: Subject, batch: Any, other: Any, what: str, path: str, gap: float) -> Finding:
    """Make the finding of an answer that depends on the call before."""
    place = second_place(subject, batch, other)
    names = changed_names(subject, other)
    said = f"; the call changes {', '.join(names)}" if names else ""
    how = f"by {gap:.2g} of its size" if gap != float("inf") else "in shape, or it raises"
    return Finding(
        kind="state-carried",
        severity="fail",
        where=place.where or owner_of(names),
        line=place.line,
        evidence=f"in eval mode, after a call with {what} the answer to a batch changes {how}"
        f"{f' (output {path!r})' if path else ''}, first in {place}{said}",
        explanation="a prediction depends on what was asked before it: results change with the "
        "order of requests and leak from one row or user to another",
        fix=f"do not keep what a call computed for the next one; {LATER} back. If it is meant, "
        "declare stateful=True and reset",
    )


def owner_of(names: list[str]) -> str:
    """Give the module that holds the first of some attributes."""
    return names[0].rpartition(".")[0] if names else ""


def second_place(subject: Subject, batch: Any, other: Any) -> blame.Place:
    """Find where a run after another call parts from a run before."""
    used = fresh_bench(subject)
    try:
        answer(used, other)
        one = blame.record(used.module, lambda: run_with(used, batch))
        clean = fresh_bench(subject)
        two = blame.record(clean.module, lambda: run_with(clean, batch))
    except Exception:
        return blame.Place("")
    return blame.first_wrong(one, two, differs) or blame.Place("")


def vars_of(module: nn.Module) -> dict[str, Any]:
    """Give everything a module and its parts keep, by path, but for modules and switches."""
    found: dict[str, Any] = {}
    for where, part in module.named_modules():
        plain = {n: x for n, x in vars(part).items() if not n.startswith("_") and n != "training"}
        hidden = {
            n: x
            for n, x in vars(part).items()
            if n.startswith("_") and not n.endswith("_hooks") and n not in INTERNAL
        }
        for name, value in {**plain, **hidden, **part._buffers, **part._parameters}.items():
            found[f"{where}.{name}" if where else name] = value
    return found


INTERNAL = {
    "_parameters",
    "_buffers",
    "_modules",
    "_non_persistent_buffers_set",
    "_backward_hooks",
    "_is_full_backward_hook",
    "_flat_weights",
    "_flat_weight_refs",
}


def changed_names(subject: Subject, batch: Any, *, train: bool = False) -> list[str]:
    """Name what a call leaves changed in a module."""
    bench = fresh_bench(subject, train=train)
    before = {n: b"".join(described(x)) for n, x in vars_of(bench.module).items()}
    try:
        answer(bench, batch)
    except Exception:
        return []
    later = {n: b"".join(described(x)) for n, x in vars_of(bench.module).items()}
    return [n for n, x in later.items() if before.get(n) != x][:5]


def changed_in_eval(module: nn.Module, before: Mapping[str, Tensor]) -> Iterator[Finding]:
    """Find parameters and saved buffers that a forward in eval mode changed."""
    kept = set(module.state_dict())
    later = snapshot(module)
    weights = dict(module.named_parameters())
    told_of = set[str]()
    for name, x in before.items():
        if name not in later or x.shape != later[name].shape or torch.equal(x, later[name]):
            continue
        where = name.rpartition(".")[0]
        if name not in kept or where in told_of:
            continue
        told_of.add(where)
        weight = name in weights
        yield Finding(
            kind="state-carried" if weight else "train-eval",
            severity="fail" if weight or x.is_floating_point() else "warn",
            where=where,
            evidence=f"a forward pass in eval mode changes {name}, a "
            f"{'parameter' if weight else 'buffer'}, by {apart(x, later[name]):.2g} of its size",
            explanation="evaluating a model must leave it as it is: now validation data flow into "
            "what is saved, and results depend on how often it was evaluated",
            fix="update running statistics only if self.training is true",
        )


def carried_in_train(subject: Subject) -> Iterator[Finding]:
    """Find what train mode keeps between calls, and weights that forward changes in place."""
    rows = max(3, subject.spec.min_batch_train or 1)
    bench = fresh_bench(subject, train=True)
    batch, other, third = bench.batch(rows), bench.batch(rows, 1), bench.batch(rows, 2)
    try:
        first = answer(bench, batch)
    except Exception:
        return  # sizes and crashes are another check's
    bench = fresh_bench(subject, train=True)
    state = snapshot(bench.module)
    weights = [n for n, p in bench.module.named_parameters() if p.requires_grad]
    answer(bench, other)
    later = snapshot(bench.module)
    changed = [n for n in weights if n in state and not torch.equal(later[n], state[n])]
    if changed:
        yield rewritten(changed)
        return
    bring_back(bench.module, state)
    gap = moved(first, answer(bench, batch))[1]
    if not gap or moved(first, answer(fresh_bench(subject, train=True), batch))[1]:
        return
    control = fresh_bench(subject, train=True)
    answer(control, third)
    bring_back(control.module, state)
    content = moved(answer(control, batch), answer_after(subject, other, batch, state))[1]
    names = [n for n in changed_names(subject, other, train=True) if n not in state]
    yield Finding(
        kind="state-carried",
        severity="fail" if content else "warn",
        where=owner_of(names),
        evidence="in train mode, with parameters and buffers put back, a call with another batch "
        f"changes the next answer by {gap:.2g} of its size"
        + (f"; it changes {', '.join(names)}" if names else ""),
        explanation="something computed from one batch reaches the next one"
        if content
        else "the answer depends on the number of calls, which no state dict holds",
        fix=f"{LATER} back, detached" if content else "keep the count in a registered buffer",
    )


def answer_after(subject: Subject, other: Any, batch: Any, state: Any) -> dict[str, Tensor]:
    """Run another batch in train mode, put the state back, and run the batch."""
    bench = fresh_bench(subject, train=True)
    answer(bench, other)
    bring_back(bench.module, state)
    return answer(bench, batch)


def rewritten(names: list[str]) -> Finding:
    """Make the finding of trainable weights that forward changes in place."""
    return Finding(
        kind="state-carried",
        severity="fail",
        where=names[0].rpartition(".")[0],
        evidence=f"a forward pass in train mode, without any optimizer, changes the trainable "
        f"parameter {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else ""),
        explanation="forward writes into a weight that the optimizer also trains: the gradient "
        "belongs to a value that is no longer there",
        fix="compute a changed copy (weight = self.weight / norm) and use that, or do the "
        "projection after the optimizer's step",
    )


def reset_fails(subject: Subject, bench: Bench, batch: Any) -> Iterator[Finding]:
    """Find a reset that does not bring the first answer back."""
    reset = subject.spec.reset
    if reset is None:
        raise NotApplicable("the model is stateful and no reset was declared")
    first = answer(bench, batch)
    answer(bench, bench.batch(3, seed=1))
    if isinstance(reset, str):
        getattr(bench.module, reset)()
    else:
        reset(bench.module)
    gap = moved(first, answer(bench, batch))[1]
    if gap:
        yield Finding(
            kind="state-carried",
            severity="fail",
            where="",
            evidence=f"after two calls and the declared reset, the first batch gives an answer "
            f"that differs by {gap:.2g} of its size from the first one",
            explanation="reset leaves something of the calls before",
            fix="give every attribute that forward changes its first value in reset",
        )


ROWS = (
    Check(name="state", run=check_state, about="an answer does not depend on the calls before"),
)

"""Whether tensors stay whose they are: inputs, outputs, and the graphs of a training step."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from zoo.testing import blame
from zoo.testing.checks.memory import owner_of, vars_of
from zoo.testing.checks.running_spy import spy
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.finding import Finding
from zoo.testing.stress import apart
from zoo.testing.subject import Subject, cloned
from zoo.testing.trees import tensors


def check_inputs_untouched(subject: Subject) -> Iterable[Finding]:
    """Stop a model or a loss that writes into the tensors it is given."""
    for train in (False, True):
        module = subject.fresh(train=train)
        batch = subject.batch(max(3, subject.spec.min_batch_train or 1))
        given = cloned(batch)
        found = written(subject, module, given, batch, "forward", train)
        if found is None and subject.has_loss():
            found = written(subject, module, given, batch, "loss", train)
        if found is not None:
            yield found
            return


def written(
    subject: Subject, module: nn.Module, given: Any, batch: Any, what: str, train: bool
) -> Finding | None:
    """Run forward, or the loss, and find a tensor of the batch that it changed."""
    every = tensors(given)
    versions = {n: x._version for n, x in every.items()}
    wanted = {n: x.requires_grad for n, x in every.items()}
    places: dict[str, blame.Place] = {}

    def look(call: Any) -> None:
        for name, x in every.items():
            if x._version != versions[name] and name not in places:
                places[name] = blame.Place(before[0], before[1])
        before[:] = [call.where, blame.user_line()]

    before = ["", ""]
    try:
        if what == "forward":
            spy(module, lambda: subject.call(module, given), before=look)
        else:
            output = subject.call(module, cloned(batch))
            spy(module, lambda: subject.loss(output, given), before=look)
    except Exception:
        if not any(x._version != versions[n] for n, x in every.items()):
            return None  # a crash is another check's
    for name, x in every.items():
        if x._version == versions[name]:
            if x.requires_grad and not wanted[name]:
                return asked(name, what)
            continue
        place = places.get(name, blame.Place(before[0], before[1]))
        same = apart(x, tensors(batch)[name]) == 0.0
        return mutated(
            name, place if what == "forward" else blame.Place("", place.line), same, what
        )
    return None


def mutated(name: str, place: blame.Place, same: bool, what: str) -> Finding:
    """Make the finding of an input that was written to."""
    return Finding(
        kind="input-mutated",
        severity="warn" if same else "fail",
        where=place.where,
        line=place.line,
        evidence=f"{what} writes into {name!r} in place, in {place}"
        + (" (with the values that it had)" if same else ""),
        explanation="the tensor belongs to the caller: the next epoch, the loss, another model or "
        "a logged example then reads changed data",
        fix="use the operation that gives a new tensor (x = x * s, x.masked_fill, no trailing "
        f"underscore, no inplace=True on an input), or start with {name} = {name}.clone()",
    )


def asked(name: str, what: str) -> Finding:
    """Make the finding of an input that was made to require a gradient."""
    return Finding(
        kind="input-mutated",
        severity="warn",
        where="",
        evidence=f"{what} sets requires_grad on the input {name!r}",
        explanation="the caller's tensor now starts a graph wherever it is used",
        fix=f"work on {name}.detach().requires_grad_()",
    )


def check_outputs_kept(subject: Subject) -> Iterable[Finding]:
    """Stop a model whose next call overwrites what the last one gave."""
    module = subject.fresh(train=False)
    with torch.no_grad():
        output = tensors(subject.call(module, subject.batch()))
        copies = {n: x.clone() for n, x in output.items()}
        subject.call(module, subject.batch(3, seed=1))
    owned = {x.data_ptr(): n for n, x in module.named_buffers() if x.numel()}
    for name, x in output.items():
        if x.numel() and apart(x, copies[name]) != 0.0:
            holder = owned.get(x.data_ptr(), "")
            yield Finding(
                kind="state-carried",
                severity="warn" if subject.spec.stateful else "fail",
                where=holder.rpartition(".")[0],
                evidence=f"the output{f' {name!r}' if name else ''} of one call changes when the "
                "model is called again" + (f": it is the buffer {holder}" if holder else ""),
                explanation="the output shares memory with something the module keeps and writes "
                "to: two results that are collected become one",
                fix="give a new tensor: .clone() what is kept, or do not write into it in place",
            )
            return


def check_graph_freed(subject: Subject) -> Iterable[Finding]:
    """Stop a model that keeps a graph from one training step to the next."""
    if not subject.has_loss():
        raise NotApplicable("there is no loss")
    module = subject.fresh(train=True)
    rows = max(3, subject.spec.min_batch_train or 1)
    for number in range(2):
        batch = subject.batch(rows, seed=number)
        try:
            value = subject.loss(subject.call(module, batch), batch)
            if not value.requires_grad:
                return
            value.sum().backward()
        except Exception as error:
            if number and "second time" in str(error):
                yield graph_kept(module)
            return
    yield from growing(subject, module, rows)


def graph_kept(module: nn.Module) -> Finding:
    """Make the finding of a second backward that runs into the first one's graph."""
    holders = [n for n, x in vars_of(module).items() if any(has_graph(t) for t in flat(x))]
    return Finding(
        kind="state-carried",
        severity="fail",
        where=owner_of(holders),
        evidence="the second training step raises 'Trying to backward through the graph a second "
        "time'" + (f"; {', '.join(holders[:3])} still holds a graph" if holders else ""),
        explanation="what one forward pass computed is kept with its graph and used in the next",
        fix="keep state without its graph (self.state = state.detach()), and reset it per batch",
    )


def flat(value: Any) -> list[Tensor]:
    """Give the tensors of what a module keeps."""
    return list(tensors(value).values())


def has_graph(x: Tensor) -> bool:
    """Say whether a tensor is the result of a differentiable computation."""
    return x.grad_fn is not None


def growing(subject: Subject, module: nn.Module, rows: int) -> Iterator[Finding]:
    """Find lists of tensors that become longer with every call."""
    lengths = []
    for number in range(2, 4):
        lengths.append({n: len(flat(x)) for n, x in vars_of(module).items() if not is_one(x)})
        subject.call(module, subject.batch(rows, seed=number))
    lengths.append({n: len(flat(x)) for n, x in vars_of(module).items() if not is_one(x)})
    for name in lengths[0]:
        one, two, three = (x.get(name, 0) for x in lengths)
        if one < two < three:
            yield Finding(
                kind="state-carried",
                severity="warn",
                where=owner_of([name]),
                evidence=f"{name} holds {one}, {two}, {three} tensors after successive calls",
                explanation="memory grows with every call, and each tensor may keep a whole graph",
                fix=f"empty {name} at the start of forward, or keep only the last, detached",
            )


def is_one(value: Any) -> bool:
    """Say whether a value is a tensor or a module itself, not a container."""
    return isinstance(value, Tensor | nn.Module)


def table() -> tuple[tuple[str, Callable[[Subject], Iterable[Finding]], str], ...]:
    """List the checks of this file."""
    return (
        ("inputs_untouched", check_inputs_untouched, "forward and loss do not write to the batch"),
        ("outputs_kept", check_outputs_kept, "a result stays as it is when the model runs again"),
        ("graph_freed", check_graph_freed, "no graph lives from one training step to the next"),
    )


ROWS = tuple(Check(name=name, run=run, about=about) for name, run, about in table())

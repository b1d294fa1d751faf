"""Whether what is said to be one tensor is one, and what is not said to be is not."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import fields
from io import BytesIO
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from zoo.testing.checks.running_spy import Visit, is_library, spy
from zoo.testing.checks.saving import train_step
from zoo.testing.engine import Check
from zoo.testing.finding import Finding
from zoo.testing.subject import Subject
from zoo.testing.trees import tensors


def check_ties(subject: Subject) -> Iterable[Finding]:
    """Stop declared ties that are none or break, and ties that nobody declared."""
    module = subject.fresh()
    for group in subject.spec.tied:
        yield from broken(subject, tuple(group))
    yield from one_layer_many_times(subject, module)
    yield from overlapping(subject, module)


def named(module: nn.Module) -> dict[str, Tensor]:
    """Give every parameter and buffer under every name that it has."""
    return {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
    }


def broken(subject: Subject, group: tuple[str, ...]) -> Iterator[Finding]:
    """Find the first moment at which a declared group is not one tensor."""
    for moment, module in moments(subject):
        every = named(module)
        missing = [name for name in group if name not in every]
        if missing:
            yield untied(group, f"{moment} there is no parameter {missing[0]}", missing[0])
            return
        first = every[group[0]]
        for name in group[1:]:
            other = every[name]
            if other is first or (same_memory(first, other) and moment in FIXED):
                continue
            alike = other.shape == first.shape and torch.equal(other, first)
            how = "hold equal numbers but are two tensors" if alike else "are two tensors"
            yield untied(group, f"{moment} {group[0]} and {name} {how}", name)
            return


FIXED = (
    "as built",
    "after loading a state dict",
    "after a training step",
)  # moments at which shared memory is as good


def moments(subject: Subject) -> Iterator[tuple[str, nn.Module]]:
    """Give a module as built, moved, saved and loaded, copied, and trained a step."""
    module = subject.fresh()
    yield "as built", module
    file = BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    other = subject.fresh(seed=subject.seed + 17)
    try:
        other.load_state_dict(torch.load(file, weights_only=False))
        yield "after loading a state dict", other
    except RuntimeError:
        pass  # the check of saving says so
    yield "after .double()", module.double()
    bench = subject.bench(train=True, stress=False)
    try:
        rows = max(3, subject.spec.min_batch_train or 1)
        train_step(subject, bench, bench.batch(rows))
    except Exception:
        return
    yield "after a training step", bench.module


def untied(group: tuple[str, ...], evidence: str, name: str) -> Finding:
    """Make the finding of a tie that is none."""
    return Finding(
        kind="broken-tie",
        severity="fail",
        where=name.rpartition(".")[0],
        evidence=f"{evidence}; tied={list(group)} was declared",
        explanation="the two are trained apart, and a checkpoint of the tied model loads into "
        "only one of them",
        fix=f"assign the parameter itself in __init__, after anything that makes it anew: "
        f"{name} = {group[0]} (not .data, not a copy)",
    )


def same_memory(one: Tensor, other: Tensor) -> bool:
    """Say whether two tensors begin at the same place of the same size."""
    return one.numel() > 0 and one.data_ptr() == other.data_ptr() and one.shape == other.shape


def one_layer_many_times(subject: Subject, module: nn.Module) -> Iterator[Finding]:
    """Find a container whose numbered places hold one and the same module."""
    declared = {name for group in subject.spec.tied for name in group}
    for where, part in module.named_modules():
        if not isinstance(part, nn.ModuleList | nn.Sequential):
            continue
        places: dict[int, list[str]] = {}
        for name, child in part._modules.items():
            if child is not None and any(True for _ in child.parameters()):
                places.setdefault(id(child), []).append(name)
        for names in places.values():
            full = [f"{where}.{name}" if where else name for name in names]
            inside = [n for n in named(module) if n.startswith(full[1] + ".")] if full[1:] else []
            if len(names) < 2 or set(inside) & declared:
                continue
            yield repeated(subject, part, full, where)


def repeated(subject: Subject, part: nn.Module, full: list[str], where: str) -> Finding:
    """Make the finding of one module at several numbered places."""
    chained = in_a_chain(subject, full)
    certain = (chained or says_more(subject)) and not is_library(part[0])  # type: ignore[index]
    return Finding(
        kind="broken-tie",
        severity="fail" if certain else "warn",
        where=full[1],
        evidence=f"{', '.join(full[:4])} are one and the same {type(part[0]).__name__}"  # type: ignore[index]
        + (", and each is fed with what the one before gave" if chained else ""),
        explanation="a list multiplied by a number ([layer] * n) holds the same object n times: "
        "the layers share their weights, and the model has fewer parameters than it seems",
        fix=f"build each one: nn.ModuleList([Layer(...) for _ in range({len(full)})]); if the "
        "sharing is meant, declare it with tied=[...]",
    )


def in_a_chain(subject: Subject, full: list[str]) -> bool:
    """Say whether the shared module is fed with its own output: a stack of layers."""
    bench = subject.bench(stress=False)
    shared = dict(bench.module.named_modules(remove_duplicate=False))[full[0]]
    batch = bench.batch()
    made = spy(bench.module, lambda: bench.run(batch))
    visits: list[Visit] = [v for v in made.visits if v.module is shared]
    for one, later in pairwise(visits):
        given = {id(x) for x in tensors(later.inputs).values()}
        if any(id(x) in given for x in tensors(one.output).values()):
            return True
    return False


def says_more(subject: Subject) -> bool:
    """Say whether the author described the model beyond build, batch and loss."""
    for entry in fields(subject.spec):
        if entry.name in ("build", "batch", "loss", "name", "output"):
            continue
        value: Any = getattr(subject.spec, entry.name)
        empty = value is None or value is False or (hasattr(value, "__len__") and not len(value))
        if not empty and value is not entry.default:
            return True
    return False


def overlapping(subject: Subject, module: nn.Module) -> Iterator[Finding]:
    """Find separate parameters that lie in the same memory."""
    seen: dict[tuple[int, torch.dtype], str] = {}
    groups = [set(group) for group in subject.spec.tied]
    for name, parameter in module.named_parameters():
        if nn.parameter.is_lazy(parameter) or not parameter.numel():
            continue
        key = (parameter.data_ptr(), parameter.dtype)
        other = seen.setdefault(key, name)
        if other == name or any({name, other} <= group for group in groups):
            continue
        yield Finding(
            kind="broken-tie",
            severity="fail" if numbered_alike(name, other) else "warn",
            where=name.rpartition(".")[0],
            evidence=f"{other} and {name} are two parameters over the same memory",
            explanation="the optimizer steps the same numbers twice with two states, and moving "
            "the model to another dtype or device makes them separate without a word",
            fix="give each its own tensor (.clone()), or assign one parameter to both names and "
            "declare tied=[...]",
        )


def numbered_alike(one: str, other: str) -> bool:
    """Say whether two names differ only in a number: the same part of two layers."""
    return re.sub(r"\d+", "#", one) == re.sub(r"\d+", "#", other)


ROWS = (
    Check(name="ties", run=check_ties, about="tied tensors are one and stay one; others are not"),
)

"""Parameters that nothing depends on, and how certain it is that they were forgotten."""

import re
from collections.abc import Iterable

from torch import nn

from zoo.testing.checks.flow_code import reads_attribute
from zoo.testing.checks.flow_runs import Seen
from zoo.testing.checks.slopes_events import code_owner
from zoo.testing.finding import Finding, Severity
from zoo.testing.subject import Subject

CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.Sequential, nn.ParameterList, nn.ParameterDict)


def common(names: Iterable[str]) -> str:
    """Give the module that holds all of these parameters."""
    parts = [name.split(".")[:-1] for name in names]
    found: list[str] = []
    for level in zip(*parts, strict=False):
        if len(set(level)) > 1:
            break
        found.append(level[0])
    return ".".join(found)


def unused(subject: Subject, module: nn.Module, names: set[str], seen: Seen) -> Iterable[Finding]:
    """Report parameters that nothing depends on, by the largest module that is unused."""
    units: dict[str, list[str]] = {}
    for name in sorted(names):
        if name not in seen.joined:  # in the graph with a gradient of zero: dead by arithmetic
            units.setdefault(unit_of(name, module, names, seen), []).append(name)
    for unit, members in units.items():
        yield from unused_unit(subject, module, unit, members, seen)


def unit_of(name: str, module: nn.Module, names: set[str], seen: Seen) -> str:
    """Give the largest module around a parameter all of whose parameters are unused, or itself."""
    unit, path = name, name.rpartition(".")[0]
    while path:
        inside = [n for n in seen.trained if n.startswith(path + ".")]
        if not all(n in names and n not in seen.joined for n in inside):
            break
        unit, path = path, path.rpartition(".")[0]
    return unit


def unused_unit(
    subject: Subject, module: nn.Module, unit: str, members: list[str], seen: Seen
) -> Iterable[Finding]:
    """Report one unused module or parameter, as severely as the evidence allows."""
    holder = unit.rpartition(".")[0]
    part, attribute = module.get_submodule(holder), unit.rpartition(".")[2]
    while isinstance(part, CONTAINERS) and holder:
        holder, _, attribute = holder.rpartition(".")
        part = module.get_submodule(holder)
    run = any(n in seen.read for n in members) or unit in seen.calls
    severity, why = judged_unit(subject, module, unit, holder, attribute, members, seen, run=run)
    count = sum(p.numel() for n, p in module.named_parameters() if n in members)
    how = "runs, but nothing of it reaches an output or the loss" if run else "is never used"
    is_module = unit not in seen.trained
    yield Finding(
        kind="unused-parameter",
        severity=severity,
        where=unit if is_module else holder,
        evidence=f"over {seen.runs} runs in train and eval mode {unit} ({count} parameters) {how}; "
        f"{why}",
        explanation="it is created, saved and given to the optimizer, but never learns and never "
        "changes an output: most often a call, or its result, was forgotten in forward",
        fix=f"use {unit} in forward, or delete it; if other batches use it, declare "
        f'unused_ok=["{unit}{".*" if is_module else ""}"]',
    )


def judged_unit(
    subject: Subject,
    module: nn.Module,
    unit: str,
    holder: str,
    attribute: str,
    members: list[str],
    seen: Seen,
    *,
    run: bool,
) -> tuple[Severity, str]:
    """Say how certain it is that something unused is a mistake, and why."""
    owner = module.get_submodule(holder)
    if code_owner(owner) != "user":
        return "info", f"it belongs to {type(owner).__name__} of an installed package"
    if run:
        if like_others(members, seen):
            return "warn", "its like in other layers is used, so this may be a last layer's rest"
        return "fail", "its result is thrown away"
    if skipped_in_line(module, unit, seen):
        return "fail", "the others of its list run at every call"
    spec = subject.spec
    extra = (spec.step, spec.reset, spec.loss, spec.output)
    if reads_attribute(module, owner, attribute, extra):
        return "warn", f"some code of {type(owner).__name__} reads {attribute!r}, but did not run"
    return "fail", f"no code of {type(owner).__name__} but its setup reads {attribute!r}"


def like_others(members: list[str], seen: Seen) -> bool:
    """Say whether parameters of the same name in other layers are alive."""
    alive = {re.sub(r"\d+", "#", name) for name in seen.alive}
    return all(re.sub(r"\d+", "#", name) in alive for name in members)


def skipped_in_line(module: nn.Module, unit: str, seen: Seen) -> bool:
    """Say whether a list's other modules run at every call, each once, on inputs of one shape."""
    holder, _, key = unit.rpartition(".")
    line = module.get_submodule(holder)
    if not isinstance(line, nn.ModuleList | nn.Sequential) or not key.isdigit():
        return False
    own = type(line[int(key)])
    others = [f"{holder}.{n}" if holder else n for n, m in line.named_children() if type(m) is own]
    ran = [seen.calls[path] for path in others if path in seen.calls]
    return len(ran) > 1 and all(calls == ran[0] for calls in ran)

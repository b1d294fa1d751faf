"""Parameters that nothing depends on, and how certain it is that they were forgotten."""

from collections.abc import Iterable
from typing import Any

from torch import nn

from zoo.testing.checks.flow_code import reads_attribute
from zoo.testing.checks.flow_runs import Seen
from zoo.testing.checks.slopes_events import code_owner
from zoo.testing.finding import Finding, Severity
from zoo.testing.stress import Bench, put_weights
from zoo.testing.subject import Subject
from zoo.testing.trees import tensors

ASKED = 24  # runs
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
    yield from unread_direction(module, names, seen)


def unread_direction(module: nn.Module, names: set[str], seen: Seen) -> Iterable[Finding]:
    """Report a direction of a recurrent layer whose every weight is dead, while the other lives."""
    for path, part in module.named_modules():
        if not isinstance(part, nn.RNNBase) or not part.bidirectional or not part.bias:
            continue
        stem = f"{path}." if path else ""
        last = f"_l{part.num_layers - 1}"
        ways = {
            word: [f"{stem}{kind}{last}{end}" for kind in ("weight_ih", "bias_ih", "bias_hh")]
            for word, end in (("backward", "_reverse"), ("forward", ""))
        }
        for word, other in (("backward", "forward"), ("forward", "backward")):
            if set(ways[word]) <= names and set(ways[other]) <= seen.alive:
                yield Finding(
                    kind="unused-parameter",
                    severity="fail",
                    where=path,
                    evidence=f"over {seen.runs} runs in train and eval mode the weights and biases "
                    f"of the {word} direction of {path or 'the layer'} have a gradient of exactly "
                    f"0 and do not move the output; those of the {other} direction do",
                    explanation=f"what the {word} direction computes is thrown away: of the last "
                    "state or the output only the other half is read",
                    fix="join both directions: torch.cat([h_n[-2], h_n[-1]], -1), or all features "
                    "of the output; or build the layer with bidirectional=False",
                )


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
    if never_asked(subject, module, unit):
        return "fail", (
            f"in {ASKED} runs with other weights the others of its list do run, on other numbers "
            "of rows each time: they are chosen by the data, and this one never is"
        )
    spec = subject.spec
    extra = (spec.step, spec.reset, spec.loss, spec.output)
    if reads_attribute(module, owner, attribute, extra):
        return "warn", f"some code of {type(owner).__name__} reads {attribute!r}, but did not run"
    return "fail", f"no code of {type(owner).__name__} but its setup reads {attribute!r}"


def like_others(members: list[str], seen: Seen) -> bool:
    """Say whether parameters of the same name in other layers are alive."""
    alive = {layerless(name) for name in seen.alive}
    return all(layerless(name) in alive for name in members)


def layerless(name: str) -> str:
    """Give a name without its places in lists: "blocks.#.fc1.weight"."""
    return ".".join("#" if part.isdigit() else part for part in name.split("."))


def never_asked(subject: Subject, module: nn.Module, unit: str) -> bool:
    """Say whether a list's other modules are chosen by the data, and this one never is."""
    holder, _, key = unit.rpartition(".")
    line = module.get_submodule(holder)
    if not isinstance(line, nn.ModuleList) or not key.isdigit() or subject.large():
        return False
    others = {str(n) for n, m in enumerate(line) if type(m) is type(line[int(key)])} - {key}
    ran: dict[str, list[tuple[int, ...]]] = {}
    try:
        for seed in range(ASKED):
            bench = subject.bench(train=seed % 2 == 1)
            if bench.kind != "strong":
                return False
            put_weights(bench.module, strong=True, seed=100 + seed)
            here = entered(bench, holder, seed)
            if key in here:
                return False
            for name in others & set(here):
                ran.setdefault(name, []).append(here[name])
    except Exception:
        return False
    often = {n for n, shapes in ran.items() if 4 * len(shapes) >= ASKED and len(set(shapes)) > 1}
    return len(others) > 1 and often == others


def entered(bench: Bench, holder: str, seed: int) -> dict[str, tuple[int, ...]]:
    """Give the shape that each module of a list was first called with."""
    found: dict[str, tuple[int, ...]] = {}
    handles = []

    def note(name: str, inputs: Any) -> None:
        shapes = [tuple(x.shape) for x in tensors(inputs).values()]
        found.setdefault(name, shapes[0] if shapes else ())

    for name, part in bench.module.get_submodule(holder).named_children():
        handles.append(part.register_forward_pre_hook(lambda _, x, name=name: note(name, x)))
    try:
        bench(bench.batch(max(16, bench.subject.spec.min_batch_train or 2), seed), seed)
    finally:
        for handle in handles:
            handle.remove()
    return found


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

"""Whether all that is trained is registered, and all that is registered is given to the optimizer.

What a backward pass would fill with gradients is read off the graph. A leaf that is no parameter of
the model, and no input, is trained by nobody: it is not saved, not moved, not in the optimizer.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.overrides import TorchFunctionMode

from zoo.testing.blame import user_line
from zoo.testing.checks.registration_optimizer import optimizer_findings
from zoo.testing.checks.registration_walk import Hidden, hidden_things, leaves_of
from zoo.testing.checks.registration_words import kept_in, made_at, registering
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.finding import Finding
from zoo.testing.subject import Subject
from zoo.testing.trees import tensors


@dataclass
class Use:
    """Where a leaf was first read."""

    path: str
    line: str


class Reads(TorchFunctionMode):
    """A block that notes where leaves that ask for a gradient are first read."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.names = {id(m): name for name, m in module.named_modules()}
        self.stack: list[str] = []
        self.uses: dict[int, tuple[Tensor, Use]] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run a function, and note its leaves."""
        for x in tensors((args, kwargs or {})).values():
            if x.requires_grad and x.is_leaf and id(x) not in self.uses:
                use = Use(self.stack[-1] if self.stack else "", user_line())
                self.uses[id(x)] = (x, use)
        return func(*args, **(kwargs or {}))


@dataclass
class Leaves:
    """What two forward passes of one module read and would train."""

    module: nn.Module
    outputs: set[int] = field(default_factory=set)  # ids of leaves that an output leads back to
    all: dict[int, Tensor] = field(default_factory=dict)
    again: set[int] = field(default_factory=set)  # ids of those that the second pass has too
    uses: dict[int, Use] = field(default_factory=dict)
    keep: list[Any] = field(default_factory=list)  # while it lives no id is given twice


def leaves(subject: Subject) -> Leaves:
    """Run a fresh module twice, and note what a backward pass would fill."""
    module = subject.fresh(train=True)
    found = Leaves(module)
    size = max(3, subject.spec.min_batch_train or 2)
    for attempt in range(2):
        batch = subject.batch(size, subject.seed + attempt)
        reads = Reads(module)
        with reads:
            outputs, loss = run(subject, module, batch, reads)
        given = {id(x) for x in tensors(batch).values()}
        here = {id(x): x for x in leaves_of(*outputs, *loss) if id(x) not in given}
        found.keep += [outputs, loss, list(here.values()), reads.uses]
        found.outputs |= {id(x) for x in leaves_of(*outputs)}
        found.again = set(here) if not attempt else found.again & set(here)
        found.all |= here
        for key, (_, use) in reads.uses.items():
            found.uses.setdefault(key, use)
    return found


def run(
    subject: Subject, module: nn.Module, batch: Mapping[str, Any], reads: Reads
) -> tuple[list[Tensor], list[Tensor]]:
    """Run forward and the loss, noting which modules are called."""

    def enter(part: nn.Module, _inputs: Any) -> None:
        path = reads.names.get(id(part))
        reads.stack.append(path if path is not None else (reads.stack or [""])[-1])

    def leave(_part: nn.Module, _inputs: Any, _output: Any) -> None:
        if reads.stack:
            reads.stack.pop()

    handles: list[Any] = [
        register_module_forward_pre_hook(enter),
        register_module_forward_hook(leave, always_call=True),
    ]
    try:
        output = subject.call(module, batch)
        outputs = list(tensors(output).values())
        loss = loss_of(subject, output, batch)
    finally:
        for handle in handles:
            handle.remove()
    return outputs, loss


def loss_of(subject: Subject, output: Any, batch: Mapping[str, Any]) -> list[Tensor]:
    """Give the loss, if there is one that runs; the checks of the loss say when it does not."""
    try:
        made: Any = subject.loss(output, batch) if subject.has_loss() else None
    except Exception:
        return []
    return [made] if isinstance(made, Tensor) else []


def check_registration(subject: Subject) -> Iterable[Finding]:
    """Find what is trained but not registered, and what is registered but not optimised."""
    try:
        found = leaves(subject)
    except Exception as error:
        raise NotApplicable(f"train mode does not run: {type(error).__name__}") from error
    hidden = hidden_things(found.module)
    told: set[tuple[str, str]] = set()
    yield from unregistered(found, hidden, told)
    yield from deaf_layers(subject, hidden, told)
    yield from optimizer_findings(subject, found.module, found.all)


def unregistered(
    found: Leaves, hidden: list[Hidden], told: set[tuple[str, str]]
) -> Iterable[Finding]:
    """Report leaves that are no parameters; note in `told` which attributes hold them."""
    registered = {id(p) for p in found.module.parameters()}
    names = named_leaves(hidden)
    groups: dict[tuple[str, str], list[tuple[Tensor, str, Hidden | None]]] = {}
    for key, x in found.all.items():
        if key in registered:
            continue
        again = key in found.again
        if not again and not isinstance(x, nn.Parameter):
            continue  # made from an input, for a derivative with respect to it
        use = found.uses.get(key, Use("", ""))
        held = names.get(key)
        what = "kept" if again else "made"
        if again and key not in found.outputs and held is None:
            what = "loss"
        where = held.owner if held is not None else use.path
        if held is not None and what == "kept":
            told.add((held.owner, held.root))
        groups.setdefault((what, where), []).append((x, use.line, held))
    for (what, where), items in groups.items():
        yield leaf_finding(found.module, what, where, items)


def named_leaves(hidden: list[Hidden]) -> dict[int, Hidden]:
    """Give, by id, where leaves hang: themselves, in a module, or behind a computed tensor."""
    found: dict[int, Hidden] = {}
    for one in hidden:
        module = isinstance(one.thing, nn.Module)
        inside: list[Tensor] = list(one.thing.parameters()) if module else leaves_of(one.thing)
        for x in inside:
            found.setdefault(id(x), one)
    return found


def leaf_finding(
    module: nn.Module, what: str, where: str, items: list[tuple[Tensor, str, Hidden | None]]
) -> Finding:
    """Put leaves that are not registered into words."""
    x, line, _ = items[0]
    size = "x".join(map(str, x.shape)) or "scalar"
    many = (
        f"{len(items)} tensors that ask for a gradient are"
        if len(items) > 1
        else (f"a tensor that asks for a gradient ({size}) is")
    )
    if what == "made":
        return Finding(
            kind="unregistered",
            severity="fail",
            where=where,
            line=line,
            evidence=f"{many} made anew in every forward pass and no part of parameters()",
            explanation="a layer or parameter that forward builds begins with new random weights "
            "at every call; the optimizer never sees it, so it never learns",
            fix="build it once in __init__ and set it on self; forward only calls it",
        )
    held = list({id(h.thing): h for _, _, h in items if h is not None}.values())
    place = f" in {kept_in(held)}" if held else ""
    return Finding(
        kind="unregistered",
        severity="warn" if what == "loss" else "fail",
        where=where,
        line=(made_at(module, held[0]) if held else "") or line,
        evidence=f"{many} reached by the backward pass{place}, but no part of parameters()",
        explanation="what parameters() does not list is not given to the optimizer, not saved in "
        "state_dict(), not moved by .to() and not switched by train() and eval()",
        fix=registering(held)
        if what == "kept"
        else "give the loss's own parameters to the optimizer, or "
        "make the loss a part of the model",
    )


def deaf_layers(
    subject: Subject, hidden: list[Hidden], told: set[tuple[str, str]]
) -> Iterable[Finding]:
    """Report layers that eval() does not reach although forward runs them."""
    if not any(isinstance(h.thing, nn.Module) for h in hidden):
        return
    noisy = (nn.modules.dropout._DropoutNd, nn.modules.batchnorm._BatchNorm)
    module = subject.fresh(train=False)
    things = {id(h.thing): h for h in hidden_things(module) if isinstance(h.thing, nn.Module)}
    inside = {
        id(part): held
        for held in things.values()
        for part in held.thing.modules()
        if isinstance(part, noisy) and part.training and getattr(part, "p", True)
    }
    if not inside:
        return
    called: list[Hidden] = []

    def enter(part: nn.Module, _inputs: Any) -> None:
        if id(part) in inside:
            called.append(inside[id(part)])

    handle = register_module_forward_pre_hook(enter)
    try:
        with torch.no_grad():
            subject.call(module, subject.batch(3))
    finally:
        handle.remove()
    groups: dict[tuple[str, str], dict[int, Hidden]] = {}
    for held in called:
        if (held.owner, held.root) in told:
            continue  # its parameters were told: the same cause
        groups.setdefault((held.owner, held.root), {})[id(held.thing)] = held
    for (owner, _), group in groups.items():
        kept = list(group.values())
        kinds = " and ".join(sorted({type(h.thing).__name__ for h in kept}))
        yield Finding(
            kind="unregistered",
            severity="fail",
            where=owner,
            line=made_at(module, kept[0]),
            evidence=f"{kinds} in {kept_in(kept)} {'runs' if len(kept) == 1 else 'run'} in train "
            "mode after model.eval()",
            explanation="train(), eval(), to() and state_dict() do not reach a layer that is not "
            "registered",
            fix=registering(kept),
        )


ROWS = (
    Check(
        name="registration",
        run=check_registration,
        about="what is trained is registered, and what is registered is optimised",
    ),
)

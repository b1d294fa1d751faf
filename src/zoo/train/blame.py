"""Where a number stopped being finite: the first place, in the forward pass or in the backward.

The same passes are run again. What goes into a submodule and what comes out is led through a view,
whose gradient is that of this call alone, however many read the same tensor. So four things are
known of each call: what it read and gave, the gradients it got and passed on, in their order.

A call that read finite numbers and gave others is to blame, the innermost one first. What is
computed between calls is the doing of the module in whose call it happens; outside of all calls
(a loss, or `encode` called by its name) it is laid to the nearest call.
"""

import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from zoo.train.ema import local

BATCH, LOSS = "batch", "loss"  # kinds of what is no module


@dataclass(frozen=True)
class Fault:
    """The first place that is not finite.

    `where` is "input", "parameter", "output", "loss" or "gradient"; `module` is a name as in
    `named_modules` ('' for the whole) or a field of the batch, `kind` the module's class; `what`
    says NaN or Inf, how many of how many values, and where the first of them is.
    """

    module: str
    kind: str
    where: str
    what: str

    def sentence(self) -> str:
        """Say it in a sentence for people."""
        if self.kind == BATCH:
            return f"the batch is not finite: {self.module} has {self.what}"
        name = f"{self.module} ({self.kind})" if self.module else f"the {self.kind} itself"
        return PHRASES[self.where].format(name=name) + self.what


PHRASES = {
    "input": "the first number that is not finite is in what {name} reads: ",
    "parameter": "a parameter of {name} is not finite: ",
    "output": "{name} read finite numbers and gave others: ",
    "loss": "the loss is not finite, and what every module gave is: ",
    "gradient": "the first gradient that is not finite is at {name}: ",
}


@dataclass
class Call:
    """One call of a module, and what was not finite about it (None: all was)."""

    module: str
    kind: str
    outer: "Call | None"
    read: str | None = None
    given: bool = False  # whether what it read came from outside: nothing computed it
    gave: str | None = None
    got: bool = False  # whether a gradient has come to it


@dataclass
class Record:
    """What is seen while a pass runs."""

    calls: list[Call] = field(default_factory=list)  # in the order in which they end
    open: list[Call] = field(default_factory=list)
    forward: bool = True  # recomputing blocks in the backward pass is no second forward pass
    heard: bool = False  # whether any gradient has come to any call
    gradient: Fault | None = None  # the first one that is not finite


def find_fault(
    module: nn.Module,
    run: Callable[[], Tensor],
    *,
    batch: Mapping[str, Tensor] | None = None,
) -> Fault | None:
    """Run a forward and a backward pass again, and find the first number that is not finite.

    `run` gives the loss; it may call the module in any way. With `batch` its fields are looked at
    too. None means that loss and gradients are finite, so it was something else than this pass.
    Afterwards weights, gradients, buffers and torch's generators are what they were. Where
    processes share the work, all must call this: all make both passes, whatever they find.
    """
    record = Record()
    with ExitStack() as undo:
        undo.callback(restorer(module))
        if "torch._dynamo" in sys.modules:  # what is compiled already has no room for hooks
            undo.enter_context(torch.compiler.set_stance("force_eager"))
        for name, part in module.named_modules():
            listen(record, name, part, undo)
        loss = run()
        record.forward = False
        if loss.requires_grad:
            loss.backward()
        wrong = held_gradients(module)
        lost = what(loss)
        if lost is None and not wrong:  # what came up and was masked out did no harm
            return overflowing(module)
        found = in_batch(batch or {}) or in_parameters(module)
        if found is None and lost is not None:
            found = in_forward(record, module) or in_loss(lost, record)
        return found or record.gradient or wrong[-1]


def restorer(module: nn.Module) -> Callable[[], None]:
    """Take gradients away; give a function that puts them, buffers and generators back."""
    gradients = [(p, p.grad) for p in module.parameters()]
    buffers = [(b, b.detach().clone()) for b in module.buffers()]
    cpu = torch.get_rng_state()
    cards = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    for p, _ in gradients:
        p.grad = None

    def restore() -> None:
        for p, gradient in gradients:
            p.grad = gradient
        with torch.no_grad():
            for buffer, kept in buffers:
                buffer.copy_(kept)
        torch.set_rng_state(cpu)
        if cards:
            torch.cuda.set_rng_state_all(cards)

    return restore


def listen(record: Record, name: str, part: nn.Module, undo: ExitStack) -> None:
    """Hear every call of a module and the gradients of its own parameters, until `undo`."""
    kind = type(part).__name__

    def before(_: nn.Module, args: Any, kwargs: Any) -> Any:
        call = Call(name, kind, record.open[-1] if record.open else None)
        if record.forward:
            record.open.append(call)
            for tensor in tensors_of((args, kwargs)):
                found = what(tensor)
                if found and not call.read:
                    call.read, call.given = found, tensor.grad_fn is None
        return watched((args, kwargs), partial(passed_on, record, name, kind, "what it read"))

    def after(_: nn.Module, _args: Any, output: Any) -> Any:
        if not record.forward:
            return output
        call = record.open.pop()
        call.gave = next(filter(None, map(what, tensors_of(output))), None)
        record.calls.append(call)
        return watched(output, partial(arrived, record, call))

    undo.enter_context(part.register_forward_pre_hook(before, with_kwargs=True))
    undo.enter_context(part.register_forward_hook(after))
    for own, parameter in part.named_parameters(recurse=False):
        if parameter.requires_grad:
            hook = partial(passed_on, record, name, kind, f"its {own}")
            undo.enter_context(parameter.register_hook(hook))


def watched(values: Any, look: Callable[[Tensor], Any]) -> Any:
    """Give the same values, each tensor with a gradient as a view of its own that is looked at."""

    def view(value: Any) -> Any:
        if not isinstance(value, Tensor) or not value.requires_grad or not torch.is_grad_enabled():
            return value
        seen = value.view_as(value)
        seen.register_hook(look)
        return seen

    return pytree.tree_map(view, values)


def tensors_of(values: Any) -> list[Tensor]:
    return [value for value in pytree.tree_leaves(values) if isinstance(value, Tensor)]


def arrived(record: Record, call: Call, gradient: Tensor) -> None:
    """Hear the gradient that comes to what a call gave."""
    found = None if record.gradient else what(gradient)
    if found:  # no call that was heard computed it: the one around did, or what is outside of all
        around = call.outer
        while around is not None and not around.got:
            around = around.outer
        if around is not None:
            text = f"what comes from it to its own {last(call.module)} has {found}"
            record.gradient = Fault(around.module, around.kind, "gradient", text)
        elif record.heard:
            text = f"what comes to it, computed outside of every module's call, has {found}"
            record.gradient = Fault(call.module, call.kind, "gradient", text)
        else:
            text = f"what comes from it to {call.module or 'the model'} has {found}"
            record.gradient = Fault("", LOSS, "gradient", text)
    call.got = record.heard = True


def passed_on(record: Record, module: str, kind: str, to: str, gradient: Tensor) -> None:
    """Hear the gradient that a call passes on to what it read, or to a parameter."""
    found = None if record.gradient else what(gradient)
    if found:
        record.gradient = Fault(module, kind, "gradient", f"of {to}, {found}")


def last(name: str) -> str:
    return name.rpartition(".")[2]


def in_batch(batch: Mapping[str, Tensor]) -> Fault | None:
    found = (Fault(n, BATCH, "input", text) for n, t in batch.items() if (text := what(t)))
    return next(found, None)


def in_parameters(module: nn.Module) -> Fault | None:
    """Find a parameter with NaN or Inf, or a buffer with NaN: masks hold infinities."""
    for name, part in module.named_modules():
        for own, tensor in (
            *part.named_parameters(recurse=False),
            *part.named_buffers(recurse=False),
        ):
            text = what(tensor)
            if text and (isinstance(tensor, nn.Parameter) or bool(tensor.isnan().any())):
                return Fault(name, type(part).__name__, "parameter", f"{own} has {text}")
    return None


def in_forward(record: Record, module: nn.Module) -> Fault | None:
    """Find the call to blame for the first output that is not finite."""
    first = next((call for call in record.calls if call.gave), None)
    if first is None:
        return None
    if first.read is None:
        return Fault(first.module, first.kind, "output", str(first.gave))
    inner = call = first
    while call.read is not None and call.outer is not None:
        inner, call = call, call.outer
    if call.read is None:
        text = f"what it hands to its own {last(inner.module)} has {inner.read}"
        return Fault(call.module, call.kind, "output", text)
    if call.given:
        return Fault(call.module, call.kind, "input", f"{call.read}, and no module computed it")
    before = f"; it was computed outside of every module's call, by {type(module).__name__}"
    return Fault(call.module, call.kind, "input", call.read + before)


def in_loss(lost: str, record: Record) -> Fault:
    after = f"; the last was {record.calls[-1].module or 'the model'}" if record.calls else ""
    return Fault("", LOSS, "loss", lost + after)


def held_gradients(module: nn.Module) -> list[Fault]:
    """Find gradients that are not finite where they end, for those that no hook heard come."""
    return [
        Fault(name, type(part).__name__, "gradient", f"of its {own}, {text}")
        for name, part in module.named_modules()
        for own, p in part.named_parameters(recurse=False)
        if p.grad is not None and (text := what(p.grad))
    ]


def overflowing(module: nn.Module) -> Fault | None:
    """Find the largest gradient when all are finite and their common norm is not."""
    held = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
    if not held or bool(torch.stack([local(g).norm() for g in held.values()]).norm().isfinite()):
        return None
    name = max(held, key=lambda n: float(local(held[n]).abs().max()))
    owner, _, own = name.rpartition(".")
    kind = type(module.get_submodule(owner)).__name__
    text = f"of its {own}, the largest: all are finite, but not their norm"
    return Fault(owner, kind, "gradient", text)


def what(tensor: Tensor) -> str | None:
    """Say what is not finite about a tensor; None when all of it is, and for whole numbers."""
    values = local(tensor)
    if not (values.is_floating_point() or values.is_complex()) or values.is_meta:
        return None
    good = values.isfinite()
    if bool(good.all()):
        return None
    if not values.dim():
        return "NaN" if bool(values.isnan()) else "Inf"
    nans, bad = int(values.isnan().sum()), int((~good).sum())
    first = tuple((~good).nonzero()[0].tolist())
    kinds = [f"{n} {kind}" for kind, n in (("NaN", nans), ("Inf", bad - nans)) if n]
    return f"{' and '.join(kinds)} of {values.numel()} values, the first at {first}"

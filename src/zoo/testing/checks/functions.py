"""Every autograd.Function that a model runs, alone, on the inputs that the model gave it.

First its backward against the slope of its forward. Then what a training loop seldom shows and
sometimes does: gradients that come in with strides of their own, once more, from one output only,
for one input only; what backward writes into; and the second derivative.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zoo.testing.checks.functions_second import second_derivative
from zoo.testing.checks.slopes import declared_module
from zoo.testing.checks.slopes_events import owner_of
from zoo.testing.checks.slopes_functions import (
    Recorded,
    Used,
    inspect_file,
    judged,
    kept_input,
    line_of,
    wide,
)
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.finding import Finding, Severity
from zoo.testing.subject import Subject
from zoo.testing.trees import tensors

CLOSE = 1e-9  # of the largest number: the same sum in another order


@dataclass(frozen=True)
class Fault:
    """One thing that a Function does wrong."""

    kind: str
    evidence: str
    explanation: str
    fix: str
    severity: Severity = "fail"


def check_functions(subject: Subject) -> Iterable[Finding]:
    """Try every autograd.Function alone."""
    used = functions_used(subject)
    if not used:
        raise NotApplicable("the model runs no autograd.Function of its own")
    for one, said in used:
        if subject.spec.straight_through is True or (
            one.path and declared_module(one.path, subject.spec.straight_through)
        ):
            continue
        for fault in faults(one, said):
            yield Finding(
                kind=fault.kind,
                severity=fault.severity,
                where=one.path,
                line=line_of(one.function),
                evidence=fault.evidence,
                explanation=fault.explanation,
                fix=fault.fix,
            )


def functions_used(subject: Subject) -> list[tuple[Used, bool]]:
    """Give the Functions that the model runs or the author named, and whether he named them."""
    named: list[Any] = []
    found: list[tuple[Used, bool]] = []
    for item in subject.spec.custom_functions:
        if isinstance(item, tuple | list):
            found.append((Used(item[0], with_wishes(item[1])), True))
        else:
            named.append(item)
    for used in recorded_functions(subject):
        said = any(
            used.function is x or getattr(x, "__self__", None) is used.function for x in named
        )
        if said or owner_of(inspect_file(used.function)) == "user":
            found.append((used, said))
    return found


def recorded_functions(subject: Subject) -> list[Used]:
    """Run the model and its loss, and give one call of each Function."""
    try:
        bench = subject.bench(train=True)
    except Exception as error:
        raise NotApplicable(f"the model raises {type(error).__name__} in train mode") from None
    with Recorded(bench.module) as kept:
        try:
            batch = bench.batch(max(3, subject.spec.min_batch_train or 2))
            output = bench.run(batch)
            if subject.has_loss():
                subject.loss(output, batch)
        except Exception:
            pass  # another check says so; what ran until then is looked at
    asked = [u for u in kept.used if any(wants(x) for x in u.args)]
    return list({u.function: u for u in reversed(asked)}.values())


def wants(x: Any) -> bool:
    """Say whether something asks for a gradient."""
    return isinstance(x, Tensor) and x.requires_grad


def with_wishes(given: Any) -> tuple[Any, ...]:
    """Copy a Function's inputs; where none asks for a gradient, all real ones do."""
    made = given() if callable(given) else given
    made = made if isinstance(made, tuple | list) else (made,)
    if any(wants(x) for x in made):
        return tuple(kept_input(x) for x in made)
    return tuple(
        x.detach().clone().requires_grad_()
        if isinstance(x, Tensor) and x.is_floating_point()
        else x
        for x in made
    )


def faults(used: Used, said: bool) -> Iterable[Fault]:
    """Try one Function in every way; a wrong first derivative ends it."""
    name = getattr(used.function, "__name__", str(used.function))
    wrong = judged(used)
    if wrong is not None:
        yield Fault(
            "wrong-gradient", f"{name}: {wrong.seen}", wrong.explanation, wrong.fix, wrong.severity
        )
        return
    try:
        trial = Trial(used)
        first = trial.gradients()
    except Exception:
        return  # it does not run alone
    for look in (written, again, strided, alone, from_one_output):
        fault = look(trial, name, first)
        if fault is not None:
            yield fault
            return
    second = second_derivative(trial.call, trial.at)
    if second is not None:
        yield Fault(
            "double-backward",
            f"{name}: for the second derivative along one direction {second}",
            f"{name}.backward computes with numbers that hang on no graph (kept on ctx in forward, "
            "detached, or intermediate), so differentiating it again silently leaves parts out",
            "save inputs and outputs with ctx.save_for_backward, recompute the rest in backward, "
            "or mark backward with @once_differentiable so that a second derivative raises",
            "fail" if said else "warn",
        )


class Trial:
    """One call of a Function that can be made again."""

    def __init__(self, used: Used) -> None:
        self.used = used
        places = [i for i, x in enumerate(used.args) if wants(x)]
        self.leaves = {i: used.args[i].detach().double().requires_grad_() for i in places}
        self.at: list[Tensor] = list(self.leaves.values())
        self.given: list[Any] = []

    def call(self, only: int | None = None) -> list[Tensor]:
        """Run forward; give the outputs that a gradient can come in by."""
        self.given = [
            x.clone() if (x := self.leaves.get(i)) is not None and only in (None, i) else wide(a)
            for i, a in enumerate(self.used.args)
        ]
        run = getattr(self.used.function, "apply", self.used.function)
        output = run(*self.given)
        return [x for x in tensors(output).values() if x.requires_grad]

    def gradients(
        self, shape: Callable[[Tensor], Tensor] = lambda v: v, only: int | None = None
    ) -> list[Tensor | None]:
        """Run forward and backward, with incoming gradients laid out as `shape` says."""
        outputs = self.call(only)
        at = self.at if only is None else [self.leaves[only]]
        return list(
            torch.autograd.grad(
                outputs, at, [shape(weights(x)) for x in outputs], allow_unused=True
            )
        )


def weights(x: Tensor) -> Tensor:
    """Draw an incoming gradient."""
    generator = torch.Generator().manual_seed(3)
    drawn = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    return drawn.to(x.device, x.dtype)


def same(one: Iterable[Tensor | None], other: Iterable[Tensor | None]) -> bool:
    """Say whether two lists of gradients hold the same numbers; None is zero."""
    for a, b in zip(one, other, strict=True):
        if a is None or b is None:
            left = b if a is None else a
            if left is not None and bool(torch.any(left != 0)):
                return False
        elif a.shape != b.shape:
            return False
        else:
            size = float(a.abs().max()) if a.numel() else 0.0
            if not bool(((a - b).abs() <= CLOSE * (1 + size)).all()):
                return False
    return True


def written(trial: Trial, name: str, first: list[Tensor | None]) -> Fault | None:
    """Look for a backward that writes into the gradient it is given, or into what was saved."""
    outputs = trial.call()
    incoming = [weights(x) for x in outputs]
    kept = [v.clone() for v in incoming]
    before = [x.detach().clone() if isinstance(x, Tensor) else x for x in trial.given]
    torch.autograd.grad(outputs, trial.at, incoming, allow_unused=True)
    if not same(incoming, kept):
        return Fault(
            "wrong-gradient",
            f"{name}.backward changed the numbers of the gradient that it was given",
            "autograd gives the same tensor to other branches too, so their gradients become wrong",
            "compute a new tensor instead of changing grad_output in place",
        )
    for i, (x, old) in enumerate(zip(trial.given, before, strict=True)):
        if isinstance(x, Tensor) and x.is_floating_point() and not same([x.detach()], [old]):
            return Fault(
                "wrong-gradient",
                f"{name}.backward changed input {i} in place",
                "what was saved for backward is the caller's own tensor",
                "compute on a copy",
            )
    return None


def again(trial: Trial, name: str, first: list[Tensor | None]) -> Fault | None:
    """Run backward twice over one graph."""
    outputs = trial.call()
    incoming = [weights(x) for x in outputs]
    try:
        torch.autograd.grad(outputs, trial.at, incoming, retain_graph=True, allow_unused=True)
        twice = torch.autograd.grad(outputs, trial.at, incoming, allow_unused=True)
    except Exception:
        return None  # it says so itself
    if same(first, twice):
        return None
    return Fault(
        "wrong-gradient",
        f"{name}.backward gives other gradients when it runs a second time over the same graph",
        "it changes what forward left on ctx, so retain_graph=True gives wrong gradients",
        "leave ctx and its saved tensors as they are in backward",
    )


def strided(trial: Trial, name: str, first: list[Tensor | None]) -> Fault | None:
    """Let gradients come in transposed in memory, and as one number that is expanded."""
    layouts: list[tuple[str, Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = [
        ("that is transposed in memory", transposed, lambda v: v),
        ("that is one expanded number, as sum().backward() gives it", expanded, full),
    ]
    for words, shape, plain in layouts:
        try:
            expected = trial.gradients(plain)
        except Exception:
            return None
        try:
            found = trial.gradients(shape)
        except Exception as error:
            said = (str(error).splitlines() or [""])[0][:200]
            return layout_fault(name, f"raised {type(error).__name__} ({said})", words)
        if not same(expected, found):
            return layout_fault(name, "gave other numbers", words)
    return None


def layout_fault(name: str, what: str, words: str) -> Fault:
    """Describe a backward that minds how its gradient lies in memory."""
    return Fault(
        "wrong-gradient",
        f"{name}.backward {what} for an incoming gradient {words}",
        "autograd gives no promise about the strides of an incoming gradient",
        "use reshape instead of view, or grad_output.contiguous() first",
    )


def transposed(v: Tensor) -> Tensor:
    """Lay a tensor out with its axes the other way round in memory."""
    if v.dim() < 2:
        return torch.stack([v, v], -1)[..., 0]
    return v.transpose(0, -1).contiguous().transpose(0, -1)


def expanded(v: Tensor) -> Tensor:
    """Make a tensor of one number in one place of memory."""
    return v.new_ones(()).expand(v.shape)


def full(v: Tensor) -> Tensor:
    """Make a tensor of ones."""
    return torch.ones_like(v)


def alone(trial: Trial, name: str, first: list[Tensor | None]) -> Fault | None:
    """Ask for one input's gradient at a time."""
    if len(trial.leaves) < 2:
        return None
    for (place, _), expected in zip(trial.leaves.items(), first, strict=True):
        try:
            found = trial.gradients(only=place)
        except Exception:
            return None  # it says so itself
        if not same([expected], found):
            return Fault(
                "wrong-gradient",
                f"{name}.backward gives input {place} another gradient when only that input asks "
                "for one",
                "the gradient of one input must not hang on whether others are frozen",
                "let ctx.needs_input_grad decide only what is computed, not what it is",
            )
    return None


def from_one_output(trial: Trial, name: str, first: list[Tensor | None]) -> Fault | None:
    """Let a gradient come in by one of several outputs: their sum must be the whole."""
    count = len(trial.call())
    if count < 2:
        return None
    total: list[Tensor | None] = [None] * len(trial.at)
    for i in range(count):
        outputs = trial.call()
        incoming = weights(outputs[i])
        try:
            part = torch.autograd.grad(outputs[i], trial.at, incoming, allow_unused=True)
        except Exception as error:
            return Fault(
                "wrong-gradient",
                f"{name}.backward raised {type(error).__name__} when only output {i} was used",
                "the gradient of an output that is not used comes in as None or as zeros",
                "treat None as zero, or leave ctx.set_materialize_grads at True",
            )
        total = [added(a, b) for a, b in zip(total, part, strict=True)]
    if same(first, total):
        return None
    return Fault(
        "wrong-gradient",
        f"the gradients of {name}'s {count} outputs one by one do not add up to that of all",
        "backward is linear in the gradients that come in",
        "look at what backward does with an incoming gradient that is zero",
    )


def added(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    """Add two gradients, None being zero."""
    if a is None or b is None:
        return b if a is None else a
    return a + b


ROWS = (
    Check(
        name="functions",
        run=check_functions,
        about="every autograd.Function has the right first and second derivative",
    ),
)

"""Whether a saved model comes back: all that its answers need is in the state dict."""

import copy
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import BytesIO
from typing import Any

import torch
from torch import Tensor, nn

from zoo.testing.checks.memory import owner_of, vars_of
from zoo.testing.checks.running_spy import (
    Repeated,
    answer,
    fresh_bench,
    moved,
    snapshot,
    unregistered,
)
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.finding import Finding
from zoo.testing.guard import described, seed_all
from zoo.testing.stress import Bench, dress
from zoo.testing.subject import Subject
from zoo.testing.trees import tensors

REGISTER = (
    "register it: nn.Parameter if it is trained, self.register_buffer(name, tensor) if not, "
    "nn.ModuleList or nn.ModuleDict for modules"
)


def check_save_load(subject: Subject) -> Iterable[Finding]:
    """Stop a model that a state dict does not bring back in a module built anew."""
    old, batch = trained(subject)
    if subject.spec.stateful:
        raise NotApplicable("the model keeps state between calls on purpose")
    before = answer(old, batch)
    if moved(before, answer(old, batch))[1]:
        raise NotApplicable("two calls differ: see determinism and state")
    file = BytesIO()
    torch.save(old.module.state_dict(), file)
    size = file.tell()
    new = another(subject, like=old)
    refused = load(new.module, file)
    if refused is not None:
        yield refused
        return
    if not size:
        return
    path, gap = moved(before, answer(new, batch))
    if gap:
        yield lost(subject, old, new, path, gap, "eval")
        return
    yield from lost_in_train(subject, old, new)


def trained(subject: Subject) -> tuple[Bench, Any]:
    """Make a module that has been trained a little, so that no state is as it was built."""
    bench = fresh_bench(subject, train=True)
    rows = max(3, subject.spec.min_batch_train or 1)
    loose = {n: x.clone() for n, x in unsaved_tensors(bench.module).items()}
    for number in range(2):
        try:
            train_step(subject, bench, bench.batch(rows, seed=number + 1))
        except Exception:
            break  # crashes in train mode are another check's
    carry_on(bench.module, loose)
    bench.module.eval()
    bench.module.zero_grad(set_to_none=True)
    return bench, bench.batch()


def unsaved_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Give the buffers and plain attributes of real numbers that no state dict holds."""
    saved = set(module.state_dict())
    return {
        name: x
        for name, x in vars_of(module).items()
        if isinstance(x, Tensor) and x.is_floating_point() and name not in saved
    }


def carry_on(module: nn.Module, before: Mapping[str, Tensor]) -> None:
    """Move what training moved, and no state dict holds, as far as many more steps would."""
    with torch.no_grad():
        for name, x in unsaved_tensors(module).items():
            if name in before and x.shape == before[name].shape and x.grad_fn is None:
                step = (x - before[name]).nan_to_num(nan=0.0)  # -inf of a mask stays -inf
                x.add_(step, alpha=30.0)


def train_step(subject: Subject, bench: Bench, batch: Any) -> None:
    """Run forward and backward, and move every trainable parameter a little."""
    output = bench.run(batch)
    if subject.has_loss():
        value = subject.loss(output, batch)
    else:
        real = [x.sum() for x in tensors(output).values() if x.is_floating_point()]
        value = torch.stack(real).sum()
    if value.requires_grad:
        value.sum().backward()
    with torch.no_grad():
        for parameter in bench.module.parameters():
            if parameter.grad is not None and not parameter.grad.is_sparse:
                size = float(parameter.grad.abs().max())
                if 0.0 < size < float("inf"):
                    parameter.sub_(parameter.grad, alpha=0.05 / size)
                parameter.grad = None


def another(subject: Subject, like: Bench) -> Bench:
    """Build the module under another seed, as a later process would."""
    module = subject.fresh(seed=subject.seed + 17, train=False)
    made = Bench(subject, module, like.dtype, "as built", False)
    made.bound = like.bound
    dress(made)
    return made


def load(module: nn.Module, file: BytesIO) -> Finding | None:
    """Load a saved state dict strictly; what is refused is a finding."""
    file.seek(0)
    try:
        state = torch.load(file, weights_only=True)
    except pickle.UnpicklingError as error:
        file.seek(0)
        state = torch.load(file, weights_only=False)
        module.load_state_dict(state)
        return Finding(
            kind="lost-state",
            severity="warn",
            where="",
            evidence=f"torch.load(weights_only=True) refuses the saved state dict: {first(error)}",
            explanation="the state dict holds objects that are no tensors or plain values; a file "
            "that needs weights_only=False runs any code that is in it",
            fix="keep tensors, numbers, strings, lists and dicts in get_extra_state",
        )
    try:
        module.load_state_dict(state)
    except Exception as error:
        return Finding(
            kind="lost-state",
            severity="fail",
            where="",
            evidence="a model built anew refuses the state dict of one that was trained for two "
            f"steps: {' '.join(str(error).split())[:400]}",
            explanation="what is in the state dict depends on what the module was used for, so a "
            "checkpoint cannot be loaded into a fresh model",
            fix="make every parameter and buffer in __init__, with its final shape; give buffers "
            "that are caches persistent=False",
        )
    return None


def first(error: BaseException) -> str:
    """Give the first line of what an exception says."""
    return (str(error).splitlines() or [""])[0][:200]


def lost(subject: Subject, old: Bench, new: Bench, path: str, gap: float, mode: str) -> Finding:
    """Make the finding of an answer that did not come back, and name what is missing."""
    missing = unsaved_differences(old.module, new.module)
    names = [name for name, _ in missing]
    trains = any(isinstance(x, nn.Parameter) or is_learnt(x) for _, x in missing)
    said = (
        f"; not in the state dict and different: {', '.join(names[:6])}"
        if names
        else "; no attribute of a module differs, so it is kept elsewhere (a closure, a global)"
    )
    return Finding(
        kind="unregistered" if trains else "lost-state",
        severity="fail",
        where=owner_of(names),
        evidence=f"after training steps, saving and loading into a model built anew, the {mode} "
        f"answer differs by {gap:.2g} of its size{f' (output {path!r})' if path else ''}{said}",
        explanation="a checkpoint does not hold all that the model's answers depend on: the "
        "loaded model is another one, and nothing says so",
        fix=REGISTER + "; a number that training changes can be a buffer too (torch.tensor(0.0))",
    )


def is_learnt(value: Any) -> bool:
    """Say whether something unregistered is there to be trained."""
    if isinstance(value, nn.Module):
        return any(p.requires_grad for p in value.parameters())
    return isinstance(value, Tensor) and value.is_leaf and value.requires_grad


def unsaved_differences(old: nn.Module, new: nn.Module) -> list[tuple[str, Any]]:
    """Name what differs between two modules though they loaded the same state dict."""
    saved = set(old.state_dict())
    mine, theirs = vars_of(old), vars_of(new)
    found: list[tuple[str, Any]] = []
    for name, value in mine.items():
        if name in saved or name.rpartition(".")[2] in ("training", "_initialized"):
            continue
        if isinstance(value, nn.Module):
            continue
        if said(value) != said(theirs.get(name)):
            found.append((name, value))
    for where, path, value in unregistered(old):
        if isinstance(value, nn.Module) and any(True for _ in value.parameters()):
            found.insert(0, (f"{where}.{path}" if where else path, value))
    return found


def said(value: Any) -> bytes:
    """Give bytes that tell plain values and tensors apart."""
    return b"".join(described(value))


def lost_in_train(subject: Subject, old: Bench, new: Bench) -> Iterator[Finding]:
    """Find state that changes what train mode does after loading, though eval mode agrees."""
    rows = max(3, subject.spec.min_batch_train or 1)
    batch = old.batch(rows)
    try:
        one = answer(train_mode(old), batch)
        other = answer(train_mode(new), batch)
        path, gap = moved(one, other)
    except Exception:
        return
    if not gap:
        return
    names = [name for name, _ in unsaved_differences(old.module, new.module)]
    if not names or moved(answer(train_mode(old), batch), answer(train_mode(old), batch))[1]:
        return
    yield lost(subject, old, new, path, gap, "train-mode")


def train_mode(bench: Bench) -> Bench:
    """Put a bench's module into train mode."""
    bench.module.train()
    return bench


def check_copies(subject: Subject) -> Iterable[Finding]:
    """Stop a model whose deep copy answers differently, or still shares tensors with it."""
    old, batch = trained(subject)
    before = answer(old, batch)
    try:
        copied = copy.deepcopy(old.module)
    except Exception as error:
        yield Finding(
            kind="lost-state",
            severity="warn",
            where="",
            evidence=f"copy.deepcopy(model) raises {type(error).__name__} after two training steps:"
            f" {first(error)}",
            explanation="averaged weights, teachers and many trainers start from a deep copy",
            fix="do not keep tensors with a graph (detach them), locks, files or generators in "
            "attributes",
        )
        return
    twin = Bench(subject, copied, old.dtype, old.kind, False)
    again = Repeated(twin, batch)
    path, gap = moved(before, again())
    if moved(before, answer(old, batch))[1] or moved(again(), again())[1]:
        raise NotApplicable("two calls differ: see determinism and state")
    if gap:
        yield Finding(
            kind="lost-state",
            severity="fail",
            where="",
            evidence=f"a deep copy of the model gives an answer that differs by {gap:.2g} of its "
            f"size{f' (output {path!r})' if path else ''}",
            explanation="something the answer depends on is not copied",
            fix=REGISTER,
        )
        return
    yield from shared(old, again, before)


def shared(old: Bench, again: Repeated, before: Mapping[str, Tensor]) -> Iterator[Finding]:
    """Find weights that a copy reads from the module it was copied from."""
    seed_all(3)
    with torch.no_grad():
        for parameter in old.module.parameters():
            if parameter.is_floating_point():
                parameter.add_(torch.randn_like(parameter), alpha=0.5)
    state = snapshot(again.bench.module)
    path, gap = moved(before, again())
    if gap and all(torch.equal(x, again.state[n]) for n, x in state.items() if n in again.state):
        yield Finding(
            kind="broken-tie",
            severity="fail",
            where="",
            evidence=f"changing the model's parameters changes the answer of its deep copy by "
            f"{gap:.2g} of its size{f' (output {path!r})' if path else ''}",
            explanation="the copy still reads tensors of the first model, through a function, a "
            "hook or a reference that deepcopy does not follow: a frozen teacher would move with "
            "its student",
            fix="do not keep functions that close over self or over parameters; make them methods",
        )


def table() -> tuple[tuple[str, Callable[[Subject], Iterable[Finding]], str], ...]:
    """List the checks of this file."""
    return (
        ("save_load", check_save_load, "a state dict brings the answers back in a fresh model"),
        ("copies", check_copies, "a deep copy answers alike and shares nothing"),
    )


ROWS = tuple(Check(name=name, run=run, about=about) for name, run, about in table())

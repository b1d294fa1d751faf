"""Whether evaluation runs in eval mode, changes nothing, and gives train mode back."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from zoo.testing.checks.training import crashed, finding, is_number, size_of
from zoo.testing.checks.training_loop import Loop, LoopError, raw_batch, some, trainer_of
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.finding import Finding
from zoo.testing.guard import seed_all
from zoo.testing.stress import apart
from zoo.testing.subject import Subject
from zoo.testing.trees import tensors


def check_evaluate(subject: Subject) -> Iterable[Finding]:
    """Watch every module while the trainer evaluates, and compare the model before and after."""
    trainer = trainer_of(subject, "evaluate")
    model = subject.fresh()
    size = size_of(subject)
    batches = [raw_batch(subject, size, 20 + i) for i in range(2)]
    modes = {n: m.training for n, m in model.named_modules()}
    state = copied(model)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.ones_like(parameter)
    watch = Modes(model)
    seed_all(1)
    try:
        value = watch.run(lambda: trainer.evaluate(model, batches))  # type: ignore[misc]
    except Exception as error:
        yield crashed(LoopError("evaluate", error))
        return
    training = [n for n, on in watch.training.items() if on]
    changed = [n for n, x in copied(model).items() if apart(x, state[n]) > 0]
    if watch.training.get("", False) or any(matters(model, n) for n in training):
        yield in_train_mode(subject, model, training, changed)
    elif changed:
        yield finding(
            "eval-mode",
            f"evaluation changed {len(changed)} tensors of the model: {some(changed)}",
            "a model that is looked at must stay as it is",
            "evaluate under model.eval() and torch.no_grad(), without optimizer steps",
        )
    yield from not_given_back(model, modes)
    touched = [
        n
        for n, p in model.named_parameters()
        if p.requires_grad and (p.grad is None or not bool((p.grad == 1).all()))
    ]
    if touched:
        yield finding(
            "eval-mode",
            f"evaluation changed the gradients of {len(touched)} parameters: {some(touched)}",
            "gradients of the training step around it are lost, or mixed with the evaluation's",
            "evaluate under torch.no_grad(), without backward() and zero_grad()",
            "warn",
        )
    elif watch.graphs:
        yield finding(
            "eval-mode",
            "gradients were on while the model ran in evaluation",
            "graphs are built for nothing, and held as long as an output or a loss is kept",
            "run evaluation under torch.no_grad() or torch.inference_mode()",
            "warn" if any(x.requires_grad for x in tensors(value).values()) else "info",
        )
    yield from mean_of_means(subject, trainer.evaluate, model)


class Modes:
    """Notes in which mode every module of a model runs, and whether gradients are on."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.training: dict[str, bool] = {}
        self.calls, self.graphs = 0, False

    def run(self, work: Any) -> Any:
        """Run something under watch."""
        handles = [
            part.register_forward_pre_hook(self.seer(name))
            for name, part in self.model.named_modules()
        ]
        try:
            return work()
        finally:
            for handle in handles:
                handle.remove()

    def seer(self, name: str) -> Any:
        """Make the hook of one module."""

        def see(module: nn.Module, _inputs: Any) -> None:
            self.calls += 1
            self.graphs = self.graphs or torch.is_grad_enabled()
            self.training[name] = self.training.get(name, False) or module.training

        return see


def copied(model: nn.Module) -> dict[str, Tensor]:
    """Copy every parameter and buffer by name."""
    every = (*model.named_parameters(), *model.named_buffers())
    return {n: x.detach().clone() for n, x in every}


def matters(model: nn.Module, name: str) -> bool:
    """Say whether a module of torch's own does other things in train mode."""
    part = dict(model.named_modules()).get(name)
    if isinstance(part, _DropoutNd):
        return part.p > 0
    return isinstance(part, nn.modules.batchnorm._NormBase)


def modes_differ(subject: Subject) -> bool:
    """Say whether train mode and eval mode give other numbers on the same batch."""
    batch = subject.batch(size_of(subject))
    found = []
    for train in (True, False):
        module = subject.fresh(train=train)
        seed_all(3)
        with torch.no_grad():
            found.append(subject.main(subject.call(module, batch)))
    return apart(found[0], found[1]) > 1e-6


def in_train_mode(
    subject: Subject, model: nn.Module, training: list[str], changed: list[str]
) -> Finding:
    """Make the finding of an evaluation in train mode."""
    try:
        differ = modes_differ(subject)
    except Exception:
        differ = True
    also = f"; it changed {some(changed)}" if changed else ""
    named = [n for n in training if matters(model, n)]
    return finding(
        "eval-mode",
        f"while the trainer evaluated, {len(training)} modules ran in train mode"
        + (f", {some(named)} among them" if named else "")
        + also,
        "dropout drops and batch norm learns from what is only to be measured: the result is "
        "another model's, and a draw"
        if differ or changed
        else "this model gives the same numbers in both modes today; the next dropout changes that",
        "call model.eval() at the beginning of the evaluation, and model.train(before) at its end",
        "fail" if differ or changed else "warn",
    )


def not_given_back(model: nn.Module, modes: Mapping[str, bool]) -> Iterable[Finding]:
    """Find modules that evaluation left in another mode."""
    left = [n for n, m in model.named_modules() if m.training != modes.get(n, m.training)]
    if not left:
        return
    root = model.training != modes[""]
    mode = "eval" if modes[left[0]] else "train"
    yield finding(
        "eval-mode",
        f"after evaluation {len(left)} of {len(modes)} modules stand in {mode} mode, and before "
        f"it they did not" + ("" if root else f": {some(left)}"),
        "training goes on without dropout and with frozen batch statistics from the first "
        "evaluation on"
        if mode == "eval"
        else "modules that were kept in eval mode on purpose are switched to train mode",
        "note was_training = model.training first, and call model.train(was_training) at the end",
        "fail" if root else "warn",
    )


def mean_of_means(subject: Subject, evaluate: Any, model: nn.Module) -> Iterable[Finding]:
    """Compare batches of 4 and 2 rows with the mean over rows, and with the mean of both means."""
    size = size_of(subject)
    large, small = raw_batch(subject, 2 * size, 31), raw_batch(subject, size, 32)
    try:
        seed_all(1)
        model.eval()
        one, other, both, twice = (
            evaluate(model, batches)
            for batches in ([large], [small], [large, small], [large, large, small])
        )
    except Exception:
        return
    if not all(is_number(v) for v in (one, other, both, twice)):
        return
    a, b = float(one), float(other)
    middle, third = (a + b) / 2, (2 * a + b) / 3
    gap = abs(a - b)
    if gap < 1e-3 * max(abs(a), abs(b)) or gap == 0:
        return
    if abs(float(both) - middle) < 1e-6 * gap and abs(float(twice) - third) < 1e-6 * gap:
        yield finding(
            "eval-mode",
            f"a batch of {2 * size} rows gives {a:.6g}, one of {size} gives {b:.6g}, and both "
            f"together {float(both):.6g}: the mean of the two, whatever their sizes",
            "rows of the last, smaller batch count more than the others; the result changes with "
            "the batch size",
            "add up sums and counts of rows (or tokens), and divide once at the end",
            "warn",
        )


def check_train_mode(subject: Subject) -> Iterable[Finding]:
    """See in which mode the model trains: at first, and after an evaluation."""
    trainer = trainer_of(subject, "step")
    loop = Loop(subject)
    size = size_of(subject)
    first = loop.step(loop.batch(size)).modes
    if not first:
        raise NotApplicable("the step does not call the model itself")
    before = any(first)
    try:
        differ = modes_differ(subject)
    except Exception:
        differ = False
    if not before and differ:
        yield finding(
            "eval-mode",
            "the model was in train mode before step(), and every forward pass of the step ran "
            "in eval mode",
            "dropout and batch statistics are off while the model learns",
            "call model.train() at the beginning of the step; use model.eval() in evaluation alone",
            "warn",
        )
    if before and trainer.evaluate is not None:
        loop.tried("evaluate", trainer.evaluate, loop.model, [loop.batch(size)])
        if not any(loop.step(loop.batch(size, 1)).modes):
            yield finding(
                "eval-mode",
                "the first step ran in train mode; after one evaluation the next step ran in eval "
                "mode",
                "from the first evaluation on, training goes on without dropout and with frozen "
                "batch statistics",
                "give train mode back at the end of the evaluation, and call model.train() at the "
                "beginning of every step",
            )


ROWS = (
    Check(
        name="evaluate",
        run=check_evaluate,
        about="evaluation runs in eval mode, changes nothing, and gives train mode back",
    ),
    Check(
        name="train_mode",
        run=check_train_mode,
        about="a training step trains in train mode, after an evaluation too",
    ),
)

"""Whether training that was saved and loaded goes on as if it had never stopped, bit by bit.

One loop makes five steps. Another makes three and is saved; a fresh model, optimizer and scheduler,
built under another seed, load that and make the last two. Every step is seeded, so that what the
trainer does not save of the random generators is no matter here.
"""

import io
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from zoo.testing.checks.training import crashed, finding, size_of
from zoo.testing.checks.training_eval import copied
from zoo.testing.checks.training_loop import (
    Loop,
    LoopError,
    optimizers_in,
    rates_of,
    some,
    trainer_of,
)
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.finding import Finding
from zoo.testing.subject import Subject
from zoo.testing.trees import changed, leaves, tensors

BEFORE, AFTER = 3, 2


def check_resume(subject: Subject) -> Iterable[Finding]:
    """Compare training that went on after loading with training that never stopped."""
    trainer = trainer_of(subject, "step", "save", "load")
    assert trainer.save is not None and trainer.load is not None
    whole, twin = run(subject), run(subject)
    if apart(state_of(whole), state_of(twin)):
        raise NotApplicable("two runs from one seed differ by themselves")
    first = started(subject)
    try:
        saved = first.tried("save", trainer.save, first.model, first.optimizer, first.scheduler)
        kept, spare = stored(saved), stored(saved)  # who loads a state may go on to change it
        later = Loop(subject, seed=subject.seed + 1)
        later.tried("load", trainer.load, kept, later.model, later.optimizer, later.scheduler)
    except LoopError as error:
        yield crashed(error)
        return
    lost = apart(state_of(first), state_of(later))
    before = {n: x.clone() for n, x in tensors(saved).items()}
    go_on(later)
    go_on(first)
    wrong = apart(state_of(whole), state_of(later))
    if wrong:
        if lost or not kept_by_gradients(subject, spare, whole):
            yield not_the_same(wrong, lost, later)
        return
    alias = [n for n, x in tensors(saved).items() if not torch.equal(x, before[n])]
    if 0 < len(alias) < len(moving(first, saved)):  # all live is the way of who writes at once
        yield finding(
            "resume",
            f"training on after save() changed {len(alias)} tensors of what it gave, and not the "
            f"others: {some(alias)}",
            "a part of what is saved is a copy, and a part shares its memory with the live "
            "model: kept in memory (as the best state so far, say) that part is always the latest",
            "copy it: copy.deepcopy(model.state_dict())",
            "info",
        )


def kept_by_gradients(subject: Subject, kept: Any, whole: Loop) -> bool:
    """Say whether all would go on alike with the gradients that the last step left behind."""
    load = trainer_of(subject, "load").load
    assert load is not None
    first, later = started(subject), Loop(subject, seed=subject.seed + 1)
    load(kept, later.model, later.optimizer, later.scheduler)
    left = first.parameters()
    for name, parameter in later.parameters().items():
        if name in left and left[name].grad is not None:
            parameter.grad = left[name].grad
    return not apart(state_of(go_on(later)), state_of(whole))


def moving(loop: Loop, saved: Any) -> list[str]:
    """Give the names of what was saved of parameters that training changes."""
    live = {id(p): p for p in loop.model.parameters() if p.requires_grad}
    shapes = {tuple(p.shape) for p in live.values()}
    return [n for n, x in tensors(saved).items() if tuple(x.shape) in shapes]


def started(subject: Subject) -> Loop:
    """Make the first steps."""
    loop = Loop(subject)
    for i in range(BEFORE):
        loop.step(loop.batch(size_of(subject), i), i)
    return loop


def go_on(loop: Loop) -> Loop:
    """Make the last steps."""
    for i in range(BEFORE, BEFORE + AFTER):
        loop.step(loop.batch(size_of(loop.subject), i), i)
    return loop


def run(subject: Subject) -> Loop:
    """Make all steps."""
    return go_on(started(subject))


def stored(saved: Any) -> Any:
    """Give what a file would give back; where it cannot be written, a copy."""
    try:
        file = io.BytesIO()
        torch.save(saved, file)
        file.seek(0)
        return torch.load(file, weights_only=False)
    except Exception:
        return changed(saved, lambda x: x.detach().clone())


def state_of(loop: Loop) -> dict[str, Any]:
    """Give all that a loop knows, by name: weights, buffers, the optimizer's state, rates."""
    found: dict[str, Any] = {f"model {n}": x for n, x in copied(loop.model).items()}
    names = {id(p): n for n, p in loop.parameters().items()}
    for optimizer in optimizers_in(loop.optimizer):
        for parameter, values in optimizer.state.items():
            name = names.get(id(parameter), "?")
            for key, value in leaves(values).items():
                kept = value.detach().clone() if isinstance(value, Tensor) else value
                found[f"optimizer {key} of {name}"] = kept
    found["rate"] = tuple(rates_of(loop.optimizer))
    state = getattr(loop.scheduler, "state_dict", None)
    if state is not None:
        given = leaves(state())
        for key in ("last_epoch", "best", "num_bad_epochs"):
            if key in given:
                found[f"scheduler {key}"] = given[key]
    return found


def apart(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Give the names of what differs."""
    return [n for n in {**one, **other} if not same(one.get(n), other.get(n))]


def same(one: Any, other: Any) -> bool:
    """Say whether two values are the same bits; numbers and tensors of one number may meet."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        alike = one.shape == other.shape and one.dtype == other.dtype
        return alike and bool(((one == other) | (one.isnan() & other.isnan())).all())
    if isinstance(one, Tensor) or isinstance(other, Tensor):
        return one is not None and other is not None and float(one) == float(other)
    return bool(one == other)


def not_the_same(wrong: list[str], lost: list[str], later: Loop) -> Finding:
    """Say what was not brought back."""
    parts = {p: [n for n in lost if n.startswith(p)] for p in ("model", "optimizer", "scheduler")}
    rate = "rate" in lost
    ends = f"after {AFTER} more steps {len(wrong)} values differ from those of a run without a stop"
    if parts["model"]:
        buffers = {f"model {n}" for n, _ in later.model.named_buffers()}
        what = "buffers" if all(n in buffers for n in parts["model"]) else "weights"
        missing = f"{what} of the model: {some([n.removeprefix('model ') for n in parts['model']])}"
        fix = "save model.state_dict() with all parameters and buffers, and load it strictly"
    elif parts["optimizer"]:
        missing = f"the optimizer's state: {some([n[10:] for n in parts['optimizer']])}"
        fix = (
            "save optimizer.state_dict() and load it into the new optimizer, after the model's "
            "weights"
        )
    elif parts["scheduler"] or rate:
        missing = "where the scheduler stands" + (" (the learning rate differs)" if rate else "")
        fix = "save scheduler.state_dict() and load it; do not step it while loading"
    else:
        missing = "something that is no weight, buffer, rate or state of the optimizer"
        fix = (
            "save what the training step remembers besides: plain attributes of the model, counts "
            "of steps, averages of weights, the scaler"
        )
    return finding(
        "resume",
        f"right after load() this was not what had been saved: {missing}; {ends}"
        if lost
        else f"{missing} was lost: all was there after load(), but {ends} ({some(wrong)})",
        "training that is resumed is another training: it jumps, or warms up again",
        fix,
    )


ROWS = (
    Check(
        name="resume",
        run=check_resume,
        about="saved, loaded and continued training gives the same bits as training without a stop",
    ),
)

"""Whether evaluation, or an input of another size, leaves something behind that changes training or
the next answer.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from zoo.testing.checks.memory import owner_of, vars_of
from zoo.testing.checks.running_spy import answer, bring_back, fresh_bench, moved, snapshot, told
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.finding import Finding
from zoo.testing.guard import described
from zoo.testing.stress import Bench
from zoo.testing.subject import Subject

LARGE = 5e6  # parameters: fewer sizes are tried


def check_evaluation_forgotten(subject: Subject) -> Iterable[Finding]:
    """Stop a model that trains in another way once it has been evaluated."""
    if subject.spec.stateful:
        raise NotApplicable("the model remembers on purpose")
    rows = max(3, subject.spec.min_batch_train or 1)
    untouched, evaluated, control = (fresh_bench(subject, train=True) for _ in range(3))
    batch, other = untouched.batch(rows), untouched.batch(rows, 1)
    try:
        evaluated.module.eval()
        state = snapshot(evaluated.module)
        answer(evaluated, other)
        evaluated.module.train()
        bring_back(evaluated.module, state)
        one, two = asking(untouched), asking(evaluated)
        answer(control, other)  # the same in train mode, which another check looks at
        bring_back(control.module, state)
        first = answer(untouched, batch)
        usual = moved(first, answer(control, batch))[1]
        again = moved(first, answer(fresh_bench(subject, train=True), batch))[1]
    except Exception as error:
        raise NotApplicable("a mode does not run: see sizes") from error
    lost = sorted(n for n in one if one[n] and not two.get(n, True))
    if lost:
        yield no_longer_asked(lost)
        return
    if usual or again:
        return  # it does not give the same numbers twice, or train mode changes it too
    names = left_changed(subject, other, rows)
    try:
        path, gap = moved(first, answer(evaluated, batch))
    except Exception as error:
        yield trained_otherwise(names, f"raises {type(error).__name__}: {str(error)[:200]}")
        return
    if not untouched.bound >= gap:
        how = f"differs by {gap:.2g} of its size{f' (output {path!r})' if path else ''}"
        yield trained_otherwise(names, how)


def asking(bench: Bench) -> dict[str, bool]:
    """Say which parameters ask for a gradient."""
    return {n: p.requires_grad for n, p in bench.module.named_parameters()}


def no_longer_asked(lost: list[str]) -> Finding:
    """Make the finding of parameters that evaluation freezes."""
    return Finding(
        kind="frozen",
        severity="fail",
        where=owner_of(lost),
        evidence=f"after eval(), a forward pass and train(), {', '.join(lost[:4])} ({len(lost)} in "
        "all) no longer ask for a gradient; before they did",
        explanation="after the first evaluation these parameters are trained no more, and no "
        "error says so",
        fix="leave requires_grad alone in eval() and in forward; torch.no_grad() around the "
        "evaluation is enough",
    )


def trained_otherwise(names: list[str], how: str) -> Finding:
    """Make the finding of train mode that is not what it was."""
    said = f"; what stays changed is {', '.join(names)}" if names else ""
    return Finding(
        kind="state-carried",
        severity="fail",
        where=owner_of(names),
        evidence="after eval(), a forward pass and train(), with all parameters and buffers put "
        f"back and the same seed, the answer in train mode {how} from that of a module that was "
        f"never evaluated; after a forward pass in train mode it does not{said}",
        explanation="evaluation changes the model for good: dropout that eval mode switched off, "
        "or a layer that it replaced, stays so for the rest of the training",
        fix="let eval mode change no attribute: ask self.training in forward, and undo in "
        "train(True) whatever train(False) or eval() does",
    )


def left_changed(subject: Subject, batch: Any, rows: int) -> list[str]:
    """Name what an evaluation leaves changed in a module that is in train mode again."""
    bench = fresh_bench(subject, train=True)
    before = {n: b"".join(described(x)) for n, x in vars_of(bench.module).items()}
    try:
        bench.module.eval()
        answer(bench, batch)
        bench.module.train()
    except Exception:
        return []
    later = {n: b"".join(described(x)) for n, x in vars_of(bench.module).items()}
    gone = [n for n in before if n not in later and not n.rpartition(".")[2].startswith("_")]
    return ([n for n, x in later.items() if before.get(n, x) != x] + gone)[:5]


def check_sizes_forgotten(subject: Subject) -> Iterable[Finding]:
    """Stop a model that keeps something made for the size of an earlier input."""
    if subject.spec.stateful:
        raise NotApplicable("the model remembers on purpose")
    bench = fresh_bench(subject)
    batch = bench.batch()
    made = list(resized(subject, batch))
    if not made:
        raise NotApplicable("no input has places that could be more or fewer")
    first: dict[str, Tensor] | None = None
    for what, other in made[: 2 if subject.built.count > LARGE else 6]:
        used = fresh_bench(subject)
        try:
            answer(used, other)
        except Exception:
            continue  # the model does not take this size
        if first is None:
            first = answer(fresh_bench(subject), batch)
            if moved(first, answer(fresh_bench(subject), batch))[1]:
                raise NotApplicable("two fresh modules differ: see determinism")
        try:
            path, gap = moved(first, answer(used, batch))
            how = f"differs by {gap:.2g} of its size" + (f" (output {path!r})" if path else "")
        except Exception as error:
            gap, how = float("inf"), f"raises {type(error).__name__}: {str(error)[:200]}"
        if gap:
            yield kept(subject, what, other, how)
            return


def kept(subject: Subject, what: str, other: Any, how: str) -> Finding:
    """Make the finding of something made for another size that is used again."""
    bench = fresh_bench(subject)
    before = {n: b"".join(described(x)) for n, x in vars_of(bench.module).items()}
    answer(bench, other)
    later = {n: b"".join(described(x)) for n, x in vars_of(bench.module).items()}
    names = [n for n, x in later.items() if before.get(n) != x][:5]
    said = f"; the call changes {', '.join(names)}" if names else ""
    return Finding(
        kind="state-carried",
        severity="fail",
        where=owner_of(names),
        evidence=f"in eval mode, after a call with {what} the answer to a batch {how} from a fresh "
        f"module's{said}",
        explanation=f"what {told(owner_of(names))} made for the first call's size (a grid, a mask, "
        "positions) is kept and used for another: the answer depends on what came before",
        fix="make grids, masks and positions from the input at every call, or keep them by their "
        "full size and dtype, and make them anew when either changes",
    )


def resized(subject: Subject, batch: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give batches whose places are fewer, more, or the other way round, one axis or two."""
    real = {n: x for n, x in subject.arguments(dict(batch)).items() if is_placed(x)}
    if not real:
        return
    like = max(real.values(), key=lambda x: x.dim())
    axes = list(range(like.dim()))[1:] if like.dim() == 3 else list(range(like.dim()))[2:]
    pairs = {n: x for n, x in real.items() if x.dim() == like.dim()}
    if len(axes) == 2 and like.dim() == 4 and like.shape[-1] != like.shape[-2]:
        turned = {n: x.transpose(-1, -2).contiguous() for n, x in pairs.items()}
        yield "the input's height and width exchanged", {**batch, **turned}
    sizes: list[tuple[str, Callable[[int], int]]] = [
        ("half as many", lambda n: n // 2),
        ("twice as many", lambda n: 2 * n),
    ]
    groups = [[a] for a in axes] if like.dim() == 3 else [axes, axes[-1:]]
    for word, size in sizes:
        for group in groups:
            if any(like.shape[a] < 4 for a in group):
                continue
            changed = {}
            for name, x in batch.items():
                changed[name] = x
                if isinstance(x, Tensor):
                    changed[name] = along(x, name in pairs, group, like, size)
            yield f"{word} places along axes {group} of its input", changed


def is_placed(x: Any) -> bool:
    """Say whether an input has axes of places: an image, a signal, or a sequence of vectors."""
    return isinstance(x, Tensor) and x.is_floating_point() and x.dim() >= 3


def along(
    x: Tensor, whole: bool, axes: list[int], like: Tensor, size: Callable[[int], int]
) -> Tensor:
    """Cut or repeat a tensor along axes, where it has them as `like` does."""
    for axis in axes:
        fits = x.dim() > axis and x.shape[axis] == like.shape[axis]
        if fits and (whole or x.dim() >= 2):
            where = torch.arange(size(x.shape[axis])) % x.shape[axis]
            x = x.index_select(axis, where.to(x.device))
    return x


def table() -> tuple[tuple[str, Callable[[Subject], Iterable[Finding]], str], ...]:
    """List the checks of this file."""
    return (
        (
            "evaluation_forgotten",
            check_evaluation_forgotten,
            "training after an evaluation is as it was before",
        ),
        (
            "sizes_forgotten",
            check_sizes_forgotten,
            "an input of another size leaves nothing behind",
        ),
    )


ROWS = tuple(Check(name=name, run=run, about=about) for name, run, about in table())

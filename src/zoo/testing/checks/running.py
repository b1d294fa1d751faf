"""Whether a model runs at all, and whether the numbers of a first step are finite."""

import re
import traceback
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo.testing import blame
from zoo.testing.engine import Check
from zoo.testing.finding import Finding
from zoo.testing.spec import ModelSpec
from zoo.testing.subject import SpecError, Subject


def first_run(spec: ModelSpec, seed: int) -> tuple[Subject | None, list[Finding]]:
    """Build a model and run it once; what it raises is the one finding there is."""
    subject = None
    try:
        subject = Subject(spec, seed)
        subject.prepare()
    except SpecError:
        raise
    except Exception as error:
        return subject, [crash(error, "a batch of 3 rows" if subject else "build()")]
    return subject, []


def crash(error: Exception, what: str) -> Finding:
    """Make the finding of a model that raises."""
    said = (str(error).splitlines() or [""])[0][:400]
    return Finding(
        kind="crash",
        severity="fail",
        where=raised_in(error),
        line=raised_at(error),
        evidence=f"{what} raised {type(error).__name__}: {said}",
        explanation="nothing else can be checked before the model runs",
        fix="make build() and forward(**batch(3)) work; the line above is where it stopped",
    )


def raised_at(error: BaseException) -> str:
    """Give file, line and text of the innermost code of the user's own."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if blame.is_users(frame.filename):
            return f"{Path(frame.filename).name}:{frame.lineno} {frame.line or ''}".strip()
    return ""


def raised_in(error: BaseException) -> str:
    """Give the dotted path of the innermost module whose forward was running."""
    inside: list[nn.Module] = []
    for frame, _ in traceback.walk_tb(error.__traceback__):
        owner = frame.f_locals.get("self")
        if isinstance(owner, nn.Module) and frame.f_code.co_name == "forward":
            inside.append(owner)
    if not inside:
        return ""
    names = {id(part): name for name, part in inside[0].named_modules()}
    return next((names[id(part)] for part in reversed(inside) if id(part) in names), "")


def check_forward(subject: Subject) -> Iterable[Finding]:
    """Stop a model whose forward, loss or gradients are not finite, in eval and in train mode."""
    rows = max(3, subject.spec.min_batch_train or 1)
    for train in (False, True):
        module = subject.fresh(train=train)
        try:
            found = list(first_step(subject, module, subject.batch(rows), train))
        except Exception as error:
            mode = "train" if train else "eval"
            yield crash(error, f"forward, loss and backward of {rows} rows in {mode} mode")
            return
        yield from found
        if found:
            return
    yield from always_nan(subject)


def always_nan(subject: Subject) -> Iterator[Finding]:
    """Find a number beside the output that is NaN for every batch: a metric, a part of a loss."""
    never: set[str] | None = None
    try:
        for seed in range(3):
            module = subject.fresh(train=bool(seed % 2))
            batch = subject.batch(max(4, subject.spec.min_batch_train or 1), seed)
            with torch.no_grad():
                every = subject.outputs(subject.call(module, batch))
            here = {n for n, x in every.items() if x.numel() and not x.dim() and bad(x)}
            never = here if never is None else never & here
            if not never:
                return
    except Exception:
        return  # sizes are another check's
    place = first_bad(subject, module, batch)
    yield Finding(
        kind="non-finite",
        severity="fail",
        where=place.where,
        line=place.line,
        evidence=f"the output {min(never or {''})!r} is NaN for each of 3 ordinary batches, in "
        f"train and in eval mode; it begins at {place.name or 'an op'} in {place}",
        explanation="a number that is never one says nothing, and makes NaN of all that is "
        "computed from it",
        fix="bound what goes into that op: 0 * log(0) is NaN, so (x + eps).log(), torch.xlogy or "
        "torch.special.entr; an eps in divisions",
    )


def first_step(subject: Subject, module: nn.Module, batch: Any, train: bool) -> Iterator[Finding]:
    """Run forward, loss and backward once, and find what is not finite."""
    mode = "train" if train else "eval"
    output = subject.call(module, batch)
    main = subject.main(output)
    if bad(main):
        yield from not_finite(
            subject, module, batch, f"in {mode} mode, on a batch of 3 rows", "fail"
        )
        return
    if not subject.has_loss():
        return
    value = subject.loss(output, batch)
    if bool((~value.isfinite()).any()):
        yield Finding(
            kind="non-finite",
            severity="fail",
            where="",
            line=bad_line(lambda: subject.loss(subject.call(module, batch), batch), module),
            evidence=f"in {mode} mode the loss of a batch is {float(value.sum())}, though the "
            "output is finite",
            explanation="the first step already makes every weight NaN",
            fix="look at logarithms, divisions and roots in the loss: log_softmax instead of "
            "log(softmax), and an eps inside log and sqrt; a mean over no labels is 0/0",
        )
        return
    if not value.requires_grad:
        return
    value.sum().backward()
    wrong = [n for n, p in module.named_parameters() if p.grad is not None and bad(p.grad, True)]
    if wrong:
        yield bad_gradient(subject, module, batch, wrong, f"in {mode} mode", "fail")


def bad(x: Tensor, infinite: bool = False) -> bool:
    """Say whether a tensor holds NaN (or infinity)."""
    if not (x.is_floating_point() or x.is_complex()):
        return False
    x = x.coalesce().values() if x.is_sparse else x
    return bool(x.isnan().any()) or (infinite and bool(x.isinf().any()))


def not_finite(
    subject: Subject, module: nn.Module, batch: Any, when: str, severity: Any
) -> Iterator[Finding]:
    """Find the op that first gives NaN, or infinity before it."""
    place = first_bad(subject, module, batch)
    yield Finding(
        kind="non-finite",
        severity=severity,
        where=place.where,
        line=place.line,
        evidence=f"the output holds NaN {when}; it begins at {place.name or 'an op'} in {place}",
        explanation="NaN spreads to everything that is computed from it, and through one step to "
        "every weight",
        fix="bound what goes into that op: eps in divisions, roots and logarithms; softmax and "
        "logsumexp from torch, which take the maximum off first; no row masked out entirely",
    )


def first_bad(subject: Subject, module: nn.Module, batch: Any) -> blame.Place:
    """Find where NaN first stands, looking past masks of minus infinity."""
    made = blame.record(module, lambda: subject.call(module, batch))
    return blame.first_bad(made, bad) or blame.Place("")


def bad_line(run: Any, module: nn.Module) -> str:
    """Give the line at which a run first gives something that is not finite."""
    try:
        place = blame.first_bad(blame.record(module, run), lambda x: bad(x, True))
    except Exception:
        return ""
    return place.line if place else ""


def bad_gradient(
    subject: Subject, module: nn.Module, batch: Any, names: list[str], when: str, severity: Any
) -> Finding:
    """Make the finding of gradients that are not finite, naming the op whose backward it is."""
    op, line = culprit(subject, module, batch)
    where = names[0].rpartition(".")[0]
    if line:
        made = blame.record(module, lambda: subject.call(module, batch))
        head = line.split(" ", 1)[0]
        where = next((s.module for s in made.steps if s.line.split(" ", 1)[0] == head), where)
    return Finding(
        kind="non-finite",
        severity=severity,
        where=where,
        line=line,
        evidence=f"{when} the output is finite and the gradient of {names[0]}"
        f"{f' and {len(names) - 1} more' if len(names) > 1 else ''} is not"
        + (f"; {op} is the first whose backward gives NaN" if op else ""),
        explanation="one step makes these weights NaN: roots and norms have an infinite slope at "
        "0, and 0 times infinity is NaN even where torch.where hides the value",
        fix="keep the argument away from the edge before the op: (x + eps).sqrt(), "
        "x.clamp_min(eps).log(), torch.where on the argument and not on the result",
    )


def culprit(subject: Subject, module: nn.Module, batch: Any) -> tuple[str, str]:
    """Name the first backward that gives NaN, and the line of its forward."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            with torch.autograd.set_detect_anomaly(True):
                output = subject.call(module, batch)
                value = (
                    subject.loss(output, batch)
                    if subject.has_loss()
                    else subject.main(output).sum()
                )
                value.sum().backward()
        except RuntimeError as error:
            name = re.search(r"Function '(\w+)'", str(error))
            text = "\n".join(str(w.message) for w in said)
            return (name.group(1) if name else ""), user_frame(text)
    return "", ""


def user_frame(text: str) -> str:
    """Give the innermost line of the user's own in a traceback's text."""
    found = re.findall(r'File "([^"]+)", line (\d+), in [^\n]*\n\s*([^\n]*)', text)
    for file, number, code in reversed(found):
        if blame.is_users(file):
            return f"{Path(file).name}:{number} {code}".strip()
    return ""


ROWS = (
    Check(name="forward", run=check_forward, about="a first step runs and its numbers are finite"),
)

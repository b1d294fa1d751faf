"""Whether a model works at every ordinary size, and gives the shape that belongs to it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from zoo.testing.checks.running import raised_at, raised_in
from zoo.testing.engine import Check, NotApplicable
from zoo.testing.finding import Finding
from zoo.testing.subject import Subject, is_real
from zoo.testing.trees import tensors

KNOWN = (2, 3, 5)
SQUEEZE = "squeeze() and reshape without an axis or with a number drop or fix the batch axis"
ONE_VALUE = "more than 1 value per channel"


def check_sizes(subject: Subject) -> Iterable[Finding]:
    """Stop a model that fails, or loses an axis, at some number of rows."""
    shapes: dict[int, dict[str, tuple[int, ...]]] = {}
    for train in (False, True):
        module = subject.fresh(train=train)
        for size in (3, 5, 2, 7, 1) if not train else (7, 2, 1):
            batch = made(subject, size)
            if batch is None or (train and size < (subject.spec.min_batch_train or 1)):
                continue
            if subject.spec.stateful:
                module = subject.fresh(train=train)
            found = ran(subject, module, batch, size, train, shapes)
            if found is not None:
                anew = ran(subject, subject.fresh(train=train), batch, size, train, {})
                odd = list(odd_shapes(subject, shapes))
                yield odd[0] if odd and anew else anew or kept_size(found)
                return
    yield from odd_shapes(subject, shapes)
    yield from declared_shapes(subject)


def made(subject: Subject, size: int) -> dict[str, Any] | None:
    """Make a batch, if the author's function makes one of this size."""
    try:
        return subject.batch(size)
    except Exception:
        return None


def ran(
    subject: Subject, module: Any, batch: Any, size: int, train: bool, shapes: Any
) -> Finding | None:
    """Run forward, and in train mode loss and backward; what they raise is a finding."""
    part = "forward"
    try:
        output = subject.call(module, batch)
        if not train:
            found = subject.outputs(output)
            shapes[size] = {"": tuple(subject.main(output).shape)} | {
                f"output {n!r}": tuple(x.shape) for n, x in found.items() if is_real(x)
            }
        if subject.has_loss():
            part = "the loss"
            value = subject.loss(output, batch)
            if train and value.requires_grad:
                part = "backward"
                value.sum().backward()
    except Exception as error:
        if ONE_VALUE in str(error) and (
            size == 1 and train and subject.spec.min_batch_train is None
        ):
            return None  # batch norm has nothing to normalise one row by
        return failed(error, part, size, train)
    return None


def failed(error: Exception, part: str, size: int, train: bool) -> Finding:
    """Make the finding of a size at which something raises."""
    words = " ".join(str(error).split())[:300]
    rows = f"{size} row" + ("s" if size > 1 else "")
    return Finding(
        kind="crash" if part != "forward" or size in KNOWN else "shape",
        severity="fail",
        where=raised_in(error),
        line=raised_at(error),
        evidence=f"with {rows} in {'train' if train else 'eval'} mode, {part} raises "
        f"{type(error).__name__}: {words}",
        explanation="a batch of any number of rows must work: the last batch of an epoch is "
        f"shorter, and a served request has one row; {SQUEEZE}"
        if part == "forward"
        else f"training stops at the first batch of this size; {SQUEEZE}",
        fix="take the number of rows from the input (x.size(0)), and name the axis: squeeze(-1), "
        "flatten(1)"
        + ("; if train mode needs more rows, declare min_batch_train" if train else ""),
    )


def kept_size(found: Finding) -> Finding:
    """Turn the finding of a size that a fresh module takes into one of state."""
    return replace(
        found,
        kind="state-carried",
        evidence=f"after calls of other sizes: {found.evidence}; a fresh module takes it",
        explanation="something made for the first call's size is kept and used again",
        fix="make masks, positions and states from the input at every call, or make them anew "
        "when the size changes",
    )


def odd_shapes(
    subject: Subject, shapes: Mapping[int, Mapping[str, tuple[int, ...]]]
) -> Iterator[Finding]:
    """Find outputs whose shape at 1 or 7 rows is not what it is at 2, 3 and 5."""
    known = [size for size in KNOWN if size in shapes]
    if len(known) < 2:
        return
    for name, whole in shapes[known[0]].items():
        every = {size: shapes[size].get(name) for size in known}
        if any(s is None or len(s) != len(whole) for s in every.values()):
            continue
        axes = [a for a in range(len(whole)) if follows(a, every)]
        rest = [a for a in range(len(whole)) if a not in axes]
        if not axes or any(len({s[a] for s in every.values() if s}) > 1 for a in rest):
            continue
        for size in sorted(set(shapes) - set(known)):
            want = tuple(size if a in axes else n for a, n in enumerate(whole))
            got = shapes[size].get(name)
            if got != want:
                yield Finding(
                    kind="shape",
                    severity="fail",
                    where="",
                    evidence=f"the {name or 'output'} of {known[0]} rows is {whole}; of {size} "
                    f"row{'s' if size > 1 else ''} it is {got}, expected {want}",
                    explanation=f"the batch axis is lost at this size; {SQUEEZE}",
                    fix="name the axis that has one entry: squeeze(-1) or squeeze(1), and keep the "
                    "batch axis in reshapes: x.reshape(x.size(0), -1)",
                )
                return


def follows(axis: int, every: Mapping[int, Any]) -> bool:
    """Say whether an axis is as long as the batch at every size."""
    return all(shape[axis] == size for size, shape in every.items())


def declared_shapes(subject: Subject) -> Iterator[Finding]:
    """Find an output that is not of the shape that was declared."""
    spec = subject.spec
    for size in (3, 2):
        batch, module = made(subject, size), subject.fresh(train=False)
        if batch is None:
            continue
        with torch.no_grad():
            shape = tuple(subject.main(subject.call(module, batch)).shape)
        want: Sequence[int] | None = None
        if spec.output_shape is not None:
            want = tuple(spec.output_shape(batch))
            if shape != want:
                yield misshapen(f"the output is {shape}; output_shape gives {want}")
                return
        axis = spec.output_batch_axis
        if axis is not None and (len(shape) <= axis or shape[axis] != size):
            yield misshapen(f"the output of {size} rows is {shape}; output_batch_axis={axis}")
            return
        said = wrong_classes(subject, shape)
        if said:
            yield misshapen(said)
            return
    yield from ignores_rows(subject)


def wrong_classes(subject: Subject, shape: tuple[int, ...]) -> str:
    """Say what is wrong with the number of classes in a shape, or nothing."""
    spec = subject.spec
    if spec.num_classes is None or not shape:
        return ""
    if spec.class_axis is not None:
        if not -len(shape) <= spec.class_axis < len(shape):
            return f"the output is {shape}, and class_axis={spec.class_axis} was declared"
        got = shape[spec.class_axis]
        if got != spec.num_classes and not (spec.num_classes == 2 and got == 1):
            return f"the output {shape} has {got} entries along axis {spec.class_axis}; " + (
                f"num_classes={spec.num_classes} was declared"
            )
        return ""
    strict = spec.task in ("classification", "token_classification", "segmentation")
    if strict and spec.num_classes > 2 and spec.num_classes not in shape:
        return f"no axis of the output {shape} has num_classes={spec.num_classes} entries"
    return ""


def misshapen(evidence: str) -> Finding:
    """Make the finding of an output that is not as declared."""
    return Finding(
        kind="shape",
        severity="fail",
        where="",
        evidence=evidence,
        explanation="a loss or a decoder that counts on the declared shape broadcasts, mixes rows "
        "or reads the wrong axis",
        fix="correct the last layer's size or the reshape before the output, or the declaration",
    )


def ignores_rows(subject: Subject) -> Iterator[Finding]:
    """Find an output that is of one shape however many rows are given."""
    if subject.spec.couples_batch is not False or subject.facts.output_batch_axis is not None:
        return
    shapes = {}
    for size in (2, 3, 5):
        batch = made(subject, size)
        if batch is None:
            return
        try:
            with torch.no_grad():
                output = subject.call(subject.fresh(train=False), batch)
        except Exception:
            return
        shapes[size] = tuple(subject.main(output).shape)
    grows = any(follows(a, {n: b.shape for n, b in rows_of(subject)}) for a in range(1))
    if grows and len(set(shapes.values())) == 1 and shapes[2]:
        yield misshapen(
            f"the output is {shapes[2]} whether 2, 3 or 5 rows are given; couples_batch=False was "
            "declared"
        )


def rows_of(subject: Subject) -> list[tuple[int, Tensor]]:
    """Give the first tensor that forward gets, by the number of rows asked for."""
    found = []
    for size in (2, 3, 5):
        every = tensors(subject.arguments(subject.batch(size)))
        found.append((size, next(x for x in every.values() if x.dim())))
    return found


def check_lengths(subject: Subject) -> Iterable[Finding]:
    """Stop a model of sequences that fails at an ordinary length."""
    facts, spec = subject.facts, subject.spec
    known = facts.inputs.get(facts.sequence or "")
    if facts.sequence is None or known is None or facts.length < 3:
        raise NotApplicable("no input has a known sequence axis")
    longest = known.max_length or 0
    module = subject.fresh(train=False)
    batch = subject.batch()
    if facts.output_sequence_axis is None and longest <= facts.length:
        raise NotApplicable("the model takes sequences of one length, or gives none")
    lengths = [n for n in (facts.length - 1, 2, 1) if n > 0]
    placed = any("pos" in n for n, x in facts.inputs.items() if x.kind == "index")
    if longest > facts.length and not placed:
        lengths.append(longest)
    for length in lengths:
        given = resized(subject, batch, length)
        try:
            with torch.no_grad():
                subject.call(module, given)
        except Exception as error:
            certain = length == longest or length > 2 or facts.causal == facts.sequence
            if spec.step is None and "ernel size" in str(error):
                certain = False
            found = too_long(error, length, certain, facts.length, longest)
            yield found if fails_anew(subject, given) else kept_size(found)
            return


def fails_anew(subject: Subject, batch: Any) -> bool:
    """Say whether a fresh module refuses a batch too."""
    try:
        with torch.no_grad():
            subject.call(subject.fresh(train=False), batch)
    except Exception:
        return True
    return False


def resized(subject: Subject, batch: Mapping[str, Any], length: int) -> dict[str, Any]:
    """Cut or repeat everything that has the sequence's length."""
    facts, found = subject.facts, dict(batch)
    for name, x in batch.items():
        known = facts.inputs.get(name)
        if not isinstance(x, Tensor) or known is None:
            continue
        axes = [known.sequence_axis] if known.sequence_axis is not None else []
        if not axes and known.kind in ("index", "mask", "other", None):
            axes = [a for a in range(x.dim()) if a != known.batch_axis]
        for axis in axes:
            if x.shape[axis] == facts.length:
                where = torch.arange(length) % facts.length
                x = x.index_select(axis, where)
        found[name] = x
    return found


def too_long(error: Exception, length: int, certain: bool, usual: int, longest: int) -> Finding:
    """Make the finding of a length at which forward raises."""
    words = " ".join(str(error).split())[:300]
    said = f", and max_length={longest} was declared" if length == longest else ""
    return Finding(
        kind="shape",
        severity="fail" if certain else "warn",
        where=raised_in(error),
        line=raised_at(error),
        evidence=f"a sequence of {length} raises {type(error).__name__}: {words}; one of {usual} "
        f"runs{said}",
        explanation="the model must take every length up to its longest: tables of positions, "
        "masks and buffers must cover it, and nothing may count on one length",
        fix="make tables as long as max_length (with no offset lost), cut masks to the input's "
        "length, and take sizes from the input",
    )


def table() -> tuple[tuple[str, Callable[[Subject], Iterable[Finding]], str], ...]:
    """List the checks of this file."""
    return (
        ("sizes", check_sizes, "1, 2, many rows run and give the shape that belongs to them"),
        ("lengths", check_lengths, "sequences of 1, 2, one less and the longest run"),
    )


ROWS = tuple(Check(name=name, run=run, about=about) for name, run, about in table())

"""What is known of a model: what its author said, and what a few trial forwards show.

Only what is certain is found out: axes whose size follows the batch's, ids that an embedding reads,
the axis of an output that shrinks when the sequence is cut. The rest stays unknown, and a check
that needs it says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from zoo.testing.spec import Input
from zoo.testing.trees import tensors

SIZES = (2, 3, 5)  # rows of the trial batches
MASK_NAMES = ("mask",)
INDEX_NAMES = ("position", "index", "edge", "step", "type", "segment", "length", "offset", "time")
LABEL_NAMES = ("labels", "label", "targets", "target", "y")


@dataclass(kw_only=True)
class Facts:
    """What checks ask about; None and empty mean that it is not known."""

    inputs: dict[str, Input] = field(default_factory=dict)  # tensors that forward gets
    labels: str | None = None  # the entry that holds what is to be predicted
    gives_loss: bool = False  # forward gives a loss of its own
    output_batch_axis: int | None = None
    output_couples: bool = False  # an output of (b, b): rows against rows
    output_sequence_axis: int | None = None
    main_shape: tuple[int, ...] = ()  # of the output that counts, for 3 rows
    causal: str | None = None  # the input whose future must not be seen
    tokens: tuple[str, ...] = ()
    padding_mask: str | None = None
    mask_keeps: bool = True  # 1 in the mask means: this position counts
    sequence: str | None = None  # an input with a sequence axis, the first one
    length: int = 0  # its length in a trial batch


def find_facts(subject: Any) -> Facts:
    """Find out what the author of a subject's spec did not say. Raises what the model raises."""
    spec = subject.spec
    batches = {size: subject.batch(size) for size in SIZES}
    module = subject.fresh(train=False)
    rows = embedded(subject, module, batches[3])
    facts = Facts(inputs=inputs_of(subject, batches, rows))
    facts.tokens = names_of(spec.tokens) or tuple(
        name for name, x in facts.inputs.items() if x.kind == "tokens"
    )
    facts.padding_mask = spec.padding_mask or next(
        (n for n, x in facts.inputs.items() if x.kind == "mask" and x.sequence_axis is not None),
        None,
    )
    if facts.padding_mask in facts.inputs:
        facts.mask_keeps = facts.inputs[facts.padding_mask].true_means != "drop"
    facts.labels = spec.labels or next((n for n in LABEL_NAMES if n in batches[3]), None)
    if facts.labels is None:  # one entry that forward does not take is what the loss reads
        spare = set(batches[3]) - set(subject.arguments(batches[3]))
        facts.labels = spare.pop() if len(spare) == 1 else None
    facts.causal = causal_input(spec.causal, facts)
    order = [facts.causal, *facts.tokens, facts.padding_mask, *facts.inputs]
    facts.sequence = next(
        (n for n in order if n in facts.inputs and facts.inputs[n].sequence_axis is not None), None
    )
    if facts.sequence is not None:
        facts.length = batches[3][facts.sequence].shape[facts.inputs[facts.sequence].sequence_axis]
    look_at_output(subject, module, batches, facts)
    return facts


def names_of(given: Any) -> tuple[str, ...]:
    """Give one name or several as a tuple."""
    return (given,) if isinstance(given, str) else tuple(given or ())


def causal_input(given: Any, facts: Facts) -> str | None:
    """Give the name of the input that is read causally, if the author said so."""
    if isinstance(given, str):
        return given
    if not given:
        return None
    targets = [n for n, x in facts.inputs.items() if x.kind == "targets"]
    return next(iter([*targets, *facts.tokens, *facts.inputs]), None)


def inputs_of(
    subject: Any, batches: Mapping[int, Mapping[str, Any]], rows: Mapping[str, int]
) -> dict[str, Input]:
    """Describe every tensor that forward gets."""
    spec, found = subject.spec, {}
    for name, x in subject.arguments(batches[3]).items():
        if not isinstance(x, Tensor):
            continue
        given = spec.inputs.get(name, Input())
        said = given if isinstance(given, Input) else Input(kind=given)
        kind = said.kind or kind_of(name, x, spec, rows)
        axis = said.batch_axis
        if axis is None:
            axis = spec.batch_axis
        if axis is None or axis >= x.dim():
            axis = batch_axis_of({n: b[name] for n, b in batches.items()})
        found[name] = replace(
            said,
            kind=kind,
            batch_axis=axis,
            sequence_axis=sequence_axis_of(name, x, said, kind, axis, spec),
            vocab_size=said.vocab_size or (vocabulary(spec, name, rows, kind)),
            max_length=said.max_length or spec.max_length,
            pad_id=said.pad_id if said.pad_id is not None else spec.pad_id,
            mask=said.mask or (spec.padding_mask if kind in ("tokens", "targets") else None),
            true_means=said.true_means or spec.true_means or meaning_of(x, kind),
        )
    return found


def kind_of(name: str, x: Tensor, spec: Any, rows: Mapping[str, int]) -> Any:
    """Say what an input is, by what the author said, its dtype, its name and who reads it."""
    if name in names_of(spec.tokens):
        return "tokens"
    if name == spec.padding_mask or x.dtype is torch.bool:
        return "mask"
    if "adj" in name:
        return "adjacency"
    if any(part in name for part in MASK_NAMES) and set(x.unique().tolist()) <= {0, 1}:
        return "mask"
    if x.is_floating_point() or x.is_complex():
        return "image" if x.dim() == 4 else "float"
    if name in LABEL_NAMES:
        return "labels"
    if any(part in name for part in INDEX_NAMES):
        return "index"
    return "tokens" if name in rows and x.dim() >= 2 else "index"


def meaning_of(mask: Tensor, kind: Any) -> Any:
    """Say what 1 means in a mask: most positions of a batch are real ones."""
    if kind != "mask":
        return None
    return "keep" if float((mask != 0).double().mean()) > 0.5 else "drop"


def vocabulary(spec: Any, name: str, rows: Mapping[str, int], kind: Any) -> int | None:
    """Give the number of ids that an input may hold, if it is known."""
    said = spec.vocab_size if kind in ("tokens", "targets") else None
    return said or rows.get(name)


def batch_axis_of(given: Mapping[int, Any]) -> int | None:
    """Find the one axis whose size is that of the batch in every trial."""
    shapes = {n: tuple(x.shape) for n, x in given.items() if isinstance(x, Tensor)}
    if len({len(s) for s in shapes.values()}) != 1 or len(shapes) < len(given):
        return None
    dims = len(next(iter(shapes.values())))
    fits = [axis for axis in range(dims) if all(s[axis] == n for n, s in shapes.items())]
    return fits[0] if len(fits) == 1 else (0 if 0 in fits else None)


def sequence_axis_of(
    name: str, x: Tensor, said: Input, kind: Any, batch_axis: int | None, spec: Any
) -> int | None:
    """Find the axis along which positions stand, of inputs that are certain to have one."""
    if said.sequence_axis is not None:
        return said.sequence_axis
    if spec.sequence_axis is not None and x.dim() > spec.sequence_axis:
        return spec.sequence_axis
    certain = kind in ("tokens", "targets") or name in (spec.causal, spec.padding_mask)
    certain = certain or (kind == "mask" and x.dim() == 2)
    certain = certain or name in (
        *names_of(spec.permutation_invariant),
        *names_of(spec.permutation_equivariant),
    )
    free = [axis for axis in range(x.dim()) if axis != batch_axis]
    return free[0] if certain and batch_axis is not None and free else None


def embedded(subject: Any, module: nn.Module, batch: Mapping[str, Any]) -> dict[str, int]:
    """Find inputs that an embedding reads as they are, and how many rows it has."""
    found: dict[str, int] = {}
    parts: dict[nn.Module, int] = {
        m: m.weight.shape[0]
        for m in module.modules()
        if isinstance(m, nn.Embedding | nn.EmbeddingBag)
    }
    given = {n: x for n, x in batch.items() if isinstance(x, Tensor) and not x.is_floating_point()}

    def look(part: nn.Module, inputs: Any) -> None:
        if not inputs or not isinstance(inputs[0], Tensor):
            return
        for name, x in given.items():
            if x is inputs[0] or (x.shape == inputs[0].shape and torch.equal(x, inputs[0])):
                found.setdefault(name, parts[part])

    handles = [part.register_forward_pre_hook(look) for part in parts]
    try:
        with torch.no_grad():
            subject.call(module, batch)
    finally:
        for handle in handles:
            handle.remove()
    return found


def look_at_output(
    subject: Any, module: nn.Module, batches: Mapping[int, Mapping[str, Any]], facts: Facts
) -> None:
    """Find which axes of the output follow the batch and the sequence."""
    spec, shapes = subject.spec, {}
    with torch.no_grad():
        for size, batch in batches.items():
            if spec.stateful or spec.reset is not None:  # what it remembers is of another size
                module = subject.fresh(train=False)
            try:
                output = subject.call(module, batch)
            except Exception:
                if size == 3:
                    raise
                continue  # another check says that this size fails
            shapes[size] = tuple(subject.main(output).shape)
            facts.gives_loss = tensors(output).get("loss", torch.ones(2)).dim() == 0
    facts.main_shape = shapes[3]
    dims = {len(s) for s in shapes.values()}
    fits = []
    if len(dims) == 1 and len(shapes) > 1:
        fits = [a for a in range(dims.pop()) if all(s[a] == n for n, s in shapes.items())]
    facts.output_couples = len(fits) > 1
    if spec.output_batch_axis is not None:
        facts.output_batch_axis = spec.output_batch_axis
    elif len(fits) == 1:
        facts.output_batch_axis = fits[0]
    if spec.output_sequence_axis is not None:
        facts.output_sequence_axis = spec.output_sequence_axis
    elif facts.sequence is not None and facts.length > 2:
        facts.output_sequence_axis = follows_cut(
            subject, subject.fresh(train=False), batches[3], facts
        )


def follows_cut(
    subject: Any, module: nn.Module, batch: Mapping[str, Any], facts: Facts
) -> int | None:
    """Find the axis of the output that is one shorter when the sequence is."""
    try:
        with torch.no_grad():
            shape = subject.main(subject.call(module, cut(batch, facts, 0, facts.length - 1))).shape
    except Exception:
        return None  # a model of one length
    whole = facts.main_shape
    if len(shape) != len(whole):
        return None
    fits = [
        axis
        for axis in range(len(whole))
        if axis != facts.output_batch_axis
        and (whole[axis], shape[axis]) == (facts.length, facts.length - 1)
    ]
    return fits[0] if fits else None


def cut(batch: Mapping[str, Any], facts: Facts, start: int, stop: int) -> dict[str, Any]:
    """Copy a batch with every input of the sequence's length cut to [start, stop)."""
    found = dict(batch)
    for name, known in facts.inputs.items():
        axis = known.sequence_axis
        if axis is not None and batch[name].shape[axis] == facts.length:
            found[name] = batch[name].narrow(axis, start, stop - start)
    return found

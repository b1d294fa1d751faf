"""What checks of dependence share: axes of outputs, legal changes of inputs, and who is to blame.

Everything is compared on a bench, in float64 under stress weights, so that "does not depend" means
equal to rounding and a real dependence lies orders of magnitude above it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from zoo.testing.engine import NotApplicable
from zoo.testing.spec import Input
from zoo.testing.stress import Bench, apart
from zoo.testing.subject import Subject

Batch = dict[str, Any]
SMALL = 5_000_000  # parameters; larger models get fewer trials
SIZES = (2, 3, 5)


@dataclass
class Layout:
    """Axes of a model's outputs, by path."""

    rows: dict[str, int] = field(default_factory=dict)  # the axis that follows the batch
    squares: tuple[str, ...] = ()  # outputs of (b, b): rows against rows
    main: str = ""  # the path of the output that counts
    stateful: bool = False  # one call changes the next
    noisy: bool = False  # another seed gives other numbers in eval mode
    positions: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)
    # input -> output -> (axis, how many positions longer than the input)
    pooled: dict[str, set[str]] = field(default_factory=dict)  # input -> outputs of one size


LAYOUTS: WeakKeyDictionary[Subject, Layout] = WeakKeyDictionary()


class Rig:
    """A bench that is called anew each time where one call changes the next."""

    def __init__(self, subject: Subject, *, train: bool = False) -> None:
        self.subject, self.train = subject, train
        self.bench: Bench = subject.bench(train=train)
        self.facts = subject.facts
        if any(x.layout is not torch.strided for x in plain_tensors(self.batch(2))):
            raise NotApplicable("inputs that are not dense are not changed piece by piece")
        self.layout = layout_of(subject, self)
        if self.layout.stateful and not subject.spec.stateful:
            raise NotApplicable("one call changes the next, so calls cannot be compared")
        self.small = subject.built.count <= SMALL

    def __call__(self, batch: Mapping[str, Any], seed: int = 0) -> dict[str, Tensor]:
        """Give every output tensor of real numbers, by path."""
        if self.train or self.layout.stateful:
            self.bench = self.subject.bench(train=self.train)
        return real(self.bench(batch, seed))

    def tried(self, batch: Mapping[str, Any], seed: int = 0) -> dict[str, Tensor] | None:
        """Give the outputs, or None where the model refuses the batch."""
        try:
            return self(batch, seed)
        except Exception:
            return None

    def differ(self, one: Tensor, other: Tensor, scale: float = 0.0) -> bool:
        """Say whether two tensors are apart by more than rounding, at the scale of the whole."""
        return not gap(one, other, scale) <= self.bench.bound

    def batch(self, size: int = 3, seed: int | None = None) -> Batch:
        """Make a batch in the bench's dtype."""
        return self.bench.batch(size, seed)

    def input(self, name: str) -> Input:
        """Give what is known of an input."""
        return self.facts.inputs[name]


def steady(rig: Rig) -> None:
    """Raise NotApplicable where eval mode draws numbers: that explains why two runs differ."""
    if rig.train:
        return
    batch = rig.batch(3)
    one, other = rig.tried(batch, 0), rig.tried(batch, 1)
    if one is None or other is None:
        return
    if any(n not in other or rig.differ(x, other[n]) for n, x in one.items()):
        raise NotApplicable("eval mode draws random numbers: see determinism")


def plain_tensors(batch: Mapping[str, Any]) -> list[Tensor]:
    """Give the entries of a batch that are tensors."""
    return [x for x in batch.values() if isinstance(x, Tensor)]


def real(outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keep the tensors of real numbers."""
    return {n: x for n, x in outputs.items() if x.is_floating_point() and x.numel()}


def gap(one: Tensor, other: Tensor, scale: float = 0.0) -> float:
    """Give the largest difference relative to `scale`, or to the tensors' own largest number."""
    if not scale or one.shape != other.shape:
        return apart(one, other)
    same = (one == other) | (one.isnan() & other.isnan())
    if bool(same.all()):
        return 0.0
    worst = torch.where(same, 0.0, (one - other).abs()).nan_to_num(nan=float("inf")).max()
    return float(worst) / scale


def scale_of(x: Tensor) -> float:
    """Give a tensor's largest finite number."""
    finite = x[x.isfinite()]
    return float(finite.abs().max()) if finite.numel() else 0.0


def layout_of(subject: Subject, rig: Rig) -> Layout:
    """Find the axes of every output once."""
    found = LAYOUTS.get(subject)
    if found is None:
        found = look(subject, subject.bench())
        LAYOUTS[subject] = found
    return found


def look(subject: Subject, bench: Bench) -> Layout:
    """Run batches of several sizes and see which axes follow."""
    batch = bench.batch(3)
    first, again = real(bench(batch)), real(bench(batch))
    found = Layout(stateful=any(apart(first[n], again[n]) > bench.bound for n in first))
    second = bench.batch(3, 5)
    used, unused = real(bench(second)), real(subject.bench()(second))
    found.stateful |= any(
        apart(x, unused.get(n, x)) > bench.bound for n, x in used.items() if n in unused
    )
    found.stateful |= bool(subject.spec.stateful)
    other = real(bench(batch, seed=1))
    found.noisy = any(apart(first[n], other.get(n, first[n])) > bench.bound for n in first)
    shapes: dict[str, dict[int, tuple[int, ...]]] = {n: {3: tuple(first[n].shape)} for n in first}
    for size in (2, 5):
        try:
            given = real(bench(bench.batch(size)))
        except Exception:
            continue  # another check says that this size fails
        for name, x in given.items():
            shapes.setdefault(name, {})[size] = tuple(x.shape)
    squares = []
    for name, seen in shapes.items():
        if len(seen) < 2 or len({len(s) for s in seen.values()}) > 1:
            continue
        dims = len(next(iter(seen.values())))
        fits = [a for a in range(dims) if all(s[a] == n for n, s in seen.items())]
        if len(fits) == 1:
            found.rows[name] = fits[0]
        elif len(fits) > 1:
            squares.append(name)
    found.squares = tuple(squares)
    found.main = main_path(subject, bench, batch)
    axis = subject.facts.output_batch_axis
    if found.main and axis is not None and found.main not in found.squares:
        found.rows[found.main] = axis
    return found


def main_path(subject: Subject, bench: Bench, batch: Batch) -> str:
    """Find the path of the output that counts; "main" where it is computed from the output."""
    with torch.no_grad():
        output = bench.run(batch)
        main = subject.main(output)
    for name, x in subject.outputs(output).items():
        if x is main:
            return name
    return "main"


def positions_of(rig: Rig, name: str, axis: int) -> dict[str, tuple[int, int]]:
    """Find the outputs with an axis that is one shorter when the input is: the axis, the surplus.

    All inputs of the same length are cut together.
    """
    if name in rig.layout.positions:
        return rig.layout.positions[name]
    batch = rig.batch(3)
    length = batch[name].shape[axis]
    found: dict[str, tuple[int, int]] = {}
    pooled = rig.layout.pooled.setdefault(name, set())
    short = rig.tried(cut_positions(rig, batch, name, axis, 0, length - 1)) if length > 2 else None
    if short is not None:
        whole = rig(batch)
        for path, x in whole.items():
            y = short.get(path)
            if y is None or y.dim() != x.dim():
                continue
            if x.shape == y.shape:
                pooled.add(path)
            fits = [
                a
                for a in range(x.dim())
                if a != rig.layout.rows.get(path, -1) and x.shape[a] - y.shape[a] == 1
            ]
            if len(fits) == 1:
                found[path] = (fits[0], x.shape[fits[0]] - length)
    rig.layout.positions[name] = found
    return found


def sequence_axis(rig: Rig, name: str) -> int | None:
    """Give the axis of positions of an input; of a float (b, t, d) the middle one is tried."""
    known = rig.input(name)
    if known.sequence_axis is None and known.kind == "labels" and known.batch_axis == 0:
        x = rig.batch(3)[name]  # forward reads what it is to tell: a decoder's own past
        return 1 if x.dim() == 2 and not x.is_floating_point() else None
    return known.sequence_axis


def cut_positions(rig: Rig, batch: Batch, name: str, axis: int, start: int, stop: int) -> Batch:
    """Copy a batch with an input, and all inputs of its length, cut to [start, stop)."""
    length = batch[name].shape[axis]
    found = dict(batch)
    for other, known in rig.facts.inputs.items():
        along = axis if other == name else known.sequence_axis
        x = batch.get(other)
        if along is None and known.kind == "index" and isinstance(x, Tensor) and x.dim() == 2:
            along = 1 if known.batch_axis == 0 else None
        if isinstance(x, Tensor) and other != name and x.shape[1:3] == (length, length):
            found[other] = x[:, start:stop, start:stop]  # positions against positions
            continue
        if not isinstance(x, Tensor) or along is None or x.dim() <= along:
            continue
        if x.shape[along] == length:
            found[other] = x.narrow(along, start, stop - start)
    return found


def one_row(rig: Rig, batch: Batch, row: int, copies: int) -> Batch:
    """Repeat one row of a batch."""
    return take_rows(rig, batch, [row] * copies)


def take_rows(rig: Rig, batch: Batch, rows: Sequence[int]) -> Batch:
    """Choose rows of every entry that has them, in this order; labels are rows along axis 0."""
    size = rows_in(rig, batch)
    index = torch.tensor(list(rows))
    found = dict(batch)
    for name, x in batch.items():
        known = rig.facts.inputs.get(name)
        axis = known.batch_axis if known is not None else 0
        if isinstance(x, Tensor) and axis is not None and x.dim() > axis and x.shape[axis] == size:
            found[name] = x.index_select(axis, index.to(x.device))
    return found


def rows_in(rig: Rig, batch: Batch) -> int:
    """Give the number of rows of a batch."""
    for name, known in rig.facts.inputs.items():
        if known.batch_axis is not None:
            return int(batch[name].shape[known.batch_axis])
    raise NotApplicable("no input has an axis for the batch")


def legal_ids(rig: Rig, name: str) -> list[int]:
    """Give ids that the author's own batches hold, without the padding id."""
    pad = rig.input(name).pad_id
    seen: set[int] = set()
    for seed in (0, 1, 2):
        seen |= set(rig.batch(3, seed)[name].unique().tolist())
    return sorted(int(i) for i in seen if i != pad)


def other_ids(legal: Sequence[int], now: int, count: int, turn: int) -> list[int]:
    """Choose some other ids, spread over those that are legal."""
    rest = [i for i in legal if i != now]
    if not rest:
        return []
    stride = max(1, len(rest) // count)
    return [rest[(turn + k * stride) % len(rest)] for k in range(min(count, len(rest)))]


def shaken(x: Tensor, seed: int, size: float = 2.0) -> Tensor:
    """Add noise of `size` times the deviation to real numbers."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x)
    spread = float(x.std()) if x.numel() > 1 else 1.0
    return x + noise * size * (spread or 1.0)


def full_mask(rig: Rig, batch: Batch) -> Batch:
    """Copy a batch so that nothing is padding: masks keep all, padding ids give way to real ones.

    The content of masked positions is taken from kept ones of the same row.
    """
    found = dict(batch)
    for name, known in rig.facts.inputs.items():
        x = found[name]
        if known.kind == "mask" and known.sequence_axis is not None and x.dim() == 2:
            keep = kept(x, known)
            found[name] = torch.ones_like(x) if known.true_means != "drop" else torch.zeros_like(x)
            for other, about in rig.facts.inputs.items():
                if about.kind in ("tokens", "targets") and found[other].shape == x.shape:
                    found[other] = filled(found[other], keep)
    for name, known in rig.facts.inputs.items():
        x = found[name]
        if known.kind in ("tokens", "targets") and known.pad_id is not None:
            found[name] = filled(x, x != known.pad_id)
    lengths = lengths_of(rig)
    if lengths is not None:
        found[lengths] = torch.full_like(found[lengths], most_of(rig, lengths))
    return found


def lengths_of(rig: Rig) -> str | None:
    """Give the input that says how long each row is: whole numbers (b,), named so."""
    for name, known in rig.facts.inputs.items():
        x = rig.batch(3)[name]
        plain = x.dim() == 1 and not x.is_floating_point() and known.batch_axis == 0
        if plain and ("length" in name or name.endswith(("_lens", "_len"))):
            return name
    return None


def most_of(rig: Rig, name: str) -> int:
    """Give the largest of the lengths, or what was declared."""
    high = rig.input(name).high
    return int(high) if high is not None else max(int(rig.batch(5, s)[name].max()) for s in (0, 1))


def kept(mask: Tensor, known: Input) -> Tensor:
    """Give a mask as booleans: True where a position counts."""
    return mask == 0 if known.true_means == "drop" else mask != 0


def filled(x: Tensor, keep: Tensor) -> Tensor:
    """Write kept entries of each row over those that are not kept."""
    x = x.clone()
    if x.dim() != 2:
        return x
    for row, good in zip(x, keep, strict=True):
        have = row[good]
        if len(have) and not bool(good.all()):
            need = int((~good).sum())
            row[~good] = have.repeat(need // len(have) + 1)[:need]
    return x


def spread_out(length: int, most: int) -> list[int]:
    """Choose positions: all of a short sequence; of a long one the ends and some between."""
    if length <= most:
        return list(range(length))
    step = (length - 1) / (most - 1)
    return sorted({round(k * step) for k in range(most)})


def by_row(rig: Rig, outputs: Mapping[str, Tensor], size: int) -> dict[str, Tensor]:
    """Give every output as (rows, numbers); of rows against rows the diagonal."""
    found = {}
    for path, x in outputs.items():
        axis = rig.layout.rows.get(path)
        if axis is not None and x.dim() > axis and x.shape[axis] == size:
            found[path] = x.movedim(axis, 0).reshape(size, -1)
        elif path in rig.layout.squares and x.dim() == 2 and x.shape == (size, size):
            found[path] = x.diagonal()[:, None]
    return found


def inputs_by_batch(rig: Rig) -> Iterator[str]:
    """List the inputs that have a batch axis."""
    for name, known in rig.facts.inputs.items():
        if known.batch_axis is not None:
            yield name

"""Uses of parameters, gathered into layers: a map, a norm, a table, a convolution, a vector."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from zoo.testing.family.uses import Use

Kind = Literal["map", "norm", "table", "conv", "attention", "vector", "other"]
MAPS = {"linear", "addmm", "matmul", "__matmul__", "mm", "bmm", "einsum", "__rmatmul__", "baddbmm"}
TABLES = {"embedding", "__getitem__", "index_select"}
SUMS = {"add", "__add__", "__radd__", "__iadd__", "add_"}
DIFFERENCES = {"sub", "__sub__", "__rsub__", "sub_", "__isub__"}
PRODUCTS = {"mul", "__mul__", "__rmul__", "__imul__", "mul_"}
JOINS = {"cat", "concat", "concatenate"}
NORMS = {"layer_norm", "rms_norm", "native_layer_norm"}
BACK = 6  # layers that a bias may come after its product
Turn = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Layer:
    """One parametrised step: what went in, what came out, rows first and features last."""

    kind: Kind
    weight: str
    bias: str
    x: Tensor | None  # None where a hand-made norm shows only its normalised input
    y: Tensor
    module: str
    line: str
    op: str = ""
    value: Tensor | None = None  # the weight as it was read
    shift: Tensor | None = None  # the bias as it was read
    given: tuple[Tensor, ...] = ()  # all that it read besides
    raw: Tensor | None = None  # the op's own output
    bare: Tensor | None = None  # y before it was scaled by a learned vector (LayerScale)
    turn: Turn | None = None  # from the op's own form to y's
    names: tuple[str, ...] = ()  # of every parameter that it reads

    def __str__(self) -> str:
        return self.module


def layers_of(
    uses: Sequence[Use], shapes: dict[str, tuple[int, ...]], rows: int = 1
) -> list[Layer]:
    """Gather uses: a product followed by a sum with a vector is one norm, a map its own bias."""
    found: list[Layer] = []
    for use in uses:
        if not use.parameters:
            found.append(layer("norm", use))
            continue
        weight = max(use.parameters, key=lambda n: len(shapes[n]))
        rank = len(shapes[weight])
        if use.op == "multi_head_attention_forward":
            found.append(layer("attention", use))
        elif use.op in MAPS and rank >= 2:
            found.append(map_of(use, rows))
        elif use.op in TABLES and rank >= 2 and use.inputs:
            found.append(layer("table", use))
        elif use.op.startswith("conv"):
            found.append(conv_of(use))
        elif use.op in NORMS or (use.op == "addcmul" and len(use.parameters) > 1):
            made = layer("norm", use)
            found.append(replace(made, x=None) if use.op == "addcmul" else made)
        elif use.op in SUMS and (at := owner(use, found, shapes)) is not None:
            found[at] = with_bias(found[at], use)
        elif use.op in PRODUCTS and (at := scaled(use, found)) is not None:
            old = found[at]
            found[at] = replace(old, y=(old.turn or same)(use.output), raw=use.output, bare=old.y)
        elif use.op in PRODUCTS and use.values[0].squeeze().dim() == 1:
            found.append(replace(layer("vector", use), x=None))
        elif use.op in SUMS | PRODUCTS | DIFFERENCES | JOINS:
            found.append(layer("vector", use))
        else:
            found.append(layer("other", use))
    return [as_norm(x) for x in found]


def layer(kind: Kind, use: Use, x: Tensor | None = None, y: Tensor | None = None) -> Layer:
    """Make a layer of one use."""
    weight, value, rest = "", None, list[int]()
    if use.parameters:
        at = max(range(len(use.parameters)), key=lambda i: use.values[i].dim())
        if kind == "norm" and len(use.parameters) > 1:
            at = next((i for i, n in enumerate(use.parameters) if not is_bias(n)), 0)
        weight, value = use.parameters[at], use.values[at]
        rest = [i for i in range(len(use.parameters)) if i != at]
    x = next((t for t in use.inputs if t.dim()), None) if x is None else x
    return Layer(
        kind,
        weight,
        use.parameters[rest[0]] if rest else "",
        x,
        use.output if y is None else y,
        use.module,
        use.line,
        op=use.op,
        value=value,
        shift=use.values[rest[0]] if rest else None,
        given=use.inputs,
        raw=use.output,
        names=use.parameters,
    )


def is_bias(name: str) -> bool:
    """Say whether a parameter is called like a norm's shift."""
    return any(part in name.rpartition(".")[2] for part in ("bias", "beta", "shift", "b_"))


def same(x: Tensor) -> Tensor:
    """Give a tensor as it is."""
    return x


def map_of(use: Use, rows: int) -> Layer:
    """Make a layer of a product with a matrix, or with one for each head."""
    made = layer("map", use)
    x, y = made.x, made.y
    if x is None:
        return made
    if use.equation and "." not in use.equation and "->" in use.equation:
        return of_equation(made, use.equation)
    assert made.value is not None
    if made.value.dim() == 3 and y.dim() == 4 and use.op != "einsum":  # (b, h, t, n)
        turned = replace(made, y=heads_last(y), turn=heads_last)
        return replace(turned, x=x.squeeze(1) if x.dim() == 4 and x.shape[1] == 1 else x)
    if y.dim() >= 2 and is_one_hot(x):
        return replace(made, kind="table", x=x.argmax(-1))
    if x.dim() == y.dim() == 2 and len(y) > rows and len(y) % rows == 0:  # (b t, d)

        def cut(z: Tensor) -> Tensor:
            return z.unflatten(0, (rows, -1)) if z.dim() == 2 else z

        return replace(made, x=cut(x), y=cut(y), turn=cut)
    return made


def heads_last(y: Tensor) -> Tensor:
    """Turn (b, h, t, n) into (b, t, h n)."""
    return y.transpose(1, 2).flatten(2)


def is_one_hot(x: Tensor) -> bool:
    """Say whether every row is one 1 among zeros."""
    if x.dim() < 2 or x.shape[-1] < 2:
        return False
    return bool(((x == 0) | (x == 1)).all()) and bool((x.sum(-1) == 1).all())


def of_equation(made: Layer, equation: str) -> Layer:
    """Read an einsum as a map: axes that both sides have are rows, the others are features."""
    left, _, out = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != 2 or made.x is None:
        return made
    at = next((i for i, t in enumerate(terms) if len(t) == made.x.dim() and t[0] in out), 0)
    mine, theirs = terms[at], terms[1 - at]
    rows = [c for c in mine if c in out and c not in theirs]
    if len(rows) > 3 or len(out) != made.y.dim() or len(mine) != made.x.dim():
        return made
    if len(rows) < len([c for c in mine if c in out]):  # an axis of heads goes through both
        return made
    read = [c for c in theirs if c in mine]
    gives = [c for c in theirs if c in out]
    flat = len(rows)

    def turned(y: Tensor) -> Tensor:
        return y.permute([out.index(c) for c in (*rows, *gives)]).flatten(flat)

    x = made.x.permute([mine.index(c) for c in (*rows, *read)]).flatten(flat)
    return replace(made, x=x, y=turned(made.y), turn=turned)


def conv_of(use: Use) -> Layer:
    """Make a layer of a convolution; one of a single position is a map."""
    made = layer("conv", use)
    value, x = made.value, made.x
    if use.op == "conv1d" and value is not None and x is not None and value.shape[-1] == 1:

        def turned(y: Tensor) -> Tensor:
            return y.transpose(1, 2)

        return replace(made, kind="map", x=turned(x), y=turned(made.y), turn=turned)
    return made


def owner(use: Use, found: list[Layer], shapes: dict[str, tuple[int, ...]]) -> int | None:
    """Find the layer whose bias a sum adds: of a hand-made norm, or of a bare product."""
    for at in range(len(found) - 1, max(-1, len(found) - 1 - BACK), -1):
        last = found[at]
        if last.bias:
            continue
        if last.kind == "vector" and last.op in PRODUCTS and use.module == last.module:
            if at == len(found) - 1 and shapes[use.parameters[0]] == shapes[last.weight]:
                return at
        elif last.kind in ("map", "conv", "norm") and use.values[0].dim() <= 3:
            small = use.values[0].numel() <= max(1, last.y.shape[-1])
            if small and any(equal(x, last.raw) for x in use.inputs):
                return at
    return None


def with_bias(old: Layer, use: Use) -> Layer:
    """Add a bias to a layer."""
    kind: Kind = "norm" if old.kind == "vector" else old.kind
    y = (old.turn or same)(use.output)
    shift = use.values[0]
    return replace(old, kind=kind, bias=use.parameters[0], y=y, raw=use.output, shift=shift)


def scaled(use: Use, found: list[Layer]) -> int | None:
    """Find the map or attention whose output a learned vector scales (LayerScale, ReZero)."""
    for at in range(len(found) - 1, max(-1, len(found) - 3), -1):
        last = found[at]
        if last.kind in ("map", "attention") and any(equal(x, last.raw) for x in use.inputs):
            return at
    return None


def equal(x: Tensor, other: Tensor | None) -> bool:
    """Say whether two tensors are the same numbers."""
    if other is None or x.shape != other.shape:
        return False
    return torch.equal(x, other.to(x.dtype))


def as_norm(made: Layer) -> Layer:
    """Take a product with a vector that nothing else explains for a norm without a shift."""
    if made.kind != "vector" or made.op not in PRODUCTS or made.x is not None:
        return made
    return replace(made, kind="norm")

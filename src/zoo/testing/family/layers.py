"""Uses of parameters, gathered into layers: a map, a norm, a table, a convolution, a vector."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from zoo.testing.family.uses import Use

Kind = Literal["map", "norm", "table", "conv", "attention", "vector"]
MAPS = {"linear", "addmm", "matmul", "__matmul__", "mm", "bmm", "einsum", "__rmatmul__", "baddbmm"}
TABLES = {"embedding", "__getitem__", "index_select"}
SUMS = {"add", "__add__", "__radd__", "__iadd__", "add_"}
PRODUCTS = {"mul", "__mul__", "__rmul__", "__imul__", "mul_"}


@dataclass(frozen=True)
class Layer:
    """One parametrised step: what went in, what came out."""

    kind: Kind
    weight: str
    bias: str
    x: Tensor | None  # None where a hand-made norm shows only its normalised input
    y: Tensor
    module: str
    line: str

    def __str__(self) -> str:
        return self.module or self.weight


def layers_of(uses: Sequence[Use], shapes: dict[str, tuple[int, ...]]) -> list[Layer]:
    """Gather uses: a product followed by a sum with a vector is one norm, a map its own bias."""
    found: list[Layer] = []
    for use in uses:
        last = found[-1] if found else None
        weight = max(use.parameters, key=lambda n: len(shapes[n]))
        rank = len(shapes[weight])
        x = next((t for t in use.inputs if t.dim()), None)
        if use.op == "multi_head_attention_forward":
            found.append(layer("attention", use, x))
        elif use.op in MAPS and rank >= 2:
            found.append(layer("map", use, x))
        elif use.op in TABLES and rank >= 2:
            found.append(layer("table", use, x))
        elif use.op.startswith("conv"):
            found.append(layer("conv", use, x))
        elif use.op in ("layer_norm", "rms_norm", "native_layer_norm"):
            found.append(layer("norm", use, x))
        elif use.op in SUMS and rank == 1 and last is not None and ends(use, last, shapes):
            kind: Kind = "norm" if last.kind == "vector" else last.kind
            bias = use.parameters[0]
            found[-1] = Layer(kind, last.weight, bias, last.x, use.output, last.module, last.line)
        elif use.op in PRODUCTS and rank == 1 and shapes[weight] != (1,):
            found.append(Layer("vector", weight, "", None, use.output, use.module, use.line))
        else:
            found.append(layer("vector", use, x))
    return found


def layer(kind: Kind, use: Use, x: Tensor | None) -> Layer:
    """Make a layer of one use."""
    weight, *rest = use.parameters
    if kind == "map" and use.op in ("addmm", "baddbmm") and rest:
        weight, rest = rest[0], [weight]
    return Layer(kind, weight, "".join(rest[:1]), x, use.output, use.module, use.line)


def ends(use: Use, last: Layer, shapes: dict[str, tuple[int, ...]]) -> bool:
    """Say whether a sum adds the bias of a layer: of a hand-made norm, or of a bare product."""
    if last.bias:
        return False
    if last.kind == "vector":
        return use.module == last.module and shapes[use.parameters[0]] == shapes[last.weight]
    return any(x.shape == last.y.shape and bool((x == last.y).all()) for x in use.inputs)

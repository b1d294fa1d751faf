"""A spec for a bare module: inputs are invented from names, weights and trial forwards.

Candidates for each argument come from what a parameter is called (`input_ids`, `pixel_values`,
`timestep`, `mask`) and from the layers that the module begins with (an embedding's rows, a
convolution's channels, a linear map's features). The first combination with which the module runs
for 2 and for 3 rows is taken.
"""

import copy
import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn

from zoo.testing.guard import Untouched
from zoo.testing.spec import ModelSpec
from zoo.testing.subject import SpecError, built_by, forward_names
from zoo.testing.trees import changed

Make = Callable[[int], Any]  # rows -> a tensor
LENGTH = 8  # positions of an invented sequence
SIDES = (32, 28, 16, 64, 224)  # pixels
TRIALS = 120
MASKS = ("mask",)
TIMES = ("time", "step", "sigma")
IDS = ("ids", "token", "src", "tgt", "text", "word", "index", "indices")
IMAGES = ("pixel", "image", "img")


def invented_spec(given: Any, facts: Mapping[str, Any]) -> ModelSpec:
    """Make a spec of a module or of a function that builds one, with facts of the author's.

    Raises SpecError when no invented batch runs, saying what was tried.
    """
    build = builder(given)
    said = {name: value for name, value in facts.items() if name != "build"}
    if said.get("batch") is None:
        said["batch"] = invented_batch(build)
    name = said.pop("name", "") or getattr(given, "__name__", type(given).__name__)
    known = {field.name for field in fields(ModelSpec)}
    assert set(said) <= known
    return ModelSpec(build=build, name=name, **said)


def builder(given: Any) -> Callable[[], nn.Module]:
    """Give a function without arguments that builds the module."""
    if isinstance(given, nn.Module):
        kept = given
        return lambda: copy.deepcopy(kept)
    needed = [
        name
        for name, p in inspect.signature(given).parameters.items()
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    if needed:
        raise SpecError(
            f"{getattr(given, '__name__', given)} needs {', '.join(needed)} to be built; give "
            "ModelSpec(build=lambda: ...), or a function without arguments"
        )
    return given


def invented_batch(build: Callable[[], nn.Module]) -> Make:
    """Find a batch with which the module runs."""
    with Untouched():
        module = built_by(build).eval()
        carried = carried_batch(module)
        if carried is not None:
            return carried
        names = [name for name, must in forward_names(module.forward).items() if must]
        if not names:
            names = list(forward_names(module.forward))[:1] or ["input"]
        tried, last = 0, ""
        for makers in combinations(module, names):
            tried += 1
            if tried > TRIALS:
                break
            batch = batch_of(makers)
            last = fault(module, batch) or ""
            if not last:
                return batch
    raise SpecError(
        f"no invented input runs through {type(module).__name__}.forward({', '.join(names)}); "
        f"{tried} were tried, the last one said: {last}. Give batch=lambda size: {{...}}"
    )


def batch_of(makers: Mapping[str, Make]) -> Make:
    """Make a batch function of one maker for each name."""
    return lambda size: {name: make(size) for name, make in makers.items()}


def fault(module: nn.Module, batch: Make) -> str | None:
    """Say why a batch does not run, None when it does for 2 and for 3 rows."""
    try:
        with torch.no_grad():
            for size in (2, 3):
                module(**batch(size))
    except Exception as error:
        return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:160]}"
    return None


def carried_batch(module: Any) -> Make | None:
    """Give the inputs that a module carries itself: Lightning's example, transformers' dummies."""
    for name in ("example_inputs", "example_input_array", "dummy_inputs"):
        given = getattr(module, name, None)
        given = given() if inspect.ismethod(given) else given
        if isinstance(given, Tensor | tuple | list | dict) and not isinstance(given, str):
            batch = repeated(given)
            if isinstance(given, dict) and fault(module, batch) is None:
                return batch
            if isinstance(given, Tensor):
                first = next(iter(forward_names(module.forward)), "input")
                single = repeated({first: given})
                if fault(module, single) is None:
                    return single
    return None


def repeated(given: Any) -> Make:
    """Make batches of any size by taking rows in turn."""
    return lambda size: changed(given, lambda x: x[torch.arange(size) % len(x)] if x.dim() else x)


def combinations(module: nn.Module, names: list[str]) -> Iterator[dict[str, Make]]:
    """Give combinations of candidates, the likely ones first."""
    options = [list(candidates(module, name)) for name in names]
    for sizes in sorted(
        itertools.product(*(range(len(option)) for option in options)), key=lambda s: (sum(s), s)
    ):
        yield {name: option[at] for name, option, at in zip(names, options, sizes, strict=True)}


def candidates(module: nn.Module, name: str) -> Iterator[Make]:
    """Give ways to make one argument, the likely ones first."""
    low = name.lower()
    if "mask" in low:
        yield lambda size: torch.ones(size, LENGTH, dtype=torch.long)
        yield lambda size: torch.zeros(size, LENGTH, dtype=torch.bool)
        yield lambda size: torch.zeros(LENGTH, LENGTH, dtype=torch.bool)
    if any(part in low for part in TIMES) or low == "t":
        yield lambda size: torch.randint(10, (size,))
        yield lambda size: torch.rand(size)
        yield lambda size: torch.rand(size, 1)
    if "edge" in low:
        yield lambda size: torch.randint(size, (2, 3 * size))
    if "adj" in low:
        yield lambda size: torch.ones(size, size)
        yield lambda size: torch.ones(size, LENGTH, LENGTH)
    if "length" in low:
        yield lambda size: torch.full((size,), LENGTH)
    likely = list(from_layers(module, low))
    if any(part in low for part in IMAGES):  # pictures before anything else
        likely.sort(key=lambda pair: pair[0] != "image")
    yield from (make for _, make in likely)
    for width in widths(module):
        yield floats(width)
        yield floats(LENGTH, width)
    yield floats(16)
    yield floats(LENGTH, 16)
    yield floats(3, 32, 32)
    yield floats()


def widths(module: nn.Module) -> list[int]:
    """Give the sizes of axes of the first weights: the inputs' widths are among them."""
    shapes = [p.shape for p in itertools.islice(module.parameters(), 4) if p.dim() > 1]
    return sorted({size for shape in shapes for size in shape})[:6]


def from_layers(module: nn.Module, name: str) -> Iterator[tuple[str, Make]]:
    """Give candidates that fit the layers in the order in which the module holds them."""
    seen: set[tuple[Any, ...]] = set()
    tables = [m.num_embeddings for m in module.modules() if isinstance(m, nn.Embedding)]
    if tables and any(part in name for part in IDS):
        yield "tokens", ids(max(tables), LENGTH)
    for part in module.modules():
        for kind, key, make in from_layer(part):
            if (kind, key) not in seen:
                seen.add((kind, key))
                yield kind, make


def from_layer(part: nn.Module) -> Iterator[tuple[str, Any, Make]]:
    """Give candidates that fit one layer, with what tells them apart."""
    if isinstance(part, nn.Embedding):
        rows = part.num_embeddings
        yield "tokens", (rows, 2), ids(rows, LENGTH)
        yield "tokens", (rows, 1), ids(rows)
    elif isinstance(part, nn.EmbeddingBag):
        yield "tokens", part.num_embeddings, ids(part.num_embeddings, LENGTH)
    elif isinstance(part, nn.modules.conv._ConvNd):
        dims, channels = len(part.kernel_size), part.in_channels
        for side in SIDES if dims == 2 else SIDES[:3]:
            kind = "image" if dims == 2 else "float"
            yield kind, (channels, dims, side), floats(channels, *[side] * dims)
    elif isinstance(part, nn.RNNBase):
        shape = (LENGTH, part.input_size)
        if part.batch_first:
            yield "float", shape, floats(*shape)
        else:
            yield "float", shape, lambda size: torch.randn(LENGTH, size, part.input_size)
    elif isinstance(part, nn.MultiheadAttention | nn.TransformerEncoderLayer):
        attention = part if isinstance(part, nn.MultiheadAttention) else part.self_attn
        width = attention.embed_dim
        if attention.batch_first:
            yield "float", (LENGTH, width), floats(LENGTH, width)
        else:
            yield "float", ("t", width), lambda size: torch.randn(LENGTH, size, width)
    elif isinstance(part, nn.Linear):
        yield "float", (part.in_features,), floats(part.in_features)
        yield "float", (LENGTH, part.in_features), floats(LENGTH, part.in_features)
    elif isinstance(part, nn.modules.batchnorm._BatchNorm):
        yield "float", (part.num_features,), floats(part.num_features)
        yield "float", (part.num_features, 16, 16), floats(part.num_features, 16, 16)
    elif isinstance(part, nn.LayerNorm):
        yield "float", tuple(part.normalized_shape), floats(*part.normalized_shape)
        yield "float", (LENGTH, *part.normalized_shape), floats(LENGTH, *part.normalized_shape)


def ids(rows: int, *shape: int) -> Make:
    """Make ids below a number of rows."""
    return lambda size: torch.randint(rows, (size, *shape))


def floats(*shape: int) -> Make:
    """Make standard normal numbers."""
    return lambda size: torch.randn(size, *shape)

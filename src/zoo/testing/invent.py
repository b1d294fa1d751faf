"""A spec for a bare module: inputs are invented from names, weights and trial forwards.

Candidates for each argument come from what a parameter is called (`input_ids`, `pixel_values`,
`timestep`, `mask`) and from the layers that the module begins with (an embedding's rows, a
convolution's channels, a linear map's features). The first combination with which the module runs
for 2 and for 3 rows is taken.
"""

import copy
import inspect
import itertools
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from zoo.testing.guard import Untouched
from zoo.testing.spec import ModelSpec
from zoo.testing.subject import SpecError, built_by, forward_names
from zoo.testing.trees import changed

Make = Callable[[int], Any]  # rows -> a tensor
LENGTH = 8  # positions of an invented sequence
SIDES = (32, 28, 16, 8, 64, 12, 96, 128, 224)  # pixels
TRIALS, SECONDS = 2000, 5.0  # after which the search ends
LENGTH_NAMES = ("context", "max_len", "max_length", "seq_len", "block_size", "n_positions")
SIDE_NAMES = ("image_size", "img_size", "input_size", "image_res", "resolution", "input_resolution")
LABELS = ("label", "class", "cond", "category", "target")
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
    """Find a batch with which the module runs. Raises SpecError where none does."""
    with Untouched():
        module = built_by(build).eval()
        carried = carried_batch(module)
        if carried is not None:
            return carried
        takes = forward_names(module.forward)
        names = [name for name, must in takes.items() if must] or list(takes)[:1] or ["input"]
        search = Search(module, time.monotonic())
        found = search.batch(names)
        while found is None:  # "You have to specify pixel_values"
            more = [n for n in takes if n not in names and re.search(rf"\b{n}\b", search.said)]
            if not more or search.over():
                break
            names = [*names, *more]
            found = search.batch(names)
    if found is None:
        raise SpecError(
            f"no invented input runs through {type(module).__name__}.forward({', '.join(names)}); "
            f"{search.tried} were tried, the last one said: {search.last}. "
            "Give batch=lambda size: {...}"
        )
    return found


@dataclass
class Search:
    """A search for inputs, which ends after some trials or some seconds."""

    module: nn.Module
    began: float
    tried: int = 0
    last: str = ""
    said: str = ""  # all that was complained of

    def over(self) -> bool:
        """Say whether enough was tried."""
        return self.tried > TRIALS or time.monotonic() - self.began > SECONDS

    def batch(self, names: list[str]) -> Make | None:
        """Find a batch of some inputs, None where none of those that are tried runs."""
        for length in lengths(self.module):
            for makers in combinations(self.module, names, length):
                self.tried += 1
                batch = batch_of(makers)
                self.last = fault(self.module, batch) or ""
                if not self.last:
                    return batch
                if self.last not in self.said:
                    self.said += f"{self.last}\n"
                if self.over():
                    return None
        return None


def numbers(module: nn.Module, names: Sequence[str]) -> list[Any]:
    """Give what a module, its parts and its config say under any of some names."""
    found: list[Any] = []
    for part in module.modules():
        config = getattr(part, "config", None)
        for holder in (part, config, getattr(config, "vision_config", None)):
            found += [getattr(holder, name) for name in names if hasattr(holder, name)]
    return found


def lengths(module: nn.Module) -> list[int]:
    """Give lengths of sequences to try: a short one, then those that the module names."""
    said = [n for n in numbers(module, LENGTH_NAMES) if isinstance(n, int)]
    for name, p in real_parameters(module):
        if "pos" in name and p.dim() > 1:
            said += [p.shape[-2], p.shape[-2] - 1]
    return list(dict.fromkeys([LENGTH, *(n for n in said if 1 < n <= 512)]))[:4]


def real_parameters(module: nn.Module) -> list[tuple[str, Tensor]]:
    """Give the parameters whose shapes are known."""
    lazy = nn.parameter.is_lazy
    return [(name, p) for name, p in module.named_parameters() if not lazy(p)]


def sides(module: nn.Module) -> list[tuple[int, ...]]:
    """Give sizes of pictures to try: those that the module names, then usual ones."""
    said: list[tuple[int, ...]] = []
    for n in numbers(module, SIDE_NAMES):
        if isinstance(n, int) and n > 0:
            said.append((n, n))
        elif isinstance(n, tuple | list) and len(n) == 2 and all(isinstance(x, int) for x in n):
            said.append((n[0], n[1]))
    return list(dict.fromkeys([*said, *((n, n) for n in SIDES)]))


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


def combinations(
    module: nn.Module, names: list[str], length: int = LENGTH
) -> Iterator[dict[str, Make]]:
    """Give combinations of candidates, the likely ones first."""
    options = {name: list(candidates(module, name, length)) for name in names}
    alike = {name: len(option) for name, option in options.items()}  # of one kind, so of one shape
    groups = list(dict.fromkeys(alike.values()))
    for at in in_order([range(size) for size in groups]):
        place = dict(zip(groups, at, strict=True))
        yield {name: option[place[alike[name]]] for name, option in options.items()}
    if len(groups) < len(names):
        for at in in_order([range(size) for size in alike.values()]):
            chosen = zip(options.items(), at, strict=True)
            yield {name: option[i] for (name, option), i in chosen}


def in_order(ranges: list[range]) -> list[tuple[int, ...]]:
    """Give combinations of places, those near the front of every list first."""
    every = itertools.islice(itertools.product(*ranges), 40 * TRIALS)
    return sorted(every, key=lambda places: (sum(places), places))


def candidates(module: nn.Module, name: str, length: int = LENGTH) -> Iterator[Make]:
    """Give ways to make one argument, the likely ones first."""
    low = name.lower()
    if "mask" in low:
        yield lambda size: torch.ones(size, length, dtype=torch.long)
        yield lambda size: torch.ones(size, length, dtype=torch.bool)
        yield lambda size: torch.zeros(size, length, dtype=torch.bool)
        yield lambda size: torch.zeros(length, length, dtype=torch.bool)
    if any(part in low for part in TIMES) or low == "t":
        yield lambda size: torch.randint(10, (size,))
        yield lambda size: torch.rand(size)
        yield lambda size: torch.rand(size, 1)
    if any(part in low for part in LABELS) or low == "y":
        yield lambda size: torch.randint(2, (size,))
    if "edge" in low and any(part in low for part in ("type", "attr", "kind")):
        yield lambda size: torch.randint(2, (size, length, length))
    if "edge" in low:
        yield lambda size: torch.randint(size, (2, 3 * size))
    if "adj" in low:
        yield lambda size: torch.ones(size, size)
        yield lambda size: torch.ones(size, length, length)
        yield lambda size: torch.ones(size, length, length, dtype=torch.bool)
    if "length" in low:
        yield lambda size: torch.full((size,), length)
    likely = list(from_layers(module, low, length))
    if any(part in low for part in IMAGES):  # pictures before anything else
        likely.sort(key=lambda pair: pair[0] != "image")
    yield from (make for _, make in likely)
    if any(part in low for part in IMAGES):
        for shape, channels in itertools.product(sides(module)[:4], (3, 1, 2, 4)):
            yield floats(channels, *shape)
    for width in widths(module):
        yield floats(width)
        yield floats(length, width)
    yield floats(16)
    yield floats(length, 16)
    yield floats(3, 32, 32)
    yield floats()


def widths(module: nn.Module) -> list[int]:
    """Give the sizes of axes of the first weights: the inputs' widths are among them."""
    shapes = [p.shape for _, p in real_parameters(module)[:4] if p.dim() > 1]
    return sorted({size for shape in shapes for size in shape})[:6]


def from_layers(module: nn.Module, name: str, length: int) -> Iterator[tuple[str, Make]]:
    """Give candidates that fit the layers in the order in which the module holds them."""
    seen: set[tuple[Any, ...]] = set()
    tables = [m.num_embeddings for m in module.modules() if isinstance(m, nn.Embedding)]
    if tables and any(part in name for part in IDS):
        yield "tokens", ids(max(tables), length)
        yield "tokens", ended(max(tables), length)
    pictures = sides(module)
    for part in module.modules():
        for kind, key, make in from_layer(part, length, pictures):
            if (kind, key) not in seen:
                seen.add((kind, key))
                yield kind, make


def from_layer(
    part: nn.Module, length: int, pictures: list[tuple[int, ...]]
) -> Iterator[tuple[str, Any, Make]]:
    """Give candidates that fit one layer, with what tells them apart."""
    if isinstance(part, nn.Embedding):
        rows = part.num_embeddings
        yield "tokens", (rows, 2), ids(rows, length)
        yield "tokens", (rows, 1), ids(rows)
    elif isinstance(part, nn.EmbeddingBag):
        yield "tokens", part.num_embeddings, ids(part.num_embeddings, length)
    elif isinstance(part, nn.modules.conv._ConvNd):
        dims, channels = len(part.kernel_size), part.in_channels
        for shape in pictures if dims == 2 else [(n,) * dims for n in SIDES[:4]]:
            kind = "image" if dims == 2 else "float"
            yield kind, (channels, *shape), floats(channels, *shape)
        if dims == 2 and pictures:
            yield "video", (channels, "frames"), floats(8, channels, *pictures[0])
    elif isinstance(part, nn.RNNBase):
        shape = (length, part.input_size)
        if part.batch_first:
            yield "float", shape, floats(*shape)
        else:
            yield "float", shape, lambda size: torch.randn(length, size, part.input_size)
    elif isinstance(part, nn.MultiheadAttention | nn.TransformerEncoderLayer):
        attention = part if isinstance(part, nn.MultiheadAttention) else part.self_attn
        width = attention.embed_dim
        if attention.batch_first:
            yield "float", (length, width), floats(length, width)
        else:
            yield "float", ("t", width), lambda size: torch.randn(length, size, width)
    elif isinstance(part, nn.Linear):
        yield "float", (part.in_features,), floats(part.in_features)
        yield "float", (length, part.in_features), floats(length, part.in_features)
    elif isinstance(part, nn.modules.batchnorm._NormBase):
        for axes in range(4):
            shape = (part.num_features, *[16 if axes < 3 else 8] * axes)
            yield "float", shape, floats(*shape)
    elif isinstance(part, nn.LayerNorm):
        yield "float", tuple(part.normalized_shape), floats(*part.normalized_shape)
        yield "float", (length, *part.normalized_shape), floats(length, *part.normalized_shape)


def ids(rows: int, *shape: int) -> Make:
    """Make ids below a number of rows."""
    return lambda size: torch.randint(rows, (size, *shape))


def ended(rows: int, length: int) -> Make:
    """Make ids whose largest one, the end of a text, stands in every row."""

    def made(size: int) -> Tensor:
        found = torch.randint(max(1, rows - 1), (size, length))
        found[:, -1] = rows - 1
        return found

    return made


def floats(*shape: int) -> Make:
    """Make standard normal numbers."""
    return lambda size: torch.randn(size, *shape)

"""What a model answers to inputs that a formula makes: the numbers by which it is known again.

Exact answers are computed in float64, block by block, so that no second copy of the weights is
held. A reader in a lower dtype has rounded weights, so each such dtype has answers of its own: what
float64 makes of the rounded weights. Every reader computes in float32 at least, and what is left
between the two is float32's rounding of sums and products:

    a stream of tokens is a sum of 2 x depth parts; each sum, and each part, is off by half a unit
    in the last place, so its error is at most 2 depth eps of its root mean square;
    blocks magnify what is wrong in what they read: by `gain`, measured in float64 by a push;
    MARGIN: a number may be further off than the root mean square, and other libraries sum in
    other orders.

    tolerance = MARGIN x 2 (depth + 1) x eps x max(1, gain)      of max(|number|, rms)

where 1 stands for what comes before the first block.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.probe_inputs import inputs_of, reads, sees, wave

MARGIN = 16.0
PUSH = 2.0**-20
DRAWS = 3
KEPT, KEPT_OF_A_BLOCK = 16, 4  # numbers
LINES = 24  # of which the place of the largest number is kept
GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Answers:
    """What one pass gave: each stack's blocks, and the head's answer where it was asked."""

    stacks: dict[str, list[Tensor]]  # real tokens alone (n, d)
    output: Tensor | None


def answers(
    model: Any,
    dtype: torch.dtype,
    *,
    through: torch.dtype | None = None,
    output: bool = True,
    push: int | None = None,
) -> Answers:
    """Compute in `dtype` what a model gives for its inputs, with weights rounded to `through`.

    Without `output` only the blocks run. `push` is the number of a draw: what the first blocks read
    is off by a share PUSH of its root mean square. The model should be `ready`.
    """
    batch = inputs_of(model)
    mask = batch["attention_mask"].bool() if "attention_mask" in batch else None
    given: dict[str, Any] = {n: x.to(dtype) if n == "pixel_values" else x for n, x in batch.items()}
    found: dict[str, list[Tensor]] = {}
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(torch.autocast("cpu", enabled=False))
        if through is not None or any(p.dtype != dtype for p in model.parameters()):
            stack.enter_context(casting(model, dtype, through))
        for where in model.stacks():
            blocks = model.get_submodule(where)
            found[where] = []
            keep = mask if reads(parent_of(model, where)) else None
            for block in blocks:
                stack.enter_context(block.register_forward_hook(keeper(found[where], keep)))
            if push is not None:
                stack.enter_context(blocks[0].register_forward_pre_hook(pusher(push)))
        result = run(model, given) if output else None
        if not output:
            run_blocks(model, given)
    if result is not None and result.dim() == 3 and mask is not None:
        result = result[mask]
    return Answers(found, result)


def run(model: Any, batch: dict[str, Any]) -> Tensor:
    if model.head_name == "multiple_choice":
        batch = {name: x[None] for name, x in batch.items()}
    if sees(model):
        batch = batch | {"interpolate": True}
    result: Tensor = model(**batch)
    return result


def run_blocks(model: Any, batch: dict[str, Any]) -> None:
    texts = {n: x for n, x in batch.items() if n != "pixel_values"}
    for where in model.stacks():
        part: Any = parent_of(model, where)
        if sees(part):
            part.encode(batch["pixel_values"], interpolate=True)
        else:
            part.encode(**texts)


def parent_of(model: Any, where: str) -> nn.Module:
    """Give the part that holds a stack: a tower, or the model itself."""
    part: nn.Module = model.get_submodule(where.rpartition(".")[0])
    return part


def ready(model: Any, dtype: torch.dtype) -> Any:
    """Give the model itself where it runs in `dtype` as it is, else a twin that shares its weights.

    A twin is on the CPU, for evaluation, and without the hooks that a model may have.
    """
    fits = all(p.dtype == dtype and p.device.type == "cpu" for p in model.parameters())
    if fits and not model.training:
        return model
    with torch.device("meta"):
        twin = type(model)(model.config, head=model.head_name)
    state = {n: p.detach().to("cpu") for n, p in model.named_parameters()}
    twin.load_state_dict(state, strict=False, assign=True)
    twin.tie()
    return twin.eval()


def _casting(model: Any, dtype: torch.dtype, through: torch.dtype | None) -> Iterator[None]:
    """Let each module of a twin have its weights in `dtype` while it runs, and no longer.

    A model and its towers are not called as modules, so what they hold themselves is cast at once.
    """
    tops = {id(model), *(id(parent_of(model, where)) for where in model.stacks())}
    with ExitStack() as stack:
        for part in model.modules():
            held = dict(part._parameters)
            if id(part) in tops:
                cast(part, held, dtype, through)
                stack.callback(part._parameters.update, held)
            elif held:
                hook = part.register_forward_pre_hook(caster(held, dtype, through))
                stack.enter_context(hook)
                stack.enter_context(part.register_forward_hook(restorer(held), always_call=True))
        yield


casting = contextmanager(_casting)


def cast(
    part: nn.Module, held: dict[str, Any], dtype: torch.dtype, through: torch.dtype | None
) -> None:
    for name, weight in held.items():
        if weight is not None:
            rounded = weight.detach() if through is None else weight.detach().to(through)
            part._parameters[name] = nn.Parameter(rounded.to(dtype), requires_grad=False)


def caster(
    held: dict[str, Any], dtype: torch.dtype, through: torch.dtype | None
) -> Callable[..., None]:
    def hook(part: nn.Module, _args: Any) -> None:
        cast(part, held, dtype, through)

    return hook


def restorer(held: dict[str, Any]) -> Callable[..., None]:
    def hook(part: nn.Module, _args: Any, _output: Any) -> None:
        part._parameters.update(held)

    return hook


def keeper(found: list[Tensor], mask: Tensor | None) -> Callable[..., None]:
    def hook(_part: nn.Module, _args: Any, output: Tensor) -> None:
        found.append(output.flatten(0, 1) if mask is None else output[mask])

    return hook


def pusher(draw: int) -> Callable[..., Any]:
    def hook(_part: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        x = args[0]
        noise = wave(x.numel(), draw).view(x.shape).to(x.dtype)
        return (x + PUSH * rms(x) * noise, *args[1:])

    return hook


def rms(x: Tensor) -> float:
    return float(x.double().square().mean().sqrt()) if x.numel() else 0.0


def kept_of(x: Tensor, count: int) -> list[float]:
    """Take numbers of a tensor, evenly spread by the golden ratio."""
    flat = x.reshape(-1)
    places = [int(flat.numel() * ((k + 1) * GOLDEN % 1)) for k in range(min(count, flat.numel()))]
    return [shortened(float(flat[place])) for place in places]


def shortened(number: float, digits: int = 10) -> float:
    """Keep as many digits as float64's own rounding leaves alone."""
    return float(f"{number:.{digits - 1}e}")


def largest(x: Tensor) -> list[int]:
    """Say in each of the first lines of an answer where its largest number stands."""
    lines = x.reshape(-1, x.shape[-1])[:LINES]
    return [int(place) for place in lines.argmax(-1)] if x.numel() else []


def measured(model: Any, lower: Iterable[torch.dtype] = ()) -> dict[str, Any]:
    """Give a model's exact answers as a probe keeps them, and those of weights rounded to `lower`.

    Answers that are not finite are left out: half precision may overflow.
    """
    twin = ready(model, torch.float64)
    exact = answers(twin, torch.float64)
    pushed = [answers(twin, torch.float64, push=draw) for draw in range(1, 1 + DRAWS)]
    gains = {
        where: [gain(x, [p.stacks[where][i] for p in pushed]) for i, x in enumerate(blocks)]
        for where, blocks in exact.stacks.items()
    }
    last = gain(exact.output, [p.output for p in pushed])
    found = {"exact": record(exact, gains, last)}
    for dtype in lower:
        rounded = answers(twin, torch.float64, through=dtype)
        found[str(dtype).removeprefix("torch.")] = record(rounded, gains, last)
    return {name: about for name, about in found.items() if is_finite(about)}


def gain(exact: Tensor | None, pushed: list[Any]) -> float:
    """Tell by how much a push has grown, as a share of the answer; at least 1."""
    assert exact is not None
    size = max(rms(exact), 1e-300)
    return max(1.0, *(rms(x - exact) / size / PUSH for x in pushed))


def record(found: Answers, gains: dict[str, list[float]], last: float) -> dict[str, Any]:
    """Describe answers as a probe keeps them."""
    depth = sum(len(blocks) for blocks in found.stacks.values())
    stacks = {
        where: [
            about(x, tolerance(i + 1, gains[where][i]), KEPT_OF_A_BLOCK)
            for i, x in enumerate(blocks)
        ]
        for where, blocks in found.stacks.items()
    }
    assert found.output is not None
    output = about(found.output, tolerance(depth, last), KEPT)
    return {"output": output | {"argmax": largest(found.output)}, "stacks": stacks}


def tolerance(depth: int, grown: float) -> float:
    """Bound a float32 reader's error behind `depth` blocks: see the top of this file."""
    return MARGIN * 2 * (depth + 1) * torch.finfo(torch.float32).eps * grown


def about(x: Tensor, share: float, count: int) -> dict[str, Any]:
    """Describe an answer: its size, some of its numbers, and how far off they may be."""
    return {
        "shape": list(x.shape),
        "rms": shortened(rms(x)),
        "tolerance": shortened(share, 2),
        "values": kept_of(x, count),
    }


def is_finite(found: dict[str, Any]) -> bool:
    parts = [found["output"], *(part for blocks in found["stacks"].values() for part in blocks)]
    return all(math.isfinite(n) for p in parts for n in (p["rms"], p["tolerance"], *p["values"]))


def off_by(kept: dict[str, Any], found: Tensor) -> float:
    """Give the largest distance of an answer from what was kept, as a share of its size."""
    values = kept_of(found.double(), len(kept["values"]))
    if list(found.shape) != kept["shape"] or len(values) != len(kept["values"]):
        return math.inf
    size = kept["rms"]
    pairs = [*zip(kept["values"], values, strict=True), (size, rms(found))]
    shares = [abs(b - a) / max(abs(a), size, 1e-30) for a, b in pairs]
    return max(share if math.isfinite(share) else math.inf for share in shares)


def allowed(kept: dict[str, Any], dtype: torch.dtype) -> float:
    """Say how far off a reader that computes in `dtype` may be; kept numbers are rounded too."""
    share = torch.finfo(dtype).eps / torch.finfo(torch.float32).eps
    return float(kept["tolerance"] * share + 1e-9)


def moved(kept: dict[str, Any], found: Tensor, share: float) -> str | None:
    """Say in which line another number is the largest; numbers that are nearly equal are both."""
    lines = found.reshape(-1, found.shape[-1])
    for number, (place, line) in enumerate(zip(kept["argmax"], lines, strict=False)):
        slack = 2 * share * max(kept["rms"], float(line.abs().max()))
        if place >= len(line) or float(line[place]) < float(line.max()) - slack:
            return (
                f"in line {number} of the answer {int(line.argmax())} is the largest, was {place}"
            )
    return None


def difference(kept: dict[str, Any], model: Any, dtype: torch.dtype, output: bool) -> str | None:
    """Compute a model's answers and say where the first one is that is not as it was kept."""
    found = answers(ready(model, dtype), dtype, output=output)
    for where, blocks in found.stacks.items():
        parts = kept["stacks"].get(where, ())
        for number, (part, x) in enumerate(zip(parts, blocks, strict=False)):
            off = off_by(part, x)
            if not off <= allowed(part, dtype):
                return f"{where}.{number} is the first that differs, by {off:.2g} of its size"
    if found.output is None:
        return None
    share = allowed(kept["output"], dtype)
    off = off_by(kept["output"], found.output)
    if not off <= share:
        return f"the blocks are as they were, what the head gives differs by {off:.2g} of its size"
    return moved(kept["output"], found.output, share)

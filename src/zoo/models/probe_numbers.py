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

    tolerance = MARGIN x 2 (depth + 2) x eps x max(1, gain)      of max(|number|, rms)
"""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

TOKENS, SHORT = 9, 6  # tokens of two rows; the second is padded
PATCHES = 64  # a picture of more is cut to GRID, so that a probe stays cheap
GRID = (5, 7)
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


def inputs_of(model: Any) -> dict[str, Tensor]:
    """Make the batch that a model reads: ids of two rows, and pixels of one picture, in float64."""
    c = model.config
    batch: dict[str, Tensor] = {}
    if reads(model):
        batch |= texts_for(c)
    if sees(model):
        batch["pixel_values"] = pixels_for(c)
    return batch


def reads(model: Any) -> bool:
    return hasattr(model, "tokens") or hasattr(model, "text")


def sees(model: Any) -> bool:
    return hasattr(model, "patch") or hasattr(model, "image")


def texts_for(config: Any) -> dict[str, Tensor]:
    """Spread ids over the vocabulary; the second row is shorter, and CLIP's end with the end."""
    tokens = min(TOKENS, config.context)
    short = min(SHORT, tokens)
    count = torch.arange(2 * tokens, device="cpu").view(2, tokens)
    ids = (1 + 7919 * count * count + 31 * count) % config.vocab
    mask = torch.ones_like(ids)
    mask[1, short:] = 0
    end, pad = getattr(config, "end", None), getattr(config, "pad", None)
    for special in (end, pad):
        if special is not None:
            ids = torch.where(ids == special, (special + 1) % config.vocab, ids)
    if end is not None:
        ids[0, -1] = ids[1, short - 1] = end
    ids = ids * mask  # what is padding counts for nothing
    batch = {"input_ids": ids, "attention_mask": mask}
    if hasattr(config, "types"):
        batch["token_type_ids"] = (count % tokens > tokens // 2).long() % config.types
    return batch


def pixels_for(config: Any) -> Tensor:
    """Make a picture of unit variance; a large one is cut to a few patches."""
    down, across = config.grid
    if down * across > PATCHES:
        down, across = min(down, GRID[0]), min(across, GRID[1])
    shape = (1, config.channels, down * config.patch[0], across * config.patch[1])
    return wave(math.prod(shape), 0).view(shape)


def wave(count: int, draw: int) -> Tensor:
    """Make numbers of unit variance that no stream of random numbers has to be kept for."""
    place = torch.arange(count, dtype=torch.float64, device="cpu")
    return 2**0.5 * torch.sin(1 + draw + (1.7 + 0.13 * draw) * place)


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
    is off by a share PUSH of its root mean square.
    """
    twin = ready(model, dtype, through)
    batch = inputs_of(twin)
    mask = batch["attention_mask"].bool() if "attention_mask" in batch else None
    given: dict[str, Any] = {n: x.to(dtype) if n == "pixel_values" else x for n, x in batch.items()}
    found: dict[str, list[Tensor]] = {}
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(torch.autocast("cpu", enabled=False))
        if any(p.dtype != dtype for p in twin.parameters()):
            stack.enter_context(casting(twin, dtype, through))
        for where in twin.stacks():
            blocks = twin.get_submodule(where)
            found[where] = []
            keep = mask if reads(parent_of(twin, where)) else None
            for block in blocks:
                stack.enter_context(block.register_forward_hook(keeper(found[where], keep)))
            if push is not None:
                stack.enter_context(blocks[0].register_forward_pre_hook(pusher(push)))
        result = run(twin, given) if output else None
        if not output:
            run_blocks(twin, given)
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


def ready(model: Any, dtype: torch.dtype, through: torch.dtype | None) -> Any:
    """Give the model itself where it can be run as it is, else a twin that shares its weights."""
    fits = all(p.dtype == dtype and p.device.type == "cpu" for p in model.parameters())
    if fits and through is None and not model.training:
        return model
    with torch.device("meta"):
        twin = type(model)(model.config, head=model.head_name)
    state = {n: p.detach().to("cpu") for n, p in model.named_parameters()}
    twin.load_state_dict(state, strict=False, assign=True)
    twin.tie()
    return twin.eval()


def _casting(model: Any, dtype: torch.dtype, through: torch.dtype | None) -> Iterator[None]:
    """Let each module of a twin have its weights in `dtype` while it runs, and no longer.

    A model and its towers are not called as modules, so what they hold themselves stays cast.
    """
    tops = {id(model), *(id(parent_of(model, where)) for where in model.stacks())}
    with ExitStack() as hooks:
        for part in model.modules():
            if not any(True for _ in part.parameters(recurse=False)):
                continue
            if id(part) in tops:
                cast(part, dtype, through)
                continue
            held = dict(part._parameters)
            hooks.enter_context(part.register_forward_pre_hook(caster(dtype, through)))
            hooks.enter_context(part.register_forward_hook(restorer(held), always_call=True))
        yield


casting = contextmanager(_casting)


def cast(part: nn.Module, dtype: torch.dtype, through: torch.dtype | None) -> None:
    for name, held in part._parameters.items():
        if held is not None:
            rounded = held.detach() if through is None else held.detach().to(through)
            part._parameters[name] = nn.Parameter(rounded.to(dtype), requires_grad=False)


def caster(dtype: torch.dtype, through: torch.dtype | None) -> Callable[..., None]:
    def hook(part: nn.Module, _args: Any) -> None:
        cast(part, dtype, through)

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


def measured(model: Any, through: torch.dtype | None = None) -> dict[str, Any] | None:
    """Give the exact answers of a model as a probe keeps them; None when they are not finite."""
    exact = answers(model, torch.float64, through=through)
    pushed = [answers(model, torch.float64, through=through, push=n) for n in range(1, 1 + DRAWS)]
    stacks = {}
    for where, blocks in exact.stacks.items():
        stacks[where] = [
            about(x, [p.stacks[where][i] for p in pushed], i + 2, KEPT_OF_A_BLOCK)
            for i, x in enumerate(blocks)
        ]
    assert exact.output is not None
    depth = sum(len(blocks) for blocks in exact.stacks.values())
    off = [p.output for p in pushed if p.output is not None]
    output = about(exact.output, off, depth + 2, KEPT)
    result: dict[str, Any] = {
        "output": output | {"argmax": largest(exact.output)},
        "stacks": stacks,
    }
    records = [output, *(record for blocks in stacks.values() for record in blocks)]
    fine = all(math.isfinite(n) for r in records for n in (r["rms"], r["tolerance"], *r["values"]))
    return result if fine else None


def about(x: Tensor, pushed: list[Tensor], sums: int, count: int) -> dict[str, Any]:
    """Describe an answer: its size, some of its numbers, and how far off they may be."""
    size = rms(x)
    gain = max((rms(p - x) / max(size, 1e-300) / PUSH for p in pushed), default=0.0)
    tolerance = MARGIN * 2 * sums * torch.finfo(torch.float32).eps * max(1.0, gain)
    return {
        "shape": list(x.shape),
        "rms": shortened(size),
        "tolerance": shortened(tolerance, 2),
        "values": kept_of(x, count),
    }


def off_by(kept: dict[str, Any], found: Tensor) -> float:
    """Give the largest distance of an answer from what was kept, as a share of its size."""
    if list(found.shape) != kept["shape"]:
        return math.inf
    size = kept["rms"]
    values = [float(n) for n in kept_of(found.double(), len(kept["values"]))]
    pairs = [*zip(kept["values"], values, strict=True), (size, rms(found))]
    shares = [abs(b - a) / max(abs(a), size, 1e-30) for a, b in pairs]
    return max(s if math.isfinite(s) else math.inf for s in shares)


def allowed(kept: dict[str, Any], dtype: torch.dtype) -> float:
    """Say how far off a reader that computes in `dtype` may be; kept numbers are rounded too."""
    share = torch.finfo(dtype).eps / torch.finfo(torch.float32).eps
    return float(kept["tolerance"] * share + 1e-9)


def difference(kept: dict[str, Any], model: Any, dtype: torch.dtype, output: bool) -> str | None:
    """Compute a model's answers and say where the first one is that is not as it was kept."""
    found = answers(model, dtype, output=output)
    for where, blocks in found.stacks.items():
        for number, (record, x) in enumerate(
            zip(kept["stacks"].get(where, ()), blocks, strict=False)
        ):
            off = off_by(record, x)
            if not off <= allowed(record, dtype):
                return f"{where}.{number} is off by {off:.2g} of its size"
    if output and found.output is not None:
        record = kept["output"]
        off = off_by(record, found.output)
        if not off <= allowed(record, dtype):
            return f"the blocks are as they were, what the head gives is off by {off:.2g}"
    return None

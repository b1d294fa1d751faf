"""A probe: numbers that a model's blocks gave when it was written, kept beside its weights.

Weights fit a config that computes something else: with another form of gelu every shape is the
same and every answer a little wrong. So a file of ours keeps what its blocks make of a fixed input,
and whoever reads it computes that again. The input is three tokens, so a probe costs little more
than reading the weights once; blocks compute in float32 at least, whatever they are stored in.
"""

import copy
import json
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from zoo.nn import MLP
from zoo.ops.gelu import FORMS

PROBE = "zoo.probe"  # metadata: JSON of the blocks' place -> numbers
TOKENS = 3
KEPT = 8  # numbers of the last token

# How far from the kept numbers an honest reader may be, by the dtype that it reads into. In float32
# GPT-2's and CLIP's blocks round to 3e-7 of their answer, other forms of gelu move it by 5e-5 and
# more; in lower ones the weights are rounded again. Above the first a form that fits far better is
# looked for; above the second something is wrong even if none is found.
SUSPECT = {torch.float64: 1e-5, torch.float32: 1e-5, torch.float16: 3e-2, torch.bfloat16: 2e-1}
WRONG = {torch.float64: 1e-2, torch.float32: 1e-2, torch.float16: 1e-1, torch.bfloat16: 5e-1}


def take(
    model: nn.Module, stacks: Iterable[str], form: str | None = None
) -> dict[str, list[float]]:
    """Compute the probe of each stack of blocks; with another `form` of gelu if one is given."""
    return {where: answer(model.get_submodule(where), form) for where in stacks}


def answer(blocks: Any, form: str | None) -> list[float]:
    width = blocks[0].norm1.weight.shape[0]
    x = fixed_input(width)
    with torch.no_grad():
        for block in blocks:
            twin = twin_of(block)
            for part in twin.modules():
                if form is not None and isinstance(part, MLP):
                    part.gelu = form
            x = twin(x.to(twin.norm1.weight.dtype))
    return [float(value) for value in x[0, -1, :KEPT]]


def twin_of(block: Any) -> Any:
    """Copy a block for evaluation on the CPU, in float32 at least; weights that fit are shared."""
    weight = block.norm1.weight
    dtype = torch.promote_types(torch.float32, weight.dtype)
    fits = weight.device.type == "cpu" and weight.dtype == dtype
    shared = {id(p): p for p in block.parameters()} if fits else {}
    twin = copy.deepcopy(block, shared).eval()
    return twin if fits else twin.cpu().to(dtype)


def fixed_input(width: int) -> Tensor:
    """Make tokens of unit variance that no stream of random numbers has to be kept for."""
    count = torch.arange(TOKENS * width, dtype=torch.float64)
    return 2**0.5 * torch.sin(1 + 1.7 * count).view(1, TOKENS, width)


def kept(metadata: dict[str, str]) -> dict[str, list[float]]:
    """Read the probes out of a file's metadata; none where there are none, or strange ones."""
    try:
        found = json.loads(metadata.get(PROBE, "{}"))
    except ValueError:
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        where: numbers
        for where, numbers in found.items()
        if isinstance(numbers, list) and all(type(number) is float for number in numbers)
    }


def far(mine: list[float], theirs: list[float]) -> float:
    """Give the distance of two answers as a share of their size."""
    one, other = torch.tensor(mine).double(), torch.tensor(theirs).double()
    if one.shape != other.shape:
        return float("inf")
    return float((one - other).norm() / other.norm().clamp_min(1e-30))


def complaint(model: Any, metadata: dict[str, str], stacks: Iterable[str]) -> str | None:
    """Compute a model's probes again; say what is wrong where they are not those of its file."""
    expected = {where: numbers for where, numbers in kept(metadata).items() if where in stacks}
    dtype = next(model.parameters()).dtype
    if dtype not in SUSPECT:
        return None
    for where, mine in take(model, expected).items():
        off = far(mine, expected[where])
        if not off > SUSPECT[dtype]:
            continue
        form = model.config.gelu
        distances = {f: far(take(model, [where], f)[where], expected[where]) for f in FORMS}
        best = min(distances, key=distances.__getitem__)
        nearer = distances[best] < off / 8
        if not nearer and off <= WRONG[dtype]:
            continue
        hint = f"; with gelu {best!r} they do: the config names another" if nearer else ""
        return (
            f"the blocks do not give the numbers that were kept when the weights were written "
            f"({where} is off by {off:.2%}, with gelu {form!r}){hint}"
        )
    return None

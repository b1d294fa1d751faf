"""Adapters read from PEFT's format onto our layers; see `adapter` for the format.

Where ours is one layer of several of theirs, and these have an A each or some have none, one
adapter holds them all, whose `up` is zero where a layer does not read another's A:

    [Bq Aq]   [Bq  0   0 ] [Aq]
    [Bk Ak] = [ 0  Bk  0 ] [Ak]        the same product; its rank is the sum of theirs
    [Bv Av]   [ 0   0  Bv] [Av]
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo import keymap
from zoo.checkpoint import CheckpointError, LazyTensor
from zoo.checkpoint.files import read_json
from zoo.checkpoint.safetensors import read_header
from zoo.models.base import Model
from zoo.nn import Linear
from zoo.nn.lora import LoRALinear
from zoo.train.adapter import CONFIG, MOVED, PREFIX, WEIGHTS
from zoo.train.lora import adapters_of, install, refuse_shared
from zoo.train.optimizer import names_of

NAME = re.compile(r"(.+)\.lora_([AB])\.weight")
PLAIN = re.compile(r"[A-Za-z0-9_.]+")

# settings that change what is computed: key -> values under which it is what we compute
FIXED: dict[str, tuple[Any, ...]] = {
    "peft_type": ("LORA",),
    "bias": ("none",),
    "use_dora": (False, None),
    "lora_bias": (False, None),
    "alora_invocation_tokens": (None,),
    "trainable_token_indices": (None,),
    "target_parameters": (None, []),
    "megatron_config": (None,),
    "layer_replication": (None,),
    # the others change the base weights, so the file alone says too little
    "init_lora_weights": (True, False, None, "gaussian", "eva", "orthogonal"),
}


@dataclass
class Part:
    """One of their adapted layers, in its file."""

    layer: str  # as they call it
    halves: dict[str, LazyTensor] = field(default_factory=dict)  # A (r, in), B (out, r)
    alpha: float = 0.0  # as if the scale were alpha / r


def load_adapter(model: Model, folder: str | Path) -> list[str]:
    """Put an adapter that PEFT or `save_adapter` wrote on a model; give the adapted layers' names.

    All else is frozen but the layers that the file holds whole. Raises CheckpointError, and changes
    nothing, for an adapter of another model and for what cannot be represented, and ValueError for
    a model that has adapters.
    """
    if adapters_of(model):
        raise ValueError("the model has adapters already; merge_lora makes them part of it")
    path = Path(folder)
    config = read_json(path, CONFIG)
    check_config(path, config)
    tensors, _ = read_header(path, WEIGHTS)
    found, rest = sort_out(model, path, tensors)
    if not found:
        raise CheckpointError(f"{path} holds no adapter")
    rate = float(config.get("lora_dropout") or 0.0)
    made = {}
    for name, (count, parts) in found.items():
        for part in parts.values():
            part.alpha = alpha_of(path, config, part)
        made[name] = build(model, path, name, count, parts, rate)
    whole = read_whole(model, path, rest)
    try:
        refuse_shared(model, list(made), list(whole))
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from None
    install(model, made, list(whole))
    named = names_of(model)
    with torch.no_grad():
        for name, tensor in whole.items():
            named[name].copy_(tensor)
    return list(made)


def check_config(path: Path, config: Mapping[str, Any]) -> None:
    """Refuse settings under which something else than LoRA's product is computed."""
    for key, values in FIXED.items():
        if config.get(key, values[0]) not in values:
            raise CheckpointError(
                f"{path}: {key} is {str(config[key])[:80]!r}; an adapter can be read when it is "
                f"{' or '.join(repr(value) for value in values)}"
            )
    for key in ("r", "lora_alpha"):
        value = config.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise CheckpointError(f"{path}: {key} is {value!r}; expected a positive number")
    for key in ("rank_pattern", "alpha_pattern"):
        if not isinstance(config.get(key) or {}, dict):
            raise CheckpointError(f"{path}: {key} is {config[key]!r}; expected a table")
    rate = config.get("lora_dropout") or 0
    if not isinstance(rate, int | float) or not 0 <= rate < 1:
        raise CheckpointError(f"{path}: lora_dropout is {rate!r}; expected 0 to less than 1")


def sort_out(
    model: Model, path: Path, tensors: Mapping[str, LazyTensor]
) -> tuple[dict[str, tuple[int, dict[int, Part]]], dict[str, LazyTensor]]:
    """Give adapters by our layer (of how many of theirs, and which), and the rest by name."""
    found: dict[str, tuple[int, dict[int, Part]]] = {}
    rest: dict[str, LazyTensor] = {}
    for name, tensor in tensors.items():
        stem = name.removeprefix(PREFIX)
        adapter = NAME.fullmatch(stem)
        if adapter is None:
            rest[stem] = tensor
            continue
        layer, half = adapter.groups()
        rule, part, ours = ours_of(model, path, f"{layer}.weight")
        count = len(rule.theirs) if isinstance(rule, keymap.Stack) else 1
        parts = found.setdefault(ours.removesuffix(".weight"), (count, {}))[1]
        parts.setdefault(part, Part(layer)).halves[half] = tensor
    return found, rest


def ours_of(model: Model, path: Path, name: str) -> tuple[keymap.Carried, int, str]:
    """Give the rule of a tensor of theirs, which part of ours it is, and our name."""
    keys = model.spec.keys(model.config)
    prefix = keys.prefix_of(model.head_name)
    rules = [(rule, prefix) for rule in keys.rules(model.head_name)]
    for candidate in published_names(name, prefix):
        for rule, part, number in keymap.matches(keys, rules, candidate):
            if isinstance(rule, keymap.Tied):
                raise CheckpointError(
                    f"{path}: {name} is tied to {rule.ours} here, and a layer of its own there"
                )
            if isinstance(rule, keymap.Carried):
                return rule, part, rule.ours.replace("{}", number)
    raise CheckpointError(
        f"{path}: {type(model).__name__} with head {model.head_name!r} has no {name[:80]!r}"
    )


def published_names(name: str, prefix: str) -> list[str]:
    """Give the published names that a tensor of their model may have."""
    layer, _, own = name.rpartition(".")
    result = []
    for whole in (layer, prefix + layer):
        numbers = ((old, keymap.match(new, whole)) for old, new in MOVED.items())
        result += [f"{old.replace('{}', n)}.{own}" for old, n in numbers if n is not None]
    return [*result, name]


def alpha_of(path: Path, config: Mapping[str, Any], part: Part) -> float:
    """Give a layer's alpha; raise CheckpointError when its rank is not what the config says."""
    if part.halves.keys() != {"A", "B"}:
        raise CheckpointError(f"{path}: {part.layer} has lora_{'/'.join(part.halves)} only")
    rank = part.halves["A"].shape[0] if part.halves["A"].shape else 0
    said = by_pattern(path, config, "rank_pattern", part.layer, config["r"])
    if rank != said or not rank:
        raise CheckpointError(f"{path}: {part.layer} has rank {rank}; the config says {said}")
    alpha = float(by_pattern(path, config, "alpha_pattern", part.layer, config["lora_alpha"]))
    return alpha * math.sqrt(rank) if config.get("use_rslora") else alpha


def by_pattern(path: Path, config: Mapping[str, Any], key: str, layer: str, default: Any) -> Any:
    """Give a layer's own setting; a pattern is a name or its end, other expressions are refused."""
    for pattern, value in (config.get(key) or {}).items():
        plain = pattern.removeprefix("^").removesuffix("$")
        if not PLAIN.fullmatch(plain):
            raise CheckpointError(f"{path}: {key} has {pattern[:80]!r}; expected names of layers")
        if layer == plain or (pattern[:1] != "^" and layer.endswith(f".{plain}")):
            return value
    return default


def build(
    model: Model, path: Path, name: str, count: int, parts: Mapping[int, Part], rate: float
) -> LoRALinear:
    """Make one adapter of theirs on the layers that are one of ours."""
    base = dict(model.named_modules()).get(name)
    if type(base) is not Linear:
        raise CheckpointError(f"{path}: the model has no linear layer {name}")
    out, inner = base.out_features // count, base.in_features
    order = sorted(parts)
    for part in parts.values():
        rank = part.halves["A"].shape[0]
        shapes = part.halves["A"].shape, part.halves["B"].shape
        if shapes != ((rank, inner), (out, rank)):
            raise CheckpointError(
                f"{path}: {part.layer} has A {shapes[0]} and B {shapes[1]}; "
                f"the model's needs {(rank, inner)} and {(out, rank)}"
            )
    scales = {part.alpha / part.halves["A"].shape[0] for part in parts.values()}
    if len(scales) > 1:
        raise CheckpointError(
            f"{path}: the layers that {name} is made of have scales {sorted(scales)}; "
            "one adapter has one"
        )
    downs = [parts[i].halves["A"].read() for i in order]
    ups = [parts[i].halves["B"].read() for i in order]
    if len(parts) == count and all(torch.equal(downs[0], down) for down in downs):
        down, up = downs[0], torch.cat(ups)
    else:
        down, up = torch.cat(downs), spread(ups, order, count)
    first = parts[order[0]]
    alpha = first.alpha * down.shape[0] / downs[0].shape[0]
    layer = LoRALinear(base, rank=down.shape[0], alpha=alpha, rate=rate)
    with torch.no_grad():
        layer.down.copy_(down)
        layer.up.copy_(up)
    return layer


def spread(ups: list[Tensor], order: list[int], count: int) -> Tensor:
    """Put each B in the rows of its part and in the columns of its own A."""
    out = ups[0].shape[0]
    result = ups[0].new_zeros(count * out, sum(up.shape[1] for up in ups))
    column = 0
    for i, up in zip(order, ups, strict=True):
        result[i * out : (i + 1) * out, column : column + up.shape[1]] = up
        column += up.shape[1]
    return result


def read_whole(model: Model, path: Path, rest: Mapping[str, LazyTensor]) -> dict[str, Tensor]:
    """Read the layers that a file holds whole, by our names."""
    groups: dict[str, tuple[keymap.Carried, dict[int, LazyTensor]]] = {}
    for name, tensor in rest.items():
        rule, part, ours = ours_of(model, path, name)
        groups.setdefault(ours, (rule, {}))[1][part] = tensor
    named = names_of(model)
    result = {}
    for ours, (rule, parts) in groups.items():
        wanted = len(rule.theirs) if isinstance(rule, keymap.Stack) else 1
        held = [parts[i] for i in sorted(parts)]
        shape = keymap.combined_shape(rule, [tensor.shape for tensor in held])
        if ours not in named or len(held) != wanted or shape != tuple(named[ours].shape):
            raise CheckpointError(f"{path}: what it holds for {ours} does not fit the model")
        if sum(p is named[ours] for p in named.values()) > 1:
            raise CheckpointError(f"{path}: {ours} is tied to another here, and alone there")
        result[ours] = keymap.combine(rule, [tensor.read() for tensor in held])
    return result

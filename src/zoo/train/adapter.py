"""Adapters on disk, in the format of Hugging Face's PEFT.

    adapter_config.json          rank, alpha, and the names of the adapted layers
    adapter_model.safetensors    base_model.model.<layer>.lora_A.weight (rank, in)
                                 base_model.model.<layer>.lora_B.weight (out, rank)

Names come from the family's table of published tensors. Where several layers of theirs are one of
ours, our `down` is the A of each, and `up` is cut into their Bs; `adapter_read` goes the other way.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from zoo import keymap
from zoo.checkpoint import CheckpointError
from zoo.checkpoint.folder import PARTIAL
from zoo.checkpoint.safetensors import write_file
from zoo.checkpoint.write import config_text, put_in_place, synchronise, write_new
from zoo.models.base import Model
from zoo.train.lora import adapters_of
from zoo.train.optimizer import names_of

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."

# what transformers 5 calls layers whose tensors its files name as before
ATTENTION = {"attention.attention.query": "attention.q_proj"}
ATTENTION |= {"attention.attention.key": "attention.k_proj"}
ATTENTION |= {"attention.attention.value": "attention.v_proj"}
REST = {
    "attention.output.dense": "attention.o_proj",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "layernorm_before": "layernorm_before",
    "layernorm_after": "layernorm_after",
}
MOVED = {
    f"vit.encoder.layer.{{}}.{old}": f"vit.layers.{{}}.{new}"
    for old, new in (ATTENTION | REST).items()
}


def save_adapter(model: Model, folder: str | Path, *, base: str | None = None) -> None:
    """Write the adapters and what else is trained so that PEFT loads them on the published model.

    `base` names the model that they were trained on. Raises ValueError for a model without
    adapters, and where trained parameters are less than a whole layer, which PEFT cannot save.
    """
    adapters = adapters_of(model)
    if not adapters:
        raise ValueError("the model has no adapters to save; add_lora puts some on it")
    tensors: dict[str, Tensor] = {}
    ranks: dict[str, int] = {}
    alphas: dict[str, float] = {}
    transposed = False
    for name, layer in adapters.items():
        rule, parts = published_layers(model, name)
        transposed |= isinstance(rule, keymap.Rename) and rule.transpose
        for part, up in zip(parts, layer.up.detach().chunk(len(parts)), strict=True):
            tensors[f"{PREFIX}{part}.lora_A.weight"] = layer.down.detach().clone()
            tensors[f"{PREFIX}{part}.lora_B.weight"] = up.clone()
            ranks[part], alphas[part] = layer.rank, layer.alpha
    whole = whole_layers(model)
    tensors |= {PREFIX + name: tensor for name, tensor in whole.items()}
    rank, alpha = next(iter(ranks.values())), next(iter(alphas.values()))
    config = {
        "peft_type": "LORA",
        "task_type": None,
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": number(alpha),
        "rank_pattern": {part: r for part, r in ranks.items() if r != rank},
        "alpha_pattern": {part: number(a) for part, a in alphas.items() if a != alpha},
        "lora_dropout": next(iter(adapters.values())).drop.rate,
        "target_modules": sorted(ranks),
        "modules_to_save": sorted({name.rpartition(".")[0] for name in whole}) or None,
        "fan_in_fan_out": transposed,
        "bias": "none",
        "init_lora_weights": True,
        "inference_mode": True,
    }
    write(Path(folder), config, tensors)


def number(alpha: float) -> int | float:
    """Write a whole number as one, as others do."""
    return int(alpha) if alpha == int(alpha) else alpha


def write(folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Stage both files in a folder, then give them their names."""
    text = config_text(config)
    held = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    staged = [folder / (name + PARTIAL) for name in (WEIGHTS, CONFIG)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for place in staged:
            place.unlink(missing_ok=True)
        try:
            write_file(staged[0], held, {"format": "pt"})
            write_new(staged[1], text)
        except BaseException:
            for place in staged:
                place.unlink(missing_ok=True)
            raise
        put_in_place(folder, WEIGHTS)
        put_in_place(folder, CONFIG)
        synchronise(folder)
    except OSError as error:
        raise CheckpointError(f"cannot write to {folder}: {error.strerror or error}") from None


def published_layers(model: Model, name: str) -> tuple[keymap.Carried, list[str]]:
    """Give the rule of a linear layer's weight, and what the layers are called in their model."""
    keys = model.spec.keys(model.config)
    for rule in keys.rules(model.head_name):
        if isinstance(rule, keymap.Rename | keymap.Stack):
            found = keymap.match(rule.ours, f"{name}.weight")
            if found is not None:
                theirs = rule.theirs if isinstance(rule, keymap.Stack) else (rule.theirs,)
                return rule, [spelt(model, part.replace("{}", found)) for part in theirs]
    raise ValueError(f"{name} has no published name, so PEFT has no place for its adapter")


def spelt(model: Model, tensor: str) -> str:
    """Give a layer's name in their model, by the published name of its weight or bias."""
    layer = tensor.rpartition(".")[0]
    for old, new in MOVED.items():
        found = keymap.match(old, layer)
        if found is not None:
            layer = new.replace("{}", found)
            break
    keys = model.spec.keys(model.config)
    if model.head_name in keys.bare:
        layer = layer.removeprefix(keys.prefix_of(model.head_name))
    return layer


def whole_layers(model: Model) -> dict[str, Tensor]:
    """Give what is trained beside the adapters by name in their model, layer by layer."""
    learnt = {f"{name}.{part}" for name in adapters_of(model) for part in ("down", "up")}
    every = names_of(model)
    named = {name: p for name, p in model.named_parameters() if name not in learnt}
    trained = {name: p for name, p in named.items() if p.requires_grad}
    tied = [name for name, p in trained.items() if sum(p is other for other in every.values()) > 1]
    keys, head = model.spec.keys(model.config), model.head_name
    layers = {theirs.rpartition(".")[0] for theirs in keymap.to_theirs(keys, head, trained)}
    whole = keymap.to_theirs(keys, head, named)
    result = {name: t.detach() for name, t in whole.items() if name.rpartition(".")[0] in layers}
    cut = [name for name in whole if name not in result and name.startswith(dotted(layers))]
    adapted = [part for name in adapters_of(model) for part in published_layers(model, name)[1]]
    if tied or cut or "" in layers or layers & {*adapted}:
        raise ValueError(
            f"{', '.join(trained)} are trained beside the adapters; PEFT saves whole layers, which "
            "hold no others, are not tied and have no adapter: freeze the rest"
        )
    return {f"{spelt(model, n)}.{n.rpartition('.')[2]}": t.clone() for n, t in result.items()}


def dotted(layers: set[str]) -> tuple[str, ...]:
    return tuple(f"{layer}." for layer in layers)

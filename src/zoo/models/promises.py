"""What each family promises, as specs of the testing kit: `zoo check zoo.models.promises`.

Each is its tiny preset, every size another, with the facts that its SPEC states. A fact is a
promise: the kit holds the model to it. `refused` gives specs with one fact that is false, which
the kit must see.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from zoo import ops
from zoo.models import MODELS
from zoo.models.spec import Family
from zoo.testing.spec import ModelSpec

MASKED = 0.15  # share of the tokens that a masked language model is asked for


def promised(family: Family) -> ModelSpec:
    """Describe a family's tiny model to the testing kit."""
    # the preset's eps is exaggerated on purpose; here it is a published one
    config = replace(family.presets[f"{family.name}-tiny"], eps=1e-5)
    return ModelSpec(
        family=family.name,  # type: ignore[arg-type]
        name=f"{family.name}-tiny",
        build=partial(family.build, config),
        batch=partial(batch_of, family, config),
        loss=LOSSES[family.name],
        **family.promises,
    )


def refused(family: Family) -> dict[str, ModelSpec]:
    """Give, by the check that must fail, specs with a fact that is false."""
    spec = promised(family)
    return {check: replace(spec, **facts) for check, facts in family.refuses.items()}


def batch_of(family: Family, config: Any, size: int) -> dict[str, Tensor]:
    """Make a batch from torch's generator: the family's example, a mask, and labels."""
    batch = family.example(config, seed=int(torch.randint(2**31, ())), batch=size)
    ids = batch.get("input_ids")
    if ids is not None:
        batch["attention_mask"] = torch.ones_like(ids)
    if family.name == "gpt2":
        assert ids is not None
        batch["labels"] = ids
    elif family.name == "bert":
        assert ids is not None
        asked = torch.rand(ids.shape) < MASKED
        asked[:, 0] = True  # at least one a row
        batch["labels"] = torch.where(asked, ids, -100)
    elif family.name == "vit":
        batch["labels"] = torch.randint(config.classes, (size,))
    return batch


def next_token_loss(output: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
    """Predict each token from those before it."""
    real = batch["attention_mask"].bool()
    labels = torch.where(real[:, 1:] & real[:, :-1], batch["labels"][:, 1:], -100)
    return ops.cross_entropy(output[:, :-1], labels)


def label_loss(output: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
    """Predict the label of each row, or of each position that has one."""
    return ops.cross_entropy(output, batch["labels"])


def pair_loss(output: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
    """Find each picture's text and each text's picture."""
    own = torch.arange(len(output), device=output.device)
    return (ops.cross_entropy(output, own) + ops.cross_entropy(output.T, own)) / 2


LOSSES: dict[str, Callable[[Any, Any], Tensor]] = {
    "bert": label_loss,
    "clip": pair_loss,
    "gpt2": next_token_loss,
    "vit": label_loss,
}


def cached_step(module: nn.Module, piece: Mapping[str, Tensor], cache: Any) -> tuple[Tensor, Any]:
    """Read one more position of each row through a GPT-2's cache."""
    model: Any = module
    cache = model.new_cache(len(piece["input_ids"])) if cache is None else cache
    given = {name: piece[name] for name in ("input_ids", "attention_mask")}
    return model(**given, cache=cache), cache


bert = promised(MODELS["bert"])
clip = promised(MODELS["clip"])
gpt2 = replace(promised(MODELS["gpt2"]), step=cached_step)
vit = promised(MODELS["vit"])

"""nanoGPT's ckpt.pt: a pickle with torch's Linears, so nothing is transposed.

It may leave biases out (zero here), and computes the exact gelu, where OpenAI's weights were
trained with the tanh form: writing those asks for `approximate`.
"""

import dataclasses
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from zoo import keymap
from zoo.checkpoint import CheckpointError
from zoo.checkpoint.pickles import nanogpt_of
from zoo.models import gpt2
from zoo.models.gpt2 import GPT2, GPT2Config
from zoo.models.layouts.assemble import assemble

KEYS = replace(
    gpt2.KEYS,
    body=tuple(
        replace(rule, transpose=False) if isinstance(rule, keymap.Rename) else rule
        for rule in gpt2.KEYS.body
    ),
)
ARGUMENTS = {
    "n_layer": "depth",
    "n_head": "heads",
    "n_embd": "width",
    "block_size": "context",
    "vocab_size": "vocab",
    "dropout": "dropout",
}


def read(path: Path, content: Any) -> GPT2:
    """Build a GPT-2 of what a nanoGPT checkpoint holds; biases that it leaves out are zero."""
    arguments, tensors = nanogpt_of(path, content)
    unknown = {k for k in arguments if k not in ARGUMENTS and k != "bias"}
    if unknown:
        raise CheckpointError(f"{path}: model_args holds {sorted(unknown)}, unknown to nanoGPT")
    try:
        fields: dict[str, Any] = {ARGUMENTS[k]: v for k, v in arguments.items() if k in ARGUMENTS}
        config = GPT2Config(gelu="erf", **fields, attention_dropout=fields.get("dropout", 0.0))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: model_args: {error}") from None
    plan = keymap.plan(KEYS, "lm", tensors)
    if not arguments.get("bias", True):
        tensors = with_zero_biases(config, tensors)
    model: GPT2 = assemble(path, GPT2, config, "lm", KEYS, tensors)
    for theirs, ours in plan.tied.items():
        if not torch.equal(tensors[theirs], model.get_parameter(ours)):
            raise CheckpointError(f"{path}: {theirs} is not {ours}, which nanoGPT ties")
    return model


def with_zero_biases(
    config: GPT2Config, tensors: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Add the biases that a checkpoint without any leaves out."""
    with torch.device("meta"):
        model = GPT2(config)
    ours = {name: p for name, p in model.named_parameters() if name.endswith("bias")}
    dtype = next((tensor.dtype for tensor in tensors.values()), torch.float32)
    biases = keymap.to_theirs(KEYS, "lm", ours)
    return {name: torch.zeros(p.shape, dtype=dtype) for name, p in biases.items()} | tensors


def write(model: Any, target: Path, *, approximate: bool) -> None:
    """Write `ckpt.pt` as nanoGPT's train.py resumes from it."""
    if not isinstance(model, GPT2):
        raise ValueError(f"layout 'nanogpt' holds GPT-2 only, not {model.spec.name}")
    config = model.config
    if model.head_name != "lm" or not config.tied:
        raise ValueError("nanoGPT has a tied language-model head only")
    if config.hidden != 4 * config.width or config.eps != 1e-5:
        raise ValueError(
            f"nanoGPT has hidden = 4 width and eps = 1e-5; here hidden = {config.hidden}, "
            f"width = {config.width}, eps = {config.eps}"
        )
    if config.gelu != "erf" and not approximate:
        raise ValueError(
            f"nanoGPT computes the exact gelu, this model the {config.gelu} form: its logits "
            "would move a little. Pass --approximate (approximate=True) to write it all the same"
        )
    state = {name: p.detach() for name, p in model.named_parameters()}
    theirs = keymap.to_theirs(KEYS, "lm", state)
    theirs["lm_head.weight"] = theirs["transformer.wte.weight"]
    fields = dataclasses.asdict(config)
    arguments = {name: fields[ours] for name, ours in ARGUMENTS.items()} | {"bias": True}
    target.mkdir(parents=True, exist_ok=True)
    partial = target / "ckpt.pt.partial"
    torch.save({"model": theirs, "model_args": arguments}, partial)
    partial.replace(target / "ckpt.pt")

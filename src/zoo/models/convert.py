"""Checkpoints from one layout to another, and the proof that nothing was lost.

    hf        config.json and safetensors with the names that transformers writes
    openai    the same with the bare names of OpenAI's GPT-2 release (`wte.weight`, `h.0...`)
    nanogpt   ckpt.pt of nanoGPT: a pickle, so it is read only when told to

nanoGPT stores linear maps untransposed, may leave biases out (zero here), and computes the exact
gelu, where OpenAI's weights were trained with the tanh form: writing those asks for `approximate`.
"""

import dataclasses
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo import keymap
from zoo.checkpoint import CheckpointError, Folder, read_folder, resolve, write_folder
from zoo.checkpoint.pickles import read_nanogpt
from zoo.models import MODELS, gpt2
from zoo.models.base import Model
from zoo.models.gpt2 import GPT2, GPT2Config

LAYOUTS = ("hf", "openai", "nanogpt")

# what stands beside the weights and goes along
COMPANIONS = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "generation_config.json",
)

# nanoGPT's maps are torch Linears: nothing is transposed
NANOGPT = replace(
    gpt2.KEYS,
    body=tuple(
        replace(rule, transpose=False) if isinstance(rule, keymap.Rename) else rule
        for rule in gpt2.KEYS.body
    ),
)
NANOGPT_ARGS = {
    "n_layer": "depth",
    "n_head": "heads",
    "n_embd": "width",
    "block_size": "context",
    "vocab_size": "vocab",
    "dropout": "dropout",
}


@dataclass(frozen=True)
class Conversion:
    """What was written; `difference` is the largest between logits, None when not verified."""

    family: str
    head: str | None
    layout: str
    tensors: int
    difference: float | None = None


def convert(
    source: str | Path,
    target: str | Path,
    *,
    to: str = "hf",
    verify: bool = False,
    unpickle: bool = False,
    approximate: bool = False,
) -> Conversion:
    """Write the checkpoint `source` to the folder `target` in the layout `to`.

    A nanoGPT `ckpt.pt` is read only with `unpickle=True`. `verify` reads the result back, and
    converts it to the first layout again, and compares all logits in float64.
    Raises CheckpointError for what cannot be read, and ValueError for what `to` cannot hold.
    """
    if to not in LAYOUTS:
        raise ValueError(f"layout {to!r}; expected one of {LAYOUTS}")
    target = Path(target)
    model = read(source, unpickle=unpickle)
    write(model, target, to, approximate=approximate)
    copy_companions(Path(source), target)
    difference = None
    if verify:
        back = read(target, unpickle=to == "nanogpt")
        difference = max(compare(model, back), compare(back, model))
    return Conversion(
        family=model.spec.name,
        head=model.head_name,
        layout=to,
        tensors=len(model.published_state()),
        difference=difference,
    )


def read(source: str | Path, *, unpickle: bool) -> Model:
    """Read any layout, in the dtype that it is stored in."""
    path = Path(source)
    pickled = path if path.suffix == ".pt" else path / "ckpt.pt"
    if pickled.is_file() and (path.is_file() or not (path / "config.json").exists()):
        if not unpickle:
            raise CheckpointError(
                f"{pickled} is a pickle; reading one is off by default. Only tensors and plain "
                "values would be taken from it: pass --unpickle (unpickle=True) if you trust it"
            )
        return from_nanogpt(pickled)
    folder = read_folder(resolve(source))
    kind = folder.config.get("model_type")
    if not isinstance(kind, str) or kind not in MODELS:
        raise CheckpointError(f"{path}: model_type is {kind!r}; the zoo has {sorted(MODELS)}")
    model: Model = MODELS[kind].build.from_folder(folder, dtype=widest(folder))
    return model


def widest(folder: Folder) -> torch.dtype:
    kinds = {t.dtype for t in folder.tensors.values() if t.dtype.is_floating_point}
    result = torch.float16 if kinds == {torch.float16} else torch.bfloat16
    for kind in kinds:
        result = torch.promote_types(result, kind)
    return result


def from_nanogpt(path: Path) -> GPT2:
    """Build a GPT-2 of a nanoGPT checkpoint; biases that it leaves out are zero."""
    arguments, tensors = read_nanogpt(path)
    unknown = {k for k in arguments if k not in NANOGPT_ARGS and k != "bias"}
    if unknown:
        raise CheckpointError(f"{path}: model_args holds {sorted(unknown)}, unknown to nanoGPT")
    try:
        fields: dict[str, Any] = {
            NANOGPT_ARGS[k]: v for k, v in arguments.items() if k in NANOGPT_ARGS
        }
        config = GPT2Config(gelu="erf", **fields, attention_dropout=fields.get("dropout", 0.0))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: model_args: {error}") from None
    plan = keymap.plan(NANOGPT, "lm", tensors)
    if plan.unexpected:
        raise CheckpointError(f"{path}: unexpected: {', '.join(plan.unexpected)}")
    with torch.device("meta"):
        model = GPT2(config)
    state = {
        ours: keymap.combine(rule, [tensors[n] for n in names])
        for ours, (rule, names) in plan.sources.items()
    }
    for name, parameter in model.named_parameters():
        if name not in state and name.endswith("bias") and not arguments.get("bias", True):
            state[name] = torch.zeros(parameter.shape, dtype=state["tokens.weight"].dtype)
    check_complete(path, model, state)
    for theirs, ours in plan.tied.items():
        if not torch.equal(tensors[theirs], state[ours]):
            raise CheckpointError(f"{path}: {theirs} is not {ours}, which nanoGPT ties")
    model.load_state_dict(
        {name: torch.nn.Parameter(t.contiguous()) for name, t in state.items()},
        assign=True,
        strict=False,
    )
    model.tie()
    return model.eval()


def check_complete(path: Path, model: GPT2, state: Mapping[str, Tensor]) -> None:
    wanted = {name: tuple(p.shape) for name, p in model.named_parameters()}
    wrong = [
        f"{name} is {tuple(state[name].shape) if name in state else 'missing'}, expected {shape}"
        for name, shape in wanted.items()
        if name not in state or tuple(state[name].shape) != shape
    ]
    wrong += [
        f"{name} is not in a model of {model.config.depth} blocks" for name in state.keys() - wanted
    ]
    if wrong:
        raise CheckpointError(f"{path}: {'; '.join(wrong[:12])}")


def write(model: Model, target: Path, to: str, *, approximate: bool) -> None:
    if to == "hf":
        model.save_pretrained(target)
        return
    if not isinstance(model, GPT2):
        raise ValueError(f"layout {to!r} holds GPT-2 only, not {model.spec.name}")
    if to == "openai":
        state = {n: p.detach() for n, p in model.named_parameters()}
        keys = gpt2.keys_of(model.config)
        theirs = keymap.to_theirs(keys, model.head_name, state, prefix=False)
        plain = {name: tensor.contiguous() for name, tensor in theirs.items()}
        write_folder(target, model.published_config(), plain)
        return
    write_nanogpt(model, target, approximate=approximate)


def write_nanogpt(model: GPT2, target: Path, *, approximate: bool) -> None:
    """Write `ckpt.pt` as nanoGPT's train.py resumes from it."""
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
    theirs = keymap.to_theirs(NANOGPT, "lm", state)
    theirs["lm_head.weight"] = theirs["transformer.wte.weight"]
    fields = dataclasses.asdict(config)
    arguments = {name: fields[ours] for name, ours in NANOGPT_ARGS.items()} | {"bias": True}
    target.mkdir(parents=True, exist_ok=True)
    partial = target / "ckpt.pt.partial"
    torch.save({"model": theirs, "model_args": arguments}, partial)
    partial.replace(target / "ckpt.pt")


def copy_companions(source: Path, target: Path) -> None:
    for name in COMPANIONS:
        if (source / name).is_file() and not (target / name).exists():
            shutil.copyfile(source / name, target / name)


def compare(one: Model, other: Model) -> float:
    """Give the largest difference between the outputs of two models, in float64."""
    config = one.config
    batch = one.spec.example(config, seed=7)
    if one.head_name == "multiple_choice":
        batch = {name: ids[None] for name, ids in batch.items()}
    with torch.no_grad():
        return float((as_double(one)(**batch) - as_double(other)(**batch)).abs().max())


def as_double(model: Model) -> Model:
    double = type(model)(model.config, head=model.head_name).double().eval()
    double.load_state_dict(model.state_dict())
    double.tie()
    return double

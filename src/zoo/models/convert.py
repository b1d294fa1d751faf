"""Checkpoints from one layout to another, and the proof that nothing was lost.

    hf         config.json and safetensors with the names that transformers writes
    openai     the bare names of OpenAI's releases: of GPT-2 (`wte.weight`, `h.0...`) or of CLIP
    nanogpt    ckpt.pt of nanoGPT: a pickle, so it is read only when told to
    open_clip  CLIP's names with open_clip_config.json
    timm       timm's ViT

What each cannot hold is in zoo.models.layouts. Tokenizers and the settings for pictures go along.
A folder in the layout hf gets a probe of all of it.
"""

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from zoo import keymap
from zoo.checkpoint import CheckpointError, read_folder, write_folder
from zoo.checkpoint.files import read_json
from zoo.checkpoint.packaged import find
from zoo.checkpoint.pickles import state_of
from zoo.models import CLIP, GPT2, clip, family_of, gpt2, probe_file, write_probe
from zoo.models.base import Model
from zoo.models.layouts import nanogpt, openai_clip, timm
from zoo.models.layouts.assemble import opened, read_tensors

LAYOUTS = ("hf", "openai", "nanogpt", "open_clip", "timm")

# what stands beside the weights and goes along
COMPANIONS = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "bpe_simple_vocab_16e6.txt.gz",
    "generation_config.json",
    "preprocessor_config.json",
)


@dataclass(frozen=True)
class Conversion:
    """What was written; `difference` is the largest between outputs, None when not verified."""

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
    heads: int | None = None,
) -> Conversion:
    """Write the checkpoint `source` to the folder `target` in the layout `to`.

    A pickle (nanoGPT's `ckpt.pt`, a `.bin`) is read only with `unpickle=True`; `heads` says how
    many there are where timm's architecture does not. `verify` reads the result back and compares
    what both give in float64. Raises CheckpointError for what cannot be read, and ValueError for
    what `to` cannot hold.
    """
    if to not in LAYOUTS:
        raise ValueError(f"layout {to!r}; expected one of {LAYOUTS}")
    target = Path(target)
    model = read(source, unpickle=unpickle, heads=heads)
    probe_file.forget(target)
    write(model, target, to, approximate=approximate, pixels=pixels_of(Path(source), to))
    copy_companions(Path(source), target)
    if to == "hf":
        write_probe(target)
    difference = None
    if verify:
        back = read(target, unpickle=to == "nanogpt", heads=heads)
        difference = max(compare(model, back), compare(back, model))
    return Conversion(
        family=model.spec.name,
        head=model.head_name,
        layout=to,
        tensors=len(model.published_state()),
        difference=difference,
    )


def read(source: str | Path, *, unpickle: bool, heads: int | None = None) -> Model:
    """Read any layout, in the dtype that it is stored in."""
    path = Path(source)
    if path.is_file():
        return read_file(path, unpickle=unpickle)
    if (path / "ckpt.pt").is_file() and not (path / "config.json").exists():
        return read_file(path / "ckpt.pt", unpickle=unpickle)
    if (path / openai_clip.ABOUT).is_file():
        about = openai_clip.read_about(path)
        tensors = read_tensors(path, openai_clip.OPEN_CLIP_FILES, unpickle=unpickle)
        return openai_clip.read(path, about, tensors)
    config = config_beside(path)
    if "architecture" in config and "model_type" not in config:
        return timm.read(path, config, unpickle=unpickle, heads=heads)
    if path.is_dir() and not (path / "config.json").exists():
        tensors = read_tensors(path, openai_clip.OPENAI_FILES, unpickle=unpickle)
        if openai_clip.MARK in tensors:
            return openai_clip.read(path, None, tensors)
    return read_published(path, source)


def read_file(path: Path, *, unpickle: bool) -> Model:
    """Read one pickle: nanoGPT's checkpoint, or OpenAI's CLIP."""
    content = opened(path, unpickle=unpickle)
    if isinstance(content, dict) and "model_args" in content:
        return nanogpt.read(path, content)
    tensors = state_of(path, content)
    if openai_clip.MARK not in tensors:
        raise CheckpointError(
            f"{path} is neither nanoGPT's, which has 'model' and 'model_args', nor OpenAI's CLIP, "
            f"which has {openai_clip.MARK}"
        )
    return openai_clip.read(path, None, tensors)


def config_beside(path: Path) -> dict[str, Any]:
    """Give config.json as far as it can be read; whoever needs it complains."""
    try:
        return read_json(path, "config.json") if (path / "config.json").is_file() else {}
    except CheckpointError:
        return {}


def read_published(path: Path, source: str | Path) -> Model:
    """Read transformers' layout, with OpenAI's names too."""
    folder = read_folder(find(source))
    if openai_clip.MARK in folder.tensors:
        tensors = {name: lazy.read() for name, lazy in folder.tensors.items()}
        return with_config_of(folder.config, openai_clip.read(path, None, tensors))
    family = family_of(folder)
    model: Model = family.build.from_folder(folder, dtype=widest(folder.tensors.values()))
    return model


def with_config_of(published: dict[str, Any], model: CLIP) -> CLIP:
    """Take what shapes do not tell from transformers' config that stands beside OpenAI's names."""
    scale = published.get("logit_scale_init_value", model.config.scale)
    model.config = dataclasses.replace(model.config, scale=float(scale))
    return model


def widest(tensors: Any) -> torch.dtype:
    kinds = {t.dtype for t in tensors if t.dtype.is_floating_point}
    result = torch.float16 if kinds == {torch.float16} else torch.bfloat16
    for kind in kinds:
        result = torch.promote_types(result, kind)
    return result


def write(
    model: Model, target: Path, to: str, *, approximate: bool, pixels: dict[str, Any]
) -> None:
    if to == "hf":
        model.save_pretrained(target)
    elif to == "timm":
        timm.write(model, target, pixels, approximate=approximate)
    elif to == "open_clip":
        openai_clip.write_open_clip(model, target, pixels)
    elif to == "nanogpt":
        nanogpt.write(model, target, approximate=approximate)
    elif isinstance(model, GPT2):
        state = {n: p.detach() for n, p in model.named_parameters()}
        keys = gpt2.keys_of(model.config)
        theirs = keymap.to_theirs(keys, model.head_name, state, prefix=False)
        plain = {name: tensor.contiguous() for name, tensor in theirs.items()}
        write_folder(target, model.published_config(), plain)
    elif isinstance(model, CLIP):
        openai_clip.write_openai(model, target)
    else:
        raise ValueError(f"layout 'openai' holds GPT-2 and CLIP, not {model.spec.name}")


def pixels_of(source: Path, to: str) -> dict[str, Any]:
    """Say in the words of the layout `to` how pictures are prepared; nothing where none are."""
    processor = processor_of(source)
    if processor is None or to not in ("timm", "open_clip"):
        return {}
    from zoo.images.settings import FILTERS

    words = {number: word for word, number in FILTERS.items()}
    said = {
        "mean": list(processor.image_mean),
        "std": list(processor.image_std),
        "interpolation": words[processor.resample],
    }
    if to == "open_clip":
        return said | {"resize_mode": "shortest" if processor.do_center_crop else "squash"}
    shorter = processor.size.get("shortest_edge")
    if processor.do_center_crop and shorter:
        return said | {"crop_pct": min(processor.out_size()) / shorter, "crop_mode": "center"}
    return said | {"crop_pct": 1.0, "crop_mode": "squash"}


def processor_of(source: Path) -> Any:
    """Read the settings for pictures beside a checkpoint, if there are any that can be read."""
    try:
        from zoo.images import ImageError, ImageProcessor
    except ImportError:  # the extra is not installed: files still go along as they are
        return None
    try:
        return ImageProcessor.from_folder(source)
    except ImageError:
        return None


def copy_companions(source: Path, target: Path) -> None:
    for name in COMPANIONS:
        if (source / name).is_file() and not (target / name).exists():
            shutil.copyfile(source / name, target / name)
    if not (target / "preprocessor_config.json").exists():
        processor = processor_of(source)
        if processor is not None:
            processor.save(target)


def compare(one: Model, other: Model) -> float:
    """Give the largest difference between the outputs of two models, in float64."""
    batch = inputs_of(one)
    with torch.no_grad():
        return float((as_double(one)(**batch) - as_double(other)(**batch)).abs().max())


def inputs_of(model: Model) -> dict[str, Any]:
    """Make a batch that the model's head reads."""
    batch = model.spec.example(model.config, seed=7)
    if model.head_name == "multiple_choice":
        return {name: ids[None] for name, ids in batch.items()}
    if isinstance(model, CLIP):
        read = {"input_ids": clip.READS, "pixel_values": clip.SEES}
        batch = {name: x for name, x in batch.items() if model.head_name in read[name]}
    return {name: x.double() if x.is_floating_point() else x for name, x in batch.items()}


def as_double(model: Model) -> Model:
    double = type(model)(model.config, head=model.head_name).double().eval()
    double.load_state_dict(model.state_dict())
    double.tie()
    return double

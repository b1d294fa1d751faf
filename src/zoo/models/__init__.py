"""The zoo by name, and the door that finds a folder's family itself."""

from pathlib import Path
from typing import Any

from zoo.checkpoint import CheckpointError, read_folder, resolve
from zoo.models import bert, gpt2
from zoo.models.base import LoadReport, Model
from zoo.models.bert import BERT, BERTConfig
from zoo.models.gpt2 import GPT2, GPT2Config
from zoo.models.spec import ModelSpec

MODELS = {"bert": bert.SPEC, "gpt2": gpt2.SPEC}


def load(folder_or_name: str | Path, *, offline: bool | None = None, **options: Any) -> BERT | GPT2:
    """Read a checkpoint of any family; the config's `model_type` says which.

    Options are those of `Model.from_pretrained`. Raises CheckpointError for a family that is not
    in the zoo.
    """
    folder = read_folder(resolve(folder_or_name, offline=offline))
    kind = folder.config.get("model_type")
    if not isinstance(kind, str) or kind not in MODELS:
        raise CheckpointError(
            f"{folder.path}: config.json: model_type is {kind!r}; the zoo has {sorted(MODELS)}"
        )
    return MODELS[kind].build.from_folder(folder, **options)


def preset(name: str) -> tuple[ModelSpec, Any]:
    """Find a preset's family and config by its name."""
    for spec in MODELS.values():
        if name in spec.presets:
            return spec, spec.presets[name]
    known = sorted(name for spec in MODELS.values() for name in spec.presets)
    raise ValueError(f"no preset {name!r}; there are {known}")


__all__ = [
    "BERT",
    "GPT2",
    "MODELS",
    "BERTConfig",
    "CheckpointError",
    "GPT2Config",
    "LoadReport",
    "Model",
    "ModelSpec",
    "load",
    "preset",
]

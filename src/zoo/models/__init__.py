"""The zoo by name, and the door that finds a folder's family itself."""

from pathlib import Path
from typing import Any

from zoo.checkpoint import CheckpointError, Folder, read_folder
from zoo.checkpoint.packaged import find
from zoo.models import bert, clip, gpt2, vit
from zoo.models.base import LoadReport, Model
from zoo.models.bert import BERT, BERTConfig
from zoo.models.clip import CLIP
from zoo.models.clip_config import CLIPConfig
from zoo.models.gpt2 import GPT2, GPT2Config
from zoo.models.probe_folder import check_probe, write_probe
from zoo.models.spec import Family
from zoo.models.vit import ViT
from zoo.models.vit_config import ViTConfig

MODELS = {"bert": bert.SPEC, "clip": clip.SPEC, "gpt2": gpt2.SPEC, "vit": vit.SPEC}


def family_of(folder: Folder) -> Family:
    """Find the family that a folder's config names; raise CheckpointError for a strange one."""
    kind = folder.config.get("model_type")
    for spec in MODELS.values():
        if isinstance(kind, str) and kind in (
            spec.config_keys.model_type,
            *spec.config_keys.aliases,
        ):
            return spec
    raise CheckpointError(
        f"{folder.path}: config.json: model_type is {kind!r}; the zoo has {sorted(MODELS)}"
    )


def load(folder_or_name: str | Path, *, offline: bool | None = None, **options: Any) -> Any:
    """Read a checkpoint of any family; the config's `model_type` says which.

    Options are those of `Model.from_pretrained`. Raises CheckpointError for a family that is not
    in the zoo.
    """
    folder = read_folder(find(folder_or_name, offline=offline))
    return family_of(folder).build.from_folder(folder, **options)


def preset(name: str) -> tuple[Family, Any]:
    """Find a preset's family and config by its name."""
    for spec in MODELS.values():
        if name in spec.presets:
            return spec, spec.presets[name]
    known = sorted(name for spec in MODELS.values() for name in spec.presets)
    raise ValueError(f"no preset {name!r}; there are {known}")


__all__ = [
    "BERT",
    "CLIP",
    "GPT2",
    "MODELS",
    "BERTConfig",
    "CLIPConfig",
    "CheckpointError",
    "Family",
    "GPT2Config",
    "LoadReport",
    "Model",
    "ViT",
    "ViTConfig",
    "check_probe",
    "family_of",
    "load",
    "preset",
    "write_probe",
]

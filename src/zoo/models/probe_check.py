"""A probe against a folder and the model that was read from it, in two steps.

Before the weights are read, what their files say is compared: that costs milliseconds. Then each
tensor's checksum, which was taken while it was read, and at last the numbers.
"""

from pathlib import Path
from typing import Any

import torch

from zoo.checkpoint import CheckpointError, Folder
from zoo.models import probe_file, probe_files, probe_numbers

# fresh parameters that no block reads
BEHIND = ("head.", "pooler.", "mask_token", "logit_", "image_projection.", "text_projection.")


def refuse(folder: Path, faults: list[str]) -> None:
    """Raise CheckpointError that names every fault, and says what can be done."""
    if faults:
        raise CheckpointError(
            f"{folder} does not answer as it did when its probe was made: {'; '.join(faults)}. "
            "load(..., probe=False) reads it all the same; "
            f"zoo convert --probe {folder}, or write_probe(folder), accepts it as it is"
        )


def check_files(
    folder: Folder, kept: dict[str, Any], build: Any, *, head: str | None, classes: int | None
) -> None:
    """Compare config, tokenizer and settings for pictures.

    The names of labels count unless another head is asked for, or other classes.
    """
    found = probe_files.config_facts(build.spec, probe_file.config_of(folder, build))
    if classes is not None or head not in ("auto", kept["head"]):
        del found["id2label"]
    faults = []
    if kept["family"] != build.spec.name:
        faults.append(
            f"config.json: model_type means {build.spec.name}, the probe is of {kept['family']}"
        )
    elif head == "auto" and build.head_of(folder.config) != kept["head"]:
        faults.append(
            f"config.json: architectures means head {build.head_of(folder.config)!r}, "
            f"the probe was made with {kept['head']!r}"
        )
    faults += probe_files.config_faults(kept["config"], found)
    if kept["tokenizer"] is not None:
        faults += probe_files.tokenizer_faults(folder.path, kept["tokenizer"])
    if kept["pixels"] is not None:
        faults += probe_files.pixel_faults(folder.path, kept["pixels"])
    refuse(folder.path, faults)


def check_model(
    folder: Folder,
    kept: dict[str, Any],
    model: Any,
    marks: dict[str, str],
    fresh: tuple[str, ...] = (),
) -> None:
    """Compare the tensors that were read, and then what the model gives.

    Of a model with another head, or a fresh one, only the blocks are compared.
    """
    files = {name: folder.tensors[name].file for name in marks}
    refuse(folder.path, probe_files.tensor_faults(kept["tensors"], marks, files))
    dtype = next(model.parameters()).dtype
    numbers = numbers_for(folder, kept, dtype)
    if numbers is None or any(not name.startswith(BEHIND) for name in fresh):
        return
    if kept["inputs"] != probe_file.inputs_kept(model) and kept["head"] == model.head_name:
        raise CheckpointError(
            f"{folder.path / probe_file.PROBE_FILE}: inputs is not what its format says; "
            f"{probe_file.WAY_OUT}"
        )
    whole = kept["head"] == model.head_name and not fresh
    off = probe_numbers.difference(numbers, model, arithmetic(dtype), whole)
    if off is not None:
        refuse(
            folder.path,
            [f"all files are as they were, and the library computes other numbers: {off}"],
        )


def numbers_for(folder: Folder, kept: dict[str, Any], dtype: torch.dtype) -> Any:
    """Choose the answers that a reader in this dtype should give; None where none were kept."""
    stored = {lazy.dtype for lazy in folder.tensors.values() if lazy.dtype.is_floating_point}
    name = "exact" if probe_file.holds(stored, dtype) else str(dtype).removeprefix("torch.")
    return kept["answers"].get(name)


def arithmetic(dtype: torch.dtype) -> torch.dtype:
    """Give the dtype to compute in: float32 at least, and float64 where float32 may be cut."""
    if torch.get_float32_matmul_precision() != "highest":
        return torch.float64
    return torch.promote_types(torch.float32, dtype)

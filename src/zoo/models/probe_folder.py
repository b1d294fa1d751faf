"""Probes of whole folders: written, and checked."""

from pathlib import Path
from typing import Any

import torch

from zoo.checkpoint import CheckpointError, read_folder
from zoo.models import probe_check, probe_file, probe_files


def write_probe(folder: str | Path) -> tuple[str, ...]:
    """Write probe.json of all that lies in a folder, the last step of saving; say what it is of.

    It keeps what the folder answers: settings of config.json, a checksum a tensor, ids of a few
    texts (if there is a tokenizer), pixels of a picture (if there are settings for them), and the
    answers of the model to a fixed input, computed in float64. `load` compares all of it. A probe
    that is there already is not checked, but replaced: what lies in the folder is accepted.
    A tokenizer or settings that cannot be read are left out. Raises CheckpointError for a folder
    that holds no checkpoint, or where nothing can be written.
    """
    from zoo.models import load

    place = Path(folder)
    stored = {lazy.dtype for lazy in read_folder(place).tensors.values()}
    dtype = torch.float16 if stored == {torch.float16} else torch.bfloat16
    for kind in stored:
        dtype = torch.promote_types(kind, dtype)
    model = load(place, dtype=dtype, probe=False)
    return probe_file.write(place, model, assets=True)


def check_probe(folder: str | Path, model: Any = None) -> tuple[str, ...]:
    """Compare a folder with its probe.json; say which parts were compared.

    `model` is what was read from it with its own head; without it the folder is read. Raises
    CheckpointError that names what differs, or says that there is no probe.
    """
    from zoo.models import family_of, load

    place = Path(folder)
    kept = probe_file.read(place)
    if kept is None:
        raise CheckpointError(f"{place} holds no {probe_file.PROBE_FILE}; write_probe makes one")
    if model is None:
        load(place)
    else:
        opened = read_folder(place)
        build = family_of(opened).build
        probe_check.check_files(opened, kept, build, head="auto", classes=None)
        marks = probe_files.tensor_marks(opened.tensors)
        probe_check.check_model(opened, kept, model, marks)
    return probe_file.parts_of(kept)

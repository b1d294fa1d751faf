"""probe.json: what a folder answered when it was saved, kept beside its weights.

    format     "zoo probe 1"
    family, head
    config     the settings that decide answers, under the names of config.json
    tensors    name -> dtype, shape and checksum of each tensor
    tokenizer  its vocabulary, settings and the ids of a few texts, if there is one
    pixels     the settings for pictures and pixels of one picture, if there are any
    inputs     what the model was given: ids and mask; pixels are made by a formula
    answers    what it gave, in float64: of the weights as they are stored ("exact") and rounded to
               each lower dtype; each with the tolerance of a reader in float32

It is data from outside: whatever is strange about it is a CheckpointError.
"""

import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from zoo import config as configs
from zoo.checkpoint import CheckpointError, Folder, read_folder
from zoo.checkpoint.files import read_json
from zoo.checkpoint.write import synchronise, write_new
from zoo.models import probe_files, probe_inputs, probe_numbers

PROBE_FILE = "probe.json"
FORMAT = "zoo probe 1"
LARGEST = 8 * 2**20  # bytes
WAY_OUT = "write_probe(folder) writes a new one, load(..., probe=False) reads without"
LOWER = (torch.float32, torch.float16, torch.bfloat16)


def forget(folder: Path) -> None:
    """Remove a probe that is about to be untrue; one that is left would refuse new weights."""
    try:
        (folder / PROBE_FILE).unlink(missing_ok=True)
    except NotADirectoryError:
        return
    except OSError as error:
        raise CheckpointError(f"{folder / PROBE_FILE}: {error.strerror or error}") from None


def write(folder: Path, model: Any, *, assets: bool) -> tuple[str, ...]:
    """Write the probe of a folder that holds this model; say which parts it is of.

    With `assets` it is of what lies beside the weights too, as far as that can be read.
    """
    opened = read_folder(folder)
    spec = model.spec
    facts: dict[str, Any] = {
        "format": FORMAT,
        "about": "what this model answered when it was saved; zoo compares when it is loaded",
        "family": spec.name,
        "head": model.head_name,
        "config": probe_files.config_facts(spec, config_of(opened, type(model))),
        "tokenizer": readable(probe_files.tokenizer_facts, folder) if assets else None,
        "pixels": readable(probe_files.pixel_facts, folder) if assets else None,
        "inputs": inputs_kept(model),
        "answers": answers_kept(model, opened),
        "tensors": probe_files.tensor_marks(opened.tensors),
    }
    check(facts, str(folder / PROBE_FILE))
    place = folder / PROBE_FILE
    draft = folder / (PROBE_FILE + ".partial")
    try:
        draft.unlink(missing_ok=True)
        write_new(draft, laid_out(facts).encode())
        draft.replace(place)
        synchronise(folder)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise CheckpointError(f"cannot write {place}: {error.strerror or error}") from None
    return parts_of(facts)


def parts_of(facts: dict[str, Any]) -> tuple[str, ...]:
    """Name what a probe is of."""
    return ("config", "weights", *(n for n in ("tokenizer", "pixels", "answers") if facts[n]))


def readable(read: Callable[[Path], Any], folder: Path) -> Any:
    """Leave out what cannot be read: whoever needs it is told by its own reader."""
    try:
        return read(folder)
    except (ValueError, CheckpointError):
        return None


def config_of(folder: Folder, build: Any) -> Any:
    """Read a folder's config as it stands there, whatever a load makes of it."""
    try:
        return configs.from_theirs(
            build.spec.config_keys,
            build.spec.config,
            build.published(dict(folder.config)),
            strict=False,
        )
    except configs.ConfigError as error:
        raise CheckpointError(f"{folder.path}: config.json: {error}") from None


def inputs_kept(model: Any) -> dict[str, Any]:
    batch = probe_inputs.inputs_of(model)
    return {
        name: list(x.shape) if x.is_floating_point() else x.tolist() for name, x in batch.items()
    }


def answers_kept(model: Any, folder: Folder) -> dict[str, Any]:
    """Compute exact answers, and those of weights rounded to each dtype that cannot hold them."""
    stored = {lazy.dtype for lazy in folder.tensors.values() if lazy.dtype.is_floating_point}
    return probe_numbers.measured(model, [kind for kind in LOWER if not holds(stored, kind)])


def holds(stored: set[torch.dtype], dtype: torch.dtype) -> bool:
    """Tell whether a dtype holds what is stored without rounding."""
    return all(torch.promote_types(kind, dtype) == dtype for kind in stored)


def laid_out(facts: dict[str, Any]) -> str:
    """Write JSON with a line an entry of its tables, so that two can be compared by eye."""
    lines = []
    for name, value in facts.items():
        if isinstance(value, dict) and value:
            inner = ",\n".join(f"  {json.dumps(k)}: {plain(v)}" for k, v in value.items())
            lines.append(f" {json.dumps(name)}: {{\n{inner}\n }}")
        else:
            lines.append(f" {json.dumps(name)}: {plain(value)}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def plain(value: Any) -> str:
    return json.dumps(value, allow_nan=False, separators=(", ", ": "))


def read(folder: Path) -> dict[str, Any] | None:
    """Read a folder's probe, None where there is none; raise CheckpointError for a strange one."""
    if not os.path.lexists(folder / PROBE_FILE):
        return None
    where = str(folder / PROBE_FILE)
    try:
        found = read_json(folder, PROBE_FILE, LARGEST)
        check(found, where)
    except CheckpointError as error:
        raise CheckpointError(f"{error}; {WAY_OUT}") from None
    return found


Form = Callable[[Any], bool]


def is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e300 and math.isfinite(value)


def is_id(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**31


def is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) < 10_000


def is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool) or is_text(value) or is_number(value)


def list_of(form: Form, most: int = 100_000) -> Form:
    return lambda value: (
        isinstance(value, list) and len(value) <= most and all(form(v) for v in value)
    )


def table_of(form: Form) -> Form:
    return lambda value: isinstance(value, dict) and all(form(v) for v in value.values())


def either(*forms: Form) -> Form:
    return lambda value: any(form(value) for form in forms)


def record(**forms: Form) -> Form:
    return lambda value: (
        isinstance(value, dict)
        and forms.keys() <= value.keys()
        and all(form(value[name]) for name, form in forms.items())
    )


def is_mark(value: Any) -> bool:
    return isinstance(value, str) and len(value.split(" ")) == 3


def is_size(value: Any) -> bool:
    return is_number(value) and value >= 0


def is_encoded(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 2
        and is_text(value[0])
        and list_of(is_id)(value[1])
    )


def is_nothing(value: Any) -> bool:
    return value is None


SETTING = either(is_plain, list_of(is_plain), table_of(is_plain))
NUMBERS = {
    "shape": list_of(is_id, 8),
    "rms": is_size,
    "tolerance": is_size,
    "values": list_of(is_number, 1000),
}
FORMS: dict[str, Form] = {
    "format": is_text,
    "family": is_text,
    "head": either(is_text, is_nothing),
    "config": table_of(SETTING),
    "tokenizer": either(
        is_nothing,
        record(
            files=table_of(is_text),
            settings=table_of(SETTING),
            size=is_id,
            vocabulary=is_text,
            texts=list_of(is_encoded, 100),
        ),
    ),
    "pixels": either(
        is_nothing,
        record(
            settings=table_of(SETTING),
            shape=list_of(is_id, 8),
            values=list_of(is_number, 1000),
        ),
    ),
    "inputs": table_of(list_of(either(is_id, list_of(is_id)), 1000)),
    "answers": table_of(
        record(
            output=record(**NUMBERS, argmax=list_of(is_id, 1000)),
            stacks=table_of(list_of(record(**NUMBERS), 10_000)),
        )
    ),
    "tensors": table_of(is_mark),
}


def check(found: dict[str, Any], where: str) -> None:
    """Raise CheckpointError unless all that a check reads has the form it should have."""
    said = found.get("format")
    if said != FORMAT:
        raise CheckpointError(f"{where}: format is {str(said)[:40]!r}; known is {FORMAT!r}")
    for name, form in FORMS.items():
        if name not in found:
            raise CheckpointError(f"{where} has no {name}")
        if not form(found[name]):
            raise CheckpointError(f"{where}: {name} is not what a probe keeps there")

"""Taking over the model of a run as a golden checkpoint: the folder whole, or as it was.

Its manifest says what made it: the recipe with every setting, the version of the data, and the
machine, since the same bits come out of the same recipe only on a machine of the same type.
"""

import json
import platform
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from zoo.evaluate.accept import Accepted, today
from zoo.evaluate.golden import MANIFEST, GoldenError, GoldenSet, compare, open_set
from zoo.evaluate.sets import files_of, manifest_bytes, next_version
from zoo.evaluate.subject import Subject
from zoo.models.probe_file import PROBE_FILE
from zoo.models.probe_folder import check_probe, write_probe

MODEL = "model"  # of a run's folder
RUN = "run.json"
WEIGHTS = "model.safetensors"
# family -> what a question needs beside the model
ASKED_WITH = {
    "bert": ("tokenizer",),
    "clip": ("tokenizer", "processor"),
    "gpt2": ("tokenizer",),
    "vit": ("processor",),
}


def accept_checkpoint(
    folder: Path, old: GoldenSet | None, why: str, source: str | Path | None
) -> Accepted:
    """Put a run's model in the golden folder, or record the one that is there as it stands."""
    if source is not None:
        model, run = model_of(Path(source))
        about = about_run(run, model.parent / RUN)
    else:
        model, about = folder, recorded(folder, old)
    if not (model / WEIGHTS).exists():
        raise GoldenError(f"{model} holds no {WEIGHTS}; give a run that has ended")
    before = None if old is None or not old.version else old.manifest
    facts = {"name": folder.name, "kind": "checkpoint"} | about
    with replacing(folder) as beside:
        files = copied(model, beside, fresh=source is not None)
        made = next_version(before, why, today(), **facts, files=files)
        if before is None or files != before["files"]:
            (beside / MANIFEST).write_bytes(manifest_bytes(made))
            check_sound(beside)
    if before is not None and files == before["files"]:
        says = f"{folder.name}: nothing changed; it stays at version {before['version']}"
        return Accepted(folder.name, before["version"], False, says)
    moved = changes(files, {} if before is None else before["files"])
    says = f"{folder.name}: version {made['version']}, {about['recipe']} accepted: {why}"
    return Accepted(folder.name, made["version"], True, says, rows=moved)


def copied(model: Path, beside: Path, *, fresh: bool) -> dict[str, Any]:
    """Copy a model and describe its files; that of a run gets a probe of all that lies there."""
    shutil.copytree(model, beside, dirs_exist_ok=True)
    (beside / MANIFEST).unlink(missing_ok=True)
    probed = (beside / PROBE_FILE).exists()
    if probed:
        check_probe(beside)  # what was damaged since it was saved must not be accepted
    if fresh or not probed:
        write_probe(beside)
    return files_of(beside)


def check_sound(folder: Path) -> None:
    """Raise GoldenError for a model that lacks what it is asked with, or fails its own probe."""
    made = Subject.open(folder)
    for part in ASKED_WITH[made.model.spec.name]:
        if getattr(made, part) is None:
            raise GoldenError(f"the model has no {part} beside it, so nothing is accepted")
    report = compare(open_set(folder))
    if not report.ok:
        raise GoldenError(f"this is no sound model, so nothing is accepted: {report}")


def model_of(source: Path) -> tuple[Path, dict[str, Any]]:
    """Give a run's model and what the run was begun with; the run or its model may be named."""
    place = source if (source / RUN).exists() else source.resolve().parent
    if not (place / RUN).exists():
        raise GoldenError(
            f"{source} is no run and no run's model: there is no {RUN}; give RUN or RUN/{MODEL}"
        )
    try:
        run = json.loads((place / RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GoldenError(f"{place / RUN} cannot be read: {error}") from None
    if not (place / MODEL).is_dir():
        raise GoldenError(f"{place} has no {MODEL}: the run has not ended; let it go on")
    return place / MODEL, run


def about_run(run: Mapping[str, Any], where: Path) -> dict[str, Any]:
    """Give what a manifest says of how a model was made."""
    try:
        versions, data = run["versions"], run["data"]
        return {
            "source": {
                "implementation": f"zoo {versions['zoo']}",
                "run": f"zoo train {run['config']['name']}",
            },
            "recipe": run["config"]["name"],
            "config": run["config"],
            "data": None if data is None else data["version"],
            "machine": machine_of(versions),
        }
    except (KeyError, TypeError) as error:
        raise GoldenError(f"{where} does not say how its model was made: no {error}") from None


def machine() -> dict[str, Any]:
    """Say what the bits of a run depend on beside its config and data."""
    return {
        "machine": platform.machine(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def machine_of(versions: Mapping[str, Any]) -> dict[str, Any]:
    """Give the machine of a run; which CPU, where the run did not say, if it can be this one."""
    here = machine()
    there = {name: versions[name] for name in ("machine", "torch", "threads")}
    alike = all(there[name] == here[name] for name in ("machine", "torch"))
    return there | {"cpu": versions.get("cpu", here["cpu"] if alike else "unknown")}


def recorded(folder: Path, old: GoldenSet | None) -> dict[str, Any]:
    """Give what an older manifest says; raise GoldenError where the weights are not its own."""
    if old is None:
        raise GoldenError(f"{folder.name} is no golden checkpoint yet: give its run (--from RUN)")
    stated, there = old.manifest["files"].get(WEIGHTS), files_of(folder).get(WEIGHTS)
    if stated != there:
        raise GoldenError(f"the weights of {folder.name} changed: name their run (--from RUN)")
    return {name: old.manifest[name] for name in ("source", "recipe", "config", "data", "machine")}


def changes(new: Mapping[str, Any], old: Mapping[str, Any]) -> tuple[str, ...]:
    """Say which files changed."""
    words = {(True, True): "changed", (True, False): "is new", (False, True): "is gone"}
    return tuple(
        f"{name} {words[name in new, name in old]}"
        for name in sorted({*new, *old})
        if new.get(name) != old.get(name)
    )


def _replacing(place: Path) -> Iterator[Path]:
    """Give a new folder beside `place` that takes its place when the block ends well.

    It must hold a manifest then; without one all stays as it was.
    """
    tag = secrets.token_hex(4)
    beside, aside = (place.with_name(f".{place.name}.{tag}.{end}") for end in ("new", "old"))
    place.parent.mkdir(parents=True, exist_ok=True)
    beside.mkdir()
    try:
        yield beside
        if (beside / MANIFEST).exists():
            swap(beside, place, aside)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        if place.exists():
            shutil.rmtree(aside, ignore_errors=True)


def swap(beside: Path, place: Path, aside: Path) -> None:
    """Put one folder in the place of another, which steps aside; it comes back when that fails."""
    if place.exists():
        place.rename(aside)
    try:
        beside.rename(place)
    except OSError:
        if aside.exists():
            aside.rename(place)
        raise


replacing = contextmanager(_replacing)
